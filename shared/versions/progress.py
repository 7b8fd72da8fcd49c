"""Whether analytics has counted the changes that the relations service has published."""

from collections.abc import Mapping, Sequence

from pymongo.database import Database

from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS, beginning_with
from shared.runtime.protocols import Document
from shared.versions.generations import Registry

#: The number of the last change of an origin.
Mark = Mapping[str, str | int]


def change_marks(relations: Registry, topics: Sequence[str] = ("relations",)) -> list[Mark]:
    """The number of the last change as of now, by origin: of the events in ``topics`` (their short names), by
    default of facts. Raises Unavailable."""
    return [
        {"origin": f"{relations.name}@1/{place}", "number": stand.emitted}
        for place, stand in relations.positions(relations.read().live).items()
        if stand.emitted and place.rpartition("/")[0].endswith(tuple(f".{topic}" for topic in topics))
    ]


def counted_numbers(database: Database[Document], analytics: Registry) -> dict[str, int]:
    """The number of the last change that the live version of analytics has counted, by origin. Raises
    Unavailable."""
    seen: dict[str, int] = {}
    wanted = {"_id": beginning_with(f"{analytics.name}@{analytics.read().live}/")}
    with translated():
        for position in database[POSITIONS].find(wanted, {"seen": 1}):
            for each in position.get("seen", ()):
                seen[each["origin"]] = max(each["number"], seen.get(each["origin"], 0))
    return seen


def reached_by(numbers: Mapping[str, int], marks: Sequence[Mark]) -> bool:
    """Whether all changes up to ``marks`` are among those counted."""
    return all(numbers.get(str(mark["origin"]), 0) >= int(mark["number"]) for mark in marks)


def caught_up(database: Database[Document], analytics: Registry, marks: Sequence[Mark]) -> bool:
    """Whether the live version of analytics has counted all changes up to ``marks``. Raises Unavailable."""
    return reached_by(counted_numbers(database, analytics), marks)
