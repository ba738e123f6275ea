"""What a team's env.py declares on its metadata, and how it is compared through Alembic's connection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic.util import CommandError

from ledgerviews import db
from ledgerviews.catalog import Catalog, load
from ledgerviews.config import Settings
from ledgerviews.errors import DeclarationError, DriftError, LedgerviewsError, UnreadableError
from ledgerviews.queries import query

from .compare import differences, in_question, printed_standing
from .contract import misfits
from .engine_look import altered
from .engine_versions import LATEST, SCHEMA, script
from .live import NEEDED_ENGINE, conditions, read
from .normal import normalized
from .pointing import in_file
from .role_look import missing_roles
from .specs import declared
from .sql_errors import sqlstate, syntax_error
from .trial import undone

if TYPE_CHECKING:
    import sqlalchemy

    from .compare import Difference
    from .keys import Spec
    from .live import Place, Registered, Run, State

_ENDS_IT = frozenset({"08", "57"})
"""The connection is lost, or whoever runs this cancelled it."""

INFO = "ledgerviews"
"""The key under which a MetaData's info carries what was declared."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is compared with the database.

    Attributes:
        catalog: models and sources; None for none.
        entities: alembic-utils' PGView and PGMaterializedView; None where nobody declares any.
        schema: the target schema of the models.
    """

    catalog: Catalog | None
    entities: Sequence[Any] | None
    schema: str

    def ours(self, place: Place, there: Registered) -> bool:
        """Whether a published relation would stand among what is declared here, if it were declared."""
        if there.declared.get("exact"):
            return self.entities is not None
        return self.catalog is not None and place[0] == self.schema


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found.

    Attributes:
        specs: what is declared.
        state: what stands.
        differences: what differs between them, in dependency order.
        altered: the engine's functions that are not as its version makes them, and in what.
        schemas: where names without a schema are looked up.
        missing_roles: the declared roles that do not exist, and what declares them.
        misfits: what the declared columns of sources are not, by source.
        with_engine: whether the engine was there for the comparison, installed or brought for it.
    """

    specs: dict[str, Spec]
    state: State
    differences: list[Difference]
    altered: dict[str, tuple[str, ...]]
    schemas: Sequence[str]
    missing_roles: dict[str, tuple[str, ...]]
    misfits: dict[str, tuple[str, ...]]
    with_engine: bool


def declare(
    target_metadata: sqlalchemy.MetaData | Sequence[sqlalchemy.MetaData],
    *,
    entities: Sequence[Any] | None = None,
    models: str | Catalog | None = None,
    settings: Settings | None = None,
) -> None:
    """Have ``alembic revision --autogenerate`` and ``alembic check`` look after our relations, too.

    Args:
        target_metadata: what env.py gives to ``context.configure``.
        entities: alembic-utils' PGView and PGMaterializedView, as they are; none of an empty list are left
            standing. None says nothing of entities.
        models: dotted path of the package that declares the models, or what it loads to. None is that of
            LEDGERVIEWS_MODELS; where entities are given and that is not set, there are no models.
        settings: those of the environment, where nothing is said.

    Raises Alembic's CommandError where the models contradict themselves, the metadata is none, or the
    settings make no sense.
    """
    from .autogenerate import come_last  # noqa: PLC0415 (it imports this module)

    come_last()
    catalog: Catalog | None
    try:
        first = _first(target_metadata)
        settings = settings or Settings.from_environment()
        if isinstance(models, Catalog):
            catalog = models
        elif models is None and entities is not None and not os.environ.get("LEDGERVIEWS_MODELS", "").strip():
            catalog = None
        else:
            catalog = load(models or settings.models)
    except LedgerviewsError as exc:
        # Nobody else has Alembic print it in a line.
        raise CommandError(str(exc)) from exc
    first.info[INFO] = Declared(
        catalog=catalog,
        entities=None if entities is None else tuple(entities),
        schema=settings.schema,
    )


