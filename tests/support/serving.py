"""An app behind a port of this machine, in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from shared.local.processes import free_ports
from tests.support.waiting import wait_for


class Server:
    """Can be stopped, and started on the same port."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        # Not any that the kernel gives away: while it is stopped, a connection of another program could have it.
        self._socket = listening(free_ports(1)[0])
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if self._socket.fileno() < 0:
            self._socket = listening(self.port)
        self._app.state.stopping = False
        self._server = uvicorn.Server(uvicorn.Config(self._app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        wait_for("the server", lambda: self._server.started or not self._thread.is_alive(), pause=0.005)
        assert self._server.started, "the server has ended before it had begun"

    def serve(self, app: FastAPI) -> None:
        """Another app in its place."""
        self.stop()
        self._app = app
        self.start()

    def stop(self) -> None:
        self._app.state.stopping = True
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Its address while it is served."""
    server = Server(app)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def listening(port: int) -> socket.socket:
    # Named protocol: see shared/http/server.py.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener
