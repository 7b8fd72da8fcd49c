"""Fault points: the named steps of a worker, and what may happen to it there.

Production code knows nothing of them. ``install`` wraps the methods that the steps are the beginnings and ends of;
``tests.fault.process`` calls it before it runs a service. A fault is written ``step:action:when``:

- ``action``: ``kill`` (SIGKILL), ``stop`` (SIGSTOP), ``raise`` (an error that nobody expects), ``lost`` (a lost
  connection: after a commit, its answer), ``sleep=SECONDS``, ``hold`` (until the file of ``KITH_FAULT_RELEASE`` is
  there);
- ``when``: ``3`` is the third time that the step is reached, ``3+`` every time from then on.

Several are joined by commas.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect

from services.rabbitmq.client import RabbitConsumption
from services.rabbitmq.inflow import Inflow
from services.rabbitmq.letters import DeadLetters
from services.rabbitmq.outflow import Outflow
from services.webhooks.delivery.http_client import Answer, HttpClient
from services.webhooks.delivery.queue import Queue
from services.webhooks.fanout.feed import Feed
from services.webhooks.receipts.assignment import ReceiptAssignment
from services.webhooks.receipts.dispatcher import ReceiptDispatcher
from shared.access.apps.mongo import MongoApps
from shared.kafka.python_client.reader import KafkaReader
from shared.mongo.store import MongoStore
from shared.runtime.partition_state import PartitionState
from shared.runtime.runner import Runner
from shared.runtime.slice_fold import SliceFold

STEPS = (
    "before-claim",
    "after-claim",
    "after-parcels",  # what the last owner has left is known, but not published
    "after-drain",
    "after-decode",
    "before-transaction",
    "after-advance",  # the position has moved within the transaction
    "after-writes",
    "before-commit",
    "after-commit",
    "before-publish",
    "half-published",  # half of a lot is in Kafka for certain
    "after-publish",
    "before-clear",
    "after-clear",
)
#: Those of a sender of webhooks.
WEBHOOK_STEPS = (
    "before-post",
    "after-post",  # the endpoint has answered, and nothing of it is stored
    "before-settle",
    "after-settle",
    "before-feed",
    "after-feed",
)
#: Those of the apps service. A registration and a deletion are transactions (before-commit).
APP_STEPS = (
    "before-app",  # an application is about to be stored
    "after-app",  # it is, and nobody was answered
)
#: Those of what applications are told, from the notice to the answer that is stored.
TELLING_STEPS = (
    "before-receipts",
    "after-receipts",
    "before-given",
    "after-given",  # the receipt has its delivery
    "before-post",
    "after-post",
    "before-settle",
    "after-log",  # the log has the attempts; neither their receipts nor their deliveries know of it
    "after-told",  # the receipts know, too
    "after-settle",
)
#: Those of a bridge to RabbitMQ.
RABBITMQ_STEPS = (
    "before-publish-in",
    "after-publish-in",  # Kafka has the events, and RabbitMQ does not know
    "after-letters",
    "before-acknowledge",
    "after-acknowledge",
    "before-apply",
    "after-apply",  # RabbitMQ has the changes, and the position has not moved
)
#: Those of a sink with tables.
SINK_STEPS = (
    "before-rows",
    "within-rows",  # rows are written, and Postgres's transaction is not committed
    "after-rows",  # the target has the rows for good, and the position has not moved
)
#: Those of a process of intelligence.
INTELLIGENCE_STEPS = ("during-scan",)
_ALL = (STEPS, WEBHOOK_STEPS, APP_STEPS, TELLING_STEPS, RABBITMQ_STEPS, SINK_STEPS, INTELLIGENCE_STEPS)


class Unexpected(Exception):
    """A fault of the code, as it were."""


@dataclass(frozen=True)
class Fault:
    step: str
    action: str
    first: int
    ever_after: bool

    @classmethod
    def parse(cls, text: str) -> "Fault":
        step, action, when = text.split(":")
        if not any(step in steps for steps in _ALL):
            raise ValueError(f"there is no step {step}")
        return cls(step, action, int(when.removesuffix("+")), when.endswith("+"))

    def strikes(self, count: int) -> bool:
        return count >= self.first if self.ever_after else count == self.first

    def strike(self) -> None:
        # By hand and at once: nothing after the next line may be needed to tell of it.
        os.write(2, f"fault {self.step}:{self.action} strikes\n".encode())
        name, _, seconds = self.action.partition("=")
        if name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "stop":
            # To this thread: sent to the process, another may take it, and this one goes on for a moment.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        elif name == "raise":
            raise Unexpected(self.step)
        elif name == "lost":
            raise AutoReconnect(f"fault at {self.step}")
        elif name == "sleep":
            time.sleep(float(seconds))
        elif name == "hold":
            while not Path(os.environ["KITH_FAULT_RELEASE"]).exists():
                time.sleep(0.05)
        else:
            raise ValueError(f"there is no action {self.action}")


class Points:
    """Counts how often each step is reached."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = faults
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, step: str) -> bool:
        """Whether a fault has struck that this process has survived."""
        with self._lock:
            self._counts[step] += 1
            count = self._counts[step]
        struck = [fault for fault in self._faults if fault.step == step and fault.strikes(count)]
        for fault in struck:
            fault.strike()
        return bool(struck)


