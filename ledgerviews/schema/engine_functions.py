"""The functions of an engine version as its frozen SQL makes them, and in what others differ. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import md5
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Each statement of the frozen files begins a line, and a comment on it ends each function.
_STATEMENT = re.compile(
    r"^(?:CREATE (?:OR REPLACE )?(?P<kind>FUNCTION|PROCEDURE) ledgerviews\.(?P<made>\w+)\("
    r"|DROP (?:FUNCTION|PROCEDURE) ledgerviews\.(?P<dropped>\w+\([^)]*\));"
    r"| *ALTER FUNCTION ledgerviews\.(?P<altered>\w+\([^)]*\))\s+"
    r"(?:SET (?P<set>\w+) = (?P<value>[^;\n]+)|RESET (?P<reset>\w+));)",
    re.MULTILINE,
)
_BODY = re.compile(r"^(?:AS (?P<tag>\$\w*\$)|BEGIN ATOMIC$|RETURN )", re.MULTILINE)
_COMMENT = re.compile(
    r"^COMMENT ON (?:FUNCTION|PROCEDURE) ledgerviews\.\w+\(.*?';$", re.MULTILINE | re.DOTALL
)
_COMMA = re.compile(r",(?=(?:[^']*'[^']*')*[^']*$)")
_SETTING = re.compile(r"^SET (\w+) = (.+)$", re.MULTILINE)
_VOLATILITY = {"IMMUTABLE": "i", "STABLE": "s"}
_PARALLEL = {"SAFE": "s", "RESTRICTED": "r", "UNSAFE": "u"}


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function or procedure of the engine.

    Attributes:
        signature: its name and the types of what goes in, as PostgreSQL writes them.
        statement: what makes it.
        comment: the statement that comments on it.
        attributes: as engine_functions.sql gives them, the settings as a mapping; ``body`` is None where
            PostgreSQL keeps it parsed.
    """

    signature: str
    statement: str
    comment: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def atomic(self) -> bool:
        """Whether its body is parsed when it is made, so that the text is not kept."""
        return self.attributes["body"] is None

    def temporary(self) -> str:
        """The statement that makes it in pg_temp."""
        return self.statement.replace(" ledgerviews.", " pg_temp.", 1)

    def anew(self) -> str:
        """The statements that put it over whatever stands under its name."""
        lines = [self.statement.replace("CREATE ", "CREATE OR REPLACE ", 1)]
        made = dict(_settings(self.statement))
        for name in sorted(made.keys() | self.attributes["settings"].keys()):
            value = self.attributes["settings"].get(name)
            if value != made.get(name):
                change = f"RESET {name}" if value is None else f"SET {name} = {value}"
                lines.append(f"ALTER FUNCTION ledgerviews.{self.signature} {change};\n")
        return "".join([*lines, self.comment])


@cache
def functions(script: str) -> Mapping[str, Function]:
    """The functions that an engine's SQL, run from nothing, leaves, by signature.

    Args:
        script: all of it, version after version.
    """
    found: dict[str, Function] = {}
    for match in _STATEMENT.finditer(script):
        if match["made"]:
            function = _function(script, match)
            found[function.signature] = function
        elif match["dropped"]:
            found.pop(match["dropped"], None)
        else:
            one = found[match["altered"]]
            settings = dict(one.attributes["settings"])
            if match["set"]:
                settings[match["set"]] = match["value"].strip("'")
            else:
                settings.pop(match["reset"], None)
            found[one.signature] = replace(one, attributes={**one.attributes, "settings": settings})
    return found


def differing(wanted: Function, found: Mapping[str, Any] | None) -> tuple[str, ...]:
    """In what the one that stands differs, in words; what PostgreSQL keeps parsed is not looked at."""
    if found is None:
        return ("gone",)
    settings = dict(one.split("=", 1) for one in found["settings"])
    standing = {**found, "settings": settings}
    return tuple(name for name, value in wanted.attributes.items() if standing[name] != value)


def _function(script: str, match: re.Match[str]) -> Function:
    arguments, end = _parenthesis(script, match.end())
    body = _BODY.search(script, end)
    assert body is not None  # noqa: S101 (frozen text of this package)
    comment = _COMMENT.search(script, body.end())
    assert comment is not None  # noqa: S101
    header = script[end : body.start()]
    volatility = next((code for word, code in _VOLATILITY.items() if re.search(rf"\b{word}\b", header)), "v")
    parallel = re.search(r"\bPARALLEL (\w+)", header)
    language = re.search(r"\bLANGUAGE (\w+)", header)
    source = script[body.end() : script.index(body["tag"], body.end())] if body["tag"] else None
    return Function(
        signature=f"{match['made']}({', '.join(_types(arguments))})",
        statement=re.sub(r"\ACREATE OR REPLACE ", "CREATE ", script[match.start() : comment.start()].rstrip())
        + "\n",
        comment=comment[0] + "\n",
        attributes={
            "kind": "p" if match["kind"] == "PROCEDURE" else "f",
            "language": language[1] if language else "",
            "volatility": volatility,
            "parallel": _PARALLEL[parallel[1]] if parallel else "u",
            "strict": bool(re.search(r"\bSTRICT\b", header)),
            "leakproof": False,
            "definer": "SECURITY DEFINER" in header,
            "settings": dict(_settings(header)),
            # Only to be compared, with what the server says.
            "body": md5(source.encode(), usedforsecurity=False).hexdigest() if source is not None else None,
        },
    )


def _settings(text: str) -> Iterator[tuple[str, str]]:
    body = _BODY.search(text)
    for found in _SETTING.finditer(text[: body.start()] if body else text):
        yield found[1], found[2].strip("'")


def _parenthesis(text: str, start: int) -> tuple[str, int]:
    """What stands up to the closing parenthesis, and where that ends."""
    depth, place = 1, start
    while depth:
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        place += 1
    return text[start : place - 1], place


def _types(arguments: str) -> Iterator[str]:
    """The types of what goes in; each argument has its name first."""
    for argument in filter(None, map(str.strip, _COMMA.split(arguments))):
        words = argument.partition(" DEFAULT ")[0].split(" ")
        if words[0] != "OUT":
            yield " ".join(words[2 if words[0] in {"IN", "INOUT"} else 1 :])
