"""The commands around the export: files, roles, settings, migration, the local server, and what they say."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import errors as pg_errors
from psycopg import sql

from bq_export.cli import cli, output
from bq_export.dev import server as dev_server
from bq_export.settings import ExportSettings
from bq_export.workdir import work_folder
from ledgerviews.errors import UsageError
from tests import programs
from tests import servers as pg
from tests.bigquery import peer
from tests.bigquery.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bigquery.proxy import FaultProxy

ROOT = Path(__file__).parents[2]
MARTS = ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis")


def _export(
    *args: str, url: str, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    environment = {**pg.clean_environment(), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    for name in (
        "GCP_PROJECT",
        "BQ_DATASET",
        "DBT_BIGQUERY_DATASET",
        "GCP_SA_JSON",
        "BIGQUERY_EMULATOR_HOST",
    ):
        environment.pop(name, None)
    return programs.run(
        "bq_export", args, env={**environment, "LEDGERVIEWS_DATABASE_URL": url, **(env or {})}, cwd=cwd
    )


def _refresh(run_cli: pg.RunCli, url: str) -> None:
    assert run_cli("dev", "seed", "--events", "200", "--days", "10", url=url).returncode == 0
    assert run_cli("refresh", url=url).returncode == 0


def test_without_a_project_it_says_what_to_set(empty_url: str) -> None:
    """Exit code 2, both variables, no traceback."""
    done = _export("run", url=empty_url)

    assert done.returncode == 2
    assert "GCP_PROJECT and BQ_DATASET are not set" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("run",), ("plan",), ("files", "--to", "x"), ("cost",), ("run", "--help")])
def test_without_its_extra_it_says_what_to_install(
    empty_url: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """A package that is lacking is told with the extra that brings it, and needs none for a help."""
    code = (
        "import sys\n"
        "sys.modules.update({'pyarrow': None, 'google.cloud': None, 'adbc_driver_postgresql': None})\n"
        "from bq_export.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        check=False,
        capture_output=True,
        text=True,
        env={
            **pg.clean_environment(),
            "PYTHONPATH": str(ROOT),
            "LEDGERVIEWS_DATABASE_URL": empty_url,
            "GCP_PROJECT": "project",
            "BQ_DATASET": "d",
        },
        cwd=tmp_path,
        timeout=120,
    )

    assert "Traceback" not in done.stderr
    if "--help" in words:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2, done.stderr
        assert "which is not installed" in done.stderr
        assert "ledgerviews[bigquery]" in done.stderr


@pytest.mark.parametrize("command", ["status", "history"])
def test_before_the_first_run_it_says_so(world: World, command: str) -> None:
    """No empty table: a line that names the target."""
    done = world.cli(command)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Nothing was exported to {world.export.target} yet.\n"


def test_the_lines_of_setup_are_json_too(empty_url: str) -> None:
    """With --print and --json they are one object, and nobody is asked for anything."""
    env = {"GCP_PROJECT": "project", "BQ_DATASET": "d", "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9"}

    plain = _export("setup", "--print", url=empty_url, env=env)
    told = _export("setup", "--print", "--json", url=empty_url, env=env)

    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["commands"] == plain.stdout.splitlines()


def test_a_dataset_elsewhere_is_not_to_be_made(world: World) -> None:
    """Where it is in another location, the setting is what to change; no line would make it again."""
    done = world.cli("setup", "--json", env={"BQ_LOCATION": "EU"})

    (step,) = (one for one in json.loads(done.stdout)["steps"] if one["what"] == "dataset")
    assert done.returncode == 6
    assert "set BQ_LOCATION=US" in step["detail"]
    assert step["commands"] == []


def test_tables_fit_eighty_columns(  # noqa: PLR0917 (fixtures)
    installed_url: str,
    run_cli: pg.RunCli,
    bigquery_endpoint: str,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """LedgerMind's relations, the longest names that ship, stand in 80 columns, in whatever folder."""
    _refresh(run_cli, installed_url)
    world = World.make(installed_url, bigquery_endpoint, proxy, models="ledgerviews.models")
    world.run()
    world.sql("UPDATE suggestion_events SET mode = 'auto'")
    assert run_cli("refresh", url=installed_url).returncode == 0
    for name, value in {**world.environment(), "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    for words in (["plan"], ["files", "--to", str(tmp_path / ("x" * 80))]):
        capsys.readouterr()
        cli.main(words, standalone_mode=False)
        table = capsys.readouterr().out.splitlines()[:6]

        assert any("mart_suggestions_feedback_daily" in line for line in table)
        assert max(len(line) for line in table) <= 80


def test_two_do_not_write_to_one_folder(shop_url: str, tmp_path: Path) -> None:
    """While one writes, another leaves with exit code 5 and touches nothing."""
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    words = ("files", "--to", str(tmp_path))
    left = _export(*words, url=shop_url, env={"LEDGERVIEWS_MODELS": "tests.bigquery.shop"})
    there = list(tmp_path.iterdir())
    os.close(handle)
    after = _export(*words, url=shop_url, env={"LEDGERVIEWS_MODELS": "tests.bigquery.shop"})

    assert left.returncode == 5, left.stderr
    assert f"Another bq-export is writing to {tmp_path}" in left.stderr
    assert there == []
    assert after.returncode == 0, after.stderr


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_files_hold_every_row_and_the_manifest_vouches_for_them(
    installed_url: str, run_cli: pg.RunCli, tmp_path: Path, kind: str
) -> None:
    """No project is needed; the manifest has the files' counts and SHA-256; no part is left over."""
    _refresh(run_cli, installed_url)

    done = _export("files", "--to", str(tmp_path / "out"), "--format", kind, "--json", url=installed_url)

    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in manifest["relations"]] == ["stg_suggestion_events", *MARTS]
    with psycopg.connect(installed_url) as connection:
        for one in manifest["relations"]:
            file = tmp_path / "out" / one["file"]
            query = sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(one["name"]))
            (rows,) = connection.execute(query).fetchone() or (0,)
            assert one["rows"] == rows > 0
            assert one["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
            if kind == "json":
                assert len(file.read_text(encoding="utf-8").splitlines()) == rows
            elif kind == "parquet":
                assert pq.read_metadata(file).num_rows == rows
            assert one["load"].startswith("bq load --replace --source_format=")
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_a_relation_without_rows_is_a_file_without_rows(shop_url: str, tmp_path: Path, kind: str) -> None:
    """A mart that is empty so far leaves as a file of its columns, beside those that are not."""
    with psycopg.connect(shop_url) as connection:
        connection.execute("TRUNCATE mart_totals")

    done = _export(
        *("files", "--to", str(tmp_path), "--format", kind),
        url=shop_url,
        env={"LEDGERVIEWS_MODELS": "tests.bigquery.shop"},
    )

    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert {one["name"]: one["rows"] for one in manifest["relations"]} == {
        "mart_orders_daily": 15,
        "mart_totals": 0,
    }
    if kind == "parquet":
        assert pq.read_schema(tmp_path / "mart_totals.parquet").names == ["shop", "orders"]
    elif kind == "csv":
        assert (tmp_path / "mart_totals.csv").read_text(encoding="utf-8").split() == ['"shop","orders"']


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_text_files_load_into_the_same_rows(
    shop_url: str, bigquery_endpoint: str, proxy: FaultProxy, tmp_path: Path, kind: str
) -> None:
    """What the peer makes of CSV and NDJSON is what it makes of Parquet, NULL and empty text apart."""
    from google.cloud import bigquery

    world = World.make(shop_url, bigquery_endpoint, proxy)
    world.sql("INSERT INTO mart_orders_daily VALUES ('2026-04-01', E'a \"b\"\\nc,', NULL, 1.10, 0.1, NULL)")
    done = world.cli("files", "mart_orders_daily", "--to", str(tmp_path), "--format", kind)
    assert done.returncode == 0, done.stderr
    config = bigquery.LoadJobConfig(
        schema=world.client.schema_from_json(str(tmp_path / "mart_orders_daily.schema.json")),
        source_format="CSV" if kind == "csv" else "NEWLINE_DELIMITED_JSON",
    )
    if kind == "csv":
        config.skip_leading_rows = 1
        config.allow_quoted_newlines = True
    file = tmp_path / f"mart_orders_daily.{'csv' if kind == 'csv' else 'ndjson'}"

    with file.open("rb") as stream:
        world.client.load_table_from_file(stream, world.table("loaded"), job_config=config).result()

    assert world.there("loaded") == world.here("mart_orders_daily")


def test_json_has_no_number_that_a_reader_would_round(shop_url: str, tmp_path: Path) -> None:
    """Integers past 2^53 are text, as BigQuery asks for; those within are numbers, in both directions."""
    values = [2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 2**63 - 1, -(2**63)]
    with psycopg.connect(shop_url) as connection:
        connection.execute("TRUNCATE mart_totals")
        connection.cursor().executemany(
            "INSERT INTO mart_totals VALUES (%s, %s)", [(str(v), v) for v in values]
        )
    done = _export(
        *("files", "mart_totals", "--to", str(tmp_path), "--format", "json"),
        url=shop_url,
        env={"LEDGERVIEWS_MODELS": "tests.bigquery.shop"},
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "mart_totals.ndjson").read_text("utf-8").splitlines()]

    assert {row["shop"]: type(row["orders"]) for row in rows} == {
        str(v): int if abs(v) < 2**53 else str for v in values
    }
    assert all(str(row["orders"]) == row["shop"] for row in rows)


