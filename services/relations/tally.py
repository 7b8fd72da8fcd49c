"""The sums of one relationship, updated by whole facts, in integers. Pure."""

from hashlib import blake2b
from typing import Any

from services.relations.span import Span, Times
from services.relations.strength import Strength, month_of
from shared.runtime.protocols import Document

#: tenant, consumer_id, provider_id
Pair = tuple[str, str, str]

_MODULUS = 2**63


class Tally:
    """A relationship while a slice is folded: its document's sums, plus and minus the facts that the slice moves.

    Adding and removing commute and cancel out, so neither order nor repetition shows in the result.
    """

    __slots__ = ("_pair", "count", "fingerprint", "id", "kinds", "old", "span")

    def __init__(self, id: str, pair: Pair, old: Document | None) -> None:
        self.id = id
        self._pair = pair
        self.old = old
        self.span = (
            Span(Times(old["first"], old["last"], old.get("between", [])), old["count"]) if old else Span(None, 0)
        )
        self.count: int = old["count"] if old else 0
        self.fingerprint: int = old["fingerprint"] if old else 0
        self.kinds: dict[str, dict[str, dict[str, Any]]] = (
            {kind: {month: _copy(cell) for month, cell in months.items()} for kind, months in old["kinds"].items()}
            if old
            else {}
        )

    def move(self, fact: Document, sign: int) -> None:
        """Add (1) or take away (-1) a live fact."""
        self.count += sign
        self.fingerprint = (self.fingerprint + sign * fingerprint(fact)) % _MODULUS
        months = self.kinds.setdefault(fact["kind"], {})
        cell = months.setdefault(month_of(fact["time"]), {"count": 0})
        cell["count"] += sign
        if "amount" in fact:
            amounts = cell.setdefault("amount", {})
            amounts[fact["currency"]] = amounts.get(fact["currency"], 0) + sign * fact["amount"]
        if "rating" in fact:
            cell["rating_count"] = cell.get("rating_count", 0) + sign
            cell["rating_sum"] = cell.get("rating_sum", 0) + sign * fact["rating"]

    def document(self, times: Times, strength: Strength) -> Document:
        """The relationship's document, in canonical order and without zeros."""
        tenant, consumer_id, provider_id = self._pair
        kinds = {}
        for kind, months in sorted(self.kinds.items()):
            if counted := {month: _canonical(cell) for month, cell in sorted(months.items()) if cell["count"]}:
                kinds[kind] = counted
        document: Document = {
            "_id": self.id,
            "tenant": tenant,
            "consumer_id": consumer_id,
            "provider_id": provider_id,
            "count": self.count,
            "first": times.first,
            "last": times.last,
            "kinds": kinds,
            "score": strength.score(kinds),
            "fingerprint": self.fingerprint,
        }
        if times.between:
            document["between"] = times.between
        return document


def fingerprint(fact: Document) -> int:
    """63 bits of a fact in its version. A relationship holds the sum over its facts, modulo 2^63: a function of
    the set of facts, so two states can be compared without comparing all facts."""
    version = fact["version"]
    name = f"{fact['_id']}\0{version['time']}\0{version['source']}\0{version['id']}"
    if "sequence" in version:  # omitted otherwise, as in relationships stored before sequences existed
        name = f"{name}\0{version['sequence']}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) % _MODULUS


def _copy(cell: Document) -> Document:
    return {**cell, "amount": dict(cell["amount"])} if "amount" in cell else dict(cell)


def _canonical(cell: Document) -> Document:
    out: Document = {"count": cell["count"]}
    # Sums of 0 are left out: a currency that only a retracted fact had must leave no trace.
    if amounts := {currency: amount for currency, amount in sorted(cell.get("amount", {}).items()) if amount}:
        out["amount"] = amounts
    if cell.get("rating_count"):
        out["rating_count"] = cell["rating_count"]
        out["rating_sum"] = cell["rating_sum"]
    return out
