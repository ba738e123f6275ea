"""Partitions that expire: declared, set at the target, left out, and sent again when they are kept longer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bq_export.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bigquery.proxy import Seen
    from tests.bigquery.world import World

DAILY = "mart_orders_daily"
DAY_MS = 86_400_000
DECLARATION = '''"""Declaration of mart_orders_daily."""

from ledgerviews.catalog import Export, Kind, Model

MODEL = Model.beside(
    __file__,
    kind=Kind.MATERIALIZED_VIEW,
    description="Orders by day and shop.",
    grain=("day", "shop"),
    export=Export(partition="day", {how}),
    columns=dict.fromkeys(("day", "shop", "orders", "amount", "rate", "seen"), "."),
)
'''


@pytest.fixture
def team(world: World, tmp_path: Path) -> Team:
    """The world of a team whose declaration a test writes."""
    return Team(world, tmp_path)


class Team:
    """A models package in a folder, and the commands run there."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self._folder = world, folder
        self._package = folder / "expiring_models"
        self._package.mkdir()
        (self._package / "__init__.py").touch()
        (self._package / f"{DAILY}.sql").write_text("SELECT 1 AS day;\n", encoding="utf-8")

    def declare(self, how: str) -> None:
        """Say how the mart is exported."""
        (self._package / f"{DAILY}.py").write_text(DECLARATION.format(how=how), encoding="utf-8")

    def cli(self, *words: str) -> Any:
        """What a command tells, as JSON."""
        done = self.world.cli(
            *words, "--json", env={"LEDGERVIEWS_MODELS": "expiring_models"}, cwd=self._folder
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return {**json.loads(done.stdout), "stderr": done.stderr}

    def moved(self) -> tuple[str, int, int]:
        """What a run moved."""
        (one,) = self.cli("run")["relations"]
        return one["way"], one["partitions"], one["rows"]


def _age(world: World, *days: int) -> None:
    """Rows of days so many days ago, and no others."""
    world.sql("DELETE FROM mart_orders_daily")
    for number in days:
        day = datetime.now(UTC).date() - timedelta(days=number)
        world.sql("INSERT INTO mart_orders_daily VALUES (%s, 's', 1, 1, 1, now())", day)


def _patched(world: World) -> list[dict[str, Any]]:
    return [s.body for s in world.proxy.seen if s.method == "PATCH" and f"/tables/{DAILY}" in s.path]


def test_the_table_is_made_as_it_is_declared(team: Team) -> None:
    """Its request carries the expiration in milliseconds and the required filter; without them neither."""
    team.declare("partition_expiration_days=30, require_partition_filter=True")
    _age(team.world, 1)
    team.cli("run")
    made = [
        s.body
        for s in team.world.proxy.seen
        if s.method == "POST" and s.path.split("?")[0].endswith("/tables")
    ]

    partitioning = {"type": "DAY", "field": "day", "expirationMs": str(30 * DAY_MS)}
    assert made[0]["timePartitioning"] == partitioning
    assert made[0]["requirePartitionFilter"] is True


def test_setup_brings_both_up_to_date_and_takes_them_away(team: Team) -> None:
    """A changed declaration is PATCHed: other days, then neither expiration nor filter."""
    team.declare("partition_expiration_days=30, require_partition_filter=True")
    team.cli("setup")
    team.declare("partition_expiration_days=60")
    team.cli("setup")
    changed = _patched(team.world)[-1]
    team.declare("")
    told = team.cli("setup")
    taken = _patched(team.world)[-1]

    assert changed["timePartitioning"]["expirationMs"] == str(60 * DAY_MS)
    assert changed["requirePartitionFilter"] is False
    assert taken["timePartitioning"] == {"type": "DAY", "field": "day", "expirationMs": None}
    assert "partition expiration" in next(s["detail"] for s in told["steps"] if s["what"] == f"table {DAILY}")


def test_days_past_their_age_stay_behind(team: Team) -> None:
    """The day of 30 days ago is gone at the target at once, that of 29 days ago is not; the run says so."""
    team.declare("partition_expiration_days=30")
    _age(team.world, 0, 29, 30, 400)

    told = team.cli("run")

    assert told["relations"][0]["partitions"] == 2
    assert any("2 days are past partition_expiration_days" in w for w in told["warnings"])
    assert len(team.world.there(DAILY)) == 2
    assert team.moved() == ("none", 0, 0)


def test_days_that_are_to_be_kept_again_travel_again(team: Team) -> None:
    """What the target had forgotten is not taken for there when the declaration keeps more days."""
    team.declare("partition_expiration_days=60")
    _age(team.world, 0, 10, 40)
    assert team.moved() == ("replace", 3, 3)
    team.declare("partition_expiration_days=30")
    team.cli("setup")
    assert team.moved() == ("none", 0, 0)
    old = (datetime.now(UTC).date() - timedelta(days=40)).isoformat()
    team.world.query(f"DELETE FROM `{{}}.{DAILY}` WHERE day = DATE '{old}'")  # what BigQuery does by itself
    team.declare("partition_expiration_days=60")
    team.cli("setup")

    assert team.moved() == ("flip", 1, 1)
    assert team.world.there(DAILY) == team.world.here(DAILY)


def test_a_table_that_forgets_sooner_than_declared_is_taken_as_it_is(team: Team) -> None:
    """Before `setup` the table still forgets by its own age: no run fails for it, and it is told."""
    team.declare("partition_expiration_days=30")
    _age(team.world, 0, 10, 40)
    team.cli("run")
    team.declare("")

    told = team.cli("run")

    assert told["relations"][0]["way"] == "none"
    assert "expire after 30 days at the target, never by its declaration" in told["stderr"]


def test_an_expiration_that_the_dataset_gives_is_seen(team: Team) -> None:
    """A dataset's default for new tables leaves old days out of the first run, too, instead of failing it."""
    team.declare("")
    _age(team.world, 0, 10, 400)

    def given(seen: Seen) -> None:
        if seen.method == "POST" and seen.path.split("?")[0].endswith("/tables"):
            seen.body.get("timePartitioning", {})["expirationMs"] = str(60 * DAY_MS)

    team.world.proxy.rewrite = given

    told = team.cli("run")

    assert told["relations"][0]["partitions"] == 2
    assert len(team.world.there(DAILY)) == 2


def test_verify_leaves_forgotten_days_alone(team: Team) -> None:
    """A partition that is past its age and not yet gone is no difference."""
    world = team.world
    team.declare("partition_expiration_days=30")
    _age(world, 0, 10)
    team.cli("run")
    old = (datetime.now(UTC).date() - timedelta(days=31)).isoformat()
    world.query(f"INSERT INTO `{{}}.{DAILY}` (day, shop) VALUES (DATE '{old}', 's')")

    (told,) = team.cli("verify")["relations"]

    assert (told["equal"], told["differing"]) == (2, [])
    assert verify(world.settings, world.export, names=[DAILY], progress=print)[0].equal == 2
