"""The five laws on stored documents, over random histories of facts."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.projection import AGGREGATES
from shared.runtime.protocols import Message
from tests.support.analytics_driver import (
    TOPIC,
    Driver,
    Fact,
    History,
    Stored,
    exact,
    expected_sums,
    fact,
    stored,
    summed,
)

#: relation, its state: what happens to a history
Step = tuple[str, Fact | None]

FACTS = st.builds(
    fact,
    provider=st.sampled_from(["p1", "p:2", "p3"]),
    kind=st.sampled_from(["view", "purchase"]),
    time=st.sampled_from(
        [
            "2026-11-20T23:59:59.999999Z",
            "2026-11-21T00:00:00Z",
            "2026-11-21T07:15:00Z",
            "2026-11-21T01:30:00+02:00",
        ]
    ),
    rating=st.none() | st.integers(0, 5),
) | st.builds(
    fact,
    provider=st.sampled_from(["p1", "p:2"]),
    kind=st.just("purchase"),
    # Nothing, and amounts that cancel out, more often than others.
    amount=st.sampled_from([0, 0, 5, -5, 5, -5, 1299]),
    currency=st.sampled_from(["EUR", "USD"]),
)
RELATIONS = st.sampled_from([f"r{number}" for number in range(8)])
STEPS = st.lists(st.tuples(RELATIONS, st.none() | FACTS), max_size=40)
SEEDS = st.integers(0, 2**32 - 1)


def consumer_of(relation: str) -> str:
    return f"c{int(relation.removeprefix('r')) % 3}"


def tenant_of(relation: str) -> str:
    return "other" if relation == "r7" else "default"


def history_of(steps: Sequence[Step], grown_at: int | None = None) -> History:
    """As the relations service tells it: a retraction of what is not there is no change. A consumer's changes
    come through one partition, and through another from step ``grown_at`` on."""
    history = History()
    for number, (relation, after) in enumerate(steps):
        consumer, tenant = consumer_of(relation), tenant_of(relation)
        if after is None and (tenant, consumer, relation) not in history.live:
            continue
        partition = int(consumer[1]) % 2
        if grown_at is not None and number >= grown_at:
            partition = (partition + 1) % 3
        history.state(relation, after, consumer, tenant, partition)
    return history


def slices(history: History, seed: int) -> Iterator[list[Message]]:
    """The partitions' logs in slices of random length, the partitions taking turns at random."""
    chance = random.Random(seed)
    rest = {number: list(log) for number, log in history.logs.items()}
    while rest:
        number = chance.choice(sorted(rest))
        length = chance.randint(1, 5)
        yield rest[number][:length]
        del rest[number][:length]
        if not rest[number]:
            del rest[number]


def shuffled(steps: Sequence[Step], seed: int) -> list[Step]:
    """Another order of the steps that ends in the same facts: each relation keeps its own order."""
    by_relation: dict[str, list[Step]] = {}
    for step in steps:
        by_relation.setdefault(step[0], []).append(step)
    turns = [step[0] for step in steps]
    random.Random(seed).shuffle(turns)
    queues = {relation: iter(own) for relation, own in by_relation.items()}
    return [next(queues[relation]) for relation in turns]


def folded(history: History, seed: int) -> Stored:
    driver = Driver()
    for part in slices(history, seed):
        driver.feed(part)
    return driver.stored


@given(STEPS)
def test_what_is_stored_is_what_counting_the_facts_gives(steps: list[Step]) -> None:
    history = history_of(steps)
    assert summed(stored(history)) == expected_sums(history.live.items())


def redelivered(history: History, seed: int) -> Driver:
    """The history as a publisher delivers it whose process and broker crash: a tail of what it has published
    comes again, and a batch whose beginning is lost comes once more as a whole."""
    chance, driver = random.Random(seed), Driver()
    done: dict[int, list[Message]] = {}
    for part in slices(history, seed):
        past = done.setdefault(part[0].partition or 0, [])
        tail = past[len(past) - chance.randint(0, len(past)) :]
        early = part[chance.randint(0, len(part)) :] if chance.random() < 0.3 else []
        driver.feed([*tail, *early, *part, *part[chance.randint(0, len(part)) :]])
        past.extend(part)
    return driver


