"""A receiver of webhooks of the demo's own: it verifies each delivery by code that is not the sender's."""

import base64
import binascii
import hmac
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import orjson

#: Seconds that the clock of a delivery may differ from ours, as Standard Webhooks recommends.
_TOLERANCE = 300
_MOST_BYTES = 2**20

#: Where a change comes from: partition, offset and index in the topic of relations.
Place = tuple[int, int, int]


class Delivery(NamedTuple):
    """A delivery whose signature is valid: its ``webhook-id``, and the change that it contains."""

    id: str
    body: dict[str, Any]

    @property
    def place(self) -> Place:
        origin = self.body["data"]["origin"]
        return origin["partition"], origin["offset"], origin["index"]


class Receiver:
    """Context manager: listens on a free port of this machine. ``secret`` is set once the endpoint is made.
    ``received`` are the verified deliveries of changes in the order of their arrival, ``refused`` counts those
    whose signature is not valid. Both may be read at any time."""

    def __init__(self) -> None:
        self.secret = ""
        self.received: list[Delivery] = []
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, id: str, timestamp: str, signature: str, body: bytes) -> bool:
        """Take one delivery. Returns whether it is valid."""
        if not is_valid(self.secret, id, timestamp, signature, body):
            self.refused += 1
            return False
        content = orjson.loads(body)
        if content["type"] == "relation.changed":
            self.received.append(Delivery(id, content))
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = min(int(self.headers.get("content-length", "0")), _MOST_BYTES)
                id, at, signature = (
                    self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
                )
                taken = receiver.take(id, at, signature, self.rfile.read(length))
                self.send_response(204 if taken else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the demo's view has the terminal."""

        return Handler


def is_valid(secret: str, id: str, timestamp: str, signature: str, body: bytes) -> bool:
    """Whether ``body`` was signed with ``secret`` (``whsec_…``) by Standard Webhooks, within five minutes."""
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > _TOLERANCE:
        return False
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return False
    word = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")
    expected = b"v1," + base64.b64encode(word)
    return bool(key) and any(hmac.compare_digest(expected, each.encode()) for each in signature.split())
