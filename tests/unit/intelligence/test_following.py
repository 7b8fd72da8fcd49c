"""The graph is the set of relationships, whenever it was read, whatever follows, and whatever gets lost."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.intelligence.job import Job
from services.intelligence.queue_lock import QueueLock
from services.intelligence.state import Inconsistent, Pending, State
from shared.contracts.errors import NoRoom
from shared.contracts.events import Event
from shared.runtime.protocols import Message, Record
from shared.runtime.sequence_numbers import NUMBER
from shared.runtime.tail import TailLost
from tests.support.builders import TOPICS, MemoryKith, event, recorded, retracted
from tests.support.intelligence import MemoryIntelligence, graph_of, relationships_of
from tests.support.strategies import events, relation_events

HISTORIES = st.lists(events() | relation_events(), max_size=40)
CHANGES = TOPICS.name("relation-changes")


def same(service: MemoryIntelligence, *, withheld: bool = False) -> None:
    with service.follower.reading("default") as state:
        assert graph_of(state, withheld=withheld) == relationships_of(service.kith.documents())


@given(HISTORIES, st.integers(0, 20), st.integers(0, 20), st.sampled_from([1, 2, 1_000]))
@settings(max_examples=40)
def test_it_is_the_set_of_relationships_whenever_it_was_read(
    history: Sequence[Event], one: int, two: int, most_cells: int
) -> None:
    # With more cells, those of a pair are in documents of their own.
    kith = MemoryKith(most_cells=most_cells)
    before, during, after = history[:one], history[one : one + two], history[one + two :]
    kith.publish(before)
    kith.drain()
    service = MemoryIntelligence(kith)

    def meanwhile() -> None:
        kith.publish(during)
        kith.drain()

    service.follow(meanwhile)
    same(service)
    # What follows, and everything once more, as after a crash before the outbox is cleared.
    tail = service.follower._open_tail()
    kith.publish(after)
    kith.drain()
    for partition, records in list(kith.log.records.items()):
        if partition.topic == CHANGES:
            for record in list(records):
                kith.log.append(
                    Message(CHANGES, record.key, record.value or b"", partition.number, record.headers)
                )
    service.follower._take(tail)
    same(service)
    assert not service.letters


def following(kith: MemoryKith, purposes: dict[str, str] | None = None) -> tuple[MemoryIntelligence, Any]:
    """A service that has followed everything so far, and the tail of what comes next."""
    service = MemoryIntelligence(kith, purposes)
    service.follow()
    return service, service.follower._open_tail()


def store(kith: MemoryKith, *events: Event) -> None:
    kith.publish(events)
    kith.drain()


def test_two_processes_with_the_same_positions_answer_alike() -> None:
    kith = MemoryKith()
    store(kith, *(recorded(f"e{n}", "2026-10-01T00:00:00Z", f"r{n}", provider_id=f"p{n % 4}") for n in range(9)))
    first, tail = following(kith)
    store(kith, *(recorded(f"f{n}", "2026-11-01T00:00:00Z", f"s{n}", consumer_id=f"d{n}") for n in range(5)))
    store(kith, retracted("g1", "2026-11-02T00:00:00Z", "s1", consumer_id="d1"))
    first.follower._take(tail)
    second, _ = following(kith)
    with first.follower.reading("default") as one, second.follower.reading("default") as two:
        assert one.seen == two.seen
        assert graph_of(one) == graph_of(two)


def test_a_gap_is_noticed_and_read_again() -> None:
    kith = MemoryKith(partitions=1)
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, tail = following(kith)
    partition = next(p for p in kith.log.records if p.topic == CHANGES)
    store(kith, recorded("e2", "2026-10-01T00:00:00Z", "r2"), recorded("e3", "2026-10-02T00:00:00Z", "r3"))
    lost = kith.log.records[partition].pop(1)
    assert dict(lost.headers)[NUMBER] == b"2"
    service.follower._take(tail)
    service.follower._check()
    assert service.follower.lag == 2
    service.now += 11.0
    with pytest.raises(TailLost, match="2 changes do not arrive"):
        service.follower._check()
    service.follow()
    same(service)
    assert service.follower.lag == 0


def test_a_topic_that_has_lost_its_tail_is_read_again() -> None:
    kith = MemoryKith(partitions=1)
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, tail = following(kith)
    partition = next(p for p in kith.log.records if p.topic == CHANGES)
    store(kith, recorded("e2", "2026-10-01T00:00:00Z", "r2"))
    kith.log.trim(partition, 2)
    with pytest.raises(TailLost):
        service.follower._take(tail)
    service.follow()
    same(service)


@pytest.mark.parametrize("how", ["another version", "an older database"])
def test_what_is_not_the_same_database_is_read_again(how: str) -> None:
    kith = MemoryKith()
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, _ = following(kith)
    if how == "another version":
        service.source.version = 2
    else:
        kith.store.positions.clear()
    with pytest.raises(TailLost):
        service.follower._check()


def test_a_change_that_cannot_be_read_is_a_dead_letter_and_everything_is_read_again() -> None:
    kith = MemoryKith()
    service, tail = following(kith)
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    [record] = [r for p, log in kith.log.records.items() if p.topic == CHANGES for r in log]
    broken = Message(CHANGES, record.key, b'{"half', record.partition.number, record.headers)
    kith.log.records[record.partition].clear()
    kith.log.append(broken)
    with pytest.raises(Inconsistent):
        service.follower._take(tail)
    [(buried, error)] = service.letters
    assert (buried.value, error.reason) == (b'{"half', "not_json")
    service.follow()
    same(service)


def test_what_kith_has_not_numbered_does_not_count() -> None:
    kith = MemoryKith()
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, tail = following(kith)
    [record] = [r for p, log in kith.log.records.items() if p.topic == CHANGES for r in log]
    kith.log.append(Message(CHANGES, record.key, record.value or b"", record.partition.number))
    kith.log.append(Message(CHANGES, record.key, b"nonsense", record.partition.number))
    service.follower._take(tail)
    same(service)
    assert len(service.letters) == 1


def test_a_change_that_does_not_fit_is_never_wrong_in_silence() -> None:
    kith = MemoryKith()
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, tail = following(kith)
    with service.follower.reading("default") as state:
        state.tenant("default").put("c1", "p1", None)
    store(kith, retracted("e2", "2026-10-02T00:00:00Z", "r1"))
    with pytest.raises(Inconsistent):
        service.follower._take(tail)


def test_it_waits_for_mongodb_instead_of_reading_everything_again() -> None:
    kith = MemoryKith()
    service, _ = following(kith)
    service.source.available = False
    service.follower._check()
    assert service.follower.scans == 1


def test_an_erased_consumer_leaves_the_graph() -> None:
    kith = MemoryKith()
    facts = [recorded(f"e{n}", "2026-10-01T00:00:00Z", f"r{n}", provider_id=f"p{n}") for n in range(3)]
    store(kith, *facts, recorded("f", "2026-10-01T00:00:00Z", "r9", consumer_id="c2"))
    service, tail = following(kith)
    gone = {"consumer_id": "c1", "mode": "delete"}
    store(kith, event("consumer.erased", "x", "2026-10-02T00:00:00Z", gone))
    service.follower._take(tail)
    same(service)
    with service.follower.reading("default") as state:
        assert {consumer for _, consumer, _ in graph_of(state)} == {"c2"}
        assert "c1" not in state.tenants["default"].graph.names["consumer"].ids
    # At once, and when nothing more can be made of them.
    assert service.erased == [("default", "c1")] * 2


class _Given:
    """A tail of certain records."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def poll(self, timeout_ms: int) -> list[Record]:  # noqa: ARG002
        return self._records

    def close(self) -> None:
        pass


