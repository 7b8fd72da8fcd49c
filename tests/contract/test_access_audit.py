"""The audit's chain, held to the same on MongoDB and in memory, and what its verification finds."""

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database

from shared.access.audit import AuditLog, MemoryAuditLog, Recorder
from shared.access.audit_mongo import COLLECTION, MongoAuditLog
from shared.access.chain import FIRST, INSTALLATION, Act, Entry, canonical, entry_of, flaws, hash_of
from shared.access.verify import Witnessed, verify
from shared.contracts.errors import Unavailable
from tests.support.waiting import PATIENCE_SECONDS

Mongo = Database[dict[str, Any]]
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
KEY = b"k" * 32


def act(number: int = 0, tenant: str = "acme") -> Act:
    return Act(
        tenant,
        "ann",
        "abcd1234",
        "personal.read",
        {"consumer_id": f"c{number}"},
        ("personal.name",),
        {"n": number},
    )


def chain(count: int, tenant: str = "acme", key: bytes | None = None) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(count):
        previous = entries[-1]["hash"] if entries else FIRST
        entries.append(entry_of(act(number, tenant), NOW, number + 1, previous, key))
    return entries


class Seen:
    """A Witness that keeps what it is told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.closed = False

    def forward(self, entries: Any) -> None:
        self.entries += entries

    def close(self) -> None:
        self.closed = True


@pytest.fixture(params=["memory", "mongo"])
def audit_log(request: pytest.FixtureRequest) -> AuditLog:
    if request.param == "memory":
        return MemoryAuditLog()
    return MongoAuditLog(request.getfixturevalue("mongo_database"))


def test_a_chain_grows_at_its_head(audit_log: AuditLog) -> None:
    assert audit_log.head("acme") == (0, FIRST)
    entries = chain(5)
    assert audit_log.append(entries[:2]) == 2
    assert audit_log.head("acme") == (2, entries[1]["hash"])
    assert audit_log.append(entries[2:]) == 3
    assert list(audit_log.entries("acme")) == entries
    assert audit_log.head("other") == (0, FIRST)
    assert audit_log.tenants() == ["acme"]


def test_a_place_is_taken_once(audit_log: AuditLog) -> None:
    entries = chain(4)
    audit_log.append(entries[:2])
    assert audit_log.append(entries[1:]) == 0, "the first of them is there already"
    assert audit_log.append(entries[2:]) == 2
    assert list(audit_log.entries("acme")) == entries


def test_tenants_whose_names_begin_alike_have_chains_of_their_own(audit_log: AuditLog) -> None:
    for tenant in ("a", "a-b", "a0", INSTALLATION):
        audit_log.append(chain(3, tenant))
    assert audit_log.tenants() == sorted([INSTALLATION, "a", "a-b", "a0"])
    for tenant in ("a", "a-b", "a0", INSTALLATION):
        assert list(audit_log.entries(tenant)) == chain(3, tenant)
        assert audit_log.head(tenant)[0] == 3


def test_writers_beside_each_other_keep_one_chain(audit_log: AuditLog) -> None:
    """As several processes do: each Recorder knows nothing of the others."""
    seen = Seen()
    recorders = [Recorder(audit_log, lambda: NOW, KEY, seen) for _ in range(4)]

    def work(recorder: Recorder, first: int) -> None:
        for number in range(first, first + 25):
            recorder.record(act(number, random.choice(["acme", "other"])))

    threads = [
        threading.Thread(target=work, args=(recorder, 100 * number + 50 * part))
        for number, recorder in enumerate(recorders)
        for part in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for recorder in recorders:
        recorder.close()
    told = Witnessed()
    for entry in seen.entries:
        told.take(canonical(entry))
    verdict = verify(audit_log, told.hashes, KEY)
    assert verdict.flaws == []
    assert sum(verdict.entries.values()) == 200
    assert verdict.entries == verdict.witnessed
    numbers = [entry["details"]["n"] for tenant in verdict.entries for entry in audit_log.entries(tenant)]
    assert len(set(numbers)) == 200, "each act is there once"


class Slow:
    """A log whose first write takes until it is let go."""

    def __init__(self) -> None:
        self.log = MemoryAuditLog()
        self.writing, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    def append(self, entries: Any) -> int:
        self.writing.set()
        assert self.go.wait(PATIENCE_SECONDS)
        return self.log.append(entries)


def test_what_comes_during_a_write_is_written_together() -> None:
    slow = Slow()
    recorder = Recorder(slow, lambda: NOW)
    threads = [threading.Thread(target=recorder.record, args=(act(n),)) for n in range(30)]
    threads[0].start()
    assert slow.writing.wait(PATIENCE_SECONDS)
    for thread in threads[1:]:
        thread.start()
    while sum(map(len, recorder._waiting.values())) < 29:
        pass
    slow.go.set()
    for thread in threads:
        thread.join()
    recorder.close()
    assert slow.log.writes == 2
    assert verify(slow.log, {}, None).flaws == []


def test_what_cannot_be_written_is_said_and_the_chain_goes_on_afterwards() -> None:
    memory, seen = MemoryAuditLog(), Seen()
    recorder = Recorder(memory, lambda: NOW, None, seen)
    recorder.record(act(1))
    memory.away = True
    with pytest.raises(Unavailable):
        recorder.record(act(2))
    memory.away = False
    recorder.record(act(3))
    recorder.close()
    assert [entry["details"]["n"] for entry in memory.entries("acme")] == [1, 3]
    assert verify(memory, {}, None).flaws == []
    assert seen.closed
    with pytest.raises(Unavailable):
        recorder.record(act(4))


def kinds(entries: list[Entry], witnessed: dict[int, str] | None = None, key: bytes | None = None) -> list[str]:
    return [flaw.kind for flaw in flaws("acme", entries, witnessed or {}, key)]


Fault = Callable[[list[Entry]], list[Entry]]


def changed(entries: list[Entry]) -> list[Entry]:
    return [*entries[:3], {**entries[3], "who": "nobody"}, *entries[4:]]


def missing(entries: list[Entry]) -> list[Entry]:
    return [*entries[:3], *entries[5:]]


def exchanged(entries: list[Entry]) -> list[Entry]:
    """Another entry in its place, with a hash of its own: by someone who can compute, but not change the rest."""
    forged = {**entries[3], "who": "nobody"}
    return [*entries[:3], {**forged, "hash": hash_of(forged, None)}, *entries[4:]]


@pytest.mark.parametrize(
    ("fault", "expected"), [(changed, ["changed"]), (missing, ["missing"]), (exchanged, ["exchanged"])]
)
def test_a_fault_is_found_by_its_kind(fault: Fault, expected: list[str]) -> None:
    assert kinds(chain(8)) == []
    assert kinds(fault(chain(8))) == expected


def test_two_entries_in_each_others_place_are_found() -> None:
    entries = chain(6)
    one, other = entries[2], entries[3]
    swapped = [*entries[:2], {**other, "sequence": 3}, {**one, "sequence": 4}, *entries[4:]]
    assert kinds(swapped) == ["changed", "changed", "exchanged"]


@given(st.integers(1, 7), st.sampled_from(["who", "key", "action", "time", "previous", "details", "subject"]))
def test_whatever_is_changed_in_an_entry_shows(place: int, name: str) -> None:
    entries = chain(8)
    value = {"n": 99} if isinstance(entries[place][name], dict) else entries[place][name] + "x"
    entries[place] = {**entries[place], name: value}
    assert "changed" in kinds(entries)


def test_a_cut_tail_shows_as_far_as_the_topic_has_it() -> None:
    entries = chain(8)
    topic = {entry["sequence"]: entry["hash"] for entry in entries[:6]}
    assert kinds(entries, topic) == [], "what the topic does not have yet is no fault"
    assert kinds(entries[:6], topic) == [], "nobody but the topic could tell of what was cut off"
    assert kinds(entries[:5], topic) == ["cut"]
    assert kinds([], topic) == ["cut"]


def test_a_chain_that_was_computed_anew_differs_from_the_topic() -> None:
    topic = {entry["sequence"]: entry["hash"] for entry in chain(5)}
    anew: list[Entry] = []
    for number in range(5):
        previous = anew[-1]["hash"] if anew else FIRST
        told = Act("acme", "nobody", "x", "personal.read", {}, (), {"n": number})
        anew.append(entry_of(told, NOW, number + 1, previous, None))
    assert kinds(anew) == [], "by itself it is whole"
    assert kinds(anew, topic) == ["differs"] * 5


def test_with_a_key_nobody_else_can_compute_a_chain() -> None:
    good = chain(4, key=KEY)
    assert kinds(good, key=KEY) == []
    assert kinds(good, key=b"x" * 32) == ["changed"] * 4
    assert kinds(good) == ["unknown"] * 4


def test_without_the_key_a_chain_cannot_be_made_plain_either() -> None:
    """Plain hashes anybody can compute: a chain that is made anew with them is no better than a forged one."""
    forged = chain(6)
    assert kinds(forged, key=KEY) == ["unkeyed"]
    keyed = chain(6, key=KEY)
    [cut] = flaws("acme", [*keyed[:4], *continued(keyed[:4], 2, None)], {}, KEY)
    assert (cut.kind, cut.sequence) == ("unkeyed", 5)
    # Nor does a service that goes on from there make it good.
    between = [*keyed[:4], *continued(keyed[:4], 2, None)]
    [found] = flaws("acme", [*between, *continued(between, 1, KEY)], {}, KEY)
    assert (found.kind, found.sequence) == ("unkeyed", 5)


def test_an_entry_with_the_key_vouches_for_those_before_it() -> None:
    """Where the key was set later, the chain is whole once something has been recorded with it."""
    plain = chain(4)
    assert kinds([*plain, *continued(plain, 1, KEY)], key=KEY) == []
    assert kinds(changed([*plain, *continued(plain, 1, KEY)]), key=KEY) == ["changed"]
    assert "exchanged" in kinds([*exchanged(plain), *continued(plain, 1, KEY)], key=KEY)


def continued(entries: list[Entry], count: int, key: bytes | None) -> list[Entry]:
    """What comes after ``entries``."""
    found: list[Entry] = []
    for number in range(count):
        last = (found or entries)[-1]
        found.append(entry_of(act(number), NOW, last["sequence"] + 1, last["hash"], key))
    return found


def test_the_stored_audit_is_verified(mongo_database: Mongo) -> None:
    audit_log = MongoAuditLog(mongo_database)
    audit_log.append(chain(6))
    assert verify(audit_log, {}, None).flaws == []
    mongo_database[COLLECTION].update_one({"sequence": 2}, {"$set": {"who": "nobody"}})
    mongo_database[COLLECTION].delete_one({"sequence": 4})
    found = verify(audit_log, {}, None)
    assert [(flaw.sequence, flaw.kind) for flaw in found.flaws] == [(2, "changed"), (4, "missing")]
    assert found.entries == {"acme": 5}


@pytest.mark.parametrize(
    "value", [b"", None, b"[]", b"{}", b'{"tenant": 1, "sequence": "x", "hash": ""}', b"\xff"]
)
def test_what_is_no_entry_vouches_for_nothing(value: bytes | None) -> None:
    seen = Witnessed()
    assert seen.take(value) is False
    assert seen.hashes == {}
