"""Reads of one relationship. Each is bounded, whatever the relationship holds."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from services.relations import answers
from services.relations.strength import Strength, month_number
from services.relations.tally import Kinds
from services.relations.wide import CELLS, cells_id, cells_prefix, is_wide, kinds_of
from shared.contracts.events import document_id
from shared.http.parameters import BadParameter
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with
from shared.runtime.protocols import Document

#: Facts that an answer names as those of the highest weights.
EVIDENCE = 5
#: Of a wide relationship, only its latest facts are candidates.
LATEST = 100
#: Documents of cells that an answer about a wide relationship reads.
_MOST_DOCUMENTS = 120
#: Weights that differ by less are taken as equal, so that facts of both are candidates.
_EQUAL = 1e-9
_LATEST_FIRST = [("time", -1), ("_id", -1)]

#: kind and month of a cell
CellPlace = tuple[str, str]


class PairQueries:
    """Reads of one database. Every method raises Unavailable when MongoDB is unavailable."""

    def __init__(self, database: Database[Document], names: Callable[[str], str]) -> None:
        self._database = database
        self._names = names

    def relationship(self, tenant: str, consumer_id: str, provider_id: str) -> Document | None:
        """The stored document; None without relations. Of a wide pair it has ``kinds`` all the same: the first by
        name, as many as are whole in a bounded number of documents of cells."""
        id = document_id(tenant, consumer_id, provider_id)
        with translated():
            document = self._database[self._names("relationships")].find_one({"_id": id})
            if document is None or not is_wide(document):
                return document
            found = self._cells(beginning_with(cells_prefix(id)), _MOST_DOCUMENTS)
        kinds = kinds_of(found)
        if len(found) == _MOST_DOCUMENTS:
            kinds.pop(found[-1]["kind"])
        return {**document, "kinds": kinds}

    def evidence(self, document: Document, strength: Strength) -> list[Document]:
        """The facts of a relationship among which are those of the highest weights."""
        pair = {name: document[name] for name in ("tenant", "consumer_id", "provider_id")} | {"retracted": False}
        facts = self._database[self._names("relations")]
        with translated():
            if is_wide(document):
                return list(facts.find(pair).sort(_LATEST_FIRST).limit(LATEST))
            first, *others = [_heaviest_of({**pair, **group}) for group in heaviest(document["kinds"], strength)]
            unions = [{"$unionWith": {"coll": facts.name, "pipeline": other}} for other in others]
            return list(facts.aggregate([*first, *unions]))

    def cells(
        self, tenant: str, consumer_id: str, provider_id: str, limit: int, after: Sequence[Any] | None
    ) -> Document | None:
        """A page of a relationship's cells by kind and month, after a place; None without relations."""
        place: CellPlace | None = None
        if after is not None:
            if len(after) != 2 or not all(isinstance(part, str) for part in after):
                raise BadParameter("cursor", "is not a value of next from this query")
            place = (after[0], after[1])
        id = document_id(tenant, consumer_id, provider_id)
        with translated():
            document = self._database[self._names("relationships")].find_one({"_id": id})
            if document is None:
                return None
            if is_wide(document):
                wanted: Document = beginning_with(cells_prefix(id))
                if place is not None:
                    wanted["$gte"] = cells_id(id, place[0], place[1][:4])
                # Each document has a cell, and the twelve of the first may be on the page before.
                kinds: Mapping[str, Any] = kinds_of(self._cells(wanted, limit + 2, limit + 13))
            else:
                kinds = document["kinds"]
        # As MongoDB orders the documents of cells: a kind is followed by a colon there.
        rows = sorted((f"{kind}:", month) for kind, months in kinds.items() for month in months)
        if place is not None:
            rows = [row for row in rows if row > (f"{place[0]}:", place[1])]
        shown = [(kind[:-1], month) for kind, month in rows[:limit]]
        return {
            "items": [answers.cell(kind, month, kinds[kind][month]) for kind, month in shown],
            "next": list(shown[-1]) if len(rows) > limit else None,
        }

    def _cells(self, ids: Document, most: int, most_cells: int = _MOST_DOCUMENTS * 12) -> list[Document]:
        """Documents of cells by id: at most ``most``, and no more once they have ``most_cells``."""
        found: list[Document] = []
        cells = 0
        batch = max(1, min(most, _MOST_DOCUMENTS))
        with self._database[self._names(CELLS)].find({"_id": ids}, batch_size=batch).sort("_id", 1) as cursor:
            for document in cursor.limit(most):
                found.append(document)
                cells += len(document["months"])
                if cells >= most_cells:
                    break
        return found


def heaviest(kinds: Kinds, strength: Strength) -> list[Document]:
    """Filters for the facts that weigh most: by month, and in it the kinds of one weight. Facts of one weight are
    in one filter, because their times decide between them."""
    groups: dict[tuple[float, str], list[str]] = {}
    counts: dict[tuple[float, str], int] = {}
    for kind, months in kinds.items():
        weight = strength.weights.get(kind, 1.0)
        for month, cell in months.items():
            groups.setdefault((weight, month), []).append(kind)
            counts[weight, month] = counts.get((weight, month), 0) + cell["count"]
    ranked = sorted(((-strength.log_weight(*group), group) for group in groups), key=lambda each: each[0])
    chosen: list[Document] = []
    enough, last = EVIDENCE, 0.0
    for rank, group in ranked:
        if enough <= 0 and rank > last + _EQUAL:
            break
        enough -= counts[group]
        last = rank
        chosen.append({"kind": {"$in": groups[group]}, "time": _bounds(group[1])})
    return chosen


def _heaviest_of(wanted: Document) -> list[Document]:
    return [{"$match": wanted}, {"$sort": dict(_LATEST_FIRST)}, {"$limit": EVIDENCE}]


def _bounds(month: str) -> Document:
    """The times of a month."""
    number = month_number(month)
    bounds: Document = {"$gte": datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)}
    if number < 9999 * 12 + 11:
        bounds["$lt"] = datetime((number + 1) // 12, (number + 1) % 12 + 1, 1, tzinfo=UTC)
    return bounds
