"""One moment, flat memory, nothing left behind: on a real MongoDB while others write."""

import asyncio
import csv
import io
import json
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, IncompleteRead
from threading import Event as Flag
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from bson.timestamp import Timestamp
from fastapi import FastAPI
from pymongo.database import Database

from services.exports import arrow
from services.exports.api import create_app
from services.exports.download import Cancelled, Stoppable
from services.exports.formats import FORMATS
from services.exports.query import ExportQuery
from services.exports.snapshot import MomentPassed, Snapshot
from services.exports.source import Exports
from services.relations.schema import COLLECTIONS
from shared.mongo.store import prepare
from shared.versions.generations import collections_of
from tests.support.builders import OPEN, recorded
from tests.support.relations_driver import MongoKith
from tests.support.serving import serving
from tests.support.waiting import PATIENCE_SECONDS, wait_for

Mongo = Database[dict[str, Any]]


@contextmanager
def writing(kith: MongoKith) -> Iterator[Callable[[], int]]:
    """Relations of 20 consumers with 5 providers come in without end; the function says how many have."""
    stop, numbers = Flag(), iter(range(10**9))
    done = 0

    def write() -> None:
        nonlocal done
        while not stop.is_set():
            lot = [next(numbers) for _ in range(100)]
            kith.store(
                recorded(
                    f"e{n}",
                    "2026-03-01T00:00:00Z",
                    f"r{n}",
                    consumer_id=f"c{n % 20}",
                    provider_id=f"p{n % 5}",
                    kind="purchase",
                    amount=n % 97,
                    currency="EUR",
                )
                for n in lot
            )
            done += 100

    thread = Thread(target=write)
    thread.start()
    try:
        yield lambda: done
    finally:
        stop.set()
        thread.join()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def exported(exports: Exports, name: str, snapshot: Snapshot) -> list[dict[str, str]]:
    export = exports.open(name, ExportQuery(), snapshot=snapshot)
    return rows_of(b"".join(FORMATS["csv"].chunks(export)))


def test_what_several_exports_of_a_moment_tell_fits_together_while_others_write(mongo_database: Mongo) -> None:
    kith = MongoKith(mongo_database)
    exports = Exports(mongo_database)
    sizes = set()
    with writing(kith) as done:
        wait_for("200 changes", lambda: done() >= 200)
        for _ in range(5):
            snapshot, before = exports.snapshot(), done()
            relationships = exported(exports, "relationships", snapshot)
            wait_for("200 more", lambda before=before: done() >= before + 200)  # type: ignore[misc]
            relations = exported(exports, "relations", snapshot)
            counts: Counter[tuple[str, str]] = Counter()
            sums: Counter[tuple[str, str]] = Counter()
            for fact in relations:
                counts[fact["consumer_id"], fact["provider_id"]] += 1
                sums[fact["consumer_id"], fact["provider_id"]] += int(fact["amount"])
            pairs = {(row["consumer_id"], row["provider_id"]): row for row in relationships}
            assert {pair: int(row["count"]) for pair, row in pairs.items()} == counts
            assert {pair: json.loads(row["amounts"] or "{}").get("EUR", 0) for pair, row in pairs.items()} == sums
            sizes.add(len(relations))
        # Without a moment of their own, the two differ: the check can fail.
        now = exported(exports, "relations", exports.snapshot())
        assert len(now) > len(relations)
    assert len(sizes) == 5


def filled(database: Mongo, count: int, text: str = "x" * 40) -> None:
    """Facts as the relations service stores them, by way of MongoDB alone."""
    prepare(database, COLLECTIONS)
    version = {"time": 1_780_000_000_000_000, "source": "till", "id": text}
    for begin in range(0, count, 20_000):
        database["relations"].insert_many(
            {
                "_id": f"default:c{n % 1000}:r{n:08}",
                "tenant": "default",
                "relation_id": f"r{n:08}",
                "consumer_id": f"c{n % 1000}",
                "provider_id": f"p{n % 50}",
                "kind": "purchase",
                "time": moment(n),
                "amount": n % 1000,
                "currency": "EUR",
                "retracted": False,
                "version": version,
            }
            for n in range(begin, min(begin + 20_000, count))
        )


