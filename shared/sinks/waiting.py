"""How far the sinks have come, for whoever waits until each has an erasure."""

from collections.abc import Mapping, Sequence

from pymongo.database import Database

from shared.contracts.services import CONNECTORS
from shared.contracts.topic_names import CHANGES
from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS, beginning_with
from shared.runtime.protocols import Document
from shared.versions.generations import place_of
from shared.versions.progress import Mark, reached_by

#: The topics of relations whose changes tell of an erasure: of the profile, and of the facts.
TELLING = ("consumers", "relations")


class Sinks:
    """The sinks that have ever claimed a position, and the numbers of the changes that each has. Read once."""

    def __init__(self, database: Database[Document]) -> None:
        """Raises Unavailable."""
        self._seen: dict[str, dict[str, int]] = {}
        with translated():
            for name in CONNECTORS:
                # A sink has one version: what it makes anew, it makes in its own system.
                for position in database[POSITIONS].find({"_id": beginning_with(f"{name}@1/")}, {"seen": 1}):
                    numbers = self._seen.setdefault(name, {})
                    for each in position.get("seen", ()):
                        numbers[each["origin"]] = max(each["number"], numbers.get(each["origin"], 0))

    def have(self, marks: Sequence[Mark]) -> bool:
        """Whether every sink has all changes up to ``marks``, as far as they are of topics that it reads."""
        return all(reached_by(numbers, _read_by(name, marks)) for name, numbers in self._seen.items())


def of_facts(marks: Sequence[Mark]) -> list[Mark]:
    """Those of the changes of relations."""
    return [mark for mark in marks if _topic_of(mark) == "relations"]


def _read_by(name: str, marks: Sequence[Mark]) -> list[Mark]:
    read = {topic for topic, changes in CHANGES.items() if changes in CONNECTORS[name].folds}
    return [mark for mark in marks if _topic_of(mark) in read]


def _topic_of(mark: Mapping[str, str | int]) -> str:
    """``consumers`` of a mark of origin ``relations@1/kith.consumers/0``."""
    return place_of(str(mark["origin"])).rpartition("/")[0].rpartition(".")[2]
