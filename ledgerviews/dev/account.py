"""The system account that PostgreSQL's processes run as: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledgerviews.errors import LedgerviewsError, UsageError

CANDIDATES_FOR_ROOT = ("postgres", "nobody")


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account with an entry in passwd, as initdb needs one; ``switch`` when root must become it."""

    name: str
    uid: int
    gid: int
    switch: bool

    @classmethod
    def for_server(cls) -> Account:
        """The caller's own account, or for root the first of postgres and nobody that can be used."""
        if os.geteuid() != 0:
            try:
                entry = pwd.getpwuid(os.geteuid())
            except KeyError:
                raise LedgerviewsError(
                    f"User id {os.geteuid()} has no entry in /etc/passwd, which PostgreSQL's initdb needs.",
                    hint="Run as a user of this system, or add the entry; in a container, "
                    "leave out --user or name a user of the image.",
                ) from None
            return cls(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, switch=False)
        for name in CANDIDATES_FOR_ROOT:
            try:
                entry = pwd.getpwnam(name)
                account = cls(name=name, uid=entry.pw_uid, gid=entry.pw_gid, switch=True)
                account.shell(":")
            except (KeyError, OSError):  # a container may lack the account, or the right to become it
                continue
            return account
        raise LedgerviewsError(
            "PostgreSQL refuses to run as root, and root here can become neither "
            f"{' nor '.join(repr(name) for name in CANDIDATES_FOR_ROOT)}.",
            hint="Run as an ordinary user, or add a system user: useradd --system postgres.",
        )

    def run_as(self) -> dict[str, Any]:
        """The arguments of ``subprocess`` that run a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def shell(self, script: str, *arguments: str | Path) -> bool:
        """Whether a line of shell succeeds as this account: the kernel's own answer about permissions."""
        command = ["/bin/sh", "-c", script, "sh", *map(str, arguments)]
        quiet = subprocess.DEVNULL
        done = subprocess.run(
            command, check=False, cwd="/", stdin=quiet, stdout=quiet, stderr=quiet, **self.run_as()
        )
        return done.returncode == 0

    def enters(self, folder: Path) -> bool:
        """Whether this account can enter a folder, so reach what is below it by name."""
        return self.shell('cd -- "$1"', folder)

    def require_entry(self, folder: Path) -> None:
        """Raise a UsageError that names the highest folder which this account cannot enter."""
        for step in (*reversed(folder.parents), folder):
            if not self.enters(step):
                raise UsageError(
                    f"The account {self.name!r}, which PostgreSQL runs as, cannot enter {step}, "
                    f"so a server cannot live in {folder}.",
                    hint="Choose a folder that every user can reach, such as --dir /var/tmp/ledgerviews-dev; "
                    "permissions outside it are left alone.",
                )

    def can_own_below(self, folder: Path) -> bool:
        """Whether a new folder inside ``folder`` can be ours, and what is in it this account's.

        Mounted folders may refuse a change of owner, or map every owner to one; so this tries.
        """
        if not self.enters(folder):
            return False
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".ledgerviews-probe-") as name:
                probe = Path(name)
                mine = probe.stat().st_uid == os.geteuid()
                self.give(probe)
                return mine and probe.stat().st_uid == self.uid
        except OSError:
            return False

    def give(self, path: Path) -> None:
        """Make this account the owner of a folder of ours."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