def moment(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number % 100_000)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_memory_is_flat_however_many_rows_there_are(
    mongo_database: Mongo, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's own allocations, which are what would grow: Arrow's buffers are those of one row group.
    monkeypatch.setattr(arrow, "GROUP_ROWS", 2_000)
    monkeypatch.setattr("services.exports.snapshot.BATCH", 500)
    filled(mongo_database, 32_000)

    def peak(consumers: int) -> tuple[int, int]:
        export = Exports(mongo_database).open("relations", ExportQuery())
        size, rows = 0, 0

        def counted() -> Iterator[Any]:
            nonlocal rows
            for lot in export.rows:
                rows += len(lot)
                yield lot
                if rows >= consumers:
                    return

        chunks = FORMATS[format].chunks(replace(export, rows=_Rows(counted(), export.rows.close)))
        tracemalloc.start()
        try:
            for chunk in chunks:
                size += len(chunk)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            export.rows.close()
        assert rows >= consumers
        return most, size

    peak(1)  # with what is imported only now
    few, small = peak(8_000)
    many, large = peak(32_000)
    assert large > 3 * small
    # Four times the rows take no more; all of them at once would take four times as much.
    assert many < 1.5 * few


class _Rows:
    def __init__(self, rows: Iterator[Any], close: Callable[[], None]) -> None:
        self._rows = rows
        self.close = close

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> Any:
        return next(self._rows)


def cursors(database: Mongo) -> int:
    """Open cursors on the collections of this database, idle ones too."""
    found = database.client["admin"].aggregate(
        [
            {"$currentOp": {"idleCursors": True, "allUsers": True}},
            {"$match": {"ns": {"$regex": f"^{database.name}\\."}, "cursor": {"$exists": True}}},
        ]
    )
    return len(list(found))


@pytest.mark.parametrize("format", ["csv", "parquet", "hyper"])
def test_a_cancelled_download_frees_its_cursor_and_its_place(mongo_database: Mongo, format: str) -> None:
    filled(mongo_database, 30_000)
    app = create_app(Exports(mongo_database), list, access=OPEN)

    async def download(after: int) -> tuple[int, int]:
        """Go away after so many bytes; the cursors there were then, and the bytes that came."""
        received, open_cursors = 0, 0
        gone, asked = anyio.Event(), False

        async def receive() -> dict[str, Any]:
            nonlocal asked, open_cursors
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            while format != "csv" and not after and not gone.is_set():
                # The answer begins with the first row group, or the whole file: the reader goes away before.
                if open_cursors := await anyio.to_thread.run_sync(cursors, mongo_database):
                    gone.set()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal received, open_cursors
            received += len(message.get("body", b""))
            if received >= after and not gone.is_set():
                open_cursors = await anyio.to_thread.run_sync(cursors, mongo_database)
                gone.set()
                await anyio.sleep(0.2)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/export/relations",
            "raw_path": b"/v1/export/relations",
            "query_string": f"format={format}".encode(),
            "headers": [],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("test", 80),
            "client": ("test", 1),
            "root_path": "",
            "asgi": {"version": "3.0"},
        }
        await app(scope, receive, send)
        return open_cursors, received

    for _ in range(10):  # more often than downloads may be under way at the same time
        open_cursors, received = asyncio.run(download(0))
        assert open_cursors == 1
        # Where the reader left before the answer began, the thread that was making it frees the cursor.
        wait_for("no cursors", lambda: cursors(mongo_database) == 0)
    _, whole = asyncio.run(download(1 << 40))
    assert whole > received


def test_rows_end_when_they_are_stopped_from_another_thread() -> None:
    rows = Stoppable(_Rows(iter([[{"a": 1}], [{"a": 2}]]), lambda: None))
    assert next(rows) == [{"a": 1}]
    thread = Thread(target=rows.stop)
    thread.start()
    thread.join()
    with pytest.raises(Cancelled):
        next(rows)


