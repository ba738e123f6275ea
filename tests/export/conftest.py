"""A peer for each worker, a dataset and a small team's relations for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from bq_export.dev import server as dev_server
from tests import servers as pg
from tests.bigquery import peer
from tests.bigquery.proxy import FaultProxy, fault_proxy
from tests.bigquery.world import ROWS, TABLES, World, client_of, install_state

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def bigquery_endpoint() -> Iterator[str]:
    """The address of the worker's own peer; the test is skipped where there is none."""
    if not peer.made():
        pytest.skip(f"no local BigQuery: {peer.mend()}")
    folder = Path(tempfile.mkdtemp(prefix="bq-export-peer-"))
    try:
        yield dev_server.start(folder, environment=peer.FOLDER).endpoint
    finally:
        dev_server.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def proxy(bigquery_endpoint: str) -> Iterator[FaultProxy]:
    """A proxy to the peer that harms nothing until it is told to."""
    with fault_proxy(bigquery_endpoint) as found:
        yield found
    # The peer looks through all tables that it has for each that it is asked for.
    client = client_of(bigquery_endpoint)
    for dataset in client.list_datasets():
        client.delete_dataset(dataset.reference, delete_contents=True, not_found_ok=True)


@pytest.fixture
def shop_url() -> Iterator[str]:
    """A database with the small team's relations and the exporter's tables, on the newest server alone."""
    server = pg.from_text(os.environ[pg.SERVERS])[0]
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"lv_{os.environ[pg.RUN]}_{worker}_shop_{next(_numbers)}"
    with server.database(name, template=server.template("shop", _build_shop)) as url:
        yield url


@pytest.fixture
def world(shop_url: str, bigquery_endpoint: str, proxy: FaultProxy) -> World:
    """Both sides of an export, nothing exported yet."""
    return World.make(shop_url, bigquery_endpoint, proxy)


def _build_shop(url: str) -> None:
    with psycopg.connect(url) as connection:
        install_state(connection)
        connection.execute(TABLES)
        connection.execute(ROWS)
