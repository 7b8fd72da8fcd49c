"""Relationships of many kinds and months, whose stored documents stay bounded. Pure.

A cell is a kind and month of a pair. With at most ``most`` cells, one document holds them all. With more the pair
is *wide*: its document is a head, with the sums of all cells, their number and the mass of their strength, and the
cells are in CELLS, one document per kind and year. Which of the two forms is stored depends on the number of cells
alone, so it is a function of the facts. A slice reads and writes only the documents of cells that it moves, unless
the pair becomes wide, or no longer is.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.relations.mass import Mass
from services.relations.strength import Strength
from services.relations.tally import Cell, Kinds, Tally
from shared.runtime.protocols import Document, Write

CELLS = "relationship_cells"
#: The most cells that one document holds.
MOST_CELLS = 1_000

#: kind, year: the key of a document of cells within its pair
Year = tuple[str, str]


def is_wide(document: Mapping[str, Any]) -> bool:
    """Whether a relationship's document is the head of a wide pair."""
    return "cells" in document


def cells_id(relationship: str, kind: str, year: str) -> str:
    return f"{relationship}:{kind}:{year}"


def cells_prefix(relationship: str) -> str:
    """How the ids of a relationship's documents of cells begin."""
    return f"{relationship}:"


def kinds_of(documents: Iterable[Document]) -> dict[str, dict[str, Document]]:
    """Kind → month → cell, in order, of documents of cells."""
    kinds: dict[str, dict[str, Document]] = {}
    for document in documents:
        months = kinds.setdefault(document["kind"], {})
        months |= {f"{document['year']}-{month}": cell for month, cell in document["months"].items()}
    return {kind: dict(sorted(kinds[kind].items())) for kind in sorted(kinds)}


class WideTally:
    """The difference of a slice in a pair that was wide before it. ``stored`` are the documents of the cells that
    it moves, by id."""

    def __init__(self, tally: Tally, stored: Mapping[str, Document]) -> None:
        assert tally.old is not None
        self._tally, self._stored = tally, stored
        self._after: dict[str, Document | None] = {}
        self.cells: int = tally.old["cells"]
        for (kind, year), moved in _by_year(tally.moved).items():
            id = cells_id(tally.id, kind, year)
            before = stored.get(id)
            months: dict[str, Document] = dict(before["months"]) if before else {}
            number = len(months)
            for month, cell in moved.items():
                if (after := cell.applied(months.pop(month, None))) is not None:
                    months[month] = after
            self.cells += len(months) - number
            self._after[id] = _cells_document(tally, kind, year, months) if months else None

    def head(self, mass: Mass) -> Document:
        """What the head has instead of the cells. ``mass`` is that of the cells before the slice."""
        old = self._tally.old
        assert old is not None
        total = Cell()
        for (kind, month), cell in self._tally.moved.items():
            total.plus(cell)
            mass.add(kind, month, cell.count)
        return _head(self.cells, total.applied(old["sums"]) or {}, mass)

    def writes(self) -> Iterator[Write]:
        for id, after in self._after.items():
            if (before := self._stored.get(id)) != after:
                yield Write(CELLS, id, before, after)

    def joined(self, all: Iterable[Document]) -> tuple[Kinds, list[Write]]:
        """The cells after the slice as one document holds them, and the deletion of all documents of cells.
        ``all`` are those of the pair before the slice."""
        before = {document["_id"]: document for document in all}
        after = {**before, **self._after}
        return (
            kinds_of(document for document in after.values() if document is not None),
            [Write(CELLS, id, document, None) for id, document in before.items()],
        )


def split(tally: Tally, kinds: Kinds, strength: Strength) -> tuple[Document, list[Write]]:
    """What the head of a pair that becomes wide has instead of these cells, and the documents of the cells."""
    total, mass, years = Cell(), Mass(strength), dict[Year, dict[str, Document]]()
    cells = 0
    for kind, months in kinds.items():
        for month, cell in months.items():
            cells += 1
            total.add(cell)
            mass.add(kind, month, cell["count"])
            years.setdefault((kind, month[:4]), {})[month[5:]] = cell
    made = [_cells_document(tally, kind, year, months) for (kind, year), months in years.items()]
    head = _head(cells, total.applied(None) or {}, mass)
    return head, [Write(CELLS, each["_id"], None, each) for each in made]


def add_mass(mass: Mass, document: Document) -> Mass:
    """Add the mass of a document of cells."""
    for month, cell in document["months"].items():
        mass.add(document["kind"], f"{document['year']}-{month}", cell["count"])
    return mass


def _head(cells: int, sums: Document, mass: Mass) -> Document:
    return {"cells": cells, "sums": sums, "mass": mass.stored(), "score": mass.score()}


def _cells_document(tally: Tally, kind: str, year: str, months: Mapping[str, Document]) -> Document:
    tenant, consumer_id, provider_id = tally.pair
    return {
        "_id": cells_id(tally.id, kind, year),
        "tenant": tenant,
        "consumer_id": consumer_id,
        "provider_id": provider_id,
        "kind": kind,
        "year": year,
        "months": dict(sorted(months.items())),
    }


def _by_year(moved: Mapping[tuple[str, str], Cell]) -> dict[Year, dict[str, Cell]]:
    years: dict[Year, dict[str, Cell]] = {}
    for (kind, month), cell in moved.items():
        years.setdefault((kind, month[:4]), {})[month[5:]] = cell
    return years
