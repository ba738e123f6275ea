"""Relations that are replaced, emptied or rewritten while a run reads: it exports one moment, or nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bq_export.errors import ExportError, RewrittenError
from bq_export.source import snapshot as snapshots
from ledgerviews import db

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from tests.bigquery.world import World

DAILY, TOTALS = "mart_orders_daily", "mart_totals"
# What others do to mart_totals between a run's moment and its reading.
MEDDLING = {
    "emptied and filled": "BEGIN; TRUNCATE mart_totals; INSERT INTO mart_totals VALUES ('s', 7); COMMIT",
    "dropped and made anew": "BEGIN; DROP TABLE mart_totals;"
    " CREATE TABLE mart_totals AS SELECT 's' AS shop, 7::bigint AS orders; COMMIT",
    "replaced by another": "BEGIN; CREATE TABLE other (shop text, orders bigint);"
    " INSERT INTO other VALUES ('s', 7); ALTER TABLE mart_totals RENAME TO old;"
    " ALTER TABLE other RENAME TO mart_totals; COMMIT",
    "rewritten by VACUUM FULL": "VACUUM FULL mart_totals",
}


def _meddle(monkeypatch: pytest.MonkeyPatch, world: World, statement: str, *, times: int = 1) -> list[int]:
    """Run a statement right after each of the first snapshots was taken."""
    taken: list[int] = []
    whole = snapshots._reader_conninfo

    def between(settings: object) -> str:
        taken.append(1)
        if len(taken) <= times:
            world.sql(statement)
        return whole(settings)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshots, "_reader_conninfo", between)
    return taken


@pytest.mark.parametrize("how", MEDDLING)
def test_a_relation_rewritten_after_the_moment_begins_another(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The run begins again and brings what is there now, instead of nothing or a mixture of moments."""
    world.run()
    taken = _meddle(monkeypatch, world, MEDDLING[how])

    result = world.run()

    assert len(taken) == 2
    assert any("it was replaced or rewritten while it was read" in line for line in world.progress)
    assert world.there(TOTALS) == world.here(TOTALS)
    assert {one.name: one.way for one in result.relations}[DAILY] == "none"


def test_a_plain_refresh_is_seen_through_a_view(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view over a materialized view that was refreshed meanwhile would show rows of later: begun again."""
    world.sql("CREATE TABLE source AS SELECT 's' AS shop, 1::bigint AS orders")
    world.sql("CREATE MATERIALIZED VIEW below AS SELECT * FROM source")
    world.sql("DROP TABLE mart_totals; CREATE VIEW mart_totals AS SELECT * FROM below")
    world.run()
    taken = _meddle(monkeypatch, world, "UPDATE source SET orders = 2; REFRESH MATERIALIZED VIEW below")

    world.run()

    assert len(taken) == 2
    assert world.there(TOTALS) == [("s", 2)]


def test_a_relation_that_is_always_rewritten_stops_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three moments the run gives up, with the relation and what to do; nothing is published."""
    world.run()
    before = world.there(TOTALS)
    taken = _meddle(monkeypatch, world, MEDDLING["emptied and filled"], times=9)

    with pytest.raises(RewrittenError, match=r"public\.mart_totals: it was replaced"):
        world.run()

    assert len(taken) == 3
    assert world.there(TOTALS) == before


def test_a_dropped_relation_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped for good while the run begins: there is no such relation, and the target keeps its rows."""
    world.run()
    before = world.there(TOTALS)
    _meddle(monkeypatch, world, "DROP TABLE mart_totals")

    with pytest.raises(ExportError, match="there is no such relation"):
        world.run()

    assert world.there(TOTALS) == before


def test_a_relation_that_is_read_cannot_be_rewritten(
    world: World, connect: Callable[[str], psycopg.Connection]
) -> None:
    """From its moment to its last row a relation is held as by any reader: TRUNCATE waits, UPDATE not."""
    connection = connect(world.url)
    db.set_timeouts(connection, lock_timeout_ms=200, statement_timeout_ms=None)
    refused: list[str] = []

    def meddle(seen: object) -> None:
        if not refused:
            connection.execute("UPDATE mart_totals SET orders = orders + 1")
            try:
                connection.execute("TRUNCATE mart_totals")
            except Exception as exc:  # noqa: BLE001 (told below)
                refused.append(type(exc).__name__)

    world.proxy.answer = meddle
    before = world.here(TOTALS)
    world.run()

    assert refused == ["LockNotAvailable"]
    assert world.there(TOTALS) == before


def test_rows_that_are_others_at_each_look_stop_with_the_reason(world: World) -> None:
    """A view that gives other rows in one snapshot is told after three moments; nothing is sent."""
    world.sql(
        "ALTER TABLE mart_totals RENAME TO fast; CREATE TABLE more (n bigint);"
        " INSERT INTO more SELECT generate_series(1, 2000);"
        " CREATE VIEW mart_totals AS SELECT f.* FROM fast AS f, more AS m WHERE random() < 0.5"
    )

    done = world.cli("run", TOTALS)

    assert done.returncode == 6, done.stderr
    assert done.stderr.count("as of one moment. Beginning again.") == 2
    assert "publish it as a materialized view" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.jobs_sent() == []


def test_files_are_of_one_moment_too(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The files are begun again, and the manifest's counts are those of the moment that was kept."""
    from bq_export.files.manifest import write_files

    _meddle(monkeypatch, world, MEDDLING["emptied and filled"])

    write_files(world.settings, tmp_path, kind="json", progress=lambda _: None)

    rows = [json.loads(line) for line in (tmp_path / "mart_totals.ndjson").read_text().splitlines()]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert rows == [{"shop": "s", "orders": 7}]
    assert [one["rows"] for one in manifest["relations"]] == [15, 1]