def test_what_is_made_of_an_erased_consumer_in_between_is_forgotten_too() -> None:
    kith = MemoryKith()
    store(kith, recorded("e", "2026-10-01T00:00:00Z", "r"))
    service, tail = following(kith)
    store(kith, event("consumer.erased", "x", "2026-10-02T00:00:00Z", {"consumer_id": "c1", "mode": "delete"}))
    # Their erasure is told before their relationships are retracted, in another topic; the job writes meanwhile.
    records = tail.poll(0)
    service.follower._take(_Given([each for each in records if each.partition.topic != CHANGES]))
    assert service.erased == [("default", "c1")]
    with service.follower.writing():
        service.follower._take(_Given([each for each in records if each.partition.topic == CHANGES]))
        same(service)
        assert service.erased == [("default", "c1")], "what is being written is made of the state before"
    service.follower._take(tail)
    assert service.erased == [("default", "c1")] * 2
    service.follower._take(tail)
    assert service.erased == [("default", "c1")] * 2, "once is enough"


def consent(id: str, consumer: str, granted: bool) -> Event:
    said = {"consumer_id": consumer, "consent": {"advice": granted}}
    return event("consumer.upserted", id, f"2026-10-{id}T00:00:00Z", said)


def test_with_a_purpose_only_those_who_granted_it_are_in_the_graph() -> None:
    kith = MemoryKith()
    facts = [recorded(f"e{n}", "2026-10-01T00:00:00Z", f"r{n}", consumer_id=f"c{n % 3}") for n in range(9)]
    store(kith, consent("01", "c1", True), *facts)
    service, tail = following(kith, {"*": "advice"})

    def consumers() -> set[str]:
        with service.follower.reading("default") as state:
            return {consumer for _, consumer, _ in graph_of(state)}

    assert consumers() == {"c1"}
    same(service, withheld=True)
    store(kith, consent("02", "c2", True), consent("03", "c1", False))
    store(kith, recorded("g", "2026-11-01T00:00:00Z", "s", consumer_id="c1", provider_id="p7"))
    service.follower._take(tail)
    assert consumers() == {"c2"}
    same(service, withheld=True)
    store(kith, consent("04", "c1", True))
    service.follower._take(tail)
    assert consumers() == {"c1", "c2"}
    same(service, withheld=True)


