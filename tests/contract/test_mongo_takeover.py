"""A position changes hands while its old owner is in the middle of a transaction, on a real MongoDB."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pymongo.client_session import ClientSession
from pymongo.database import Database

from shared.contracts.collections import Collections, CollectionSpec
from shared.contracts.errors import Fenced, Unavailable
from shared.contracts.revision import REVISION
from shared.mongo.store import MongoStore, connect, prepare
from shared.runtime.protocols import Document, Get, OutboxBatch, Outcome, Progress, Slice, Write
from tests.conftest import Addresses
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS

POSITION = "relations@1/kith.relations/0"
SPECS: Collections = {"things": CollectionSpec({}, indexes=((("tenant", 1), ("name", -1)),), guard="version")}

DIES = """
import sys, time
from shared.mongo.store import MongoStore, connect
from tests.contract.test_mongo_takeover import POSITION, SPECS, slice_of

class Stuck(MongoStore):
    def _write(self, writes, session):
        super()._write(writes, session)
        print("writing", flush=True)
        time.sleep(300)

store = Stuck(connect(sys.argv[1])[sys.argv[2]], SPECS)
claim, progress = store.claim(POSITION, "zombie")
store.commit(slice_of(claim, progress, "zombie"))
"""


def slice_of(claim: Any, before: Progress, by: str) -> Slice:
    document = {"_id": "a", "version": 1, "by": by}
    return Slice(claim, before, Progress(5), Outcome([Write("things", "a", None, document)]))


@pytest.fixture
def prepared(mongo_database: Database[Document]) -> Database[Document]:
    prepare(mongo_database, SPECS)
    return mongo_database


@pytest.fixture
def died(servers: Addresses, prepared: Database[Document]) -> None:
    """A worker was killed in the middle of a transaction, which MongoDB therefore keeps open."""
    arguments = [sys.executable, "-c", DIES, servers.mongo, prepared.name]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()


@pytest.fixture
def long_transactions(mongo_database: Database[Document]) -> Iterator[None]:
    """A server that ends a transaction which nobody goes on with only after ten minutes."""
    admin, name = mongo_database.client.admin, "transactionLifetimeLimitSeconds"
    before = admin.command({"getParameter": 1, name: 1})[name]
    admin.command({"setParameter": 1, name: 600})
    yield
    admin.command({"setParameter": 1, name: before})


@pytest.mark.usefixtures("long_transactions", "died")
def test_a_worker_that_died_holds_nobody_up(prepared: Database[Document]) -> None:
    began = time.monotonic()
    prepare(prepared, SPECS)
    store = MongoStore(prepared, SPECS)
    claim, progress = store.claim(POSITION, "heir")
    assert progress == Progress(None, 0, {})
    store.commit(slice_of(claim, progress, "heir"))
    assert time.monotonic() - began < PATIENCE_SECONDS, "it was waited for"
    assert store.read(Get({"things": ["a"]}))["things"]["a"]["by"] == "heir"


def test_a_worker_that_is_slow_is_fenced(servers: Addresses, prepared: Database[Document]) -> None:
    go_on, writing = threading.Event(), threading.Event()

    class Slow(MongoStore):
        def _write(self, writes: Sequence[Write], session: ClientSession) -> None:
            writing.set()
            assert go_on.wait(PATIENCE_SECONDS)
            super()._write(writes, session)

    with connect(servers.mongo) as client:
        slow = Slow(client[prepared.name], SPECS)
        claim, progress = slow.claim(POSITION, "slow")
        late = slice_of(claim, progress, "slow")
        errors: list[BaseException] = []

        def commit() -> None:
            try:
                slow.commit(late)
            except Unavailable as error:
                errors.append(error)

        worker = threading.Thread(target=commit)
        worker.start()
        assert writing.wait(PATIENCE_SECONDS)
        store = MongoStore(prepared, SPECS)
        other, progress = store.claim(POSITION, "quick")
        go_on.set()
        worker.join(PATIENCE_SECONDS)
        assert len(errors) == 1, "its transaction is over, but it has not been told so"
        with pytest.raises(Fenced):
            slow.commit(late)
        assert store.commit(slice_of(other, progress, "quick")) == list[OutboxBatch]()
    assert store.read(Get({"things": ["a"]}))["things"]["a"]["by"] == "quick"


def test_a_claim_waits_for_a_slice_that_is_about_to_be_stored(
    servers: Addresses, prepared: Database[Document]
) -> None:
    writing = threading.Event()

    class Busy(MongoStore):
        def _write(self, writes: Sequence[Write], session: ClientSession) -> None:
            super()._write(writes, session)
            writing.set()
            time.sleep(0.5)

    with connect(servers.mongo) as client:
        busy = Busy(client[prepared.name], SPECS)
        claim, progress = busy.claim(POSITION, "busy")
        worker = threading.Thread(target=busy.commit, args=[slice_of(claim, progress, "busy")])
        worker.start()
        assert writing.wait(PATIENCE_SECONDS)
        _, progress = MongoStore(prepared, SPECS).claim(POSITION, "next")
        worker.join(PATIENCE_SECONDS)
    assert progress.next == 5


def test_preparing_again_brings_what_has_changed_up_to_date(prepared: Database[Document]) -> None:
    schema = {"bsonType": "object", "required": ["version"]}
    key = (("tenant", 1), ("version", 1))
    prepare(prepared, {"things": CollectionSpec(schema, indexes=(*SPECS["things"].indexes, key))})
    (found,) = prepared.list_collections(filter={"name": "things"})
    assert found["options"]["validator"] == {"$jsonSchema": {**schema, "title": f"kith revision {REVISION}"}}
    keys = {tuple(index["key"]) for index in prepared.things.index_information().values()}
    assert keys == {(("_id", 1),), *SPECS["things"].indexes, key}
    prepare(prepared, SPECS)
    (found,) = prepared.list_collections(filter={"name": "things"})
    assert not found["options"].get("validator")
