"""A plausible market as a stream of events: visits of consumers to providers, and their results. Pure.

Everything follows from the seed: the same arguments yield the same events in the same order of arrival.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from services.demo.disorder import FLAWED_EVERY, Disorder, opinion
from services.demo.region import TASTES, TOWNS, Consumer, Provider, moved, new_consumer, new_provider, taste_of
from services.demo.seasons import Seasons
from services.demo.wire import DAY, HOUR, MINUTE, TILL, Event, Writer

#: How often somebody who tries something new follows their taste, not the neighbourhood.
_TASTE = 0.6


class Emission(NamedTuple):
    """One event to send. ``flaw`` is the fault of an event that the door must reject; None: the event is valid."""

    event: Event
    flaw: str | None


def market(events: int, seed: int, now: datetime, tenant: str | None = None) -> Iterator[Emission]:
    """Exactly ``events`` events of the eighteen months up to ``now`` (aware), in order of arrival.

    An event may be yielded more than once (the same dict): do not change it.
    """
    return _Market(events, seed, now, tenant).run()


class _Market:
    def __init__(self, events: int, seed: int, now: datetime, tenant: str | None) -> None:
        self._random = random = Random(seed)
        self._events = events
        self._seasons = Seasons(now)
        self._writer = Writer(random, tenant)
        self._arriving: list[tuple[int, int, Event]] = []  # a heap by time of arrival
        self._pushed = self._facts = 0
        self._progress = 0.0

        self._providers = [new_provider(random, n + 1) for n in range(min(5_000, max(12, events // 100)))]
        self._popular = _Zipf(self._providers, 0.9)
        self._liked = [
            _Zipf([p for p in self._providers if taste_of(p.id) == taste] or self._providers, 0.7)
            for taste in range(TASTES)
        ]
        self._local = {
            town.name: _Zipf([p for p in self._providers if p.town is town] or self._providers, 0.9)
            for town in TOWNS
        }
        self._disorder = Disorder(random, self._writer, self._seasons.end, self._providers)
        people = min(200_000, max(10, events // 25))
        self._activity = list(accumulate((1 / (n + 3) ** 0.6 for n in range(people)), initial=0.0))
        self._consumers: dict[int, Consumer] = {}

    def run(self) -> Iterator[Emission]:
        random, arriving = self._random, self._arriving
        sent = visits = 0
        likeness: Event | None = None
        visit_at = self._seasons.at(0.0)
        while sent < self._events:
            room = self._events - sent - len(arriving)
            if not arriving or (room > 0 and visit_at <= arriving[0][0]):
                self._visit(visit_at)
                visits += 1
                # Paced by the events per visit so far, so that the last visits end near `now`.
                step = (sent + len(arriving)) / visits / max(room, 1) * random.expovariate(1)
                self._progress += (1 - self._progress) * min(0.5, step)
                visit_at = self._seasons.at(self._progress)
                continue
            event = heapq.heappop(arriving)[2]
            yield Emission(event, None)
            sent += 1
            if event["type"] == "relation.recorded":
                likeness = event
            if likeness is not None and sent < self._events and random.random() * FLAWED_EVERY < 1:
                yield Emission(*self._disorder.flawed(likeness))
                sent += 1

    def _push(self, arrival: int, event: Event) -> None:
        self._pushed += 1
        heapq.heappush(self._arriving, (arrival, self._pushed, event))

    def _visit(self, time: int) -> None:
        """One consumer's visit to one provider, and all its relations."""
        random = self._random
        consumer = self._consumer(time)
        favourite = bool(consumer.favourites) and random.random() < consumer.loyalty
        if favourite:
            provider = random.choice(consumer.favourites)
        elif random.random() < _TASTE:
            provider = self._liked[taste_of(consumer.id)].pick(random)
        else:
            near = random.random() < 0.75
            provider = (self._local[consumer.town.name] if near else self._popular).pick(random)
        self._introduce(provider, time)
        trade = provider.category
        self._record("view", consumer, provider, time, {})
        interested = random.random() < trade.contact
        if interested:
            time += int(random.random() * HOUR)
            self._record("contact", consumer, provider, time, {})
        if random.random() > min(0.95, trade.purchase * (1.3 if interested or favourite else 0.8)):
            return
        time += self._disorder.delay(MINUTE, 2 * DAY)
        price = {"amount": _price(random, provider), "currency": provider.currency}
        self._record("purchase", consumer, provider, time, price, TILL)
        if not favourite and len(consumer.favourites) < 6:
            consumer.favourites.append(provider)
        if random.random() < 0.3:
            reviewed = time + self._disorder.delay(HOUR, 14 * DAY)
            self._record("review", consumer, provider, reviewed, opinion(random, provider.quality))
        if random.random() < trade.subscribe:
            details = {**price, "traits": {"plan": random.choice(("monthly", "yearly"))}}
            self._record("subscribe", consumer, provider, time + int(random.random() * DAY), details)

    def _record(
        self,
        kind: str,
        consumer: Consumer,
        provider: Provider,
        time: int,
        details: dict[str, Any],
        source: str | None = None,
    ) -> None:
        if time >= self._seasons.end:
            return  # it has not happened yet
        self._facts += 1
        data = {
            "relation_id": f"{kind}-{self._facts:07}",
            "kind": kind,
            "consumer_id": consumer.id,
            "provider_id": provider.id,
            **details,
        }
        event = self._writer.event("relation.recorded", time, data, source)
        for arrival, each in self._disorder.arrivals(event, time):
            self._push(arrival, each)

    def _consumer(self, time: int) -> Consumer:
        """An active consumer: few visit often, many seldom, new ones arrive all the time, some have left."""
        random, activity = self._random, self._activity
        present = max(1, int((len(activity) - 1) * (0.3 + 0.7 * self._progress)))
        for _ in range(4):
            number = bisect_right(activity, random.random() * activity[present]) - 1
            if number not in self._consumers:
                self._consumers[number] = new_consumer(random, number, self._progress)
                self._sign_up(self._consumers[number], time)
            consumer = self._consumers[number]
            if consumer.gone > self._progress:
                break
        return consumer

    def _sign_up(self, consumer: Consumer, time: int) -> None:
        random, write, later = self._random, self._writer.event, self._disorder.later
        personal = {"name": consumer.name, "email": f"{consumer.id.replace(':', '-')}@example.org"}
        data = {
            "consumer_id": consumer.id,
            "personal": personal,
            "location": consumer.location,
            "traits": {"loyal": consumer.loyalty > 0.6},
            "consent": {"newsletter": random.random() < 0.4},
        }
        self._push(self._introduced(time), write("consumer.upserted", time, data))
        changes: list[dict[str, Any]] = []
        if random.random() < 0.08:
            changes.append({"location": moved(random)})
        if random.random() < 0.08:
            changes.append({"consent": {"newsletter": random.random() < 0.5, "profiling": True}})
        for change in changes:
            when = later(time)
            self._push(
                self._introduced(when),
                write("consumer.upserted", when, {"consumer_id": consumer.id, **change}),
            )
        if consumer.gone < 1 and random.random() < 0.05:
            erased = {"consumer_id": consumer.id, "mode": "anonymise"}
            left = max(time, self._seasons.at(consumer.gone))
            self._push(left, write("consumer.erased", left, erased))

    def _introduce(self, provider: Provider, time: int) -> None:
        if provider.known:
            return
        provider.known = True
        random, write, later = self._random, self._writer.event, self._disorder.later
        data = {
            "provider_id": provider.id,
            "name": provider.name,
            "categories": [provider.category.name],
            "location": provider.location,
        }
        self._push(self._introduced(time), write("provider.upserted", time, data))
        if random.random() < 0.2:
            when = later(time)
            data = {"provider_id": provider.id, "traits": {"wheelchair": random.random() < 0.5}}
            self._push(self._introduced(when), write("provider.upserted", when, data))
        if random.random() < 0.03:
            when = later(time)
            self._push(when, write("provider.closed", when, {"provider_id": provider.id}))

    def _introduced(self, time: int) -> int:
        """The time of arrival of a profile event: mostly at once, sometimes after the first relations."""
        return time - 1 if self._random.random() < 0.9 else time + self._disorder.delay(HOUR, 20 * DAY)


class _Zipf:
    """Picks the first of ``items`` most often, the nth about n^exponent times less often."""

    def __init__(self, items: list[Provider], exponent: float) -> None:
        self._items = items
        self._sums = list(accumulate(1 / (n + 1) ** exponent for n in range(len(items))))

    def pick(self, random: Random) -> Provider:
        return self._items[bisect_right(self._sums, random.random() * self._sums[-1])]


def _price(random: Random, provider: Provider) -> int:
    return max(1, int(provider.price * random.lognormvariate(0, provider.category.spread)))
