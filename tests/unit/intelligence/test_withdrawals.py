"""Who has withdrawn a consent is in nothing that is stored, whatever purpose it was and whatever ran meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intelligence.consented import purpose_for
from services.intelligence.engine.snapshot import NodeFigures, Snapshot
from services.intelligence.job import Job
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.outcomes.settings import recording_of
from services.intelligence.outcomes.touched import Touched
from services.intelligence.state import State
from shared.contracts.errors import Unavailable
from shared.contracts.events import Event
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.support.builders import MemoryKith, event, recorded
from tests.support.intelligence import MemoryIntelligence

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ONCE = {"purchase": {"2026-10": {"count": 1}}}
CONSUMERS = ["ada", "bob", "cem"]


class Following:
    """A follower of this state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.is_writing = False

    def problems(self) -> list[str]:
        return []

    @property
    def tenants(self) -> set[str]:
        return {*self.state.tenants}

    def reading(self, _: str) -> Any:
        return nullcontext(self.state)

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.is_writing = True
        yield
        self.is_writing = False


class Stored:
    """An OutcomeStore, as far as lists are added."""

    def __init__(self) -> None:
        self.lists: list[Document] = []

    def add(self, lists: Sequence[Document]) -> int:
        self.lists += lists
        return len(lists)

    def of(self, tenant: str, consumers: Sequence[str]) -> list[Document]:  # noqa: ARG002
        return []


PURPOSES = st.dictionaries(st.sampled_from(["acme", "*"]), st.sampled_from(["profiling", "research"]))
GRANTS = st.dictionaries(st.sampled_from(CONSUMERS), st.sets(st.sampled_from(["profiling", "research"])))


@given(PURPOSES, PURPOSES, GRANTS)
def test_both_settings_name_what_recording_needs_and_neither_replaces_the_other(
    intelligence: dict[str, str], outcomes: dict[str, str], grants: dict[str, set[str]]
) -> None:
    settings = Settings()
    recording = recording_of(
        settings.model_copy(
            update={"intelligence_purpose": intelligence, "outcomes_purpose": outcomes, "outcomes_share": 1.0}
        )
    )
    needed = {purpose_for(intelligence, "acme"), purpose_for(outcomes, "acme")} - {None}
    state = State({})
    for consumer in CONSUMERS:
        state.tenant("acme").put(consumer, "p", ONCE)
    touched, stored, forgotten = Touched(), Stored(), set[str]()
    recorder = Recorder(
        stored,  # type: ignore[arg-type]
        Following(state),
        touched,
        recording,
        lambda _, ids, purpose: {id for id in ids if purpose in grants.get(id, ())},
        lambda _, ids: forgotten.update(ids),
        lambda: NOW,
    )
    as_of = {"positions": {}, "month": "2026-11", "half_life_months": 6.0, "beta": 0.4, "model": "walk"}
    for consumer in CONSUMERS:
        items = [{"provider_id": "q", "rank": 1, "score": 1.0}]
        recorder.show("acme", "consumer", consumer, {"items": items, "as_of": as_of})
    touched.described("acme", CONSUMERS)
    recorder.look()
    kept = {consumer for consumer in CONSUMERS if needed <= grants.get(consumer, set())}
    assert {each["id"] for each in stored.lists} == kept
    assert forgotten == set(CONSUMERS) - kept


