"""A proxy between client and peer that does one harm, at one request, and passes everything else on.

It counts the requests of a run, so that a test can learn how many there are and then harm each in turn.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Harm(StrEnum):
    """What may happen to a request."""

    CUT_BEFORE = "the connection is cut before the request arrives"
    CUT_UPLOAD = "the connection is cut in the middle of the request"
    DROP_ANSWER = "the request is done and its answer is lost"
    CUT_ANSWER = "the answer is cut in its middle"
    DUPLICATE = "the request arrives twice, the second answer is the one that comes back"
    DELAY = "the answer comes late"
    LATE = "the request is given up and arrives a second later"
    TOO_MANY = "429 rateLimitExceeded"
    BACKEND = "503 backendError"
    INTERNAL = "500 without a reason"
    KILL = "the client dies when the request was sent"


_ANSWERS = {
    Harm.TOO_MANY: (429, "rateLimitExceeded"),
    Harm.BACKEND: (503, "backendError"),
    Harm.INTERNAL: (500, None),
}


@dataclass
class Seen:
    """A request as it came: method, path with query, JSON body if it was one."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class FaultProxy:
    """Forwards to ``endpoint``; does ``harm`` to request number ``at``, counted from 1."""

    def __init__(self, endpoint: str) -> None:
        self._peer = urlsplit(endpoint)
        self.harm: Harm | None = None
        self.at = 0
        self.count = 0
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], tuple[int, dict[str, Any]] | None] = lambda _: None
        self.rewrite: Callable[[Seen], None] | None = None
        self.on_kill: Callable[[], None] = lambda: None
        self._late: list[threading.Thread] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def arm(self, harm: Harm | None, at: int = 0) -> None:
        """Forget what was seen, and harm a request of what comes."""
        self.settle()
        self.harm, self.at, self.count = harm, at, 0
        self.seen = []

    def move(self, endpoint: str) -> None:
        """Go on with the peer at another address."""
        self._peer = urlsplit(endpoint)

    def settle(self) -> None:
        """Wait for requests that arrive late."""
        for thread in self._late:
            thread.join()
        self._late = []

    def close(self) -> None:
        """Stop."""
        self.settle()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_harm(self) -> Harm | None:
        """Count a request, and say what happens to it."""
        with self._lock:
            self.count += 1
            return self.harm if self.count == self.at else None

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        """Ask the peer."""
        connection = http.client.HTTPConnection(self._peer.hostname or "", self._peer.port, timeout=60)
        try:
            connection.request(method, path, body=body or None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def later(self, method: str, path: str, headers: dict[str, str], body: bytes, *, seconds: float) -> None:
        """Let a request arrive when its client has given it up."""

        def arrive() -> None:
            time.sleep(seconds)
            self.forward(method, path, headers, body)

        thread = threading.Thread(target=arrive, daemon=True)
        self._late.append(thread)
        thread.start()


class _Handler(BaseHTTPRequestHandler):
    owner: FaultProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and content go out at once, not 40 ms apart

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:  # noqa: C901, PLR0911 (one for each harm)
        harm = self.owner.next_harm()
        length = int(self.headers.get("Content-Length") or 0)
        if harm is Harm.CUT_BEFORE:
            return self._cut()
        body = self.rfile.read(length // 2 if harm is Harm.CUT_UPLOAD else length)
        if harm is Harm.CUT_UPLOAD:
            return self._cut()
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "host"}}
        headers["Host"] = self.headers["Host"]  # upload sessions are to come back through us
        seen = Seen(self.command, self.path, _json(body), dict(self.headers))
        self.owner.seen.append(seen)
        if self.owner.rewrite is not None and isinstance(seen.body, dict) and "/upload/" not in self.path:
            self.owner.rewrite(seen)
            body = json.dumps(seen.body).encode()
            headers["Content-Length"] = str(len(body))
        if (own := self.owner.answer(seen)) is not None:
            return self._reply(own[0], [("Content-Type", "application/json")], json.dumps(own[1]).encode())
        if harm in _ANSWERS:
            status, reason = _ANSWERS[harm]
            error: dict[str, Any] = {"code": status, "message": str(harm)}
            if reason:
                error["errors"] = [{"reason": reason, "message": str(harm)}]
            return self._reply(
                status, [("Content-Type", "application/json")], json.dumps({"error": error}).encode()
            )
        if harm is Harm.LATE:
            self.owner.later(self.command, self.path, headers, body, seconds=0.3)
            return self._cut()
        if harm is Harm.DUPLICATE:
            self.owner.forward(self.command, self.path, headers, body)
        status, sent, content = self.owner.forward(self.command, self.path, headers, body)
        if harm is Harm.KILL:
            self.owner.on_kill()
            return self._cut()
        if harm is Harm.DROP_ANSWER:
            return self._cut()
        if harm is Harm.DELAY:
            time.sleep(0.2)
        return self._reply(status, sent, content, cut=harm is Harm.CUT_ANSWER)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 (http.server's names)

    def _reply(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._cut()

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        try:
            # An RST where the client waits; a FIN would be an answer of no length.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        finally:
            self.connection.close()

    def handle_one_request(self) -> None:
        """One request; the end of a connection that was cut is no error."""
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

    def finish(self) -> None:
        """Close quietly."""
        try:
            super().finish()
        except (OSError, ValueError):
            return


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        # The first part of a multipart upload is the job.
        start, end = (
            body.find(b"{"),
            body.rfind(b"\r\n--", 0, body.find(b"PAR1") if b"PAR1" in body else None),
        )
        try:
            return json.loads(body[start:end].strip()) if start >= 0 else None
        except ValueError:
            return None


@contextmanager
def fault_proxy(endpoint: str) -> Iterator[FaultProxy]:
    """A proxy for the block."""
    proxy = FaultProxy(endpoint)
    try:
        yield proxy
    finally:
        proxy.close()
