"""The topic ``kith.audit``: a second place for the audit's entries, written asynchronously."""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence

from shared.access.chain import Entry, canonical
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message, Publisher

log = logging.getLogger(__name__)

#: The most entries that wait for Kafka. Further ones are left out; the next entry in the topic proves them by its
#: hash.
_WAITING = 100_000
_RETRY_SECONDS = 1.0
_BATCH = 500
_CLOSE_SECONDS = 5.0


class TopicWitness:
    """A Witness. While Kafka is unavailable, entries wait in memory. If the process dies meanwhile, they are in
    MongoDB only. That leaves no gap in the proof: the hash of a later entry covers all entries before it."""

    def __init__(self, open: Callable[[], Publisher], topic: str) -> None:
        self._open = open
        self._topic = topic
        self._waiting: collections.deque[Entry] = collections.deque()
        self._something = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="audit-topic", daemon=True)
        self._thread.start()

    def forward(self, entries: Sequence[Entry]) -> None:
        if len(self._waiting) < _WAITING:
            self._waiting.extend(entries)
        self._something.set()

    def close(self) -> None:
        """Publish the waiting entries, for a few seconds at most."""
        self._closing.set()
        self._something.set()
        self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        publisher: Publisher | None = None
        end: float | None = None
        try:
            while True:
                self._something.wait()
                if self._closing.is_set():
                    end = end or time.monotonic() + _CLOSE_SECONDS
                if not self._waiting:
                    if end is not None:
                        return
                    self._something.clear()
                    if self._waiting:  # arrived in between
                        self._something.set()
                    continue
                try:
                    publisher = publisher or self._open()
                    self._publish(publisher)
                except Unavailable as error:
                    if end is not None and time.monotonic() > end:
                        log.warning(
                            "entries of the audit were not published to the topic; MongoDB has them",
                            extra={"count": len(self._waiting)},
                        )
                        return
                    log.warning("the audit's topic waits for Kafka: %s", error)
                    if self._closing.wait(_RETRY_SECONDS):
                        time.sleep(0.1)
        except Exception:
            # MongoDB has every entry; `kith audit verify` reports how far the topic has come.
            log.exception(
                "nothing more is published to the audit's topic; restart the service once the cause is corrected"
            )
        finally:
            if publisher is not None:
                publisher.close()

    def _publish(self, publisher: Publisher) -> None:
        batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
        publisher.send([_message(self._topic, entry) for entry in batch]).result()
        for _ in batch:
            self._waiting.popleft()


def _message(topic: str, entry: Entry) -> Message:
    return Message(topic, entry["tenant"].encode(), canonical(entry))