def test_what_is_refused_leaves_earlier_files_as_they_are(shop_url: str, tmp_path: Path) -> None:
    """A column that CSV does not hold is told before anything is written: manifest and files still agree."""
    environment = {"LEDGERVIEWS_MODELS": "tests.bigquery.shop"}
    words = ("files", "--to", str(tmp_path), "--format", "csv")
    assert _export(*words, url=shop_url, env=environment).returncode == 0
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with psycopg.connect(shop_url) as connection:
        connection.execute("ALTER TABLE mart_totals ADD COLUMN tags text[] DEFAULT '{}'")
        connection.execute("DELETE FROM mart_orders_daily")

    done = _export(*words, url=shop_url, env=environment)

    assert done.returncode == 6
    assert "CSV holds no arrays: tags" in done.stderr
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_full_disk_is_told_with_its_file(shop_url: str, tmp_path: Path) -> None:
    """Where a file cannot grow the path and the cause are told; no part and no manifest stay behind."""
    with psycopg.connect(shop_url) as connection:
        connection.execute(
            "INSERT INTO mart_orders_daily"
            " SELECT '2026-01-01', md5(g::text), g, g, g, now() FROM generate_series(1, 50000) AS g"
        )
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from bq_export.cli import main\n"
        "main(['files', '--to', sys.argv[1], '--format', sys.argv[2]])\n"
    )
    environment = {
        **pg.clean_environment(),
        "LEDGERVIEWS_DATABASE_URL": shop_url,
        "LEDGERVIEWS_MODELS": "tests.bigquery.shop",
        "PYTHONPATH": str(ROOT),
    }
    for kind in ("parquet", "csv", "json"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), kind],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )

        assert done.returncode == 6, done.stderr
        assert f"Cannot write {tmp_path}/.bq-export-part-mart_orders_daily." in done.stderr
        assert "File too large" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose process is gone goes with the next run; one in use, and others' folders, stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, other = tmp_path / "bq-export-run-left", tmp_path / "bq-export-peer-1"
    for folder in (left, other):
        folder.mkdir()
        (folder / "lock").touch()
    (left / "mart.parquet").write_text("rows", encoding="utf-8")

    with work_folder() as first:
        (first / "mart.parquet").touch()
        with work_folder() as second:
            assert (first / "mart.parquet").exists()

    assert first != second
    assert [one.name for one in tmp_path.iterdir()] == [other.name]


