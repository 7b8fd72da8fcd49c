"""What the real gateway does between a client and a service: whose connection it is, and where an answer waits."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import gateway, problem_of
from tests.support.waiting import PATIENCE_SECONDS, wait_equal

ADDRESS = "127.42.0.1"
PIECE = b"x" * 65_536
#: More than all buffers on the way hold: nginx's, and the kernel's of both connections. 256 MiB, most of which is
#: never sent.
PIECES = 4_096
#: Requests with a body that an address may have at once.
BODIES = 128
#: Bytes: the send buffer of the gateway's connection, which Linux doubles, the client's own, and what is between.
LEFT = 2 * (2 * 256 * 1024 + 4 * len(PIECE))
#: After which a piece that nobody takes counts as not taken.
BLOCKED_SECONDS = 3.0


class Service(ThreadingHTTPServer):
    """Answers with the X-Forwarded-For that it got, or at /large with more than anybody takes."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((ADDRESS, port), Handler)
        # Its connections have it from here, and it does not grow then.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(PIECE))
        self.taken = 0
        self.ended = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        if self.path != "/large":
            self.answer(self.headers["X-Forwarded-For"].encode())
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(PIECE) * PIECES))
        self.end_headers()
        self.connection.settimeout(BLOCKED_SECONDS)
        try:
            for _ in range(PIECES):
                self.connection.sendall(PIECE)
                self.server.taken += 1
        except OSError:
            pass  # the gateway takes no more
        finally:
            # As a service ends a download whose credential was revoked.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.ended.set()

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def behind(folder: Path, proxies: str = "") -> Iterator[tuple[Service, int]]:
    """A service of exports, and the gateway's port for it."""
    with gateway(folder, {"exports": (ADDRESS,)}, proxies) as ports:
        service = Service(ports["exports"])
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        try:
            yield service, ports["exports"]
        finally:
            service.shutdown()
            service.server_close()
            thread.join()


def answered(port: int, request: bytes) -> httpx.Response:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as client:
        client.sendall(request)
        answer = HTTPResponse(client)
        answer.begin()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


HEAD = b"Host: kith\r\nConnection: close\r\n"
REFUSED = {
    b"GET /../a HTTP/1.1\r\n" + HEAD: "bad-request",
    b"GET /%2e%2e/a HTTP/1.1\r\n" + HEAD: "bad-request",
    b"GET /%00 HTTP/1.1\r\n" + HEAD: "bad-request",
    b"GET /%zz HTTP/1.1\r\n" + HEAD: "bad-request",
    b"get / HTTP/1.1\r\n" + HEAD: "bad-request",
    b"OPTIONS * HTTP/1.1\r\n" + HEAD: "bad-request",
    b"CONNECT kith:80 HTTP/1.1\r\n" + HEAD: "bad-request",
    b"PRI * HTTP/2.0\r\n" + HEAD: "bad-request",
    b"GET / HTTP/3.0\r\n" + HEAD: "bad-request",
    b"GET / HTTP/1.1\r\nConnection: close\r\n": "bad-request",
    b"GET / HTTP/1.1\r\nHost: other\r\n" + HEAD: "bad-request",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: odd\r\n" + HEAD: "bad-request",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n" + HEAD: "bad-request",
    b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n" + HEAD: "bad-request",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" + HEAD: "bad-request",
    b"TRACE / HTTP/1.1\r\n" + HEAD: "method-not-allowed",
    b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n" + HEAD: "too-large",
    b"GET / HTTP/1.1\r\nX: " + b"x" * 33_000 + b"\r\n" + HEAD: "head-too-large",
    b"GET /?" + b"x" * 33_000 + b" HTTP/1.1\r\n" + HEAD: "head-too-large",
}


def test_what_the_gateway_does_not_pass_on_is_a_problem(tmp_path: Path) -> None:
    with behind(tmp_path) as (_, port):
        for request, kind in REFUSED.items():
            answer = answered(port, request + b"\r\n")
            assert problem_of(answer) == kind, request
            assert answer.status_code == answer.json()["status"], request
            assert answer.headers["Server"] == "nginx"
        # What the services read gets there: a token of 16 KiB, and HTTP/1.0 without a Host.
        token = b"Authorization: Bearer " + b"x" * 16_384 + b"\r\n"
        assert answered(port, b"GET / HTTP/1.1\r\n" + token + HEAD + b"\r\n").status_code == 200
        assert answered(port, b"GET / HTTP/1.0\r\n\r\n").status_code == 200


def test_an_address_has_fewer_bodies_than_connections(tmp_path: Path) -> None:
    """Each that is not whole yet is in the gateway's memory."""
    with behind(tmp_path) as (_, port), ExitStack() as held:
        for _ in range(BODIES):
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS))
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n" + HEAD + b"\r\nbody")
        body = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n0\r\n\r\n"
        wait_equal(lambda: answered(port, body).status_code, 429)
        assert problem_of(answered(port, body)) == "share-used-up"
        assert answered(port, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n").status_code == 200


def test_its_log_does_not_tell_whom_anybody_searches_for(tmp_path: Path) -> None:
    with gateway(tmp_path, {"exports": (ADDRESS,)}) as ports:
        answer = answered(ports["exports"], b"GET /?email=marker HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert problem_of(answer) == "no-process"
    assert "marker" not in (tmp_path / "nginx.log").read_text()


def test_what_a_client_does_not_take_stays_with_the_service(tmp_path: Path) -> None:
    """In the gateway it would be in files of a file system that is memory."""
    with behind(tmp_path) as (service, port), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, len(PIECE))
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /large HTTP/1.1\r\nHost: kith\r\n\r\n")
        assert service.ended.wait(PATIENCE_SECONDS)
        assert service.taken < PIECES / 2
        assert [path for path in (tmp_path / "proxy").rglob("*") if path.is_file()] == []
        # The service has ended it, so little goes on to the client: what the kernel has.
        client.settimeout(PATIENCE_SECONDS)
        left = 0
        try:
            while piece := client.recv(len(PIECE)):
                left += len(piece)
        except ConnectionResetError:
            pass
        assert left < LEFT


@pytest.mark.parametrize(
    ("proxies", "stated", "told"),
    [
        # Nobody is believed: the last address is the connection's, whatever the client states.
        ("", "192.0.2.9", "192.0.2.9, 127.0.0.1"),
        ("10.0.0.7", "192.0.2.9", "192.0.2.9, 127.0.0.1"),
        # A proxy of ours adds the address of its client at the end.
        ("10.0.0.7 127.0.0.0/8", "203.0.113.5, 192.0.2.9", "203.0.113.5, 192.0.2.9, 192.0.2.9"),
    ],
)
def test_a_proxy_that_is_named_is_believed_about_its_clients(
    tmp_path: Path, proxies: str, stated: str, told: str
) -> None:
    with behind(tmp_path, proxies) as (_, port), httpx.Client(trust_env=False) as client:
        answer = client.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": stated})
        assert answer.text == told
