"""Running PostgreSQL's programs: making a data folder, starting the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ledgerviews.errors import LedgerviewsError

from .folder import TICK_S
from .postmaster import READY_PATIENCE_S, Postmaster
from .sockets import make_socket_folder, remove_socket_folder, socket_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .account import Account
    from .binaries import Binaries
    from .folder import Folder

SUPERUSER = "postgres"
PORT = 5432  # part of the socket's name; no TCP port is opened
INITDB_FLAGS = ("-A", "trust", "-E", "UTF8", "--locale=C")  # trust: the socket's folder is the lock
BUILTIN_LOCALE_SINCE = 17

# What a server that is thrown away need not do: survive a crash.
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def environment() -> dict[str, str]:
    """A bare environment: the caller's locale, time zone and PG* variables leave no mark on the server."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def initialise(folder: Folder, binaries: Binaries, account: Account, *, alive: int, throwaway: bool) -> None:
    """Make the data folder beside its place and move it there whole, so a half-made one is never used.

    The program holds the file ``alive`` open: after a kill of ours, the next start waits for its end.
    """
    unfinished = folder.path / "data.new"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    account.give(unfinished)
    command: list[str | Path] = [
        binaries.bin_dir / "initdb",
        "-D",
        unfinished,
        "-U",
        SUPERUSER,
        *INITDB_FLAGS,
    ]
    if binaries.major >= BUILTIN_LOCALE_SINCE:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if throwaway:
        command.append("-N")
    start = _size(folder.log)
    process = _spawn(command, folder, account, keep=alive)
    try:
        code = process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if code != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise LedgerviewsError(
            f"initdb could not make {folder.data} (exit code {code}).", hint=_tail(folder.log, start)
        )
    unfinished.rename(folder.data)


def launch(
    folder: Folder, binaries: Binaries, account: Account, *, alive: int, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the server and wait until it takes connections; after an error nothing of it is left.

    The caller holds the folder's lock, and the lock of its file ``alive``, which passes to the server.
    """
    _drop_stale_pid(folder.data)
    sockets = socket_folder(folder.data, account)
    make_socket_folder(sockets, account)
    # The lock on ``alive`` says that no server runs here; a dead one's lock file may name a living process.
    for left in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (sockets / left).unlink(missing_ok=True)
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command: list[str | Path] = [binaries.bin_dir / "postgres", "-D", folder.data]
    command += ["-k", sockets, "-p", str(PORT), "-h", "", *flags]
    start = _size(folder.log)
    process = _spawn(command, folder, account, keep=alive)
    try:
        _wait_ready(folder, process, start)
    except BaseException:
        abandon(process)
        remove_socket_folder(sockets)
        raise
    return process


def _drop_stale_pid(data: Path) -> None:
    """Delete a dead server's postmaster.pid: PostgreSQL refuses to start when another process has its id."""
    stale = Postmaster.of(data)
    if stale is not None and stale.serves(data):
        raise LedgerviewsError(
            f"A server that ledgerviews did not start (process {stale.pid}) uses {data}.",
            hint=f"Stop it: pg_ctl stop -D {data}",
        )
    (data / "postmaster.pid").unlink(missing_ok=True)


def _wait_ready(folder: Folder, process: subprocess.Popen[bytes], start: int) -> None:
    deadline = time.monotonic() + READY_PATIENCE_S
    while True:
        if process.poll() is not None:
            raise LedgerviewsError(
                f"PostgreSQL in {folder.path} ended while it started.", hint=_tail(folder.log, start)
            )
        found = Postmaster.of(folder.data)
        if found is not None and found.pid == process.pid and found.ready:
            return
        if time.monotonic() > deadline:
            raise LedgerviewsError(
                f"PostgreSQL in {folder.path} was not ready after {READY_PATIENCE_S:.0f} s.",
                hint=_tail(folder.log, start),
            )
        time.sleep(TICK_S)


def _spawn(
    command: Sequence[str | Path], folder: Folder, account: Account, *, keep: int
) -> subprocess.Popen[bytes]:
    """Run a program as the server's account, out of reach of the terminal's Ctrl-C, its words to the log."""
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment(),
            start_new_session=True,
            pass_fds=(keep,),
            **account.run_as(),
        )


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Keep Popen from warning that its process still runs: a server outlives the command that starts it."""
    process.returncode = 0


def abandon(process: subprocess.Popen[bytes]) -> None:
    """End a server whose start failed, at once."""
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tail(log: Path, start: int) -> str:
    """The last lines that were written to the log since ``start``."""
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines()
    return "\n  ".join(["It said:", *(line for line in lines[-8:] if line.strip()), f"(from {log})"])