@pytest.fixture
def exporter(
    installed_url: str, run_cli: pg.RunCli, connect: Callable[[str], psycopg.Connection]
) -> Iterator[str]:
    """The URL of the role that `bq-export role` makes, in a database with refreshed marts."""
    _refresh(run_cli, installed_url)
    owner = connect(installed_url)
    name = f"exporter_{owner.info.backend_pid}"
    script = _export("role", name, url=installed_url).stdout
    owner.execute(script.encode())
    owner.execute(sql.SQL("ALTER ROLE {} PASSWORD 'x'").format(sql.Identifier(name)))
    try:
        yield installed_url.replace("//postgres@", f"//{name}:x@") if "//postgres@" in installed_url else ""
    finally:
        owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def test_the_role_exports(exporter: str, bigquery_endpoint: str, proxy: FaultProxy) -> None:
    """With that role a whole run and a verification succeed."""
    if not exporter:
        pytest.skip("the server given has no user postgres")
    world = World.make(exporter, bigquery_endpoint, proxy, models="ledgerviews.models")

    ran, verified = world.cli("run"), world.cli("verify")

    assert ran.returncode == 0, ran.stderr
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("name", ["", " "])
def test_a_role_without_a_name_is_refused(empty_url: str, name: str) -> None:
    """No SQL is printed that PostgreSQL would refuse half-way."""
    done = _export("role", name, url=empty_url)

    assert done.returncode == 2
    assert "A role needs a name" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM public.suggestion_events",
        "SELECT * FROM public.suggestion_feedback",
        "SELECT * FROM public.transactions",
        "SELECT * FROM ledgerviews.run",
        "SELECT * FROM ledgerviews.alembic_version",
        "INSERT INTO public.suggestion_feedback DEFAULT VALUES",
        "DELETE FROM public.mart_suggestions_daily",
        "REFRESH MATERIALIZED VIEW public.mart_suggestions_daily",
        "CALL ledgerviews.refresh()",
        "CREATE TABLE public.x (n int)",
        "CREATE TABLE ledgerviews.x (n int)",
        "TRUNCATE ledgerviews.export_run CASCADE",
        "DROP TABLE ledgerviews.export_job",
        "CREATE ROLE another",
        "COPY public.mart_suggestions_daily TO PROGRAM 'true'",
    ],
)
def test_the_role_may_nothing_else(
    exporter: str, statement: str, connect: Callable[[str], psycopg.Connection]
) -> None:
    """Tried: the application's tables, the engine, writing, making and dropping are all refused."""
    if not exporter:
        pytest.skip("the server given has no user postgres")
    connection = connect(exporter)

    with pytest.raises((pg_errors.InsufficientPrivilege, pg_errors.WrongObjectType)):
        connection.execute(statement.encode())


