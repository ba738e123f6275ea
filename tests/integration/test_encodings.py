"""A database that is not in UTF-8: a mart by day, tracking, refreshes, a replacement, a release."""

from __future__ import annotations

import importlib
import os
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.config import Settings
from ledgerviews.errors import UsageError
from ledgerviews.schema import commands
from ledgerviews.schema.diff import diff
from tests.replacing import BASE, DAILY, SHOP, fingerprint, open_shop, replace, rows, true_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests import servers as pg


@pytest.fixture
def latin_url(server: pg.PgServer) -> Iterator[str]:
    """A database in LATIN1."""
    name = f"lv_{os.environ['LEDGERVIEWS_TEST_RUN']}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_latin"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc"
            " LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
    try:
        yield server.url(name)
    finally:
        server.drop(name)


def test_a_latin1_database(latin_url: str) -> None:
    """Umlauts in names, texts, comments and rows go through all of it; what LATIN1 lacks is told."""
    base = BASE | {
        "definition": BASE["definition"].replace("o.customer", "o.customer || ' für Größe' AS customer"),
        "comment": "Aufträge.",
    }
    days = DAILY["day_definition"].replace(
        "AS day, o.customer,", "AS day, o.customer || ' für Größe' AS customer,"
    )
    daily = DAILY | {"day_definition": days}
    after = SHOP | {"base": base, "daily": daily}
    with closing(psycopg.connect(latin_url, autocommit=True, client_encoding="utf8")) as connection:
        open_shop(connection, latin_url, foreign=False)
        was = fingerprint(connection)
        connection.execute(
            'CREATE VIEW public."größe" AS SELECT d.day, d.customer AS "straße" FROM daily AS d'
        )

        replace(latin_url, SHOP, after)
        connection.execute("INSERT INTO public.orders VALUES (90001, 'Jörg', '2026-01-05 12:00+00', 5)")
        connection.execute("CALL ledgerviews.refresh()")
        reason = connection.execute(
            "SELECT reason FROM ledgerviews.run_relation WHERE relation_name = 'daily'"
            " ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
        shown = rows(connection, "public.daily")
        truth = true_rows(connection, after, "daily")
        connection.execute(
            "BEGIN; SELECT ledgerviews.release(ARRAY['public.orders']);"
            " ALTER TABLE public.orders ALTER COLUMN amount TYPE bigint;"
            " ALTER TABLE public.orders ALTER COLUMN amount TYPE int; SELECT ledgerviews.restore(); COMMIT"
        )
        found = connection.execute(
            'SELECT count(*) FROM public."größe" WHERE "straße" = %s', ["Jörg für Größe"]
        )
        count = found.fetchone()
        with pytest.raises(UsageError, match="holds 'Œ', which the connection's iso8859-1 lacks"):
            replace(latin_url, after, after | {"base": base | {"comment": "Œuvre 漢"}})
        comment = connection.execute("SELECT obj_description('public.base'::regclass)").fetchone()
        connection.execute('DROP VIEW public."größe"')
        replace(latin_url, after, SHOP)
        connection.execute("CALL ledgerviews.refresh()")

        assert reason is not None
        assert "day" in reason[0]
        assert shown == truth
        assert count == (1,)
        assert comment == ("Aufträge.",)
        assert fingerprint(connection) == was


def test_the_packaged_relations_in_latin1(latin_url: str) -> None:
    """All revisions, there and back, and the comparison finds nothing."""
    settings = Settings(database_url=latin_url)
    with psycopg.connect(latin_url) as connection:
        importlib.import_module("ledgerviews.models.demo").create_tables(connection, form="current")

    commands.upgrade(settings)
    found = diff(settings)
    with closing(psycopg.connect(latin_url, autocommit=True)) as connection:
        connection.execute("CALL ledgerviews.refresh()")
    commands.downgrade(settings, "base")

    assert (found.text, found.notes, found.current) == ("", (), True)