@given(STEPS, SEEDS)
def test_duplicates_change_nothing(steps: list[Step], seed: int) -> None:
    history = history_of(steps)
    driver = redelivered(history, seed)
    assert driver.stored == stored(history)
    assert exact(driver.stored) == exact(stored(history))


@given(STEPS, SEEDS, SEEDS)
def test_order_changes_nothing(steps: list[Step], seed: int, turns: int) -> None:
    assert exact(folded(history_of(shuffled(steps, seed)), turns)) == exact(stored(history_of(steps)))


@given(STEPS, SEEDS)
def test_slices_change_nothing(steps: list[Step], seed: int) -> None:
    history = history_of(steps)
    assert folded(history, seed) == stored(history)
    assert exact(folded(history, seed)) == exact(stored(history))


@given(STEPS, SEEDS)
def test_all_of_it_once_more_writes_nothing(steps: list[Step], seed: int) -> None:
    history, driver = history_of(steps), Driver()
    for part in slices(history, seed):
        driver.feed(part)
    assert [write for part in slices(history, seed + 1) for write in driver.feed(part)] == []


@given(STEPS, SEEDS, SEEDS)
def test_a_replay_of_the_log_equals_the_live_state(steps: list[Step], seed: int, turns: int) -> None:
    """A new store reads the log from offset 0, repetitions and all, in other slices."""
    live = redelivered(history_of(steps), seed)
    logged = History()
    for partition, records in live.log.records.items():
        if records and partition.topic == TOPIC:
            logged.logs[partition.number] = [
                Message(TOPIC, record.key, record.value or b"", partition.number, record.headers)
                for record in records
            ]
    assert exact(folded(logged, turns)) == exact(live.stored)


@given(STEPS, STEPS, SEEDS, SEEDS)
def test_a_retraction_equals_never_having_happened(
    kept: list[Step], gone: list[Step], seed: int, turns: int
) -> None:
    """The relations of ``gone`` come into being anywhere among the others, and are all retracted."""
    others = [(f"r{int(relation[1]) + 10}", after) for relation, after in gone]
    both = shuffled([*kept, *others, *((relation, None) for relation, _ in others)], seed)
    assert exact(folded(history_of(both), turns)) == exact(stored(history_of(kept)))


@given(STEPS, st.integers(0, 40), SEEDS)
def test_the_sums_stay_exact_when_partitions_are_added(steps: list[Step], grown_at: int, seed: int) -> None:
    """The partitions run ahead of each other in any way, so that partials go below zero in between."""
    history = history_of(steps, grown_at)
    assert summed(folded(history, seed)) == expected_sums(history.live.items())


@given(STEPS)
def test_no_zero_is_stored_but_of_a_currency_that_a_fact_has(steps: list[Step]) -> None:
    for documents in stored(history_of(steps)).values():
        for document in documents.values():
            assert list(zeros(document)) == []


@given(STEPS)
def test_a_currency_is_stored_as_long_as_a_fact_has_it(steps: list[Step]) -> None:
    history = history_of(steps)
    wanted: dict[str, set[str]] = {}
    for (tenant, _, _), live in history.live.items():
        wanted.setdefault(tenant, set()).update({live["currency"]} if "amount" in live else ())
    found: dict[str, set[str]] = {tenant: set() for tenant in wanted}
    for document in stored(history)[AGGREGATES].values():
        found[document["tenant"]].update(document.get("amount", {}))
        assert document.get("amount", {}).keys() == {
            c for h in document["hours"].values() for c in h.get("amount", ())
        }
    assert found == wanted


def zeros(document: dict[str, Any]) -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, dict):
            if not value:
                yield name
            if name != "amount":
                yield from zeros(value)
        elif value == 0 and name != "partition":
            yield name