def test_a_process_is_not_ready_before_it_is_whole() -> None:
    service = MemoryIntelligence(MemoryKith())
    assert service.follower.problems() == ["the relationships have not been read yet"]
    assert service.follower.seen == {}
    service.follow()
    assert service.follower.problems() == []


def test_a_process_that_stays_behind_is_not_ready() -> None:
    kith = MemoryKith()
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, _ = following(kith)
    store(kith, recorded("e2", "2026-10-01T00:00:00Z", "r2"))
    service.now += 61.0
    assert service.follower.problems() == ["0 changes have not been read for 60 s"]


def test_what_is_being_written_holds_the_numbers_back() -> None:
    kith = MemoryKith(partitions=1)
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, tail = following(kith)
    before = service.follower.seen
    with service.follower.writing():
        store(kith, recorded("e2", "2026-10-01T00:00:00Z", "r2"))
        service.follower._take(tail)
        assert service.follower.seen == before
    assert service.follower.seen == {"relations@1/kith.relations/0": 2}


def test_the_largest_tenant_is_refused_when_there_is_no_room_left_and_no_other() -> None:
    kith = MemoryKith()
    large = [
        recorded(f"e{n}", "2026-10-01T00:00:00Z", f"r{n}", provider_id=f"p{n}", consumer_id="c") for n in range(5)
    ]
    small = event(
        "relation.recorded",
        "other",
        "2026-10-01T00:00:00Z",
        {"relation_id": "r", "kind": "visit", "consumer_id": "c", "provider_id": "p"},
        tenant="other",
    )
    store(kith, small, *large[:2])
    service, tail = following(kith)
    service.follower._state.most = service.follower._most_edges = 4
    store(kith, *large[2:])
    service.follower._take(tail)
    assert (service.follower.problems(), service.follower.edges) == ([], 1)
    with service.questions.reading("other") as state:
        assert state.known("other").graph.edges == 1
    with pytest.raises(NoRoom, match="KITH_INTELLIGENCE_MAX_EDGES"), service.questions.reading("default"):
        pass
    # What it does from now on is not followed, and does not stop the others' changes.
    store(kith, retracted("e9", "2026-10-02T00:00:00Z", "r0", consumer_id="c", provider_id="p0"))
    service.follower._take(tail)
    assert (service.follower.lost, service.follower.edges) == (0, 1)
    # One that is read again is held to it as well.
    service.follow()
    assert service.follower.edges == 1


def visit(tenant: str, id: str, provider: str = "p") -> Event:
    said = {"relation_id": id, "kind": "visit", "consumer_id": f"c-{id}", "provider_id": provider}
    return event("relation.recorded", f"{tenant}-{id}", "2026-10-01T00:00:00Z", said, tenant=tenant)


