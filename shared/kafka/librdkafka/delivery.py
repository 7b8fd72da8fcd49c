"""librdkafka's producer, and how its delivery reports reach the senders."""

import logging
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Producer

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message

log = logging.getLogger(__name__)

#: Errors that a retry cannot mend.
LASTING = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    }
)
_POLL_SECONDS = 0.1
_FULL_SECONDS = 0.002
_CLOSE_SECONDS = 5.0


class Delivery:
    """Counts acknowledgements: one future for many messages."""

    def __init__(self, expected: int) -> None:
        self.future: Future[None] = Future()
        self._missing = expected
        self._lock = threading.Lock()
        if not expected:
            self.future.set_result(None)

    def arrived(self, error: KafkaError | None, _: confluent_kafka.Message) -> None:
        """The delivery report of one message. A single thread makes all reports, so counting needs no lock."""
        if error is not None:
            self.fail(KafkaException(error))
            return
        self._missing -= 1
        if not self._missing:
            self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Fail the future: a message will not arrive. The count then never reaches zero."""
        if isinstance(error, KafkaException) and (cause := error.args[0]).code() not in LASTING:
            error = Unavailable(f"Kafka: {cause.name()}")
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)


class Session:
    """A producer with the thread that serves its delivery reports, until a fatal error sets ``broken``."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        """Raises KafkaException when the configuration is invalid."""
        self.producer = Producer(dict(configuration))
        self.broken = threading.Event()
        stop = threading.Event()
        thread = threading.Thread(
            target=_listen, args=(self.producer, stop, self.broken), name="librdkafka", daemon=True
        )
        thread.start()
        # Runs even if close() is never called: a thread inside librdkafka must not outlive the interpreter.
        self.close = weakref.finalize(self, _close, self.producer, stop, thread)

    def produce(self, message: Message, delivery: Delivery, patience: float) -> None:
        """Queue one message; wait up to ``patience`` seconds for room in the queue. Raises KafkaException, and
        Unavailable when there is no room."""
        topic, key, value, partition, headers = message
        number = -1 if partition is None else partition
        deadline: float | None = None
        while True:
            try:
                self.producer.produce(
                    topic, value, key, number, on_delivery=delivery.arrived, headers=list(headers)
                )
                return
            except BufferError:
                deadline = deadline or time.monotonic() + patience
                if time.monotonic() > deadline:
                    raise Unavailable("Kafka: the queue of messages to publish is full") from None
                time.sleep(_FULL_SECONDS)
            except KafkaException as error:
                if error.args[0].code() == KafkaError._FATAL:
                    self.broken.set()
                raise


def _listen(producer: Producer, stop: threading.Event, broken: threading.Event) -> None:
    while not stop.is_set():
        try:
            producer.poll(_POLL_SECONDS)
        except KafkaException as error:
            log.error("a Kafka producer has failed fatally and is replaced: %s", error)
            broken.set()


def _close(producer: Producer, stop: threading.Event, thread: threading.Thread) -> None:
    stop.set()
    thread.join()
    try:
        if producer.flush(_CLOSE_SECONDS):
            producer.purge()
            producer.flush(_POLL_SECONDS)
    except KafkaException as error:
        log.debug("while closing: %s", error)
