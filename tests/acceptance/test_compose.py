"""The stack of docker-compose.yml: the file is sound, and its one-shot services do what they are for.

No Docker engine is needed: each service's very command runs with its very environment, only the name of
the host is replaced by that of the test's server.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
PASSWORD = "p@ss/w$rd'é"
VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\})")


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """The YAML with its variables filled in, as compose does it."""
    if isinstance(value, dict):
        return {key: _interpolated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def filled(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        given = variables.get(match["name"], "")
        if given or match["kind"] == "-":
            return given or match["text"]
        raise KeyError(match["name"])

    return VARIABLE.sub(filled, value)


def _stack(**variables: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    stack: dict[str, Any] = _interpolated(loaded, variables)
    return stack


def _compose() -> list[str] | None:
    """A compose command that works here, if there is one."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            found = subprocess.run([*command, "version"], check=False, capture_output=True)
            if found.returncode == 0:
                return command
    return None


def _run(
    service: str, url: str, arguments: list[str] | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a service's command in its environment, with the host replaced by the server of ``url``."""
    where = conninfo_to_dict(url)
    stack = _stack(
        **{
            "POSTGRES_USER": str(where["user"]),
            "POSTGRES_PASSWORD": str(where.get("password") or PASSWORD),
            "POSTGRES_DB": str(where["dbname"]),
            **variables,
        }
    )
    declared = stack["services"][service]
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        **declared["environment"],
    }
    assert environment["PGHOST"] == "db"
    environment |= {"PGHOST": str(where["host"]), "PGPORT": str(where["port"])}
    command = arguments or declared["command"]
    program = shutil.which(command[0], path=environment["PATH"])
    assert program, command
    return subprocess.run(
        [program, *command[1:]], check=False, capture_output=True, text=True, env=environment, timeout=120
    )


def test_the_file_follows_the_compose_specification() -> None:
    """The schema of the compose specification accepts the file."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("external", ["", "true"])
def test_compose_reads_the_file(external: str) -> None:
    """Compose resolves the file as this test does, where a compose command is installed."""
    variables = {"POSTGRES_PASSWORD": "secret", "LEDGERVIEWS_NETWORK_EXTERNAL": external}
    stack = _stack(**variables)
    command = _compose()
    if command is None:
        assert set(stack["services"]) == {"db", "migrate", "refresh"}
        return
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    resolved = subprocess.run(
        [*command, "-f", FILE, "config"],
        check=False,
        capture_output=True,
        text=True,
        env={**inherited, **variables},
        cwd=ROOT,
    )
    assert resolved.returncode == 0, resolved.stderr
    services = yaml.safe_load(resolved.stdout)["services"]

    assert set(services) == set(stack["services"])
    assert {name: services[name]["environment"] for name in services} == {
        name: stack["services"][name]["environment"] for name in services
    }
    assert yaml.safe_load(resolved.stdout)["networks"]["ledgerviews"].get("external", False) is bool(external)


def test_the_database_is_not_published() -> None:
    """No service opens a port on the host."""
    services = _stack(POSTGRES_PASSWORD="secret")["services"]

    assert [
        name for name, service in services.items() if "ports" in service or "network_mode" in service
    ] == []


def test_services_meet_by_name_on_a_network_that_can_be_another() -> None:
    """Nothing says localhost; the network is ours by default and an existing one by two variables."""
    ours = _stack(POSTGRES_PASSWORD="secret")
    theirs = _stack(
        POSTGRES_PASSWORD="secret", LEDGERVIEWS_NETWORK="app_default", LEDGERVIEWS_NETWORK_EXTERNAL="true"
    )

    assert not re.search(r"localhost|127\.0\.0\.1|::1", FILE.read_text(encoding="utf-8"))
    assert ours["networks"] == {"ledgerviews": {"name": "ledgerviews", "external": "false"}}
    assert theirs["networks"] == {"ledgerviews": {"name": "app_default", "external": "true"}}
    assert all(service["networks"] == ["ledgerviews"] for service in ours["services"].values())


def test_a_password_must_be_given() -> None:
    """Without POSTGRES_PASSWORD the stack does not start; the file holds none."""
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        _stack()


def test_services_start_one_after_another() -> None:
    """The migrations wait for a database that answers, the refresh for the migrations' success."""
    services = _stack(POSTGRES_PASSWORD="secret")["services"]

    assert "healthcheck" in services["db"]
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["refresh"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert services["migrate"]["restart"] == services["refresh"]["restart"] == "no"


def test_the_one_shots_install_and_fill_the_relations(application_url: str) -> None:
    """After `migrate` and `refresh`, every materialized view is there, filled from the application's rows."""
    demo = importlib.import_module("ledgerviews.models.demo")
    with psycopg.connect(application_url) as connection:
        demo.reference_rows(connection)

    migrated = _run("migrate", application_url)
    refreshed = _run("refresh", application_url)

    assert migrated.returncode == 0, migrated.stderr
    assert refreshed.returncode == 0, refreshed.stderr
    with psycopg.connect(application_url) as connection:
        views = connection.execute(
            "SELECT matviewname, ispopulated FROM pg_matviews WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        figures = connection.execute(
            "SELECT created_date::text, events_total, accept_rate_overall FROM public.mart_suggestions_kpis"
        ).fetchall()
    assert views == [
        ("mart_suggestions_daily", True),
        ("mart_suggestions_feedback_daily", True),
        ("mart_suggestions_kpis", True),
    ]
    assert figures == [("2025-11-04", 12, 0.5)]


def test_the_one_shots_may_run_again(application_url: str) -> None:
    """A second `up` finds everything in place and succeeds."""
    codes = [_run(service, application_url).returncode for service in ("migrate", "refresh") * 2]

    assert codes == [0, 0, 0, 0]


def test_migrate_names_the_application_tables_that_are_missing(empty_url: str) -> None:
    """On a database without the application's tables `migrate` fails, says which, and repeats no password."""
    migrated = _run("migrate", empty_url)

    assert migrated.returncode == 1, migrated.stderr
    assert "suggestion_events" in migrated.stderr
    assert "suggestion_feedback" in migrated.stderr
    assert "Traceback" not in migrated.stderr
    assert PASSWORD not in migrated.stdout + migrated.stderr


def test_a_database_of_ones_own_takes_the_place_of_the_stacks(application_url: str, empty_url: str) -> None:
    """LEDGERVIEWS_DATABASE_URL reaches the services and wins over the stack's database."""
    migrated = _run("migrate", empty_url, LEDGERVIEWS_DATABASE_URL=application_url)

    assert migrated.returncode == 0, migrated.stderr
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT to_regnamespace('ledgerviews')").fetchone() == (None,)
    with psycopg.connect(application_url) as connection:
        assert connection.execute("SELECT to_regclass('ledgerviews.alembic_version')").fetchone() != (None,)


def test_the_image_holds_what_it_needs_and_runs_as_nobody_special() -> None:
    """The image is installed by hash from what .dockerignore admits, and runs as an unprivileged user."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    admitted = [line.removeprefix("!") for line in ignore if line.startswith("!")]

    assert "--require-hashes -r requirements-image.txt" in dockerfile
    assert re.findall(r"(?m)^USER (\S+)$", dockerfile) == ["ledgerviews"]
    assert [name for name in admitted if not (ROOT / name).exists()] == []
    assert {"ledgerviews", "migrations", "pyproject.toml", "README.md"} <= set(admitted)