def test_changes_of_two_tenants_take_one_turn_of_each() -> None:
    """With a turn for each, every question that waits would be answered before the next change of anybody."""
    kith = MemoryKith(partitions=1)
    service, tail = following(kith)
    turns: list[str] = []

    class Counting(QueueLock):
        def __init__(self, tenant: str) -> None:
            super().__init__()
            self._tenant = tenant

        def take_free(self) -> bool:
            turns.append(self._tenant)
            return super().take_free()

    service.follower._locks._locks |= {tenant: Counting(tenant) for tenant in ("a", "b")}
    store(kith, *(visit("ab"[n % 2], str(n)) for n in range(20)))
    service.follower._take(tail)
    assert (service.follower.changes, sorted(turns)) == (20, ["a", "b"])
    same(service)


def test_the_changes_of_others_do_not_wait_for_a_tenant_whose_questions_compute() -> None:
    kith = MemoryKith(partitions=1)
    service, tail = following(kith)
    origin = "relations@1/kith.relations/0"

    def reached(tenant: str) -> tuple[int, int]:
        with service.follower.reading(tenant) as state:
            return state.known(tenant).graph.edges, state.seen.get(origin, 0)

    with service.follower.reading("busy") as busy:
        store(kith, *(visit("busy", str(n)) for n in range(3)), visit("other", "one"))
        service.follower._take(tail)
        assert reached("other") == (1, 4), "the fourth change is the other's"
        assert (busy.known("busy").graph.edges, busy.seen) == (0, {}), "nothing moves while it is read"
        assert service.follower.seen[origin] == 0, "no erasure may rely on what the process has not made yet"
    # Who asks next has everything that was told so far, whether or not the follower had its turn.
    assert reached("busy") == (3, 4)
    assert service.follower.seen[origin] == 4
    same(service)


def test_changes_leave_only_while_nobody_looks_through_them() -> None:
    """Whoever writes, or reports how far the process is, looks through what waits of all tenants."""
    kith = MemoryKith(partitions=1)
    service, tail = following(kith)
    alone: list[bool] = []

    class Watched(deque[Pending]):
        def popleft(self) -> Pending:
            alone.append(service.follower._lock.locked())
            return super().popleft()

    with service.follower.reading("busy"):
        store(kith, *(visit("busy", str(n)) for n in range(3)))
        service.follower._take(tail)
    pending = service.follower._state.pending
    pending["busy"] = Watched(pending["busy"])
    with service.follower.reading("busy"):
        assert alone == [True] * 3
    same(service)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans()), max_size=30),
    st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=10),
)
@settings(max_examples=40)
def test_whoever_is_read_meanwhile_every_tenant_gets_all_its_changes(
    history: Sequence[tuple[str, int, bool]], read: Sequence[str]
) -> None:
    kith = MemoryKith(partitions=2)
    service, tail = following(kith)
    for number, (tenant, fact, stays) in enumerate(history):
        said = visit(tenant, f"{fact}", f"p{number}")
        store(kith, said if stays else said.model_copy(update={"id": f"again-{number}", "time": said.time}))
        if meanwhile := read[number % len(read)]:
            with service.follower.reading(meanwhile) as state:
                before = graph_of(state), dict(state.seen)
                service.follower._take(tail)
                mine = {pair: kinds for pair, kinds in before[0].items() if pair[0] == meanwhile}
                now = {pair: kinds for pair, kinds in graph_of(state).items() if pair[0] == meanwhile}
                assert (now, state.seen) == (mine, before[1])
        else:
            service.follower._take(tail)
    service.follower._take(tail)
    same(service)
    assert not service.follower._state.pending


def test_a_change_that_does_not_fit_is_found_by_who_reads_and_everything_is_read_again() -> None:
    kith = MemoryKith(partitions=1)
    store(kith, visit("busy", "1"))
    service, tail = following(kith)
    with service.follower.reading("busy") as state:
        state.tenant("busy").put("c-1", "p", None)
        gone = {"relation_id": "1", "consumer_id": "c-1", "provider_id": "p"}
        store(kith, event("relation.retracted", "x", "2026-10-02T00:00:00Z", gone, tenant="busy"))
        service.follower._take(tail)
    with service.follower.reading("busy") as state:
        assert state.seen == {"relations@1/kith.relations/0": 1}, "what does not fit has not been reached"
    with pytest.raises(Inconsistent):
        service.follower._take(tail)
    service.follow()
    same(service)


