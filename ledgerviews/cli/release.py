"""``ledgerviews release`` and ``ledgerviews restore``: around a migration that alters what our views read."""

from __future__ import annotations

import click

from ledgerviews.cli import options, output


@click.command(epilog="Example: ledgerviews release public.orders && flyway migrate && ledgerviews restore")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option(
    "--attempts",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="How often to try for a tenth of a second, where something is in use.",
)
@options.lock_timeout
def release(*, tables: tuple[str, ...], attempts: int, lock_timeout: int | None) -> None:
    """Take off each TABLE (schema.table) all that depends on it, so that it can be altered.

    Views and functions, ours and others, and our triggers go, and stay away until `ledgerviews restore`; the
    database keeps what it takes to put them back. Nothing can be refreshed meanwhile. From Alembic, use
    ledgerviews.released(op, …) instead: one transaction does it all.
    """
    from ledgerviews.refresh import released  # noqa: PLC0415 (loads the database driver)

    settings = options.settings(lock_timeout_ms=lock_timeout)
    with output.terminated_as_interrupted():
        count = released.release(settings, tables, attempts=attempts)
    output.say(f"Released {', '.join(tables)}: {_objects(count)} taken off. Next: ledgerviews restore.")


@click.command(epilog="Example: ledgerviews restore")
@options.lock_timeout
def restore(*, lock_timeout: int | None) -> None:
    """Put back what `ledgerviews release` took off, with all that hung on it, in one transaction.

    Where a definition no longer fits, nothing is put back, and the error names it with the line and the
    column. The next refresh recomputes all.
    """
    from ledgerviews.refresh import released  # noqa: PLC0415 (loads the database driver)

    with output.terminated_as_interrupted():
        count = released.restore(
            options.settings(lock_timeout_ms=lock_timeout), warn=lambda told: output.say(told, err=True)
        )
    output.say(f"Restored: {_objects(count)} put back." if count else "Nothing is released.")


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"
