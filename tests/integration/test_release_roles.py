"""Releasing as a role that is no superuser: the application owns its tables, another role our relations."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests.fingerprint import fingerprint
from tests.integration.test_roles import roles  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from tests.integration.test_roles import Roles

EVENTS = "public.suggestion_events"


def test_who_owns_ours_and_may_use_the_table_s_owner_releases(roles: Roles) -> None:  # noqa: F811
    """A member of both roles puts everything back: owners and grants, triggers of the mode that was."""
    reader = sql.Identifier(roles.names["reader"])
    roles.superuser.execute(sql.SQL("GRANT SELECT ON public.stg_suggestion_events TO {}").format(reader))
    before = fingerprint(roles.superuser)

    with closing(psycopg.connect(roles.urls["owner"])) as owner, owner.transaction():
        owner.execute("SELECT ledgerviews.release(%s)", [[EVENTS]])
        owner.execute(f"ALTER TABLE {EVENTS} ALTER COLUMN mode TYPE varchar(99)")
        owner.execute(f"ALTER TABLE {EVENTS} ALTER COLUMN mode TYPE varchar")
        owner.execute("SELECT ledgerviews.restore()")

    assert fingerprint(roles.superuser) == before
    with closing(psycopg.connect(roles.urls["owner"], autocommit=True)) as owner:
        owner.execute("CALL ledgerviews.refresh(mode => 'verify')")


def test_another_role_s_view_is_named(roles: Roles) -> None:  # noqa: F811
    """A view of a role whose rights the migration has not stops it, and nothing changes."""
    stranger = sql.Identifier(roles.names["stranger"])
    roles.superuser.execute(f"CREATE VIEW public.foreign_one AS SELECT id FROM {EVENTS}")
    roles.superuser.execute(sql.SQL("ALTER VIEW public.foreign_one OWNER TO {}").format(stranger))
    before = fingerprint(roles.superuser)

    with (
        closing(psycopg.connect(roles.urls["owner"])) as owner,
        pytest.raises(psycopg.Error, match=f"view public.foreign_one belongs to {roles.names['stranger']}"),
    ):
        owner.execute("SELECT ledgerviews.release(%s)", [[EVENTS]])

    assert fingerprint(roles.superuser) == before


def test_what_could_not_be_given_back_is_not_taken_off(roles: Roles) -> None:  # noqa: F811
    """A view whose owner lost CREATE on its schema: found before, not by the restore after a commit."""
    owner, stranger = (sql.Identifier(roles.names[name]) for name in ("owner", "stranger"))
    roles.superuser.execute(f"CREATE VIEW public.foreign_one AS SELECT id FROM {EVENTS}")
    roles.superuser.execute(
        sql.SQL("ALTER VIEW public.foreign_one OWNER TO {1}; GRANT {1} TO {0}").format(owner, stranger)
    )
    before = fingerprint(roles.superuser)

    with (
        closing(psycopg.connect(roles.urls["owner"])) as session,
        pytest.raises(
            psycopg.Error,
            match=f"foreign_one could not be given back to {roles.names['stranger']}, who has no CREATE on",
        ),
    ):
        session.execute("SELECT ledgerviews.release(%s)", [[EVENTS]])

    assert fingerprint(roles.superuser) == before


def test_who_may_only_alter_the_table_is_told(roles: Roles) -> None:  # noqa: F811
    """The application's own role has no right of ours: PostgreSQL says so before anything is done."""
    before = fingerprint(roles.superuser)

    refused = roles.refused("application", f"SELECT ledgerviews.release(ARRAY['{EVENTS}'])")

    assert refused == "42501"
    assert fingerprint(roles.superuser) == before
