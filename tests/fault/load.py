"""The load: events of a market, published straight into Kafka at a steady rate, whatever happens."""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

import orjson

from services.demo.market import market
from shared.contracts.errors import Unavailable
from shared.kafka.python_client.publisher import KafkaPublisher
from shared.runtime.protocols import Message
from shared.settings import Settings

NOW = datetime(2026, 11, 1, tzinfo=UTC)
#: On a message that must become a dead letter; its value is the reason.
POISON = "test-poison"
_BATCH = 25
_PATIENCE_SECONDS = 180.0

Event = dict[str, Any]


class Item(NamedTuple):
    """One event to send. ``poison`` is the reason why it must become a dead letter; empty: it must not."""

    event: Event
    poison: str = ""


def market_items(events: int, seed: int, tenant: str | None = None) -> Iterator[Item]:
    """A market's good events: late, repeated, amended and retracted ones among them. Now and then a consumer is
    erased, who goes on as if nothing had been."""
    good = (e.event for e in islice(market(events, seed, NOW, tenant), events) if e.flaw is None)
    for number, one in enumerate(good):
        yield Item(one)
        if number % 100 == 99 and "consumer_id" in one["data"]:
            data = {"consumer_id": one["data"]["consumer_id"], "mode": ("anonymise", "delete")[number // 100 % 2]}
            told = {name: one[name] for name in ("time", "tenant") if name in one}
            yield Item(event("consumer.erased", f"erase-{seed}-{number}", data, **told))


def one_day(events: int) -> Iterator[Item]:
    """Visits of a few consumers to a few providers on one day: every slice moves the same documents."""
    for n in range(events):
        data = {
            "relation_id": f"r{n}",
            "kind": "view",
            "consumer_id": f"c{n % 11}",
            "provider_id": f"p{n % 3}",
        }
        yield Item(event("relation.recorded", f"e{n}", data))


def event(type: str, id: str, data: Event, **attributes: Any) -> Event:
    """A CloudEvent of the source "shop". All happen at one time, so that the highest id is the latest."""
    base = {"specversion": "1.0", "id": id, "source": "shop", "type": type, "data": data}
    return {**base, "time": "2026-10-01T10:00:00Z", **attributes}


def to_message(item: Item, prefix: str) -> Message:
    """As an upstream does that shares no code with Kith."""
    event = item.event
    noun = event["type"].partition(".")[0] if not item.poison else "relation"
    data = event["data"]
    subject = data["provider_id"] if noun == "provider" else data["consumer_id"]
    key = f"{event.get('tenant', 'default')}:{subject}".encode()
    headers = ((POISON, item.poison.encode()),) if item.poison else ()
    return Message(f"{prefix}.{noun}s", key, orjson.dumps(event), headers=headers)


class Load:
    """Publishes items in a thread of its own. What is not acknowledged is sent again, so that some may lie in
    Kafka twice. ``sent`` are the acknowledged messages; ``offered`` those that Kafka may have."""

    def __init__(
        self,
        settings: Settings,
        items: Iterable[Item],
        rate: float = 600.0,
        batches: Callable[[Iterator[Message]], Iterator[list[Message]]] | None = None,
    ) -> None:
        self._settings = settings
        messages = (to_message(item, settings.topic_prefix) for item in items)
        self._batches = (batches or in_batches)(messages)
        self._pause = _BATCH / rate
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.sent: list[Message] = []
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> "Load":
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def cut(self) -> None:
        """Send no more than what is on its way."""
        self._stop.set()

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        self._thread.join(_PATIENCE_SECONDS)
        if self._thread.is_alive():
            self._stop.set()
            raise AssertionError(f"the load was not over after {_PATIENCE_SECONDS:.0f} s: {len(self.sent)} sent")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            publisher = KafkaPublisher(self._settings)
            try:
                for batch in self._batches:
                    while not self._published(publisher, batch):
                        if self._stop.is_set():
                            return
                        # A new session: the brokers no longer know which of its messages they have.
                        publisher.close()
                        publisher = self._reopened()
                    self.sent += batch
                    if self._stop.wait(self._pause * len(batch) / _BATCH):
                        return
            finally:
                publisher.close()
        except BaseException as error:
            self._error = error

    def _published(self, publisher: KafkaPublisher, batch: list[Message]) -> bool:
        try:
            publisher.send(batch).result(60)
        except Unavailable:
            return False
        return True

    def _reopened(self) -> KafkaPublisher:
        while True:
            try:
                return KafkaPublisher(self._settings)
            except Unavailable:
                if self._stop.wait(1.0):
                    raise


def in_batches(messages: Iterator[Message]) -> Iterator[list[Message]]:
    while batch := list(islice(messages, _BATCH)):
        yield batch
