"""Starts and stops the HTTP server of a process."""

import asyncio
import logging
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from shared.contracts.errors import ConfigurationError
from shared.http.connections import Connections
from shared.http.limits import Limits
from shared.http.protocol import LimitedProtocol
from shared.http.tls import Tls
from shared.runtime.deadline import end_within

#: Files that a process needs beside its connections: to Kafka and MongoDB, and of the interpreter.
_OTHER_FILES = 256
#: Seconds for the handshake of TLS. Connections are counted only after it.
_HANDSHAKE_SECONDS = 10.0
#: Seconds that a connection without a request yet is kept open when the process stops.
_ARRIVAL_SECONDS = 0.5

_log = logging.getLogger(__name__)


def serve(
    app: FastAPI,
    host: str,
    port: int,
    on_stop: Callable[[], object] = lambda: None,
    *,
    grace_seconds: int = 10,
    tls: Tls | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve ``app`` until SIGTERM or SIGINT, let the requests in progress end, call ``on_stop``, and return.

    Port 0 takes a free one, which is logged. With ``tls`` only TLS is served. Raises ConfigurationError when the
    address is not available or a certificate cannot be used, or a limit cannot be kept.
    """
    limits = limits or Limits.usual()
    try:
        connections = Connections(
            limits.connections._replace(process=_openable(limits.connections.process)),
            limits.address_connections,
            limits.proxies,
        )
    except ValueError as error:
        raise ConfigurationError(f"KITH_PROXIES: {error}") from None
    config = uvicorn.Config(
        app,
        http=partial(LimitedProtocol, connections=connections, limits=limits),  # type: ignore[arg-type]
        ws="none",
        loop="shared.http.serving:Loop",
        log_config=None,
        access_log=False,
        server_header=False,
        # By default uvicorn believes X-Forwarded-Proto and X-Forwarded-For of any process on this machine.
        proxy_headers=False,
        timeout_graceful_shutdown=grace_seconds,
        **({} if tls is None else tls.arguments()),
    )
    server = _Server(config)

    def stop(*_: object) -> None:
        end_within()
        server.should_exit = True

    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal again after it has stopped. By default that would end the process with the
        # signal's status, before on_stop.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
    try:
        listener = _listen(host, port)
        scheme = "http" if tls is None else "https"
        shown = f"[{host}]" if ":" in host else host
        _log.info("listening", extra={"url": f"{scheme}://{shown}:{listener.getsockname()[1]}"})
        server.run(sockets=[listener])
    finally:
        on_stop()
    _log.info("stopped")


class Loop(asyncio.SelectorEventLoop):
    """asyncio's event loop, which by default lets a client take a minute for the handshake of TLS."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", _HANDSHAKE_SECONDS)
        return await super().create_server(*arguments, **options)


class _Server(uvicorn.Server):
    """Notifies the app of the shutdown, so that it ends its streams, which would otherwise be waited for."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_within()
        self.config.app.state.stopping = True  # type: ignore[union-attr]
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, then let requests arrive whose connections are open already. uvicorn would close those
        at once, and a gateway could not tell whether the request has had an effect."""
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while self._expects_requests() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _expects_requests(self) -> bool:
        return any(connection.cycle is None for connection in self.server_state.connections)  # type: ignore[union-attr]


def _openable(wanted: int) -> int:
    """How many of the ``wanted`` connections the process can have. Raises its own limit on open files for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    possible = max(soft - _OTHER_FILES, 1)
    _log.warning(
        "the limit on open files (ulimit -n) allows fewer connections than KITH_CONNECTIONS",
        extra={"files": soft, "connections": possible},
    )
    return possible


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on connections. Without it, answers on a kept-alive
    # connection wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        return listener
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
