"""Settings from the environment: which variable wins, and what an unusable value says."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerviews.config import DEFAULT_MODELS, PACKAGED_MIGRATIONS, Settings, duration_ms
from ledgerviews.errors import UsageError

OURS = "postgresql://ours/db"
THEIRS = "postgresql://theirs/db"


def test_without_variables_all_is_left_to_the_defaults() -> None:
    """An empty environment gives public, the packaged models, and no time-outs of our own."""
    assert Settings.from_environment({}) == Settings(
        database_url=None,
        schema="public",
        models=DEFAULT_MODELS,
        migrations=PACKAGED_MIGRATIONS,
        lock_timeout_ms=None,
        statement_timeout_ms=None,
        populate=False,
    )


@pytest.mark.parametrize("unset", [None, "", " ", "\n"])
@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(True, True, OURS), (True, False, OURS), (False, True, THEIRS), (False, False, None)],
)
def test_our_url_wins_over_the_applications(
    unset: str | None, expected: str | None, *, ours: bool, theirs: bool
) -> None:
    """LEDGERVIEWS_DATABASE_URL, else DATABASE_URL, else libpq's own; an empty one counts as unset."""
    values = {
        "LEDGERVIEWS_DATABASE_URL": OURS if ours else unset,
        "DATABASE_URL": THEIRS if theirs else unset,
    }
    environment = {name: value for name, value in values.items() if value is not None}

    assert Settings.from_environment(environment).database_url == expected


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_variable_counts_as_unset(blank: str) -> None:
    """A secret that a CI system sets to nothing changes nothing, whichever variable it is."""
    names = (
        "DATABASE_URL",
        "SCHEMA",
        "MODELS",
        "MIGRATIONS",
        "LOCK_TIMEOUT",
        "STATEMENT_TIMEOUT",
        "POPULATE",
    )
    environment = {f"LEDGERVIEWS_{name}": blank for name in names}

    assert Settings.from_environment({**environment, "DATABASE_URL": blank}) == Settings()


def test_the_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command needs no argument to find its settings."""
    monkeypatch.setenv("LEDGERVIEWS_DATABASE_URL", OURS)
    monkeypatch.setenv("LEDGERVIEWS_SCHEMA", "analytics")

    assert Settings.from_environment().database_url == OURS
    assert Settings.from_environment().schema == "analytics"


@given(st.text(min_size=12))
def test_settings_never_show_the_url(password: str) -> None:
    """Neither repr nor str holds the password, so no log and no traceback of ours does."""
    settings = Settings.from_environment({"DATABASE_URL": f"postgresql://u:{password}@h/db"})

    assert repr(settings) == str(settings) == repr(Settings())


def test_settings_cannot_be_changed() -> None:
    """What was read once stays."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().schema = "other"  # type: ignore[misc]


def test_another_teams_models_are_not_compared_with_our_revisions() -> None:
    """The packaged migrations belong to the packaged models alone, unless a place is named."""
    theirs = {"LEDGERVIEWS_MODELS": "team.models"}

    assert Settings.from_environment(theirs).models == "team.models"
    assert Settings.from_environment(theirs).migrations is None
    named = Settings.from_environment({**theirs, "LEDGERVIEWS_MIGRATIONS": "team:revisions"})
    assert named.migrations == "team:revisions"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("250", 250),
        ("500ms", 500),
        ("5s", 5_000),
        ("2min", 120_000),
        ("1h", 3_600_000),
        (" 5 s ", 5_000),
    ],
)
def test_a_duration_is_written_as_in_postgresql(text: str, expected: int) -> None:
    """A number with ms, s, min or h; a bare number is milliseconds."""
    environment = {"LEDGERVIEWS_LOCK_TIMEOUT": text, "LEDGERVIEWS_STATEMENT_TIMEOUT": text}
    settings = Settings.from_environment(environment)

    assert duration_ms(text) == expected
    assert settings.lock_timeout_ms == settings.statement_timeout_ms == expected


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_every_time_out_that_postgresql_can_hold_is_taken(value: int) -> None:
    """Up to the largest signed 32-bit number of milliseconds, a number is itself."""
    assert duration_ms(f"{value}ms") == value


@pytest.mark.parametrize(
    "text",
    ["soon", "-1", "1.5s", "5 seconds", "5S", "1d", "ms", "5s5", "2147483648", "597h", "\u0665s", "9" * 5000],
)
@pytest.mark.parametrize("name", ["LEDGERVIEWS_LOCK_TIMEOUT", "LEDGERVIEWS_STATEMENT_TIMEOUT"])
def test_an_unusable_duration_names_its_variable(name: str, text: str) -> None:
    """The variable, the value, and how to write it are told."""
    with pytest.raises(UsageError) as caught:
        Settings.from_environment({name: text})

    assert caught.value.message == f"{name} is {text!r}, which is no duration."
    assert "500ms" in str(caught.value.hint)


@pytest.mark.parametrize("schema", ["public", "Analytics", "_a1", "a$b", "a" * 63])
def test_a_schema_is_one_plain_identifier(schema: str) -> None:
    """Letters, digits, underscores and dollars, within PostgreSQL's 63 bytes, as written."""
    assert Settings.from_environment({"LEDGERVIEWS_SCHEMA": schema}).schema == schema


@pytest.mark.parametrize(
    "schema",
    [
        "pg_catalog",
        "pg_x",
        "information_schema",
        "ledgerviews",
        "a b",
        "1a",
        "a.b",
        'a"b',
        "a;b",
        "é",
        "a" * 64,
    ],
)
def test_a_schema_that_cannot_be_the_target_is_refused(schema: str) -> None:
    """The system's schemas, our own and what is no identifier are refused by the variable's name."""
    with pytest.raises(UsageError, match=r"^LEDGERVIEWS_SCHEMA is ") as caught:
        Settings.from_environment({"LEDGERVIEWS_SCHEMA": schema})

    assert repr(schema) in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        (" on ", True),
        ("0", False),
        ("False", False),
        ("off", False),
    ],
)
def test_populate_is_a_switch(text: str, *, expected: bool) -> None:
    """The usual words for yes and no are taken in any case."""
    assert Settings.from_environment({"LEDGERVIEWS_POPULATE": text}).populate is expected


def test_a_switch_that_is_neither_names_its_variable() -> None:
    """An unknown word is refused rather than taken for no."""
    with pytest.raises(UsageError, match="LEDGERVIEWS_POPULATE is 'maybe'"):
        Settings.from_environment({"LEDGERVIEWS_POPULATE": "maybe"})
