"""Where the records of the topics of relations end at a restore."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import pytest

from services.backup import log
from services.backup.files import TopicEnds
from shared.contracts.errors import ConfigurationError
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings

RELATIONS, CONSUMERS, PROVIDERS = (
    Partition(f"kith.{name}", 0) for name in ("relations", "consumers", "providers")
)


class Scan:
    """By partition, the bounds of the log and the offsets of its records: the others are markers."""

    bounds_of: Mapping[Partition, tuple[int, int]]
    records: Mapping[Partition, list[int]]

    def __init__(self, _: Settings) -> None:
        self._used = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bounds(self, topics: list[str]) -> dict[Partition, tuple[int, int]]:
        return {place: ends for place, ends in self.bounds_of.items() if place.topic in topics}

    def read(
        self, bounds: Mapping[Partition, tuple[int, int]], wanted: Callable[[bytes | None], bool]
    ) -> list[Record]:
        assert not self._used
        assert wanted(None)
        self._used = True
        return [
            Record(place, offset, 0, None, b"{}")
            for place, (first, end) in bounds.items()
            for offset in self.records.get(place, [])
            if first <= offset < end
        ]


def ends(monkeypatch: pytest.MonkeyPatch, positions: dict[Partition, int], **scan: Any) -> dict[Partition, int]:
    monkeypatch.setattr(log, "LogScan", type("Known", (Scan,), scan))
    return log.record_ends(Settings(), positions)


def test_markers_at_the_end_do_not_count_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ends(
        monkeypatch,
        {RELATIONS: 2},
        bounds_of={RELATIONS: (0, 5_000), CONSUMERS: (4, 9), PROVIDERS: (3, 3)},
        records={RELATIONS: [*range(12)], CONSUMERS: [4, 8]},
    )
    assert found == {RELATIONS: 12, CONSUMERS: 9}


def test_what_was_read_before_the_backup_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {RELATIONS: (0, 5_000), CONSUMERS: (0, 7)}
    found = ends(
        monkeypatch,
        {RELATIONS: 12, CONSUMERS: 7},
        bounds_of=bounds,
        records={RELATIONS: [*range(12)], CONSUMERS: [*range(7)]},
    )
    assert found == {}


def test_a_partition_of_which_nothing_was_read_yet_must_still_begin_where_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Retention may have removed events that no worker has seen."""
    id = "relations@1/kith.relations/0"
    before = {"kith.relations": TopicEnds("a", {"0": [3, 9]})}
    for first, begins in ((3, True), (5, False)):
        now = {"kith.relations": TopicEnds("a", {"0": [first, 20]})}
        monkeypatch.setattr(log, "topic_ends", lambda *_, now=now: now)
        if begins:
            log.check_positions([(id, None)], before, Settings())
        else:
            with pytest.raises(ConfigurationError, match="continues at 3, but Kafka's log holds 5 to 20"):
                log.check_positions([(id, None)], before, Settings())
    # A backup of an earlier version may lack the topic.
    log.check_positions([(id, None)], {}, Settings())
