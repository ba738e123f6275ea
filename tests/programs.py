"""Commands run to their end, each in a process of its own, most of them forked where libraries are known."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = Path(__file__).resolve().parents[1]
_LIBRARIES = (
    "adbc_driver_postgresql.dbapi",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "click",
    "google.cloud.bigquery",
    "psycopg",
    "pyarrow.compute",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlglot",
)
# What Python or a library heeds when it begins.
_EARLY = ("PYTHON", "LC_", "LANG", "TZ", "PSYCOPG_")


def run(
    module: str,
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ARGS`` to its end, and give what it printed in UTF-8 and left with.

    Where PYTHONPATH may bring other libraries, or a server is started that outlives the command, it is a
    process of a new Python.
    """
    folder = Path(cwd or Path.cwd())
    ours, *others = env.get("PYTHONPATH", "").split(os.pathsep)
    if ours != str(_ROOT) or any(_shadow(Path(one)) for one in others) or tuple(args[:1]) == ("dev",):
        return subprocess.run(
            [sys.executable, "-m", module, *args],
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=env,
            cwd=folder,
            input=stdin,
            timeout=timeout,
        )
    early = {name: value for name, value in env.items() if name.startswith(_EARLY)} | {"PYTHONPATH": ours}
    request = {"module": module, "args": list(args), "env": dict(env), "cwd": str(folder.resolve())}
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin.encode())
        files[0].seek(0)
        door = stack.enter_context(socket.socket(socket.AF_UNIX))
        door.connect(_warm(tuple(sorted(early.items()))))
        socket.send_fds(door, [json.dumps(request).encode()], [file.fileno() for file in files])
        answers = stack.enter_context(door.makefile("r"))
        pid = int(answers.readline())
        door.settimeout(timeout)
        try:
            code = int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired([module, *args], timeout) from None
        out, errors = (_read(file) for file in files[1:])
    return subprocess.CompletedProcess([module, *args], code, out, errors)


def _shadow(folder: Path) -> bool:
    """Whether a folder holds modules of a library's name."""
    names = {name.partition(".")[0] for name in _LIBRARIES}
    return any((folder / f"{name}{end}").exists() for name in names for end in ("", ".py"))


@cache
def _warm(early: tuple[tuple[str, str], ...]) -> str:
    """Where a Python that began with these variables takes requests, as long as this process lives."""
    stack = ExitStack()
    atexit.register(stack.close)
    path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "door")  # noqa: PTH118
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_EARLY)}
    libraries = [name for name in _LIBRARIES if importlib.util.find_spec(name.partition(".")[0])]
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "tests.warm", path, *libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | dict(early),
            cwd=_ROOT,
            start_new_session=True,
        )
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError("Python with the libraries of the tests did not begin.")
    return path


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")
