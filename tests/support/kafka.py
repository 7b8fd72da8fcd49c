"""What tests of real Kafka need: a broker that is frozen, and messages that are published for certain."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from shared.local.kafka import KafkaServer
from shared.runtime.protocols import Message, Publisher
from tests.support.waiting import PATIENCE_SECONDS, wait_for


@contextmanager
def frozen(server: KafkaServer) -> Iterator[None]:
    """Meanwhile it accepts connections, and answers nothing."""
    assert server.process.pid is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def wait_published(publisher: Publisher, *messages: Message) -> None:
    """On a machine that stalls they may come too late, and are sent again."""
    wait_for("a publication", lambda: publisher.send(messages).exception(PATIENCE_SECONDS) is None)
