"""local-bigquery as a process of its own: started, found again, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bq_export.dev.environment import is_made
from bq_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

_STARTUP_S = 180.0  # on a busy machine its first start, which compiles, takes minutes
_STOP_S = 10.0
_POLL_S = 0.1
PROJECT = "local"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that answers."""

    pid: int
    endpoint: str


def attach(folder: Path) -> Running | None:
    """The server that runs in the folder, if one does."""
    try:
        told = _told(folder)
        command = Path(f"/proc/{told['pid']}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    if str(folder.resolve()) not in command:
        return None  # the number belongs to another process by now
    return Running(pid=told["pid"], endpoint=told["endpoint"])


def start(
    folder: Path, *, environment: Path | None = None, progress: Callable[[str], None] = lambda _: None
) -> Running:
    """Start a server whose data stay in the folder, or find it running.

    It has the port that it had before, if that is free: an exporter remembers a target by its address.
    ``environment`` is the folder that its packages are in, where that is another.
    """
    if running := attach(folder):
        return running
    made = environment or folder
    if not is_made(made):
        raise ExportError(
            f"local-bigquery is not installed in {made}.", hint="Run `bq-export dev install` first."
        )
    folder.mkdir(parents=True, exist_ok=True)
    # One that lacks an extension at its start answers 400 for ever: it is started anew, not asked again.
    for wanted in (_port_before(folder), None, None):
        port, grpc = wanted or _free_port(), _free_port()
        process = _launch(folder, made, port, grpc)
        endpoint = f"http://127.0.0.1:{port}"
        told = json.dumps({"pid": process.pid, "endpoint": endpoint})
        (folder / "server.json").write_text(told, encoding="utf-8")
        if _answers(endpoint, process):
            process.returncode = 0  # it outlives this program, so nobody waits for it here
            progress(f"local-bigquery runs, process {process.pid}, {endpoint}")
            return Running(pid=process.pid, endpoint=endpoint)
        process.kill()
        process.wait()
    raise ExportError("local-bigquery does not start.", hint=f"Its output is in {folder / 'server.log'}.")


def stop(folder: Path) -> bool:
    """Stop the server of the folder; its data stay. Whether one ran."""
    running = attach(folder)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while time.monotonic() < deadline and _alive(running.pid):
        time.sleep(_POLL_S)
    if _alive(running.pid):
        os.kill(running.pid, signal.SIGKILL)
    return True


def _told(folder: Path) -> dict[str, Any]:
    """What the last start wrote down."""
    found: dict[str, Any] = json.loads((folder / "server.json").read_text(encoding="utf-8"))
    return found


def _port_before(folder: Path) -> int | None:
    """The port of the last start, where nobody has it by now."""
    try:
        port: int | None = urlsplit(_told(folder)["endpoint"]).port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its old connections linger
            probe.bind(("127.0.0.1", port))
    except (OSError, ValueError, KeyError):
        return None
    return port


def _launch(folder: Path, made: Path, port: int, grpc: int) -> subprocess.Popen[bytes]:
    keep = ("PATH", "LANG", "LC_ALL", "TMPDIR")
    environment = {name: value for name, value in os.environ.items() if name in keep}
    environment["HOME"] = str((made / "home").resolve())
    command = [str((made / "venv" / "bin" / "local-bigquery").resolve()), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--grpc-port", str(grpc), "--data-dir", str(folder.resolve() / "data")]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _answers(endpoint: str, process: subprocess.Popen[bytes]) -> bool:
    url = f"{endpoint}/bigquery/v2/projects/{PROJECT}/datasets"
    deadline = time.monotonic() + _STARTUP_S
    refused = 0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (our own http address)
                if answer.status == 200:  # noqa: PLR2004
                    return True
        except urllib.error.HTTPError as exc:
            exc.close()
            refused += 1
            if refused > 20:  # noqa: PLR2004 (two seconds of answers: it stays as it is)
                return False
        except OSError:
            pass
        time.sleep(_POLL_S)
    return False


def _alive(pid: int) -> bool:
    """Whether the process runs; a child of ours that has ended is taken leave of."""
    try:
        ended, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return Path(f"/proc/{pid}").exists()
    return ended == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
