"""A development server's folder: what is in it, whose it is, and who may work on it now."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledgerviews.errors import LockedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .account import Account

# What is in the folder:
#   ledgerviews-dev.json   says that the folder is ours; the programs and version of the last start
#   data/                  PostgreSQL's data folder, the server account's (data.new while initdb runs)
#   server.log             what the server says
#   lock                   locked by a command that starts, stops or removes
#   alive                  locked by the server's processes for as long as one of them lives
#   binaries-*/            a copy of the programs, where the server's account cannot reach the originals
MARKER = "ledgerviews-dev.json"
VARIABLE = "LEDGERVIEWS_DEV_DIR"
LOCK_PATIENCE_S = 90.0
ORPHANS_PATIENCE_S = 10.0
TICK_S = 0.02


@dataclass(frozen=True)
class Folder:
    """One development server's folder, by its resolved path."""

    path: Path

    @classmethod
    def at(cls, path: Path | str) -> Folder:
        """The folder at a path, which need not exist."""
        return cls(Path(path).resolve())

    @classmethod
    def default(cls, *, account: Account | None = None) -> Folder:
        """The folder of this working directory: of LEDGERVIEWS_DEV_DIR, here, or else below /var/tmp.

        With ``account``, a folder that does not exist yet is placed where that account can own it.
        """
        if given := os.environ.get(VARIABLE):
            return cls.at(given)
        here, elsewhere = cls._places(Path.cwd())
        if not here.is_ours() and (
            elsewhere.is_ours() or (account is not None and not account.can_own_below(here.path.parent))
        ):
            return elsewhere
        return here

    @classmethod
    def nearest(cls) -> Folder:
        """The default folder or, where none was made, that of the nearest directory above which has one.

        As git finds a repository; what another user made up there is passed by.
        """
        folder = cls.default()
        if folder.is_ours() or os.environ.get(VARIABLE):
            return folder
        above = (place for directory in Path.cwd().parents for place in cls._places(directory))
        return next((place for place in above if place.is_ours() and place._is_own()), folder)  # noqa: SLF001

    @classmethod
    def _places(cls, directory: Path) -> tuple[Folder, Folder]:
        """Where the server of a working directory may be: in it, or below /var/tmp."""
        here = cls.at(directory / ".ledgerviews")
        digest = hashlib.sha256(os.fsencode(here.path)).hexdigest()[:16]
        # Not TMPDIR, which may differ between two shells that mean the same server.
        return here, cls(Path("/var/tmp").resolve() / f"ledgerviews-{os.geteuid()}-{digest}")  # noqa: S108

    def _is_own(self) -> bool:
        """Whether neither the folder nor its marker is another user's."""
        return {self.path.stat().st_uid, (self.path / MARKER).stat().st_uid} == {os.geteuid()}

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.path / "server.log"

    def is_ours(self) -> bool:
        """Whether the marker says so."""
        try:
            return (self.path / MARKER).is_file()
        except OSError:
            return False

    def notes(self) -> dict[str, Any]:
        """What the last start noted in the marker."""
        try:
            notes = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def note(self, notes: Mapping[str, Any]) -> None:
        """Write the marker, whole or not at all."""
        unfinished = self.path / f"{MARKER}.new"
        unfinished.write_text(json.dumps({"made_by": "ledgerviews dev", **notes}) + "\n", encoding="utf-8")
        unfinished.replace(self.path / MARKER)

    @contextmanager
    def claimed(self, account: Account) -> Iterator[None]:
        """Make the folder ours if it is new or empty, and hold its lock.

        Raises UsageError for a folder that is somebody else's or that the account cannot reach.
        """
        while True:
            self._claim(account)
            with suppress(FileNotFoundError):  # somebody removed the folder in between
                lock = self._lock()
                break
        try:
            if not self.is_ours():
                self.note({})
            yield
        finally:
            os.close(lock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of a folder that is ours already; raises UsageError for another one."""
        self.require_ours()
        lock = self._lock()
        try:
            yield
        finally:
            os.close(lock)

    def require_ours(self) -> None:
        """Raise UsageError unless the folder has our marker and is this user's."""
        if not self.is_ours():
            raise UsageError(
                f"{self.path} is no folder of ledgerviews dev: it has no {MARKER}.",
                hint="Name the right one with --dir, or start a server with ledgerviews dev start.",
            )
        self._require_owner()

    def delete(self) -> None:
        """Delete the folder; the caller holds its lock and has stopped its server."""
        self.require_ours()
        # The marker goes last: an interrupted deletion leaves a folder that can still be removed.
        for entry in list(self.path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != MARKER:
                entry.unlink()
        (self.path / MARKER).unlink()
        self.path.rmdir()

    def take_alive(self) -> int:
        """Take the lock that the server's processes inherit; returns its file descriptor."""
        return _flock(
            self.path / "alive",
            patience=ORPHANS_PATIENCE_S,
            problem=f"{self.path / 'alive'} stays locked, though no server runs.",
            hint="See who holds it (lsof), then start again.",
        )

    def is_alive(self) -> bool:
        """Whether a process of the folder's server lives; no process id is trusted, as those are reused."""
        try:
            descriptor = os.open(self.path / "alive", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _claim(self, account: Account) -> None:
        try:
            self.path.mkdir(parents=True)
            self.path.chmod(0o755)  # the server's account passes through; data/ is closed
        except FileExistsError:
            if not self.path.is_dir():
                raise UsageError(
                    f"{self.path} is no folder.", hint="Choose another one with --dir."
                ) from None
        self._require_owner()
        if not self.is_ours() and any(
            entry.name not in {"lock", f"{MARKER}.new"} for entry in self.path.iterdir()
        ):
            raise UsageError(
                f"{self.path} holds files that are not of ledgerviews dev; it is left alone.",
                hint="Choose a new or an empty folder with --dir.",
            )
        account.require_entry(self.path)

    def _require_owner(self) -> None:
        status = self.path.stat()
        if status.st_uid != os.geteuid():
            raise UsageError(
                f"{self.path} belongs to user id {status.st_uid}, and you are user id {os.geteuid()}.",
                hint="Work as that user, or choose another folder with --dir.",
            )
        if status.st_mode & 0o022:  # nobody else may plant files where we, perhaps root, write
            self.path.chmod(stat.S_IMODE(status.st_mode) & ~0o022)

    def _lock(self) -> int:
        return _flock(
            self.path / "lock",
            patience=LOCK_PATIENCE_S,
            problem=f"Another ledgerviews dev command has been working on {self.path} for long.",
            hint="Wait for it to end, or end it, then try again.",
        )


def _flock(path: Path, *, patience: float, problem: str, hint: str) -> int:
    """An open file descriptor with an exclusive lock on the file that stands at ``path`` now."""
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise LockedError(problem, hint=hint)
        time.sleep(TICK_S)
