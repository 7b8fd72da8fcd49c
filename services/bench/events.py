"""Generates the events of a benchmark, the same for the same seed. Pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS, KIND_WEIGHTS = ("view", "purchase", "review", "contact", "subscribe"), (40, 35, 15, 7, 3)
CHANNELS = ("web", "app", "store", "phone")
# How many earlier events and facts can be repeated or amended: this bounds the memory for long topics.
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of events that record a new fact, amend one and retract one. The rest is redelivered: an earlier
    event, byte for byte."""

    fresh: float
    amended: float = 0.0
    retracted: float = 0.0


#: 62 % new facts, 38 % redelivered.
REDELIVERED = Mix(0.62)
#: 70 % new facts, 20 % amendments, 10 % retractions.
AMENDED = Mix(0.7, amended=0.2, retracted=0.1)
#: New facts only.
FRESH = Mix(1.0)


class BenchEvent(NamedTuple):
    """One event, ready to publish. ``live`` is its difference in the number of live facts."""

    key: bytes
    value: bytes
    relation_id: str
    fresh: bool
    live: int


class _Fact(NamedTuple):
    relation_id: str
    number: int
    consumer: int
    provider: int


def generate(
    count: int, mix: Mix, seed: int = 1, consumers: int | None = None, providers: int | None = None
) -> Iterator[BenchEvent]:
    """``count`` events. Consumers and providers are drawn by Zipf's law (exponent 1) from the given numbers of
    them (default: a tenth and a hundredth of the count)."""
    draw = random.Random(seed)
    consumer_weights = _zipf(consumers or max(count // 10, 10))
    provider_weights = _zipf(providers or max(count // 100, 10))
    consumer_ranks, provider_ranks = range(len(consumer_weights)), range(len(provider_weights))
    history: list[tuple[bytes, bytes, str]] = []
    facts: list[_Fact] = []
    for number in range(count):
        chance = draw.random()
        if not history or chance < mix.fresh:
            fact = _Fact(
                f"r-{number:08d}",
                number,
                draw.choices(consumer_ranks, cum_weights=consumer_weights)[0],
                draw.choices(provider_ranks, cum_weights=provider_weights)[0],
            )
            _remember(facts, fact, draw)
            event = recorded(draw, number, fact.relation_id, fact.consumer, fact.provider)
            fresh, live = True, 1
        elif chance < mix.fresh + mix.amended and facts:
            fact = facts[draw.randrange(len(facts))]
            event = recorded(draw, number, fact.relation_id, fact.consumer, fact.provider)
            # As the contract requires of an amendment: the time of the relation, not of the amendment.
            event["data"]["occurred_at"] = START + timedelta(seconds=fact.number)
            fresh, live = False, 0
        elif chance < mix.fresh + mix.amended + mix.retracted and facts:
            fact = _take(facts, draw)
            event = _retracted(draw, number, fact)
            fresh, live = False, -1
        else:
            key, value, relation_id = history[draw.randrange(len(history))]
            yield BenchEvent(key, value, relation_id, fresh=False, live=0)
            continue
        key, value = f"default:c-{fact.consumer:07d}".encode(), orjson.dumps(event)
        _remember(history, (key, value, fact.relation_id), draw)
        yield BenchEvent(key, value, fact.relation_id, fresh, live)


def recorded(draw: random.Random, number: int, relation_id: str, consumer: int, provider: int) -> dict[str, Any]:
    """A relation.recorded, the ``number``-th event of its topic, as a JSON object."""
    kind = draw.choices(KINDS, KIND_WEIGHTS)[0]
    data: dict[str, Any] = {
        "relation_id": relation_id,
        "kind": kind,
        "consumer_id": f"c-{consumer:07d}",
        "provider_id": f"p-{provider:06d}",
    }
    if kind in ("purchase", "subscribe"):
        data |= {"amount": draw.randrange(100, 50_000), "currency": "EUR"}
    elif kind == "review":
        data |= {"rating": draw.randrange(1, 6), "text": "x" * draw.randrange(20, 120)}
    # With the number, so that every amendment changes the fact.
    data["traits"] = {"channel": draw.choice(CHANNELS), "campaign": f"spring-{number}"}
    return _envelope(draw, number, "relation.recorded", data)


def ending(number: int, consumer_id: str, relation_id: str) -> BenchEvent:
    """A fact that ends a partition of a topic: a contender that has stored it has stored all facts before it."""
    data = {"relation_id": relation_id, "kind": "view", "consumer_id": consumer_id, "provider_id": "p-end"}
    event = _envelope(random.Random(relation_id), number, "relation.recorded", data)
    return BenchEvent(f"default:{consumer_id}".encode(), orjson.dumps(event), relation_id, fresh=True, live=1)


def _retracted(draw: random.Random, number: int, fact: _Fact) -> dict[str, Any]:
    data = {
        "relation_id": fact.relation_id,
        "consumer_id": f"c-{fact.consumer:07d}",
        "provider_id": f"p-{fact.provider:06d}",
        "reason": "cancelled by the consumer",
    }
    return _envelope(draw, number, "relation.retracted", data)


def _envelope(draw: random.Random, number: int, type: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{draw.getrandbits(128):032x}",
        "source": "shop/eu-1",
        "type": type,
        # A second apart, so that a later event about a fact is the higher version.
        "time": START + timedelta(seconds=number),
        "data": data,
    }


def _zipf(size: int) -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, size + 1)))


def _remember(items: list[Any], item: Any, draw: random.Random) -> None:
    if len(items) < _REMEMBERED:
        items.append(item)
    else:
        items[draw.randrange(_REMEMBERED)] = item


def _take(facts: list[_Fact], draw: random.Random) -> _Fact:
    """Remove a fact, so that it is not retracted twice."""
    place = draw.randrange(len(facts))
    facts[place], facts[-1] = facts[-1], facts[place]
    return facts.pop()
