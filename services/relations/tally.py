"""The sums of one relationship, updated by whole facts, in integers. Pure."""

from collections.abc import Mapping
from hashlib import blake2b

from services.relations.span import Span, Times
from services.relations.strength import month_of
from shared.contracts.money import Money, add_fact, add_stored, money_of, store
from shared.runtime.protocols import Document

#: kind → month → cell
Kinds = dict[str, dict[str, Document]]
#: tenant, consumer_id, provider_id
Pair = tuple[str, str, str]

_MODULUS = 2**63


class Cell:
    """The difference that a slice makes in the facts of a kind and month."""

    __slots__ = ("count", "money", "rating_count", "rating_sum")

    def __init__(self) -> None:
        self.count = self.rating_count = self.rating_sum = 0
        self.money: Money = {}

    def plus(self, other: "Cell") -> None:
        """Add another difference."""
        self.count += other.count
        self.rating_count += other.rating_count
        self.rating_sum += other.rating_sum
        for currency, (amount, number) in other.money.items():
            known = self.money.setdefault(currency, [0, 0])
            known[0] += amount
            known[1] += number

    def add(self, stored: Document) -> None:
        """Add a stored cell."""
        self.count += stored["count"]
        self.rating_count += stored.get("rating_count", 0)
        self.rating_sum += stored.get("rating_sum", 0)
        add_stored(self.money, stored)

    def applied(self, before: Document | None) -> Document | None:
        """The stored cell after the difference; None without facts."""
        if before is None:
            count, money, rating_count, rating_sum = self.count, self.money, self.rating_count, self.rating_sum
        else:
            count = before["count"] + self.count
            rating_count = before.get("rating_count", 0) + self.rating_count
            rating_sum = before.get("rating_sum", 0) + self.rating_sum
            money = money_of(before)
            for currency, (amount, number) in self.money.items():
                known = money.setdefault(currency, [0, 0])
                known[0] += amount
                # Never outside of what is possible, even on a cell that was stored without numbers of facts.
                known[1] = min(max(known[1] + number, 0), count)
        if not count:
            return None
        out: Document = {"count": count}
        if money:
            store(money, count, out)
        if rating_count:
            out["rating_count"] = rating_count
            out["rating_sum"] = rating_sum
        return out


class Tally:
    """A relationship while a slice is folded: its document's sums, plus and minus the facts that the slice moves.

    Adding and removing commute and cancel out, so neither order nor repetition shows in the result.
    """

    __slots__ = ("count", "fingerprint", "id", "moved", "old", "pair", "span")

    def __init__(self, id: str, pair: Pair, old: Document | None) -> None:
        self.id = id
        self.pair = pair
        self.old = old
        self.span = (
            Span(Times(old["first"], old["last"], old.get("between", [])), old["count"]) if old else Span(None, 0)
        )
        self.count: int = old["count"] if old else 0
        self.fingerprint: int = old["fingerprint"] if old else 0
        self.moved: dict[tuple[str, str], Cell] = {}

    def move(self, fact: Document, sign: int) -> None:
        """Add (1) or take away (-1) a live fact."""
        self.count += sign
        self.fingerprint = (self.fingerprint + sign * fingerprint(fact)) % _MODULUS
        place = (fact["kind"], month_of(fact["time"]))
        cell = self.moved.get(place)
        if cell is None:
            cell = self.moved[place] = Cell()
        cell.count += sign
        if "amount" in fact:
            add_fact(cell.money, fact["currency"], fact["amount"], sign)
        if "rating" in fact:
            cell.rating_count += sign
            cell.rating_sum += sign * fact["rating"]

    def document(self, times: Times, rest: Document) -> Document:
        """The relationship's document, in canonical order. ``rest`` are its cells, or what a head has instead."""
        tenant, consumer_id, provider_id = self.pair
        document: Document = {
            "_id": self.id,
            "tenant": tenant,
            "consumer_id": consumer_id,
            "provider_id": provider_id,
            "count": self.count,
            "first": times.first,
            "last": times.last,
            **rest,
            "fingerprint": self.fingerprint,
        }
        if times.between:
            document["between"] = times.between
        return document

    def kinds(self) -> Kinds:
        """Kind → month → cell after the slice. Cells that it does not move are those of the old document."""
        old: Mapping[str, dict[str, Document]] = self.old["kinds"] if self.old else {}
        touched: dict[str, dict[str, Document]] = {}
        for (kind, month), cell in self.moved.items():
            months = touched.get(kind)
            if months is None:
                months = touched[kind] = dict(old.get(kind, ()))
            after = cell.applied(months.get(month))
            if after is not None:
                months[month] = after
            else:
                months.pop(month, None)
        return {
            kind: dict(sorted(touched[kind].items())) if kind in touched else old[kind]
            for kind in sorted({**old, **touched})
            if touched.get(kind, True)
        }


def fingerprint(fact: Document) -> int:
    """63 bits of a fact in its version. A relationship holds the sum over its facts, modulo 2^63: a function of
    the set of facts, so two states can be compared without comparing all facts."""
    version = fact["version"]
    name = f"{fact['_id']}\0{version['time']}\0{version['source']}\0{version['id']}"
    if "sequence" in version:  # omitted otherwise, as in relationships stored before sequences existed
        name = f"{name}\0{version['sequence']}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) % _MODULUS