def install(faults: str) -> None:
    """Set the faults in this process, ``"after-commit:kill:3,before-clear:lost:1"``."""
    points = Points([Fault.parse(text) for text in faults.split(",")])
    if any(fault.step in INTELLIGENCE_STEPS for fault in points._faults):
        # Others need not load what it is made of.
        from services.intelligence.scan import MongoSource

        around(MongoSource, "_load_providers", points, "during-scan", None)
    if any(fault.step in SINK_STEPS for fault in points._faults):
        from services.cassandra.target import CassandraTarget
        from services.postgres.target import PostgresTarget

        for target in (CassandraTarget, PostgresTarget):
            around(target, "apply", points, "before-rows", "after-rows", when=lambda args, _: bool(args[2]))
        around(PostgresTarget, "_write", points, None, "within-rows", when=lambda args, _: bool(args[1]))
    around(MongoStore, "claim", points, "before-claim", "after-claim")
    around(MongoStore, "unpublished", points, None, "after-parcels", when=lambda _args, found: bool(found))
    for reader in _readers():
        around(reader, "start", points, "after-drain", None)
    around(SliceFold, "__init__", points, None, "after-decode")
    around(MongoStore, "commit", points, "before-transaction", None)
    around(MongoStore, "_advance", points, None, "after-advance")
    around(MongoStore, "_write", points, None, "after-writes")
    around(ClientSession, "commit_transaction", points, "before-commit", "after-commit")
    around(Runner, "_send", points, "before-publish", None)
    _publish_halves(points)
    around(PartitionState, "settled", points, "after-publish", None)
    around(Queue, "settle", points, "before-settle", "after-settle")
    around(Queue, "_log", points, None, "after-log")
    around(Queue, "_tell", points, None, "after-told")
    around(Feed, "_store", points, "before-feed", "after-feed")
    for write in ("insert", "replace"):
        around(MongoApps, write, points, "before-app", "after-app")
    around(ReceiptDispatcher, "_expand", points, "before-receipts", "after-receipts")
    around(ReceiptAssignment, "move", points, "before-given", "after-given", when=lambda args, _: bool(args[0]))
    _post(points)
    around_async(Inflow, "_publish", points, "before-publish-in", "after-publish-in")
    around_async(RabbitConsumption, "acknowledge", points, "before-acknowledge", "after-acknowledge")
    around(DeadLetters, "write", points, None, "after-letters")
    around(Outflow, "apply", points, "before-apply", "after-apply", when=lambda args, _: bool(args[2]))
    around(MongoStore, "clear", points, "before-clear", "after-clear", when=lambda args, _: bool(args[0]))


def _post(points: Points) -> None:
    plain = HttpClient.post

    async def post(self: HttpClient, url: str, headers: dict[str, str], body: bytes) -> Answer:
        points.reach("before-post")
        answer = await plain(self, url, headers, body)
        points.reach("after-post")
        return answer

    HttpClient.post = post  # type: ignore[method-assign]


def around_async(owner: type, name: str, points: Points, before: str, after: str) -> None:
    """Make a coroutine reach a step before and after its work."""
    plain = getattr(owner, name)

    @wraps(plain)
    async def wrapped(self: Any, *args: Any) -> Any:
        points.reach(before)
        result = await plain(self, *args)
        points.reach(after)
        return result

    setattr(owner, name, wrapped)


def around(
    owner: type,
    name: str,
    points: Points,
    before: str | None,
    after: str | None,
    when: Callable[[tuple[Any, ...], Any], bool] = lambda _args, _result: True,
) -> None:
    """Make a method reach a step before and after its work, where ``when`` finds it worth counting."""
    plain = getattr(owner, name)

    @wraps(plain)
    def wrapped(self: Any, *args: Any, **options: Any) -> Any:
        struck = before is not None and when(args, None) and points.reach(before)
        try:
            result = plain(self, *args, **options)
        finally:
            if struck:
                os.write(2, f"fault {before} is past\n".encode())
        if after is not None and when(args, result):
            points.reach(after)
        return result

    setattr(owner, name, wrapped)


def _publish_halves(points: Points) -> None:
    plain = Runner._send

    def send(self: Any, unpublished: Any) -> Any:
        if any(fault.step == "half-published" for fault in points._faults):
            messages = [message for batch in unpublished for message in batch.messages]
            self._publisher.send(messages[: len(messages) // 2]).result()
            points.reach("half-published")
        return plain(self, unpublished)

    setattr(Runner, "_send", send)  # noqa: B010


def _readers() -> list[type]:
    readers: list[type] = [KafkaReader]
    if os.environ.get("KITH_KAFKA_CLIENT") == "librdkafka":
        from shared.kafka.librdkafka.reader import LibrdkafkaReader

        readers.append(LibrdkafkaReader)
    return readers
