"""The folder of a server's Unix socket: short, in /tmp, and closed to other users."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import LedgerviewsError

if TYPE_CHECKING:
    from .account import Account


def socket_folder(data: Path, account: Account) -> Path:
    """Where the server's socket goes: a short name, as a socket's path has at most 107 bytes."""
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return Path("/tmp").resolve() / f"ledgerviews-{account.uid}-{digest}"  # noqa: S108 (made and checked below)


def make_socket_folder(path: Path, account: Account) -> None:
    """Make the socket's folder, for the account alone, or check that the one that stands there is.

    Everyone can create names in /tmp; a folder that somebody else made there is refused.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise _foreign(path) from None
    try:
        # Only this account, or we ourselves when a start was cut short, can have made it.
        if os.fstat(descriptor).st_uid not in {account.uid, os.geteuid()}:
            raise _foreign(path)
        os.fchmod(descriptor, 0o700)
        if account.switch:
            os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)


def _foreign(path: Path) -> LedgerviewsError:
    return LedgerviewsError(
        f"{path}, where the server's socket goes, was made by another user or is no folder.",
        hint="Remove it, or choose another --dir: the name follows from the server's folder.",
    )


def remove_socket_folder(path: Path) -> None:
    """Delete a socket's folder of ours, with the socket that a killed server left."""
    if path.name.startswith("ledgerviews-") and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