class Nodes:
    """The stored figures of consumers. ``during`` is called while a run stores them."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        self.found: dict[str, set[str]] = {}
        self.jobs: dict[str, Document] = {}
        self._during = during

    def tenants(self) -> set[str]:
        return set(self.jobs)

    def lease(self, tenant: str) -> bool:  # noqa: ARG002
        return True

    def store(self, tenant: str, nodes: Sequence[NodeFigures], going_on: Callable[[], bool]) -> int:
        assert going_on()
        self.found[tenant] = {each.id for each in nodes if each.side == "consumer"}
        self._during()
        return len(nodes)

    def delete(self, tenant: str, consumers: Sequence[str]) -> None:
        self.found[tenant] -= set(consumers)

    def finish(self, tenant: str, job: Document, seconds: float) -> None:  # noqa: ARG002
        self.jobs[tenant] = job


def job_of(state: State, nodes: Nodes) -> Job:
    return Job(Following(state), nodes, 300.0, lambda: NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [False, True])
def test_who_withdraws_while_the_job_runs_is_not_in_its_figures(fails: bool) -> None:
    state = State({}, {"*": "profiling"})
    tenant = state.tenant("acme")
    for consumer in CONSUMERS:
        tenant.grant(consumer, True)
        tenant.put(consumer, "p", ONCE)

    def withdraw() -> None:
        tenant.grant("bob", False)
        if fails:
            raise Unavailable("the service is stopping")

    nodes = Nodes(withdraw)
    if fails:
        with pytest.raises(Unavailable):
            job_of(state, nodes).look()
    else:
        job_of(state, nodes).look()
    assert nodes.found["acme"] == {"ada", "cem"}


def test_erasures_of_all_do_not_wait_while_the_figures_of_one_tenant_are_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever leaves meanwhile is not stored, not even for a moment: the process may end in it."""
    state = State({})
    tenant = state.tenant("acme")
    for consumer in CONSUMERS:
        tenant.put(consumer, "p", ONCE)
    following, held = Following(state), list[bool]()
    figures = Snapshot.figures

    def computed(snapshot: Snapshot, shown: int) -> Any:
        held.append(following.is_writing)
        tenant.put("bob", "p", None)
        return figures(snapshot, shown)

    def stored() -> None:
        held.append(following.is_writing)
        assert nodes.found["acme"] == {"ada", "cem"}

    nodes = Nodes(stored)
    monkeypatch.setattr(Snapshot, "figures", computed)
    Job(following, nodes, 300.0, lambda: NOW).look()  # type: ignore[arg-type]
    assert held == [False, True]
    assert nodes.jobs["acme"]["nodes"] == 3


def test_a_tenant_that_has_lost_its_last_relationship_loses_its_figures() -> None:
    state, nodes = State({}), Nodes()
    state.tenant("acme").put("ada", "p", ONCE)
    job_of(state, nodes).look()
    assert nodes.found == {"acme": {"ada"}}
    assert nodes.jobs["acme"]["nodes"] == 2
    # As a process sees it that is started afterwards.
    job_of(State({}), nodes).look()
    assert nodes.found == {"acme": set()}
    assert (nodes.jobs["acme"]["nodes"], nodes.jobs["acme"]["communities"]) == (0, [])


def test_a_withdrawal_is_told_once_the_consumer_has_left_the_graph() -> None:
    """Otherwise the job could make again of the graph what is deleted then."""
    kith = MemoryKith()
    kith.publish([recorded("e1", "2026-10-01T00:00:00Z", "r1", consumer_id="ada"), consent(1, granted=True)])
    kith.drain()
    service = MemoryIntelligence(kith, {"*": "profiling"})
    told: list[bool] = []

    class Told(Touched):
        def described(self, tenant: str, consumer_ids: Iterable[str]) -> None:
            # In the tenant's turn: nobody reads the graph in between.
            names = service.follower._state.known(tenant).graph.names["consumer"]
            told.extend(names.find(id) is not None for id in consumer_ids)

    service.follower._listener = Told()

    def withdraw() -> None:
        kith.publish([consent(2, granted=False)])
        kith.drain()

    service.follow(withdraw)
    assert told[-1:] == [False]


def consent(day: int, *, granted: bool) -> Event:
    said = {"consumer_id": "ada", "consent": {"profiling": granted}}
    return event("consumer.upserted", f"c{day}", f"2026-10-0{day}T00:00:00Z", said)
