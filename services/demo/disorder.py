"""Faults between a fact and the log: late and repeated events, amendments, retractions, and events that the door
must reject. Pure."""

from collections.abc import Iterator
from random import Random
from typing import Any

from services.demo.region import Provider
from services.demo.wire import DAY, HOUR, MINUTE, SOURCES, Event, Writer

AMENDED, RETRACTED, REPEATED, LATE = 0.05, 0.03, 0.04, 0.05
#: One event in this many must be rejected by the door.
FLAWED_EVERY = 500

REASONS = ("cancelled", "returned", "entered twice", "fraud")
_TEXTS = (
    ("Never again.", "Waited an hour.", "Cold, rude and dear."),
    ("Below what we hoped for.", "Had better days.", "Not worth the way."),
    ("Fine.", "Does what it should.", "Neither good nor bad."),
    ("Friendly and quick.", "Good value.", "We will come again."),
    ("Wonderful!", "The best on the lake.", "Could not be better."),
)


def opinion(random: Random, quality: float) -> dict[str, Any]:
    """A rating from 1 to 5 around a provider's quality, and a text that fits it."""
    rating = min(5, max(1, round(random.gauss(quality, 0.7))))
    return {"rating": rating, "text": random.choice(_TEXTS[rating - 1])}


class Disorder:
    """Turns one recorded relation into all the events that arrive about it."""

    def __init__(self, random: Random, writer: Writer, end: int, providers: list[Provider]) -> None:
        """No event is dated at ``end`` (microseconds since 1970) or later."""
        self._random = random
        self._writer = writer
        self._end = end
        self._providers = providers

    def arrivals(self, event: Event, time: int) -> Iterator[tuple[int, Event]]:
        """(time of arrival, event) of ``event``, which happened at ``time``, and of its later events."""
        random = self._random
        arrival = time + int(random.random() * 3_000_000)
        if random.random() < LATE:
            arrival = time + self.delay(6 * HOUR, 60 * DAY)
        if random.random() < AMENDED:
            yield from self._amendments(event, time)
        if random.random() < RETRACTED:
            gone = self.later(time)
            heard = gone + int(random.random() * MINUTE)
            yield heard, self._retraction(event, gone)
            if random.random() < 0.25:
                arrival = heard + 1 + int(random.random() * DAY)
            if random.random() < 0.3:
                again = self.later(gone)
                yield again, self._writer.event("relation.recorded", again, self._revised(event))
        yield arrival, event
        if random.random() < REPEATED:
            yield arrival + self.delay(MINUTE, 3 * DAY), event

    def delay(self, least: int, most: int) -> int:
        """Microseconds between the two; every order of magnitude is equally likely."""
        return int(least * (most / least) ** self._random.random())

    def later(self, time: int) -> int:
        """Some time after ``time``, but before the end."""
        moment = time + self.delay(10 * MINUTE, 30 * DAY)
        return moment if moment < self._end else time + int(self._random.random() * (self._end - time))

    def _amendments(self, event: Event, time: int) -> Iterator[tuple[int, Event]]:
        random = self._random
        when = self.later(time)
        first = self._writer.event("relation.recorded", when, self._corrected(event))
        yield when + int(random.random() * HOUR), first
        if random.random() < 0.1:  # two systems correct it in the same instant: source and id decide
            source = random.choice([name for name in SOURCES if name != first["source"]])
            second = self._writer.event("relation.recorded", first["time"], self._corrected(event), source)
            yield when + int(random.random() * HOUR), second

    def _revised(self, event: Event) -> dict[str, Any]:
        return {**event["data"], "occurred_at": event["time"]}

    def _corrected(self, event: Event) -> dict[str, Any]:
        random = self._random
        data = self._revised(event)
        if random.random() < 0.12:
            data["provider_id"] = random.choice(self._providers).id
        elif "rating" in data:
            data.update(opinion(random, data["rating"] + random.choice((-1, 1))))
        elif "amount" in data:
            data["amount"] = max(1, int(data["amount"] * random.uniform(0.3, 1.2)))
        else:
            data["traits"] = {"channel": random.choice(("search", "map", "advert", "friend"))}
        return data

    def _retraction(self, event: Event, time: int) -> Event:
        data = {
            "relation_id": event["data"]["relation_id"],
            "consumer_id": event["data"]["consumer_id"],
            "reason": self._random.choice(REASONS),
        }
        if self._random.random() < 0.8:
            data["provider_id"] = event["data"]["provider_id"]
        return self._writer.event("relation.retracted", time, data)

    def flawed(self, like: Event) -> tuple[Event, str]:
        """A new relation event that must be rejected, and its flaw."""
        data = {**like["data"], "relation_id": f"flawed-{self._random.getrandbits(48):012x}"}
        event = self._writer.event("relation.recorded", like["time"], data)
        flaw = self._random.choice(("unknown type", "no provider", "amount without currency", "no offset"))
        if flaw == "unknown type":
            event["type"] = "relation.liked"
        elif flaw == "no provider":
            del data["provider_id"]
        elif flaw == "amount without currency":
            data["amount"] = 100
            data.pop("currency", None)
        else:
            event["time"] = like["time"][:19]
        return event, flaw
