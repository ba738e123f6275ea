"""The nightly workflow: accepted by GitHub's schema, and its steps, run in order against the peer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.bigquery.world import World

if TYPE_CHECKING:
    from tests.bigquery.proxy import FaultProxy

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"
JOBS = ("export", "export-keyless")


def _workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return loaded


def test_the_nightly_workflow_is_one() -> None:
    """GitHub's own schema accepts it."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_runs_at_three_and_on_demand_with_few_rights() -> None:
    """03:00 UTC and by hand; it may read, and the keyless job may ask for its token."""
    workflow = _workflow()
    triggers = workflow[True]  # YAML's own reading of the key `on`

    assert triggers["schedule"] == [{"cron": "0 3 * * *"}]
    assert "workflow_dispatch" in triggers
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["export-keyless"]["permissions"] == {"contents": "read", "id-token": "write"}


def test_both_jobs_do_the_same_and_only_one_has_a_key() -> None:
    """The steps that run commands are equal; the key stands in one job's environment, from a secret."""
    jobs = _workflow()["jobs"]
    keyed, keyless = ([step.get("run") for step in jobs[job]["steps"] if "run" in step] for job in JOBS)

    assert keyed == keyless
    assert jobs["export"]["env"]["GCP_SA_JSON"] == "${{ secrets.GCP_SA_JSON }}"
    assert "GCP_SA_JSON" not in jobs["export-keyless"]["env"]


@pytest.mark.parametrize("job", JOBS)
def test_its_steps_run_in_order(
    job: str, installed_url: str, bigquery_endpoint: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Refresh, setup, export, verify and cost succeed in turn, on a database that was never exported."""
    world = World.make(installed_url, bigquery_endpoint, proxy, models="ledgerviews.models")
    world.client.delete_dataset(world.export.dataset)
    subprocess.run(
        [sys.executable, "-m", "ledgerviews", "dev", "seed", "--events", "300", "--days", "20"],
        env=world.environment(),
        check=True,
        capture_output=True,
    )
    described = _workflow()["jobs"][job]
    summary = tmp_path / "summary.md"
    environment = {
        **world.environment(),
        "DATABASE_URL": installed_url,
        "DBT_BIGQUERY_DATASET": world.export.dataset,
        "GITHUB_STEP_SUMMARY": str(summary),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    del environment["LEDGERVIEWS_DATABASE_URL"], environment["BQ_DATASET"], environment["LEDGERVIEWS_MODELS"]
    assert set(described["env"]) - {"GCP_SA_JSON"} <= set(environment)

    outputs = {}
    for step in described["steps"]:
        if "run" not in step or step["name"] == "Install":
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env=environment,
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (step["name"], done.stdout, done.stderr)
        outputs[step["name"]] = done.stdout

    assert list(outputs) == ["Refresh", "Set up the target", "Export", "Verify", "Cost"]
    for mart in ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis"):
        assert world.there(mart) == world.here(mart)
    lines = summary.read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("```text", "```")
    assert any("replace" in line for line in lines)


def test_one_late_feedback_row_moves_one_partition_of_each_affected_mart(
    installed_url: str, bigquery_endpoint: str, proxy: FaultProxy
) -> None:
    """The event's day travels, of the two marts that feedback changes, and nothing of the others."""
    world = World.make(installed_url, bigquery_endpoint, proxy, models="ledgerviews.models")
    for words in (["dev", "seed", "--events", "500", "--days", "30"], ["refresh"]):
        _ledgerviews(world, *words)
    world.run()
    assert {one.way for one in world.run().relations} == {"none"}
    ((day,),) = world.sql(
        "WITH e AS ("
        "  SELECT id, txn_id, created_at FROM suggestion_events ORDER BY created_at OFFSET 100 LIMIT 1),"
        " f AS (INSERT INTO suggestion_feedback (event_id, txn_id, action, label, created_at)"
        " SELECT id, txn_id, 'accept', 'late', now() FROM e)"
        " SELECT ledgerviews.utc_day(created_at)::text FROM e"
    )
    _ledgerviews(world, "refresh")

    moved = {one.name: (one.way, one.partitions, one.vanished) for one in world.run().relations}

    assert moved == {
        "stg_suggestion_events": ("none", 0, 0),
        "mart_suggestions_daily": ("none", 0, 0),
        "mart_suggestions_feedback_daily": ("flip", 1, 0),
        "mart_suggestions_kpis": ("flip", 1, 0),
    }
    changed = world.sql(
        "SELECT DISTINCT p.partition_key FROM ledgerviews.export_partition AS p"
        " INNER JOIN ledgerviews.export_job AS j USING (job_id) WHERE j.operation = 'publish'"
    )
    assert changed == [(day,)]


def _ledgerviews(world: World, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "ledgerviews", *words],
        env=world.environment(),
        check=True,
        capture_output=True,
    )
