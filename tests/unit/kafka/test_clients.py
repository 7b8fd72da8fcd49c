"""A worker's two clients come together or not at all."""

import pytest

from shared.contracts.errors import Unavailable
from shared.kafka import clients as kafka_clients
from shared.kafka.clients import open_both
from shared.runtime.protocols import Publisher, Reader
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader


class Opened:
    """What has been opened and not closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trouble: str = "") -> None:
        self.left: list[str] = []
        log, opened = MemoryLog({}), self

        class KeptReader(MemoryReader):
            def close(self) -> None:
                opened.left.remove("reader")

        class KeptPublisher(MemoryPublisher):
            def close(self) -> None:
                opened.left.remove("publisher")

        def reader(*_: object) -> Reader:
            self._note("reader", trouble)
            return KeptReader(log)

        def publisher(*_: object) -> Publisher:
            self._note("publisher", trouble)
            return KeptPublisher(log)

        monkeypatch.setattr(kafka_clients, "open_reader", reader)
        monkeypatch.setattr(kafka_clients, "open_publisher", publisher)

    def _note(self, name: str, trouble: str) -> None:
        if name == trouble:
            raise Unavailable(f"no {name}")
        self.left.append(name)


def test_both(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(monkeypatch)
    reader, publisher = open_both(Settings(), "relations", ["kith.relations"])
    reader.close()
    publisher.close()
    assert opened.left == []


@pytest.mark.parametrize("trouble", ["reader", "publisher"])
def test_nothing_is_left_of_the_other(monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    opened = Opened(monkeypatch, trouble)
    with pytest.raises(Unavailable, match=trouble):
        open_both(Settings(), "relations", ["kith.relations"])
    assert opened.left == []
