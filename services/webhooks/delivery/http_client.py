"""One attempt: a POST to an address that was checked.

The name is resolved once per connection, every address is checked, and the connection is made to a checked one
(``socket_factory`` sees the address itself), so a name that resolves differently later changes nothing. Neither
proxies nor redirects are followed.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from services.webhooks.delivery.addresses import Network, parsed, refusal
from services.webhooks.delivery.urls import PORT
from shared.contracts.limits import LARGEST, Most, Owner
from shared.http.fair_pool import FairPool

TIMEOUT_SECONDS, CONNECT_SECONDS = 15.0, 5.0
#: Bytes of an answer that are kept.
KEPT_BYTES = 1_024
#: How long they are waited for, once the status is there, which is the answer.
_BODY_SECONDS = 2.0
_CONNECTIONS = 400
_RESOLVING = 16
#: Whose endpoint is sent to, for the resolver: aiohttp tells it the name only.
TENANT: ContextVar[str] = ContextVar("tenant", default="")


class Refused(OSError):
    """The address is one that no delivery may go to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an attempt: a status, or an error where there was none."""

    milliseconds: int
    status: int | None = None
    text: str = ""
    error: str | None = None
    retry_after: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class HttpClient:
    """Sends requests on the running event loop. ``allowed`` are networks that are permitted although they are not
    public. ``ssl`` replaces the certificate check's context, for tests."""

    def __init__(self, allowed: Sequence[Network] = (), *, ssl: Any = True) -> None:
        self._allowed = tuple(allowed)
        # Resolving is a blocking call. A slow name server must not hold up the threads of other work, nor names of
        # other tenants' endpoints.
        self._threads = FairPool("webhook-dns", _RESOLVING, Most(LARGEST, LARGEST, LARGEST))
        self._sessions = {
            scheme: aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self._threads, self._check, scheme),
                    socket_factory=_factory(self._check, scheme),
                    use_dns_cache=False,
                    # More than there are slots for requests (``TenantSemaphore``), and no limit of its own for a
                    # host: one tenant that makes it wait would use it up for others with endpoints there.
                    limit=_CONNECTIONS,
                    limit_per_host=0,
                    ssl=ssl,
                ),
                timeout=aiohttp.ClientTimeout(
                    total=TIMEOUT_SECONDS, sock_connect=CONNECT_SECONDS, connect=TIMEOUT_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=["User-Agent", "Accept-Encoding"],
            )
            for scheme in ("http", "https")
        }

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._threads.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """One attempt. Never raises for what the other side does."""
        begun = time.monotonic()
        found: Answer | None = None
        error: str | None = None
        try:
            session = self._sessions[urlsplit(url).scheme]
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                found = Answer(_since(begun), response.status, retry_after=response.headers.get("Retry-After"))
                text = await _beginning(response.content)
                if not response.content.at_eof() or response.content.exception() is not None:
                    # The rest of a large or slow answer is not read; the connection cannot be used again, nor can
                    # that of one which breaks off.
                    response.close()
                found = replace(found, milliseconds=_since(begun), text=text.decode("utf-8", "replace"))
        except TimeoutError:
            error = f"no answer within {TIMEOUT_SECONDS:g} s"
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as raised:
            error = _reason(raised)
        # The status is the answer, whatever becomes of the body behind it.
        return found or Answer(_since(begun), error=error)

    def _check(self, scheme: str, host: str, port: int) -> None:
        """Raise Refused unless a delivery by this scheme may go to the address."""
        address = parsed(host)
        if any(address in network for network in self._allowed):
            return
        if (reason := refusal(address, self._allowed)) is not None:
            raise Refused(reason)
        if scheme != "https" or port != PORT:
            raise Refused(f"public addresses are reached by HTTPS on port {PORT} only")


class _Resolver(AbstractResolver):
    def __init__(self, threads: FairPool, check: Any, scheme: str) -> None:
        self._threads, self._check, self._scheme = threads, check, scheme

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._threads.run(
            Owner(TENANT.get(), host), socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        for _, _, _, _, address in found:
            self._check(self._scheme, str(address[0]), port)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None: ...


def _factory(check: Any, scheme: str) -> Any:
    def made(info: Any) -> socket.socket:
        family, type, proto, _, address = info
        check(scheme, str(address[0]), int(address[1]))
        connection = socket.socket(family, type, proto)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    return made


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """What is kept of an answer's body, or less of one that does not come, or breaks off."""
    found = b""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_BODY_SECONDS):
            while len(found) < KEPT_BYTES and (part := await content.read(KEPT_BYTES - len(found))):
                found += part
    return found


def _since(begun: float) -> int:
    return int((time.monotonic() - begun) * 1000)


def _reason(error: BaseException) -> str:
    """The cause of a failed attempt, for the delivery log."""
    cause: BaseException = error
    while isinstance(cause, aiohttp.ClientConnectorError) and cause.os_error is not None:
        cause = cause.os_error
    # It may quote what the other side has sent: halves of characters could not be stored.
    return f"{type(cause).__name__}: {cause}"[:300].encode("utf-8", "replace").decode()