def test_the_migration_goes_and_comes(installed_url: str, run_cli: pg.RunCli) -> None:
    """Downgraded, the exporter's tables are gone and the refresh works; upgraded again they are back."""
    revisions = ROOT / "migrations" / "versions"
    (file,) = revisions.glob("0004_*.py")
    found = re.search(r'down_revision = "(\d+)"', file.read_text(encoding="utf-8"))
    assert found is not None
    down = run_cli("db", "downgrade", found[1], url=installed_url)
    told = _export(
        "status",
        url=installed_url,
        env={"GCP_PROJECT": "project", "BQ_DATASET": "d", "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9"},
    )
    up = run_cli("db", "upgrade", url=installed_url)

    assert down.returncode == 0, down.stderr
    assert told.returncode == 4
    assert "ledgerviews db upgrade" in told.stderr
    assert up.returncode == 0, up.stderr


def test_a_key_is_never_repeated(shop_url: str) -> None:
    """A GCP_SA_JSON that is no key is refused without a word of it, and no setting shows it."""
    secret = '{"type": "service_account", "private_key": "PRIVATE-WORDS", "client_email": "a@b"}'
    settings = ExportSettings(project="project", dataset="d", service_account=secret)

    done = _export(
        "setup",
        url=shop_url,
        env={
            "GCP_PROJECT": "project",
            "BQ_DATASET": "d",
            "GCP_SA_JSON": secret,
            "LEDGERVIEWS_MODELS": "tests.bigquery.shop",
        },
    )

    assert done.returncode == 2, done.stderr
    assert "GCP_SA_JSON holds no key" in done.stderr
    assert "PRIVATE-WORDS" not in done.stdout + done.stderr + repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GCP_PROJECT", "a`b"),
        ("BQ_DATASET", "a-b"),
        ("BQ_MONTHLY_BUDGET_USD", "much"),
        ("BQ_RETRY_BUDGET", "soon"),
        ("BQ_MAXIMUM_BYTES_BILLED", "0"),
        ("BQ_REQUEST_TIMEOUT", "0"),
        ("BQ_JOB_TIMEOUT", "0s"),
        ("BQ_LOCATION", "US`.x"),
        ("BIGQUERY_EMULATOR_HOST", "http://"),
        ("BIGQUERY_EMULATOR_HOST", "ftp://host"),
        ("BIGQUERY_EMULATOR_HOST", "http://host:99999"),
        ("BIGQUERY_EMULATOR_HOST", "not a host"),
    ],
)
def test_an_unusable_setting_is_named(name: str, value: str) -> None:
    """The variable and what it may be are told."""
    with pytest.raises(UsageError, match=name):
        ExportSettings.from_environment({"GCP_PROJECT": "project", "BQ_DATASET": "d", name: value})


