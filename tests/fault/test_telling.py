"""``kill -9`` at every step by which applications are told of an erasure: it becomes one notice, one receipt of
each application that the consumer ever agreed to, and one delivery of each receipt, whose ``webhook-id`` never
changes.

Each process is killed at its step, and the next one goes on from there. The lease of a sender that was killed is
deleted instead of waited for; ``test_webhooks.py`` waits.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.apps.registry import Registry
from services.webhooks.deliveries import DELIVERIES, LEASES
from services.webhooks.messages.signing import message_id
from shared.access.apps.mongo import MongoApps
from shared.access.apps.schema import NOTICES, RECEIPTS, REGISTER
from tests.fault.load import Item, event
from tests.fault.points import TELLING_STEPS
from tests.fault.system import System
from tests.fault.test_webhooks import endpoints_of
from tests.support.apps import new_app
from tests.support.receiver import Receiver, receiver

CONSUMERS = ("ada", "bob", "eve")


@dataclass
class Telling:
    """Two applications that consumers have agreed to, one of them no longer. ``there`` is where each is told."""

    system: System
    there: dict[str, Receiver]

    def agree(self) -> None:
        former, present = sorted(self.there)
        self._send("consumer.upserted", "2026-10-01T10:00:00Z", consent={former: True})
        self._send("consumer.upserted", "2026-10-01T11:00:00Z", consent={former: False, present: True})

    def erase(self) -> None:
        self._send("consumer.erased", "2026-10-02T10:00:00Z", mode="delete")

    def _send(self, type: str, time: str, **data: Any) -> None:
        events = [event(type, f"{time}-{each}", {"consumer_id": each, **data}, time=time) for each in CONSUMERS]
        self.system.load(map(Item, events)).finish()

    def kill_at(self, *steps: str) -> None:
        for step in steps:
            self.system.wait_killed(self.system.start("webhooks", fault=f"{step}:kill:1"))
            self.system.database[LEASES].delete_many({})

    def check(self, killed: int) -> None:
        """Each application was told of each consumer, again only where a sender was killed, and under one id."""
        database, owed = self.system.database, len(self.there) * len(CONSUMERS)
        # A delivery is deleted after its receipt says that it was delivered.
        self.system.wait("the end of telling", lambda: self._delivered() == owed and not self._left())
        receipts = list(database[RECEIPTS].find())
        told = {(each["app"], each["consumer_id"]): each for each in receipts}
        assert len(told) == len(receipts) == owed
        for app, there in self.there.items():
            ids: dict[str, set[str]] = defaultdict(set)
            for each in there.received:
                body = orjson.loads(each.body)
                assert (body["type"], body["data"]["app"]) == ("consumer.erased", app)
                ids[body["data"]["consumer_id"]].add(each.headers["webhook-id"])
            assert ids == {name: {message_id(told[app, name]["_id"])} for name in CONSUMERS}
            # All that an application is told may have been under way.
            assert len(there.received) <= len(CONSUMERS) * (1 + killed)

    def _left(self) -> int:
        return sum(self.system.database[name].count_documents({}) for name in (NOTICES, REGISTER, DELIVERIES))

    def _delivered(self) -> int:
        return self.system.database[RECEIPTS].count_documents({"state": "delivered"})


@contextmanager
def telling(system: System) -> Iterator[Telling]:
    endpoints = endpoints_of(system)
    registry = Registry(MongoApps(system.database), lambda: datetime.now(UTC))
    with receiver() as one, receiver() as other:
        there = {}
        for found in (one, other):
            made = registry.register(new_app("relations:read", "webhooks:manage", tenant="default"))
            id = registry.approve(made.app, made.app.requested).id
            stated = {"url": found.url, "types": ["relation.changed"], "purpose": id, "bound": True}
            endpoints.create("default", stated, "hmac", [], id)
            there[id] = found
        system.start("relations")
        yield Telling(system, there)


def told(system: System, at_consent: Sequence[str], at_erasure: Sequence[str]) -> None:
    with telling(system) as applications:
        applications.agree()
        applications.kill_at(*at_consent)
        applications.erase()
        applications.kill_at(*at_erasure)
        system.start("webhooks")
        applications.check(len(at_consent) + len(at_erasure))


@pytest.mark.fast
def test_an_erasure_is_told_once_wherever_whoever_is_killed(system: System) -> None:
    told(system, ["after-commit"], ["after-given", "after-told"])


@pytest.mark.parametrize("step", ["before-commit", "after-commit"])
def test_a_consent_is_known_to_the_end_after_a_kill(system: System, step: str) -> None:
    told(system, [step], [step])


@pytest.mark.parametrize("step", TELLING_STEPS)
def test_an_erasure_is_told_once_after_a_kill(system: System, step: str) -> None:
    told(system, [], [step])
