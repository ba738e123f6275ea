"""The folder where a run keeps its files, and what runs that were killed have left of theirs."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bq_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "bq-export-run-"
_LOCK = "lock"


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for the block, below TMPDIR; those whose process was killed are removed first."""
    try:
        _sweep(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as exc:
        raise ExportError(
            f"Cannot make a temporary folder: {exc.strerror or exc}.", hint="Set TMPDIR to one with room."
        ) from exc
    try:
        with (folder / _LOCK).open("w") as lock:  # the system gives it back when the process ends
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or gone by now
