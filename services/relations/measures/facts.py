"""The facts of the measures: which are orders, and whose money counts. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.measures.query import BadMeasure


class Fact(NamedTuple):
    """A live fact of a consumer. ``amount`` in minor units; below zero it is a refund."""

    provider_id: str
    time: datetime
    amount: int | None
    currency: str | None


#: Consumers, each with all of their facts, earliest first.
Histories = Iterable[tuple[str, Sequence[Fact]]]


class Orders:
    """Distinguishes orders from other facts.

    An order is a fact with an amount of at least 0; when a kind is asked for (``of_kind``), a fact without an
    amount is one as well. A refund (an amount below 0) never is.
    """

    def __init__(self, currency: str | None, of_kind: bool, mixed: bool = False) -> None:
        """``currency`` None: the only currency of the facts; with ``mixed``, any currency, because no money is
        added."""
        self._asked = currency is not None
        self._any = mixed and currency is None
        self.currency = currency
        self._of_kind = of_kind

    def counts(self, fact: Fact) -> bool:
        """Whether the fact is an order. Raises BadMeasure at the second currency, unless the request names one."""
        return self.in_currency(fact) and (self._of_kind if fact.amount is None else fact.amount >= 0)

    def in_currency(self, fact: Fact) -> bool:
        """Whether the fact has no money, or money that counts. Raises BadMeasure as ``counts`` does."""
        if self._any or fact.currency is None or fact.currency == self.currency:
            return True
        if self._asked:
            return False
        if self.currency is not None:
            both = ", ".join(sorted((self.currency, fact.currency)))
            raise BadMeasure("currency", f"is needed, because there are several: {both} at least")
        self.currency = fact.currency
        return True

    def elsewhere(self, fact: Fact) -> bool:
        """Whether the fact is an order in a currency that does not count."""
        return fact.amount is not None and fact.amount >= 0 and not self.in_currency(fact)

    def of(self, histories: Histories) -> Iterator[tuple[str, list[Fact]]]:
        """Every consumer with an order, with all of their orders."""
        for consumer, facts in histories:
            if orders := [fact for fact in facts if self.counts(fact)]:
                yield consumer, orders


def added(amounts: dict[str, int], fact: Fact) -> None:
    """Add a fact's money to sums by currency."""
    if fact.amount is not None and fact.currency is not None:
        amounts[fact.currency] = amounts.get(fact.currency, 0) + fact.amount
