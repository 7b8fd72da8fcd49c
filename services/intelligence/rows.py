"""What the graph holds of single relationships, as kinds of a document. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.intelligence.engine.graph import Graph

#: kind → month → {"count": relations}, as in the document of a relationship.
Kinds = dict[str, dict[str, dict[str, int]]]


def kinds_of(graph: Graph, consumer_id: str, provider_id: str) -> Kinds:
    """The relations of a pair by kind and month; empty without any."""
    consumer = graph.names["consumer"].find(consumer_id)
    provider = graph.names["provider"].find(provider_id)
    rows = graph.rows["consumer"]
    if consumer is None or provider is None or (at := rows.find(consumer, provider)) < 0:
        return {}
    assert rows.words is not None
    kinds: Kinds = {}
    for cell in graph.cells.cells(int(rows.words[at])):
        month = f"{cell.month // 12:04d}-{cell.month % 12 + 1:02d}"
        counted = kinds.setdefault(cell.kind, {}).setdefault(month, {"count": 0})
        counted["count"] += int(cell.amount)
    return kinds


def providers_of(graph: Graph, consumer_id: str) -> list[str]:
    """The providers of a consumer."""
    number = graph.names["consumer"].find(consumer_id)
    if number is None:
        return []
    ids = graph.names["provider"].ids
    return [ids[provider] for provider in graph.rows["consumer"].row(number).tolist()]


def joined(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The kinds of a pair whose cells are in documents of their own, one per kind and year
    (docs/reference/stored-documents.md)."""
    kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
    for each in documents:
        months = kinds.setdefault(each["kind"], {})
        months.update({f"{each['year']}-{month}": cell for month, cell in each["months"].items()})
    return kinds


@dataclass(frozen=True, slots=True)
class Money:
    """Which amounts count: of a currency, of kinds, until a month (2026-11)."""

    currency: str
    counts: Callable[[str], bool]
    month: str

    def of(self, kinds: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> int | None:
        """The net amount of a relationship, in minor units; None without any."""
        found = [
            cell["amount"][self.currency]
            for kind, months in kinds.items()
            if self.counts(kind)
            for month, cell in months.items()
            if month <= self.month and self.currency in cell.get("amount", ())
        ]
        return sum(found) if found else None
