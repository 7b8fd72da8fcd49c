"""A small, cheap HTTP/1.1 client: the machine's cores belong to the measured processes."""

import http.client
import socket
import time

from shared.local.processes import Process, ProcessFailed


class Connection:
    """One persistent connection to 127.0.0.1. Supports only answers with a Content-Length."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, content_type: str, body: bytes) -> int:
        """The status of the answer."""
        return self.send(request(self._port, path, content_type, body))

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and body of the answer."""
        return self.exchange(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())

    def send(self, whole: bytes) -> int:
        """Send a whole request, read the whole answer, and return its status."""
        return self.exchange(whole)[0]

    def exchange(self, whole: bytes) -> tuple[int, bytes]:
        """Send a whole request, and return the status and body of its answer."""
        self._socket.sendall(whole)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        status, length = parse_head(received[:end])
        body = bytearray(received[end + 4 :])
        while len(body) < length:
            body += self._more()
        return status, bytes(body)

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        if not (found := self._socket.recv(65_536)):
            raise ConnectionError("the server closed the connection")
        return found


def request(port: int, path: str, content_type: str, body: bytes) -> bytes:
    """A whole POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def parse_head(head: bytes) -> tuple[int, int]:
    """Status and Content-Length of an answer's head."""
    first, *lines = head.split(b"\r\n")
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(first.split()[1]), int(value)
    if (status := int(first.split()[1])) == 204:
        return status, 0
    raise ConnectionError("an answer without Content-Length")


def wait_ready(process: Process, port: int, seconds: float = 60.0) -> None:
    """Return when ``/health/ready`` answers 200. Raises ProcessFailed."""
    deadline = time.monotonic() + seconds
    while True:
        process.check()
        try:
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            asked.request("GET", "/health/ready")
            status = asked.getresponse().status
            asked.close()
            if status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{process.name} was not ready after {seconds:.0f} s")
        time.sleep(0.1)
