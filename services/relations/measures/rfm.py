"""RFM: consumers by recency, frequency and money, in named classes. Pure."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from services.relations.measures.facts import Histories, Orders
from shared.access.lineage import Count, DerivedFrom, OrderedBy
from shared.measures.answer import MoneyAnswer
from shared.measures.days import day_of
from shared.measures.units import WORD, Days, Fraction, Minor, Rate

Segment = Literal[
    "champions",
    "loyal",
    "potential_loyalists",
    "new",
    "promising",
    "need_attention",
    "about_to_sleep",
    "cannot_lose",
    "at_risk",
    "hibernating",
]
#: By recency 1 to 5, then by frequency 1 to 5. Source: the segments of Putler's RFM map on an R × F grid.
CLASSES: tuple[tuple[Segment, ...], ...] = (
    ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "about_to_sleep", "need_attention", "loyal", "loyal"),
    ("promising", "potential_loyalists", "potential_loyalists", "loyal", "loyal"),
    ("new", "potential_loyalists", "potential_loyalists", "champions", "champions"),
)


class RfmConsumer(BaseModel):
    consumer_id: str
    segment: Annotated[Segment, WORD, DerivedFrom()]
    r: Count = Field(title="R", description="Recency score, 1 to 5; 5 is the most recent last order.")
    f: Count = Field(title="F", description="Frequency score, 1 to 5; 1 is a single order, 5 the most orders.")
    m: Annotated[int, DerivedFrom("amount")] = Field(
        title="M", description="Money score, 1 to 5; 5 is the most money."
    )
    recency_days: Count = Field(
        title="Days since last order", description="Days from the last order to the last day of the period."
    )
    orders: Count = Field(description="Orders in the period.")
    money_minor: Minor = Field(description="Money, net of refunds, in minor units.")


class RfmSegment(BaseModel):
    segment: Annotated[Segment, WORD, DerivedFrom()]
    consumers: Count
    share: Fraction = Field(
        title="Share of consumers", description="Share of all consumers with an order, from 0 to 1."
    )
    recency_days: Days = Field(title="Days since last order", description="Mean days since the last order.")
    orders: Rate = Field(title="Orders each", description="Mean orders of a consumer.")
    money_minor: Minor = Field(description="Money of all its consumers, net of refunds, in minor units.")
    money_share: Annotated[Fraction | None, DerivedFrom("amount")] = Field(
        title="Share of money",
        description="Share of the money of all classes above 0, from 0 to 1; null for a class below 0 (more"
        " refunds than sales), and where no class is above 0.",
    )


class Rfm(MoneyAnswer):
    """Answers: which kinds of customers do we have, and how many of each?"""

    consumers: Count = Field(description="Consumers with an order in the period.")
    grid: list[list[Count]] = Field(
        description="Consumers by recency score (rows, 1 first) and frequency score (columns, 1 first)."
    )
    # Which relations are orders depends on the signs of amounts and on the currency; so do all scores.
    items: Annotated[list[RfmSegment], OrderedBy("amount", "currency")] = Field(
        description="Every class with consumers, best first."
    )


class RfmConsumers(MoneyAnswer):
    """Answers: who exactly is about to leave, and who is worth a call?"""

    consumers: Count = Field(description="Number of consumers of the class, or of all classes.")
    items: Annotated[list[RfmConsumer], OrderedBy("amount", "currency")] = Field(
        description="Most money first; equal values by consumer."
    )


def scores(values: Iterable[int]) -> dict[int, int]:
    """Each value's score from 1 to 5 by quintile; equal values have the same one, that of their middle rank.

    score(v) = 1 + ⌊5 · (|{less}| + |{equal}|/2) / n⌋: if all are the same, all score 3. So does one that is alone;
    of two, they score 2 and 4; of three, 1, 3 and 5; of four, 1, 2, 4 and 5.
    """
    counts = Counter(values)
    n, less, found = counts.total(), 0, {}
    for value, equal in sorted(counts.items()):
        found[value] = 1 + 5 * (2 * less + equal) // (2 * n)
        less += equal
    return found


def frequency_scores(orders: Iterable[int]) -> dict[int, int]:
    """The score of each number of orders: 1 for one order, which is no frequency yet; 2 to 5 by quartile among the
    consumers with more.

    score(v) = 1 + ⌈4 · (|{less}| + |{equal}|/2) / n⌉ over the n consumers with at least two orders: if all of them
    have the same number, all score 3.
    """
    counts = Counter(orders)
    found = {1: 1} if counts.pop(1, 0) else {}
    n, less = counts.total(), 0
    for value, equal in sorted(counts.items()):
        found[value] = 1 - 4 * (2 * less + equal) // (-2 * n)
        less += equal
    return found


@dataclass(frozen=True, slots=True)
class Scored:
    """All consumers with an order: ids, and parallel columns of numbers and scores."""

    currency: str | None
    left_out: int
    ids: list[str]
    recency: Sequence[int]
    orders: Sequence[int]
    money: Sequence[int]
    r: Sequence[int]
    f: Sequence[int]
    m: Sequence[int]

    def segment(self, at: int) -> Segment:
        return CLASSES[self.r[at] - 1][self.f[at] - 1]


def scored(histories: Histories, orders: Orders, end: int) -> Scored:
    """Recency, frequency and money of each consumer with an order, and their scores.

    ``histories``: facts of the period, in any order, a consumer in as many parts as they come; ``end``: the day
    after it. Units: recency in days, from the last order to the last day of the period; frequency in orders; money
    in minor units, refunds deducted as far as they are among the facts. Consumers with orders in other currencies
    only are left out, and counted. Source: A. M. Hughes, "Strategic Database Marketing", 1994 (quintile scores).
    """
    places: dict[str, int] = {}
    last, number, sums = array("q"), array("q"), array("q")
    elsewhere: set[str] = set()
    for consumer, facts in histories:
        for fact in facts:
            if not orders.in_currency(fact):
                if orders.elsewhere(fact):
                    elsewhere.add(consumer)
                continue
            if (at := places.setdefault(consumer, len(last))) == len(last):
                last.append(0)
                number.append(0)
                sums.append(0)
            sums[at] += fact.amount or 0
            if orders.counts(fact):
                number[at] += 1
                last[at] = max(last[at], day_of(fact.time))
    buyers = [(consumer, at) for consumer, at in places.items() if number[at]]
    ids = [consumer for consumer, _ in buyers]
    recency = array("q", (end - 1 - last[at] for _, at in buyers))
    count = array("q", (number[at] for _, at in buyers))
    money = array("q", (sums[at] for _, at in buyers))
    by_recency, by_count, by_money = scores(-days for days in recency), frequency_scores(count), scores(money)
    return Scored(
        orders.currency,
        len(elsewhere.difference(ids)),
        ids,
        recency,
        count,
        money,
        [by_recency[-days] for days in recency],
        [by_count[number] for number in count],
        [by_money[amount] for amount in money],
    )


def rfm(all: Scored) -> Rfm:
    """Consumers by named class of recency and frequency (``CLASSES``). Units, formula: ``scored``, ``scores``."""
    grid = [[0] * 5 for _ in range(5)]
    members: dict[Segment, list[int]] = {}
    for at in range(len(all.ids)):
        grid[all.r[at] - 1][all.f[at] - 1] += 1
        members.setdefault(all.segment(at), []).append(at)
    sums = {segment: sum(all.money[at] for at in those) for segment, those in members.items()}
    above = sum(money for money in sums.values() if money > 0)
    items = []
    for segment in get_args(Segment):
        if not (those := members.get(segment)):
            continue
        money, size = sums[segment], len(those)
        items.append(
            RfmSegment(
                segment=segment,
                consumers=size,
                share=size / len(all.ids),
                recency_days=sum(all.recency[at] for at in those) / size,
                orders=sum(all.orders[at] for at in those) / size,
                money_minor=money,
                money_share=money / above if above > 0 and money >= 0 else None,
            )
        )
    return Rfm(currency=all.currency, left_out=all.left_out, consumers=len(all.ids), grid=grid, items=items)


def rfm_consumers(all: Scored, segment: Segment | None, limit: int) -> RfmConsumers:
    """The consumers of a class (None: of any) with their scores. Units and formula: ``scored``, ``scores``."""
    those = [at for at in range(len(all.ids)) if segment is None or all.segment(at) == segment]
    best = sorted(those, key=lambda at: (-all.money[at], all.ids[at]))[:limit]
    return RfmConsumers(
        currency=all.currency,
        left_out=all.left_out,
        consumers=len(those),
        items=[
            RfmConsumer(
                consumer_id=all.ids[at],
                segment=all.segment(at),
                r=all.r[at],
                f=all.f[at],
                m=all.m[at],
                recency_days=all.recency[at],
                orders=all.orders[at],
                money_minor=all.money[at],
            )
            for at in best
        ],
    )