@pytest.fixture
def short_memory(mongo_database: Mongo) -> Iterator[None]:
    """A server that keeps the past for a second."""
    admin = mongo_database.client["admin"]
    admin.command({"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 1})
    yield
    admin.command({"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 300})


def forget(database: Mongo, snapshot: Snapshot) -> None:
    """Write until the moment is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        database["other"].insert_one({})
        try:
            next(snapshot.find("relations", "relations", {}, limit=1))
        except MomentPassed:
            return
        time.sleep(0.2)
    raise AssertionError("the moment does not pass")


@pytest.mark.usefixtures("short_memory")
def test_an_export_that_takes_too_long_ends_with_the_reason_never_with_a_part(
    mongo_database: Mongo, caplog: pytest.LogCaptureFixture
) -> None:
    filled(mongo_database, 30_000)
    app = create_app(Exports(mongo_database), list, access=OPEN)
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        messages.append(message)
        if len(messages) == 2:
            await anyio.to_thread.run_sync(forget, mongo_database, Snapshot(mongo_database))

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/export/relations",
        "raw_path": b"/v1/export/relations",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
        "asgi": {"version": "3.0"},
    }
    asyncio.run(app(scope, receive, send))
    [line] = [record for record in caplog.records if record.message == "an export was aborted"]
    assert "minSnapshotHistoryWindowInSeconds" in line.reason  # type: ignore[attr-defined]
    # The server closes a connection whose body has not been ended: the reader sees that it is not whole.
    assert messages[0]["status"] == 200
    assert all(message.get("more_body") for message in messages[1:])
    assert cursors(mongo_database) == 0


def test_a_moment_that_never_was_is_refused(mongo_database: Mongo) -> None:
    with pytest.raises(MomentPassed):
        Snapshot(mongo_database, Timestamp(int(time.time()) + 10_000, 1))


def test_an_export_reads_the_version_that_was_live_at_its_moment(mongo_database: Mongo) -> None:
    filled(mongo_database, 10)
    exports = Exports(mongo_database)
    before = exports.snapshot()
    prepare(mongo_database, collections_of(COLLECTIONS, 2))
    fact = mongo_database["relations"].find_one() or {}
    mongo_database["relations@2"].insert_one({**fact, "kind": "view"})
    mongo_database["projections"].insert_one({"_id": "relations", "live": 2})
    after = exports.snapshot()
    assert {row["kind"] for row in exported(exports, "relations", before)} == {"purchase"}
    assert {row["kind"] for row in exported(exports, "relations", after)} == {"view"}


def service(database: Mongo) -> FastAPI:
    return create_app(Exports(database), list, access=OPEN)


def test_who_hangs_up_frees_the_cursor(mongo_database: Mongo) -> None:
    filled(mongo_database, 30_000, "x" * 1_000)  # more than the buffers between the two hold
    with serving(service(mongo_database)) as url:
        with closing(HTTPConnection(urlsplit(url).netloc)) as connection:
            connection.request("GET", "/v1/export/relations")
            assert len(connection.getresponse().read(1_000)) == 1_000
            assert cursors(mongo_database) == 1
        wait_for("the end of its cursor", lambda: cursors(mongo_database) == 0)


@pytest.mark.usefixtures("short_memory")
def test_a_reader_sees_that_a_file_is_not_whole(mongo_database: Mongo) -> None:
    filled(mongo_database, 30_000, "x" * 1_000)
    with (
        serving(service(mongo_database)) as url,
        closing(HTTPConnection(urlsplit(url).netloc)) as connection,
    ):
        connection.request("GET", "/v1/export/relations")
        answer = connection.getresponse()
        answer.read(1_000)
        forget(mongo_database, Snapshot(mongo_database))
        with pytest.raises((IncompleteRead, ConnectionError)):
            answer.read()
    wait_for("the end of its cursor", lambda: cursors(mongo_database) == 0)
