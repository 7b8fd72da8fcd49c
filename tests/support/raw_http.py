"""A service on a real socket within the test's event loop, and clients that do not behave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from shared.http.connections import Connections, Held
from shared.http.limits import Limits
from shared.http.protocol import LimitedProtocol

PATIENCE = 120


class _Counted(Connections):
    seen = 0

    def opened(self, connection: Held, host: str) -> bool:
        self.seen += 1
        return super().opened(connection, host)


class Server:
    def __init__(self, port: int, connections: _Counted) -> None:
        self.port, self.connections = port, connections
        self.clients: list[Client] = []

    async def until_closed(self, connections: int) -> None:
        """Wait until so many connections have come since the server has started, and none is left."""
        async with asyncio.timeout(PATIENCE):
            while self.connections.seen < connections or len(self.connections):
                await asyncio.sleep(0.005)

    async def open(self, head: bytes = b"") -> "Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        self.clients.append(client)
        client.send(head)
        return client


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def trickle(self, data: bytes) -> bytes:
        """Send byte after byte, without end, until the server closes the connection. What it has answered."""
        answer = asyncio.create_task(self.rest())
        at = 0
        while not answer.done():
            try:
                self.writer.write(data[at % len(data) :][:1])
                await self.writer.drain()
            except OSError:
                break
            at += 1
            await asyncio.sleep(0.005)
        return await answer

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        found = b""
        try:
            while data := await asyncio.wait_for(self.reader.read(65536), PATIENCE):
                found += data
        except ConnectionError:
            pass
        return found

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of the next answer that has a length."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await asyncio.wait_for(self.reader.readexactly(length), PATIENCE)
        return int(head.split()[1]), json.loads(body or b"{}")

    def close(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def served(app: FastAPI, **limits: Any) -> AsyncIterator[Server]:
    """``app`` behind the protocol of every service. ``limits`` replace the usual ones."""
    allowed = replace(Limits.usual(), **limits)
    connections = _Counted(allowed.connections, allowed.address_connections, allowed.proxies)
    http: Any = partial(LimitedProtocol, connections=connections, limits=allowed)
    config = uvicorn.Config(app, port=0, http=http, ws="none", log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    found = Server(server.servers[0].sockets[0].getsockname()[1], connections)
    try:
        yield found
    finally:
        for client in found.clients:
            client.close()
        server.force_exit = True
        await server.shutdown()


def head(path: str, key: str | None = None, method: str = "GET", **headers: Any) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: kith"]
    lines += [] if key is None else [f"Authorization: Bearer {key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
