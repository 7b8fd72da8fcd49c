"""How far the sinks and the webhooks have come, for whoever waits until each has an erasure."""

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
        found = {name: _seen_by(database, name) for name in CONNECTORS}
        self._seen = {name: numbers for name, numbers in found.items() if numbers is not None}

    def lacking(self, marks: Sequence[Mark]) -> list[str]:
        """The sinks that do not have all changes up to ``marks``, as far as they are of topics that they read."""
        return [name for name, numbers in self._seen.items() if not reached_by(numbers, _read_by(name, marks))]


class Telling:
    """What applications of third parties are told of, by the webhooks service. Read once, but for notices."""

    def __init__(self, database: Database[Document], notices: str) -> None:
        """``notices`` is the collection of what applications have to be told of. Raises Unavailable."""
        self._notices, self._seen = database[notices], _seen_by(database, "webhooks")

    def has(self, marks: Sequence[Mark], notice: str) -> bool:
        """Whether the service was never run, or has all changes of profiles up to ``marks`` and has made receipts
        of the ``notice`` that they may have caused. Raises Unavailable."""
        if self._seen is None:
            return True
        if not reached_by(self._seen, [mark for mark in marks if _topic_of(mark) == "consumers"]):
            return False
        with translated():
            return self._notices.find_one({"_id": notice}, {"_id": 1}) is None


def _seen_by(database: Database[Document], name: str) -> dict[str, int] | None:
    """The numbers of the changes that a projection has, by origin; None if it has never claimed a position. It has
    one version: what it makes anew, it makes outside. Raises Unavailable."""
    with translated():
        positions = list(database[POSITIONS].find({"_id": beginning_with(f"{name}@1/")}, {"seen": 1}))
    numbers: dict[str, int] = {}
    for each in (each for position in positions for each in position.get("seen", ())):
        numbers[each["origin"]] = max(each["number"], numbers.get(each["origin"], 0))
    return numbers if positions else None


def of_facts(marks: Sequence[Mark]) -> list[Mark]:
    """The marks of the changes of relations."""
    return [mark for mark in marks if _topic_of(mark) == "relations"]


def _read_by(name: str, marks: Sequence[Mark]) -> list[Mark]:
    read = {topic for topic, changes in CHANGES.items() if changes in CONNECTORS[name].folds}
    return [mark for mark in marks if _topic_of(mark) in read]


def _topic_of(mark: Mapping[str, str | int]) -> str:
    """``consumers`` of a mark of origin ``relations@1/kith.consumers/0``."""
    return place_of(str(mark["origin"])).rpartition("/")[0].rpartition(".")[2]
