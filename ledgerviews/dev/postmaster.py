"""A folder's running server: finding it, waiting for it, ending it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import LedgerviewsError, LockedError

from .folder import ORPHANS_PATIENCE_S, TICK_S
from .sockets import remove_socket_folder

if TYPE_CHECKING:
    from .folder import Folder

READY_PATIENCE_S = 120.0  # recovery after a crash may take long
STOP_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Postmaster:
    """What postmaster.pid says."""

    pid: int
    socket_folder: Path
    port: int
    ready: bool

    @classmethod
    def of(cls, data: Path) -> Postmaster | None:
        """Read postmaster.pid; None when there is none, or it is not written to the end yet."""
        try:
            lines = (
                (data / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            )
            return cls(
                pid=int(lines[0]),
                port=int(lines[3]),
                socket_folder=Path(lines[4]),
                ready=lines[7].strip() == "ready",
            )
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
            return None

    def exists(self) -> bool:
        """Whether some process has this id."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def serves(self, data: Path) -> bool:
        """Whether the process of this id is a PostgreSQL server of that data folder."""
        proc = Path("/proc") / str(self.pid)
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
            if not Path(os.fsdecode(words[0])).name.startswith(("postgres", "postmaster")):
                return False
            with suppress(PermissionError):  # a container's root may not look at another user's process
                return (proc / "cwd").samefile(data)
        except OSError:
            return False
        return os.fsencode(data) in words


def running(folder: Folder) -> Postmaster | None:
    """The server of a folder, ready or not, if one lives; a stale postmaster.pid does not count."""
    if not folder.is_alive():
        return None
    postmaster = Postmaster.of(folder.data)
    return postmaster if postmaster is not None and postmaster.exists() else None


def settled(folder: Folder) -> Postmaster | None:
    """The server of a folder, once a start or an end that was cut short has come to a result.

    Raises LockedError when processes of a killed server live on.
    """
    deadline = time.monotonic() + ORPHANS_PATIENCE_S
    while (found := running(folder)) is None and folder.is_alive():
        if time.monotonic() > deadline:
            raise LockedError(
                f"Processes of a killed server still work in {folder.data}.",
                hint="End them (ps -ef | grep postgres), then try again.",
            )
        time.sleep(TICK_S)
    return found


def wait_ready(folder: Folder) -> Postmaster:
    """Wait for a server that somebody else started to take connections."""
    deadline = time.monotonic() + READY_PATIENCE_S
    while (found := running(folder)) is None or not found.ready:
        if time.monotonic() > deadline or not folder.is_alive():
            raise LedgerviewsError(
                f"The server in {folder.path} does not become ready.",
                hint=f"See {folder.log}; stop it with ledgerviews dev stop.",
            )
        time.sleep(TICK_S)
    return found


def end(folder: Folder, postmaster: Postmaster, *, immediately: bool) -> None:
    """Stop a server: its sessions are ended, and it writes out what it holds unless ``immediately``."""
    for sent in (signal.SIGQUIT,) if immediately else (signal.SIGINT, signal.SIGQUIT):
        with suppress(ProcessLookupError):
            os.kill(postmaster.pid, sent)
        deadline = time.monotonic() + STOP_PATIENCE_S
        while time.monotonic() < deadline:
            if not folder.is_alive():
                remove_socket_folder(postmaster.socket_folder)
                return
            time.sleep(TICK_S)
    raise LedgerviewsError(
        f"The server in {folder.path} (process {postmaster.pid}) does not stop.", hint=f"See {folder.log}."
    )
