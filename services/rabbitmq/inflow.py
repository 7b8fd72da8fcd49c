"""Events of one queue into Kafka.

A delivery is acknowledged once Kafka has its events from all replicas, and its bad ones are dead letters. While
Kafka or MongoDB is unavailable nothing is acknowledged or refused: RabbitMQ sends no more than the prefetch, and
the rest waits there. What was in flight when something broke is delivered again; it counts once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from services.ingest.door import Accepted, Door, NotYetUnderstood
from services.ingest.sealing import seal
from services.rabbitmq.judging import Judged, judge
from services.rabbitmq.letters import DeadLetters
from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.protocols import Connect, Consumption, Delivery
from shared.access.audit import Act
from shared.contracts.errors import Unavailable
from shared.contracts.limits import MAX_BODY_BYTES
from shared.runtime.protocols import Message, Publisher
from shared.vault.keys import Vault

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Most messages that are judged and published at a time. The next batch waits until Kafka has this one, so that no
#: retry changes their order: small ones would spend their time waiting.
_BATCH = 500
#: In the prefetch: one comes in, one is judged, one waits, and one is on its way to Kafka.
_BATCHES = 4
#: Of messages in hand, and of what they contain in a batch. A message may be a batch of events itself, compressed
#: or not, of up to MAX_BODY_BYTES: a prefetch of thousands is no limit of the memory then.
_MOST_BYTES, _BATCH_BYTES = 32 * MAX_BODY_BYTES, 8 * MAX_BODY_BYTES
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0


class Kith(NamedTuple):
    """What events pass on their way. ``record`` writes to the audit. ``problems`` returns why events cannot be
    accepted now. ``threads`` run what blocks; one thread calls the publisher, so that messages keep their order.
    """

    door: Door
    publisher: Publisher
    letters: DeadLetters
    vault: Vault | None
    record: Callable[[Sequence[Act]], Awaitable[None]]
    problems: Callable[[], Sequence[str]]
    clock: Callable[[], datetime]
    threads: Executor
    sending: Executor


class Inflow:
    """Consumes one queue, whose events are ``tenant``'s (``*``: that which each states)."""

    def __init__(
        self,
        queue: str,
        tenant: str,
        connect: Connect,
        kith: Kith,
        metrics: BridgeMetrics,
        prefetch: int,
    ) -> None:
        self.queue, self._tenant = queue, tenant
        self._connect = connect
        self._kith, self._metrics, self._prefetch = kith, metrics, prefetch
        self._most = max(1, min(_BATCH, prefetch // _BATCHES))
        #: Why nothing is consumed now; None while it is.
        self.problem: str | None = "not started"

    async def run(self) -> None:
        """Consume until cancelled. Raises ConfigurationError, and any other error that no retry can mend."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except Unavailable as error:
                self._interrupted(error)
            finally:
                self._metrics.consuming(self.queue, False)
            failures = 0 if time.monotonic() - started > _LONGEST_DELAY else failures + 1
            await asyncio.sleep(_delay(failures))

    async def _session(self) -> None:
        # Not before Kafka answers: each break counts as a delivery of what was in flight.
        if problems := await self._blocking(self._kith.problems):
            raise Unavailable("; ".join(problems))
        link = await self._connect()
        try:
            consumption = await link.consume(self.queue, self._prefetch, _MOST_BYTES)
            self.problem = None
            self._metrics.consuming(self.queue, True)
            log.info("consuming", extra={"queue": self.queue})
            await self._consume(consumption)
        finally:
            await link.close()

    async def _consume(self, consumption: Consumption) -> None:
        # One batch is judged while the one before is published: no two at once, so that they stay in order.
        judged: asyncio.Queue[Judged] = asyncio.Queue(1)
        # By hand: a TaskGroup of Python 3.11 forgets a cancellation that meets an error.
        tasks = [
            asyncio.create_task(self._judge_all(consumption, judged)),
            asyncio.create_task(self._settle_all(consumption, judged)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        raise _worst([error for error in ended if isinstance(error, Exception)])

    async def _judge_all(self, consumption: Consumption, judged: "asyncio.Queue[Judged]") -> None:
        while True:
            deliveries = await consumption.take(self._most)
            while deliveries:
                batch = await self._until_available(self._judge, deliveries)
                deliveries = deliveries[batch.deliveries :]
                await judged.put(batch)

    async def _settle_all(self, consumption: Consumption, judged: "asyncio.Queue[Judged]") -> None:
        while True:
            batch = await judged.get()
            accepted, bad = batch.accepted(), batch.bad()
            await self._until_available(self._audit, accepted)
            await self._until_available(self._publish, [verdict.message for verdict in accepted])
            if bad:
                arrived = int(self._kith.clock().timestamp() * 1000)
                write = self._kith.letters.write
                await self._until_available(self._blocking, write, self.queue, self._tenant, bad, arrived)
            await consumption.acknowledge(batch.last)
            self._metrics.settled(self.queue, len(accepted), len(bad), batch.redelivered)

    async def _judge(self, deliveries: Sequence[Delivery]) -> Judged:
        kith = self._kith
        try:
            batch = judge(kith.door, self.queue, self._tenant, deliveries, kith.clock(), _BATCH_BYTES)
        except NotYetUnderstood as error:
            raise Unavailable(f"{error}; upgrade the relations workers") from error
        if kith.vault is not None:
            batch.verdicts = await seal(kith.vault, batch.verdicts, self._blocking, _inline)
        return batch

    async def _audit(self, accepted: Sequence[Accepted]) -> None:
        """Record erasures before they are published."""
        who = f"rabbitmq:{self.queue}"
        await self._kith.record(
            [
                Act(
                    event.tenant,
                    who,
                    who,
                    "consumer.erase",
                    {"consumer_id": event.data.consumer_id},
                    details={"mode": event.data.mode},
                )
                for verdict in accepted
                if (event := verdict.erasure) is not None
            ]
        )

    async def _publish(self, messages: Sequence[Message]) -> None:
        if messages:
            loop = asyncio.get_running_loop()
            sent = await loop.run_in_executor(self._kith.sending, self._kith.publisher.send, messages)
            await asyncio.wrap_future(sent)

    async def _until_available(self, step: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Repeat a step until its servers answer."""
        failures = 0
        while True:
            try:
                done = await step(*arguments)
            except Unavailable as error:
                failures += 1
                self._interrupted(error, again=failures > 1)
                await asyncio.sleep(_delay(failures))
            else:
                self.problem = None
                if failures:
                    log.info("the server answers again", extra={"queue": self.queue})
                return done

    async def _blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._kith.threads, function, *arguments)

    def _interrupted(self, error: Unavailable, *, again: bool = False) -> None:
        again = again or self.problem == str(error)
        self.problem = str(error)
        if not again:
            self._metrics.interrupted(self.queue)
        log.log(
            logging.DEBUG if again else logging.WARNING,
            "waiting for a server: %s",
            error,
            extra={"queue": self.queue},
        )


async def _inline(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def _delay(failures: int) -> float:
    return min(_FIRST_DELAY * 2.0 ** min(failures, 16), _LONGEST_DELAY)


def _worst(errors: Sequence[Exception]) -> Exception:
    """The error that decides: one that no retry can mend, before one that a retry can."""
    return next((each for each in errors if not isinstance(each, Unavailable)), errors[0])
