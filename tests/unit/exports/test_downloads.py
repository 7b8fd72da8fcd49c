"""Downloads with two tenants: those that never read cost the other one nothing, and end."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from services.exports.api import create_app
from services.exports.columns import Row
from services.exports.datasets import DATASETS
from services.exports.source import Export
from shared.access.guard import Access
from shared.access.keys import ApiKeys
from shared.access.keys_memory import MemoryKeys
from shared.access.lookup import KeyLookup
from shared.contracts.limits import Most
from shared.http import streams
from shared.http.caller import SCOPES, Caller
from shared.http.limits import Limits
from tests.support.measures_world import NOW
from tests.support.raw_http import PATIENCE, Client, Server, head, served

COLUMNS = DATASETS["relations"].columns[:1]
PATH = "/v1/export/relations?format=csv"


class Rows:
    """Rows of a tenant: without end for a, three for every other one."""

    def __init__(self, tenant: str, open: set["Rows"]) -> None:
        self._left = None if tenant == "a" else 3
        self._open = open
        open.add(self)

    def __iter__(self) -> "Rows":
        return self

    def __next__(self) -> Sequence[Row]:
        if self._left == 0:
            raise StopIteration
        if self._left is not None:
            self._left -= 1
            return [{COLUMNS[0].name: "x"}]
        return [{COLUMNS[0].name: "x" * 1000}] * 100

    def close(self) -> None:
        self._open.discard(self)


class Endless:
    """Exports."""

    def __init__(self) -> None:
        self.open_rows: set[Rows] = set()

    def open(self, name: str, query: Any, **_: Any) -> Export:
        return Export(name, query.tenant, COLUMNS, NOW, Rows(query.tenant, self.open_rows))


class Keys:
    """A key is tenant and number, as in kith_a-1."""

    async def caller(self, text: str) -> Caller:
        return Caller(text.removeprefix("kith_")[0], frozenset(SCOPES), key=text)


async def silent(server: Server, key: str) -> Client:
    """A download whose client reads the head and nothing more. A place is free a moment after its download has
    ended."""
    async with asyncio.timeout(PATIENCE):
        client = await server.open(head(PATH, key))
        while b" 200 " not in await client.reader.readuntil(b"\r\n\r\n"):
            client = await server.open(head(PATH, key))
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    return client


async def closed(exports: Endless) -> None:
    async with asyncio.timeout(PATIENCE):
        while exports.open_rows:
            await asyncio.sleep(0.01)


def test_downloads_that_never_read_have_only_their_credentials_places_and_end() -> None:
    exports = Endless()

    async def story() -> None:
        limits = replace(Limits.usual(), downloads=Most(2, 3, 4))
        app = create_app(cast(Any, exports), list, access=Access(Keys(), limits=limits))
        async with served(app) as server:
            for key in ("kith_a-1", "kith_a-1", "kith_a-2"):
                await silent(server, key)
            for key, whose in (
                ("kith_a-1", "this credential already has 2"),
                ("kith_a-3", "this tenant already has 3"),
            ):
                status, problem = await (await server.open(head(PATH, key))).answer()
                assert (status, problem["type"]) == (429, "/problems/share-used-up")
                assert f"{whose} exports in progress" in problem["detail"]
            other = await server.open(head(PATH, "kith_b-1", Connection="close"))
            assert (await other.rest()).endswith(b"0\r\n\r\n"), "a whole file"
        await closed(exports)
        async with served(app, send_seconds=0.2) as server:
            for key in ("kith_a-1", "kith_a-1", "kith_a-2"):
                await silent(server, key)
            # Nobody has closed them but the server.
            await closed(exports)
            await silent(server, "kith_a-1")

    asyncio.run(story())


def test_a_download_ends_when_its_key_is_revoked_and_is_no_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.01)
    exports, store = Endless(), MemoryKeys()
    keys = ApiKeys(store, lambda: datetime.now(UTC))
    key, text = keys.create("a", "till", [*SCOPES])

    async def story() -> None:
        app = create_app(cast(Any, exports), list, access=Access(KeyLookup(store, fresh_seconds=0.01)))
        async with served(app) as server:
            reading = await server.open(head(PATH, text))
            await reading.reader.readuntil(b"\r\n\r\n")
            stalled = await silent(server, text)
            rest = asyncio.create_task(reading.rest())
            await asyncio.sleep(0.05)
            assert not rest.done()
            keys.revoke(key.prefix)
            assert not (await rest).endswith(b"0\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                while exports.open_rows or len(server.connections):
                    await asyncio.sleep(0.01)
            stalled.close()

    asyncio.run(story())