def _first(given: sqlalchemy.MetaData | Sequence[sqlalchemy.MetaData]) -> sqlalchemy.MetaData:
    """The metadata, or the first of several; raises DeclarationError where there is none."""
    metadata: Any = given[0] if isinstance(given, Sequence) and given else given
    if not hasattr(metadata, "info"):
        # As `alembic init` writes it: target_metadata = None.
        raise DeclarationError(
            f"env.py gives declare() {metadata!r}, where a MetaData is expected.",
            hint="Write target_metadata = sqlalchemy.MetaData() above it, or that of the application's tables"
            " (Base.metadata), and give the same to context.configure.",
        )
    first: sqlalchemy.MetaData = metadata
    return first


def compared(run: Run, wanted: Declared, *, history: str | None = None, theirs: bool = False) -> Comparison:
    """Compare in the transaction that ``run`` is in, which stays as it was.

    Args:
        run: runs a statement.
        wanted: what is declared.
        history: the version table of the revisions that are to be written, ``schema.name``: what others
            installed is left standing. Empty where it stands not yet, None where nobody knows it.
        theirs: whether entities are declared for another search_path than the session's: for the role's own.
    """
    with undone(run, "ledgerviews_look"):
        # The connection may be another env.py's, of a database or role with defaults of its own.
        run(db.read_alike(local=True), None)
        if theirs:
            run("RESET search_path", None)
        here = conditions(run)
        run("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)", None)
        if here.engine >= NEEDED_ENGINE and (tables := run(query("released"), None)[0][0]):
            raise DriftError(
                f"{tables} is released: what reads it is off, so that nothing can be compared.",
                hint="Run `ledgerviews restore`.",
            )
        try:
            specs = declared(
                wanted.catalog, wanted.entities or (), schema=wanted.schema, search_path=here.schemas
            )
        except UnreadableError as exc:
            raise _in_words_of_postgresql(run, exc, wanted.catalog) from None
        state = read(run, specs, here, schema=wanted.schema, history=history)
        asked = in_question(specs, state, schema=wanted.schema) if here.may_create else {}
        with_engine = here.engine > 0 or (bool(asked) and _bring_engine(run))
        normals = (
            normalized(
                run,
                asked,
                standing=printed_standing(asked, state, schema=wanted.schema),
                schema=wanted.schema,
                search_path=here.search_path,
            )
            if asked
            else {}
        )

        def ours(place: Place, there: Registered) -> bool:
            return wanted.ours(place, there) and not state.of_another(there)

        found = differences(specs, state, normals, schema=wanted.schema, ours=ours)
        known = NEEDED_ENGINE <= here.engine <= LATEST
        changed = altered(run, here.engine, may_create=here.may_create) if known else {}
        missing = missing_roles(run, found)
        unfit = misfits(run, wanted.catalog.sources.values()) if wanted.catalog is not None else {}
    return Comparison(
        specs=specs,
        state=state,
        differences=found,
        altered=changed,
        schemas=here.schemas,
        missing_roles=missing,
        misfits=unfit,
        with_engine=with_engine,
    )


def _bring_engine(run: Run) -> bool:
    """Install the engine for what is compared, as the revision will; False where this role may not."""
    run("SAVEPOINT ledgerviews_engine", None)
    try:
        run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};\n{script(0, LATEST)}", None)
    except Exception as exc:
        state = sqlstate(exc)
        if state is None or state[:2] in _ENDS_IT:
            raise
        # Whatever is in the way, another upgrade or an event trigger, say, meets the revision when it runs.
        run("ROLLBACK TO SAVEPOINT ledgerviews_engine", None)
        return False
    run("RELEASE SAVEPOINT ledgerviews_engine", None)
    return True


def _in_words_of_postgresql(run: Run, exc: UnreadableError, catalog: Catalog | None) -> DeclarationError:
    """The error with what PostgreSQL says, and where; as it is where that can read the text."""
    found = syntax_error(run, exc.text)
    if found is None:
        return exc
    return DeclarationError(
        f"The SQL of {exc.name} cannot be read: {found.error}.",
        shown=() if found.at is None else in_file(catalog, exc.name, "definition", found.at, exc.text),
        hint=f"Mend it in {exc.name}.sql.",
    )