def described(tenant: str, number: int) -> Event:
    said = {"provider_id": f"p{number}", "name": "x" * 200, "categories": ["food"]}
    return event("provider.upserted", f"{tenant}-{number}", "2026-10-01T00:00:00Z", said, tenant=tenant)


def consents(tenant: str, number: int) -> Event:
    said = {"consumer_id": f"c{number:0190}", "consent": {"advice": True}}
    return event("consumer.upserted", f"{tenant}-{number}", "2026-10-01T00:00:00Z", said, tenant=tenant)


def of_kinds(tenant: str, number: int) -> Event:
    said = {"relation_id": f"{number}", "kind": f"kind_{number}", "consumer_id": "c", "provider_id": "p"}
    return event("relation.recorded", f"{tenant}-{number}", "2026-10-01T00:00:00Z", said, tenant=tenant)


@pytest.mark.parametrize(
    ("made", "purposes"),
    [(described, {}), (consents, {"*": "advice"}), (of_kinds, {}), (of_kinds, {"*": "advice"})],
    ids=["providers", "consents", "kinds", "kinds of who is withheld"],
)
@pytest.mark.parametrize("when", ["in a scan", "in changes"])
def test_whatever_a_tenant_fills_the_memory_with_it_alone_is_refused(
    made: Callable[[str, int], Event], purposes: dict[str, str], when: str
) -> None:
    kith = MemoryKith()
    small = [visit("other", "1"), consent("01", "c-1", True).model_copy(update={"tenant": "other"})]
    store(kith, *small)
    service, tail = following(kith, purposes)
    service.follower._state.most = service.follower._most_edges = 1_000
    for start in range(0, 600, 100):
        store(kith, *(made("large", number) for number in range(start, start + 100)))
    if when == "in a scan":
        service.follow()
    else:
        service.follower._take(tail)
        service.follower._take(tail)
    assert service.follower.problems() == []
    with pytest.raises(NoRoom), service.questions.reading("large"):
        pass
    with service.questions.reading("other") as state:
        assert state.known("other").graph.edges == 1
    large = service.follower._state.tenants["large"]
    assert (large.providers, large.granted, large.withheld.edges, large.graph.edges) == ({}, set(), 0, 0)
    assert service.follower.outgrown == 1
    # Nothing of it comes again, and what it had before has left room for others.
    store(kith, made("large", 1_000))
    service.follower._take(tail)
    assert (large.providers, large.granted, large.withheld.edges, large.graph.edges) == ({}, set(), 0, 0)
    assert sum(each.room for each in service.follower.held) < 1_000


def test_views_of_kinds_go_before_anybody_is_refused() -> None:
    kith = MemoryKith(partitions=1)
    store(kith, *(visit("large", str(n), f"p{n}") for n in range(500)), visit("other", "1"))
    service, tail = following(kith)
    with service.follower.reading("large") as state:
        graph = state.known("large").graph
        assert graph.of_kind("visit").edges == 500
    views = sum(each.views for each in service.follower.held)
    assert views > 0
    service.follower._state.most = sum(each.room for each in service.follower.held) + views // 2
    service.follower._take(tail)
    assert (service.follower.outgrown, sum(each.views for each in service.follower.held)) == (0, 0)
    with service.follower.reading("large") as state:
        assert state.known("large").graph.of_kind("visit").edges == 500


def test_the_job_leaves_the_figures_of_a_tenant_that_is_not_held() -> None:
    kith = MemoryKith()
    store(kith, recorded("e1", "2026-10-01T00:00:00Z", "r1"))
    service, _ = following(kith)
    leased: list[str] = []

    class Stored:
        tenants = staticmethod(lambda: {"default"})
        lease = staticmethod(leased.append)

    job = Job(service.follower, Stored(), 300.0, None)  # type: ignore[arg-type]
    job.look()
    assert leased == ["default"]
    service.follower._state.most = 0
    service.follower._keep_room()
    job.look()
    assert leased == ["default"]


def test_a_tenant_that_is_unknown_is_empty_and_is_not_stored() -> None:
    state = State({})
    assert state.known("nobody").graph.edges == 0
    assert not state.tenants
