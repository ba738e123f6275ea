"""Refreshes that are killed at random points, on a server that is crash-safe as users' are."""

from __future__ import annotations

import random
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledgerviews.dev.folder import Folder
from ledgerviews.dev.server import Server, stop
from tests.fuzz.killing import KINDS, Killing, end_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests import servers as pg

_ROUND = ("backend", "statement", "backend", "client", "backend", "statement", "server")


@contextmanager
def killing(bin_dir: Path, seed: int) -> Iterator[Killing]:
    """A server of its own, not a throw-away one, and a database on it under writers."""
    folder = Folder.at(Path(tempfile.gettempdir()) / f"ledgerviews-kill-{secrets.token_hex(6)}")
    settings = {"max_prepared_transactions": "16", "autovacuum": "off"}

    def start() -> Server:
        return Server.start(folder, bin_dir=bin_dir, settings=settings)

    server = start()

    def crash(backend: int) -> str:
        nonlocal server
        end_server(server.pid, backend)
        server = start()
        return server.url("kills")

    try:
        server.create_database("kills")
        kills = Killing(server.url("kills"), seed, crash=crash)
        try:
            yield kills
        finally:
            kills.close()
    finally:
        stop(folder, remove=True)


@pytest.mark.timeout(300)
def test_after_a_kill_the_next_refresh_is_right(server: pg.PgServer) -> None:
    """21 kills of clients, backends, statements, the server: the next refresh is right, nothing is left."""
    if server.bin_dir is None:
        pytest.skip("a given server is not killed")
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 (shown where the test fails)
    with killing(server.bin_dir, seed) as kills:
        for kind in _ROUND * 3:
            kills.kill(kind)
    print(f"{dict(kills.ended)}; {kills.tally}")  # noqa: T201

    assert kills.ended.total() == 21
    assert {name.partition(":")[0] for name in kills.ended} == set(KINDS)
