"""The environment of local-bigquery: a Python 3.13 or later of its own, for it pins packages of its own."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bq_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DUCKDB = "1.5.5"
_EXTENSIONS = ("icu", "ducklake", "spatial")
PACKAGES = (
    "local-bigquery==0.3.2",
    f"duckdb=={_DUCKDB}",
    *(f"duckdb-extension-{name}=={_DUCKDB}" for name in _EXTENSIONS),
)
_OLDEST = (3, 13)
_PLATFORMS = {"x86_64": "linux_amd64", "aarch64": "linux_arm64"}


def find_python(asked: str | None = None) -> str | None:
    """A Python that is new enough and runs, as a path or a command; None where there is none.

    A candidate counts when it runs: version managers leave commands behind that only fail.
    """
    for candidate in [asked] if asked else _candidates():
        check = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {_OLDEST})"
        try:
            done = subprocess.run([candidate, "-c", check], check=False, capture_output=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return candidate
    return None


def _candidates() -> Iterator[str]:
    for name in ("python3.13", "python3.14", "python3"):
        if found := shutil.which(name):
            yield found
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for path in sorted(root.glob("versions/3.1[3-9]*/bin/python3")))


def is_made(folder: Path) -> bool:
    """Whether the environment stands in the folder, with today's packages."""
    stamp = folder / "packages.json"
    try:
        return bool(json.loads(stamp.read_text(encoding="utf-8")) == [*PACKAGES, str(folder.resolve())])
    except (OSError, ValueError):
        return False


def make(folder: Path, *, python: str | None, progress: Callable[[str], None]) -> None:
    """Make the environment, about 650 MB, and lay DuckDB's extensions where it looks for them."""
    if is_made(folder):
        return
    found = find_python(python)
    if found is None:
        raise ExportError(
            "No Python 3.13 or later that runs was found; local-bigquery needs one.",
            hint="Install one, or name it with --python.",
        )
    progress(f"Making the environment of local-bigquery in {folder} (650 MB, about a minute)")
    folder.mkdir(parents=True, exist_ok=True)
    venv = folder / "venv"
    _run([found, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *PACKAGES])
    _link_extensions(folder)
    stamp = json.dumps([*PACKAGES, str(folder.resolve())])
    (folder / "packages.json").write_text(stamp, encoding="utf-8")


def _link_extensions(folder: Path) -> None:
    """DuckDB would download what it does not find in its HOME."""
    where = Path(".duckdb") / "extensions" / f"v{_DUCKDB}" / _PLATFORMS.get(platform.machine(), "linux_amd64")
    target = folder / "home" / where
    target.mkdir(parents=True, exist_ok=True)
    for file in (folder / "venv").glob(
        f"lib/python*/site-packages/duckdb_extension_*/extensions/v{_DUCKDB}/**/*.duckdb_extension"
    ):
        link = target / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        raise ExportError(
            f"{command[0]} failed: {lines[0].strip()[:300]}", hint="The package index is needed."
        )
