"""A Python that has imported libraries and forks for each command: what ``tests.programs`` runs commands in.

Our own code is imported by each command anew, as is all that its process does from ``python -m`` on.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import socket
import sys
import warnings
from importlib import import_module


def serve(listener: socket.socket) -> str:
    """Fork for each connection until the tests' process is gone; gives the module to run, in the new process.

    A request is a line of JSON with module, arguments, environment and folder, and three files; the answers
    are the process's number and, at its end, what it left with (-N for signal N).
    """
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        # The tests' process holds the other end of standard input.
        ready, _, _ = select.select([listener.fileno(), 0, *running], [], [])
        if 0 in ready:
            os._exit(0)
        for ended in running.keys() & set(ready):
            child, connection = running.pop(ended)
            os.close(ended)
            _, status = os.waitpid(child, 0)
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            connection.close()
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            request, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            child = os.fork()
            if child == 0:
                for held in (listener, connection, *(one for _, one in running.values())):
                    held.close()
                return _take_on(json.loads(request), files)
            for file in files:
                os.close(file)
            running[os.pidfd_open(child)] = child, connection
            connection.sendall(b"%d\n" % child)


def _take_on(asked: dict[str, object], files: list[int]) -> str:
    """Become the process that was asked for, as ``python -m MODULE`` finds itself."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])  # type: ignore[call-overload]
    os.chdir(str(asked["cwd"]))
    module = str(asked["module"])
    sys.argv = [module, *asked["args"]]  # type: ignore[misc]
    # It began with one folder in PYTHONPATH.
    sys.path[:2] = [str(asked["cwd"]), *os.environ["PYTHONPATH"].split(os.pathsep)]
    return module


def end_with(module: str) -> None:
    """Run the module and end as Python does, but for taking all apart, which would copy every page."""
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        code = exc.code
    except BaseException:  # noqa: BLE001 (as Python does)
        sys.excepthook(*sys.exc_info())
        code = 1
    if not isinstance(code, int | None):
        sys.stderr.write(f"{code}\n")
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen(64)
        for library in sys.argv[2:]:
            import_module(library)
        gc.freeze()
        # A library's own thread takes care of itself; Python 3.12 and later warn of any.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        os.write(1, b"ready\n")
        wanted = serve(door)
    end_with(wanted)
