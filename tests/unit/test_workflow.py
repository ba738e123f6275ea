"""The CI workflow, checked offline."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def _workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return loaded


def test_the_workflow_is_one() -> None:
    """GitHub's own schema accepts the workflow."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_workflow_may_only_read() -> None:
    """A run can read the repository and nothing more."""
    workflow = _workflow()

    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())


def test_actions_are_pinned_to_a_major_version() -> None:
    """No action moves to another major version by itself."""
    steps = [step for job in _workflow()["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]

    assert used
    assert [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", name)] == []


def test_every_supported_version_runs_the_suite() -> None:
    """`make test` runs on each Python of the classifiers, with PostgreSQL 15 and without."""
    job = _workflow()["jobs"]["test"]
    runs = job["strategy"]["matrix"]["include"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: "
    supported = {line.removeprefix(prefix) for line in project["classifiers"] if line.startswith(prefix)}

    assert job["steps"][-1]["run"].startswith("make test")
    assert {run["python"] for run in runs if run.get("postgresql") == "15"} == supported
    assert [run for run in runs if "postgresql" not in run]
    assert [run for run in runs if run.get("sqlalchemy") == "2.0"]
