"""Credentials: Google's own ways, and a key from the environment that stays in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.auth import identity_pool
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from bq_export.errors import TargetError
from bq_export.loader.client import Requests, make_client
from bq_export.patience import Patience
from bq_export.settings import ExportSettings
from ledgerviews.errors import LedgerviewsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bigquery.world import World

NO_RETRY: dict[str, Any] = {"retry": None}
SETTINGS = ExportSettings(project="project", dataset="d")


@pytest.fixture
def tokens() -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """The address of an endpoint that gives tokens, and what it was asked with."""
    asked: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append(parse_qs(body))
            content = {"access_token": "TOKEN", "expires_in": 3600, "token_type": "Bearer"}
            content["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def key(tokens: tuple[str, list[dict[str, list[str]]]]) -> dict[str, str]:
    """A service account's key, made for the test."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "bq-export@project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": tokens[0],
    }


@pytest.fixture(autouse=True)
def nobodys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GCP_SA_JSON", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "")  # so that what a client sets is undone
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def test_a_key_file_is_found_by_its_variable(
    key: dict[str, str],
    tokens: tuple[str, list[dict[str, list[str]]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """GOOGLE_APPLICATION_CREDENTIALS names a key's file: a token is asked for as that account."""
    (tmp_path / "key.json").write_text(json.dumps(key), encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))

    credentials = make_client(SETTINGS)._credentials
    credentials.refresh(Request())

    assert isinstance(credentials, service_account.Credentials)
    assert credentials.token == "TOKEN"
    assert tokens[1][0]["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_workload_identity_needs_no_key(
    tokens: tuple[str, list[dict[str, list[str]]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that GitHub's action writes is taken: its token is exchanged, for BigQuery's scope."""
    (tmp_path / "oidc").write_text("GITHUB-TOKEN", encoding="utf-8")
    described = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": tokens[0],
        "credential_source": {"file": str(tmp_path / "oidc")},
    }
    (tmp_path / "wif.json").write_text(json.dumps(described), encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "wif.json"))

    credentials = make_client(SETTINGS)._credentials
    credentials.refresh(Request())

    assert isinstance(credentials, identity_pool.Credentials)
    assert credentials.token == "TOKEN"
    assert tokens[1][0]["subject_token"] == ["GITHUB-TOKEN"]
    assert tokens[1][0]["scope"] == ["https://www.googleapis.com/auth/bigquery"]


def test_a_key_in_the_environment_stays_in_memory(
    world: World, key: dict[str, str], tokens: tuple[str, list[dict[str, list[str]]]], tmp_path: Path
) -> None:
    """GCP_SA_JSON signs in; nothing printed and no file in HOME or TMPDIR holds a line of the key."""
    places = [tmp_path / name for name in ("home", "tmp", "work")]
    for place in places:
        place.mkdir(exist_ok=True)
    code = (
        "import os\n"
        "from google.auth.transport.requests import Request\n"
        "from bq_export.loader.client import make_client\n"
        "from bq_export.settings import ExportSettings\n"
        "found = make_client(ExportSettings.from_environment())._credentials\n"
        "found.refresh(Request())\n"
        "print(found.token, found.service_account_email)\n"
    )
    environment = {
        **world.environment(),
        "BIGQUERY_EMULATOR_HOST": "",
        "GCP_PROJECT": "project",
        "GCP_SA_JSON": json.dumps(key),
        "HOME": str(places[0]),
        "TMPDIR": str(places[1]),
        # A client of BigQuery that reaches nothing: what it says of that must not show the key either.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        "BQ_RETRY_BUDGET": "1s",
    }
    words = [
        [sys.executable, "-c", code],
        *([sys.executable, "-m", "bq_export", w] for w in ("setup", "run")),
    ]
    done = [
        subprocess.run(one, env=environment, cwd=places[2], check=False, capture_output=True, text=True)
        for one in words
    ]
    lines = [line for line in key["private_key"].splitlines() if len(line) > 20]
    said = "".join(one.stdout + one.stderr for one in done)
    kept = [
        str(file)
        for place in places
        for file in place.rglob("*")
        if file.is_file() and any(line.encode() in file.read_bytes() for line in lines)
    ]

    assert done[0].stdout == "TOKEN bq-export@project.iam.gserviceaccount.com\n", done[0].stderr
    assert tokens[1]
    assert [one.returncode for one in done[1:]] == [6, 6], said
    assert "Traceback" not in said
    assert lines
    assert [line for line in lines if line in said] == []
    assert kept == []


def test_no_credentials_at_all_say_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, the message names both variables."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")

    with pytest.raises(TargetError, match="credentials are not usable") as raised:
        make_client(SETTINGS)

    assert "GCP_SA_JSON" in str(raised.value)


def _unusable(key: dict[str, str]) -> dict[str, str]:
    """What stands where a key is expected, by what is wrong with it."""
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "a key that does not sign as Google's do": json.dumps({**key, "private_key": curve.decode()}),
        "cut": json.dumps({**key, "private_key": key["private_key"][:400]}),
        "a list": json.dumps([key["private_key"]]),
        "a text": json.dumps(key["private_key"]),
        "no JSON": key["private_key"],
    }


def test_what_is_no_key_is_told_at_once_and_not_repeated(
    key: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the variable or in a file: the error is one of ours, names the variable, and has no line of it."""
    file = tmp_path / "key.json"
    for what, text in _unusable(key).items():
        with pytest.raises(UsageError, match="GCP_SA_JSON") as of_variable:
            make_client(replace(SETTINGS, service_account=text))
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        with pytest.raises(LedgerviewsError, match="GOOGLE_APPLICATION_CREDENTIALS") as of_file:
            make_client(SETTINGS)
        told = f"{of_variable.value}{of_file.value}"

        lines = [line for line in key["private_key"].splitlines() if len(line) > 20]
        assert [line for line in lines if line in told] == [], what


def test_credentials_of_another_universe_are_told(key: dict[str, str]) -> None:
    """A key of another cloud is refused with both names."""
    text = json.dumps({**key, "universe_domain": "cloud.example"})

    with pytest.raises(UsageError, match=r"googleapis\.com.*cloud\.example"):
        make_client(replace(SETTINGS, service_account=text))


def test_an_address_that_is_none_is_not_tried_again(key: dict[str, str]) -> None:
    """A key whose token_uri is no address stops at once, whatever the time for retries."""
    client = make_client(replace(SETTINGS, service_account=json.dumps({**key, "token_uri": "nowhere"})))
    told: list[str] = []
    patience = Patience(budget_s=600, backoff_s=60, progress=told.append)

    with pytest.raises(TargetError, match="nowhere"):
        Requests(client, SETTINGS, patience).call("ask", lambda: client.get_dataset("d", **NO_RETRY))

    assert told == []


def test_a_refused_connection_is_told_in_one_short_line() -> None:
    """The address, the port and the cause; nothing of the libraries between."""
    settings = replace(SETTINGS, endpoint="http://127.0.0.1:9")
    client = make_client(settings)
    told: list[str] = []
    patience = Patience(budget_s=0.1, backoff_s=0.05, progress=told.append)

    with pytest.raises(TargetError) as raised:
        Requests(client, settings, patience).call(
            "list the jobs", lambda: client.get_dataset("d", **NO_RETRY)
        )

    assert raised.value.message.startswith("BigQuery did not answer within the time for retries (0.1 s): ")
    for line in [raised.value.message, *told]:
        assert line.partition("Cannot ")[2].startswith("list the jobs: 127.0.0.1:9: ")
        assert line.count("list the jobs") == 1
        assert "Pool" not in line
        assert "refused" in line
