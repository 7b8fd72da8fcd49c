"""Receivers of webhooks of two tenants: one that counts cheaply, and one that notes what has come."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shared.local.processes import Process, ProcessFailed, free_ports

_PATIENCE_SECONDS = 120.0


class Receivers:
    """``own`` is the URL of the one that notes relations, ``others`` that of the one that counts: below it what
    has "dead" in its path is never answered."""

    def __init__(self, logs: Path) -> None:
        self._come: set[str] = set()
        self._changed = threading.Condition()
        self._stack = ExitStack()
        self._logs = logs
        self.own = self.others = ""

    def __enter__(self) -> Self:
        port = free_ports(1)[0]
        argv = [sys.executable, "-m", "services.bench.peers.hooks", str(port)]
        counting = Process("the receiver", argv, self._logs / f"hooks-{port}.log")
        self._stack.callback(counting.stop)
        counting.start()
        noting = self._stack.enter_context(_serving(self._note))
        self.own, self.others = f"http://127.0.0.1:{noting}/own", f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def await_own(self, relation: str) -> None:
        """Return when the webhook of a relation has come. Raises ProcessFailed."""
        with self._changed:
            if not self._changed.wait_for(lambda: relation in self._come, _PATIENCE_SECONDS):
                raise ProcessFailed(f"no webhook of {relation} came within {_PATIENCE_SECONDS:.0f} s")

    def _note(self, body: Any) -> None:
        with self._changed:
            self._come.add(body["data"]["relation_id"])
            self._changed.notify_all()


@contextmanager
def _serving(note: Any) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            note(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
