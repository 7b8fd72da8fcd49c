"""A sink begins only once relations have read again what was published of the log before a restore."""

from typing import Any, cast

import pytest
from pymongo.database import Database

from shared.mongo.restores import RESTORES
from shared.runtime.protocols import Document
from shared.sinks.restored import replay_problems
from shared.versions.generations import Generations, PartitionPosition, Registry


class Restores:
    def __init__(self, found: Document | None) -> None:
        self._found = found

    def find_one(self, *_: Any) -> Document | None:
        return self._found


class Relations:
    """Version 2 is live."""

    def __init__(self, positions: dict[str, PartitionPosition]) -> None:
        self._positions = positions

    def read(self) -> Generations:
        return Generations(live=2, last=2)

    def positions(self, version: int) -> dict[str, PartitionPosition]:
        assert version == 2
        return self._positions


def problems(restored: Document | None, **nexts: int | None) -> list[str]:
    positions = {f"kith.{topic}/0": PartitionPosition(next, "host/1", 0) for topic, next in nexts.items()}
    database = cast(Database[Document], {RESTORES: Restores(restored)})
    return replay_problems(database, cast(Registry, Relations(positions)))


@pytest.mark.parametrize("restored", [None, {"_id": "restore"}, {"_id": "restore", "ends": []}])
def test_without_a_restore_nothing_is_waited_for(restored: Document | None) -> None:
    assert problems(restored) == []


@pytest.mark.parametrize(("next", "behind"), [(None, True), (0, True), (6, True), (7, False), (9, False)])
def test_every_partition_is_read_up_to_its_end(next: int | None, behind: bool) -> None:
    restored = {"ends": [{"place": "kith.relations/0", "end": 7}, {"place": "kith.consumers/0", "end": 3}]}
    assert bool(problems(restored, relations=next, consumers=3)) is behind
    assert ("kith.relations/0" in "".join(problems(restored, relations=next, consumers=3))) is behind


def test_a_partition_that_nobody_has_claimed_yet_is_behind() -> None:
    assert "kith.consumers/0" in problems({"ends": [{"place": "kith.consumers/0", "end": 1}]})[0]