def test_no_time_for_retries_is_a_setting() -> None:
    """BQ_RETRY_BUDGET=0 tries everything once."""
    settings = ExportSettings.from_environment(
        {"GCP_PROJECT": "project", "BQ_DATASET": "d", "BQ_RETRY_BUDGET": "0"}
    )

    assert settings.retry_budget_s == 0.0


def test_the_old_name_is_told_by_its_own() -> None:
    """What is wrong in DBT_BIGQUERY_DATASET is not said of a variable that is not set."""
    with pytest.raises(UsageError, match=r"^DBT_BIGQUERY_DATASET is 'a-b'"):
        ExportSettings.from_environment({"GCP_PROJECT": "project", "DBT_BIGQUERY_DATASET": "a-b"})


def test_the_old_name_of_the_dataset_counts() -> None:
    """DBT_BIGQUERY_DATASET is taken where BQ_DATASET is not set; an empty variable counts as unset."""
    settings = ExportSettings.from_environment(
        {
            "GCP_PROJECT": "project",
            "BQ_DATASET": " ",
            "DBT_BIGQUERY_DATASET": "old",
            "BIGQUERY_EMULATOR_HOST": "",
        }
    )

    assert (settings.dataset, settings.location, settings.endpoint) == ("old", "US", None)
    assert settings.monthly_budget == 50.0


def test_the_local_server_starts_and_stops(tmp_path: Path) -> None:
    """Started twice it is one; its exports name it; started later it has its address; stopped it is gone."""
    if not peer.made():
        pytest.skip(f"no local BigQuery: {peer.mend()}")
    (tmp_path / "server").symlink_to(peer.FOLDER.resolve(), target_is_directory=True)
    folder = tmp_path / "run"
    first = dev_server.start(folder, environment=peer.FOLDER)
    try:
        again = dev_server.start(folder, environment=peer.FOLDER)
        told = _export("dev", "env", "--dir", str(folder), url="")
        dev_server.stop(folder)
        later = dev_server.start(folder, environment=peer.FOLDER)
    finally:
        stopped = dev_server.stop(folder)

    assert first == again
    assert later.endpoint == first.endpoint
    assert f"export BIGQUERY_EMULATOR_HOST={first.endpoint}" in told.stdout
    assert stopped
    assert dev_server.attach(folder) is None


def _commands() -> Iterator[tuple[str, click.Command]]:
    left: list[tuple[str, click.Command]] = [("bq-export", cli)]
    while left:
        path, command = left.pop()
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=path)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None, name
                left.append((f"{path} {name}", child))
        else:
            yield path, command


COMMANDS = dict(_commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_explained(path: str) -> None:
    """Each has a help, an example, and a row in docs/export.md."""
    command = COMMANDS[path]
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|") and f"`{path}" in line]
    options = [p for p in command.params if isinstance(p, click.Option)]

    assert (command.help or "").strip()
    assert (command.epilog or "").startswith("Example: ")
    assert [p.name for p in options if not (p.help or "").strip()] == []
    assert rows
    assert [
        name
        for p in options
        for name in p.opts
        if name.startswith("--") and name not in {"--dir", "--help"} and not any(name in row for row in rows)
    ] == []


@pytest.mark.parametrize(("width", "shown"), [(None, "name rows bytes"), (24, "name rows"), (9, "name")])
def test_a_narrow_terminal_leaves_columns_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int | None, shown: str
) -> None:
    """The least important go first, no line is longer than the terminal; a pipe gets all."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: width is not None)
    monkeypatch.setenv("COLUMNS", str(width))

    output.print_table(
        ("name", "rows", "bytes"),
        [("a", "1,000,000", "12.0 MB"), ("mart", "2", "1 bytes")],
        right=("rows", "bytes"),
        least=("bytes", "rows"),
    )

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == shown.split()
    assert width is None or max(len(line) for line in lines) <= width


def test_every_setting_is_in_the_page() -> None:
    """Whatever variable the settings read stands in docs/export.md, and no other of ours."""
    files = [ROOT / "bq_export" / "settings.py", ROOT / "bq_export" / "cli" / "dev.py"]
    pattern = r"\b(?:BQ|GCP|DBT|BIGQUERY)_[A-Z_]+\b"
    read = {name for file in files for name in re.findall(pattern, file.read_text(encoding="utf-8"))}
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")

    assert read - set(re.findall(pattern, page)) == set()
