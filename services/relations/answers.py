"""Answers of the relations API: their models for the documentation, and their making from documents. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from services.relations.strength import Strength
from services.relations.wide import is_wide
from shared.access.lineage import STRENGTH, ContainedIn, Count, DerivedFrom, Label, OrderedBy
from shared.erasure.records import cause_of
from shared.runtime.protocols import Document

LEFT_OUT = "With a purpose: whether the page leaves out items of consumers who have not granted it."
_Strength = Annotated[float, DerivedFrom(*STRENGTH)]
#: The most kinds that an answer shows.
MOST_KINDS = 100
MORE_KINDS = "True if kinds are left out: GET …/cells has all of them. Left out otherwise."
MASKED = "Fields that the credential may not see, shown as •••. Left out when there are none."


class Consumer(BaseModel):
    """The profile of a consumer. Parts without a value are left out."""

    consumer_id: str
    personal: dict[str, str] | None = None
    location: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    consent: dict[str, bool] | None = None
    erased: Annotated[Literal["anonymise", "delete"] | None, DerivedFrom("erased", "mode")] = Field(
        None, description="Mode of the erasure, for an erased consumer."
    )
    masked: list[Label] | None = Field(None, description=MASKED)


class ConsumerList(BaseModel):
    items: list[Consumer] = Field(description="By id.")
    left_out: bool | None = Field(None, description=LEFT_OUT)


class Provider(BaseModel):
    """The profile of a provider. Parts without a value are left out."""

    provider_id: str
    name: str | None = None
    categories: list[str] | None = None
    location: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    closed: bool


class EventName(BaseModel):
    source: Annotated[str, DerivedFrom("event.source")]
    id: Annotated[str, DerivedFrom("event.id")]


class Relation(BaseModel):
    """The current state of a fact; ``event`` identifies the event that last changed it."""

    relation_id: str
    kind: str
    consumer_id: str
    provider_id: str
    time: datetime
    amount: int | None = Field(None, description="Minor units.")
    currency: str | None = None
    rating: int | None = None
    text: str | None = None
    traits: dict[str, Any] | None = None
    event: EventName


class RelationPage(BaseModel):
    items: Annotated[list[Relation], OrderedBy("time")] = Field(description="Latest first.")
    next: Annotated[str | None, ContainedIn("time", "consumer_id", "relation_id")] = Field(
        description="The cursor of the next page; null on the last one."
    )
    masked: list[Label] | None = Field(None, description=MASKED)
    left_out: bool | None = Field(None, description=LEFT_OUT)


class RelationshipSummary(BaseModel):
    consumer_id: str
    provider_id: str
    count: Count
    kinds: Annotated[dict[str, int], DerivedFrom("kind")] = Field(
        description=f"Relations by kind, of the {MOST_KINDS} kinds with the most; empty for a relationship of "
        "more than 1,000 kinds and months."
    )
    more_kinds: Annotated[bool | None, DerivedFrom("kind")] = Field(None, description=MORE_KINDS)
    first: Annotated[datetime, DerivedFrom("time")]
    last: Annotated[datetime, DerivedFrom("time")]
    strength: _Strength = Field(description="As of now.")


class RelationshipPage(BaseModel):
    items: Annotated[list[RelationshipSummary], OrderedBy(*STRENGTH)] = Field(description="Strongest first.")
    next: Annotated[str | None, ContainedIn("strength", "score", "consumer_id", "provider_id")] = Field(
        description="The cursor of the next page; null on the last one."
    )
    left_out: bool | None = Field(None, description=LEFT_OUT)


class KindShare(BaseModel):
    count: Count
    amount: Annotated[dict[str, int], DerivedFrom("amount", "currency")] = Field(
        description="Minor units by currency."
    )
    rating_count: Count
    rating_sum: Annotated[int, DerivedFrom("rating")]
    strength: _Strength = Field(description="Contribution of this kind to the strength.")
    share: _Strength = Field(description="The same as a fraction of 1.")


class Evidence(BaseModel):
    relation_id: str
    kind: str
    time: datetime
    event: EventName
    weight: _Strength = Field(description="Contribution of this relation to the strength.")


class Relationship(BaseModel):
    """The relationship of one consumer and one provider: its sums, its strength, and the contributions to the
    strength."""

    consumer_id: str
    provider_id: str
    count: Count
    amount: Annotated[dict[str, int], DerivedFrom("amount", "currency")] = Field(
        description="Minor units by currency."
    )
    rating_count: Count
    rating_sum: Annotated[int, DerivedFrom("rating")]
    first: Annotated[datetime, DerivedFrom("time")]
    last: Annotated[datetime, DerivedFrom("time")]
    as_of: Annotated[datetime, DerivedFrom()]
    strength: _Strength = Field(description="Σ weight(kind) · count · 2^(−age in months / half-life).")
    kinds: Annotated[dict[str, KindShare], DerivedFrom("kind")] = Field(
        description=f"At most {MOST_KINDS}: the strongest; the first by name for a relationship of more than "
        "1,000 kinds and months."
    )
    more_kinds: Annotated[bool | None, DerivedFrom("kind")] = Field(None, description=MORE_KINDS)
    # Which relations they are reveals their kinds and times, too.
    evidence: Annotated[list[Evidence], DerivedFrom(*STRENGTH)] = Field(
        description="The relations with the highest weights, highest first."
    )


class Cell(BaseModel):
    """The sums of the relations of one kind and month."""

    kind: str
    month: Annotated[str, DerivedFrom("time")] = Field(description="In UTC: `2026-11`.")
    count: Count
    amount: Annotated[dict[str, int], DerivedFrom("amount", "currency")] = Field(
        description="Minor units by currency."
    )
    rating_count: Count
    rating_sum: Annotated[int, DerivedFrom("rating")]


class CellPage(BaseModel):
    # How many there are, and their order, reveals kinds and months even without their names.
    items: Annotated[list[Cell], OrderedBy("kind", "time")] = Field(description="By kind and month.")
    next: Annotated[str | None, ContainedIn("kind", "time", "consumer_id", "provider_id")] = Field(
        description="The cursor of the next page; null on the last one."
    )


_INTERNAL = frozenset({"_id", "tenant", "versions", "version", "retracted", "blind"})


def public(document: Document) -> Document:
    """A stored profile as the API shows it."""
    return {name: value for name, value in document.items() if name not in _INTERNAL}


def relation(fact: Document) -> Document:
    """A stored fact as the API shows it."""
    return {**public(fact), "event": cause_of(fact)}


def summary(document: Document, strength: Strength, now: datetime) -> Document:
    """A stored relationship as a list shows it."""
    kinds = {
        kind: sum(cell["count"] for cell in months.values()) for kind, months in document.get("kinds", {}).items()
    }
    shown = sorted(kinds, key=lambda kind: (-kinds[kind], kind))[:MOST_KINDS] if len(kinds) > MOST_KINDS else kinds
    if is_wide(document):
        total = strength.from_score(document["score"], now)
    else:
        total, _ = strength.at(document["kinds"], now)
    return {
        "consumer_id": document["consumer_id"],
        "provider_id": document["provider_id"],
        "count": document["count"],
        "kinds": {kind: kinds[kind] for kind in shown},
        **({"more_kinds": True} if is_wide(document) or len(kinds) > MOST_KINDS else {}),
        "first": document["first"],
        "last": document["last"],
        "strength": _rounded(total),
    }


def relationship(document: Document, evidence: list[Document], strength: Strength, now: datetime) -> Document:
    """A stored relationship with its strength as of ``now`` explained. Of a wide one, ``document`` has some kinds
    beside its sums."""
    stored, wide = document["kinds"], is_wide(document)
    total, parts = strength.at(stored, now)
    if wide:
        total = strength.from_score(document["score"], now)
        shares = {kind: strength.share({kind: stored[kind]}, document["score"]) for kind in stored}
        shown = list(stored)[:MOST_KINDS]
        sums = _sums([document["sums"]])
    else:
        shares = strength.shares(stored)
        shown = list(stored)
        if len(shown) > MOST_KINDS:
            shown = sorted(shown, key=lambda kind: (-shares[kind], kind))[:MOST_KINDS]
        sums = _sums(cell for months in stored.values() for cell in months.values())
    more = wide and document["count"] > sum(_count(stored[kind]) for kind in shown)
    return {
        "consumer_id": document["consumer_id"],
        "provider_id": document["provider_id"],
        **sums,
        "first": document["first"],
        "last": document["last"],
        "as_of": now,
        "strength": _rounded(total),
        "kinds": {
            kind: {
                **_sums(stored[kind].values()),
                "strength": _rounded(parts[kind]),
                "share": _rounded(shares[kind]),
            }
            for kind in shown
        },
        **({"more_kinds": True} if more or len(stored) > len(shown) else {}),
        "evidence": evidence,
    }


def cell(kind: str, month: str, stored: Mapping[str, Any]) -> Document:
    """A stored cell as the API shows it."""
    return {"kind": kind, "month": month, **_sums([stored])}


def _rounded(value: float) -> float:
    """Ten significant digits; the digits after them are rounding errors."""
    return float(f"{value:.10g}")


def _count(months: Mapping[str, Document]) -> int:
    return sum(cell["count"] for cell in months.values())


def _sums(cells: Iterable[Mapping[str, Any]]) -> Document:
    count = rating_count = rating_sum = 0
    amount: dict[str, int] = {}
    for cell in cells:
        count += cell["count"]
        rating_count += cell.get("rating_count", 0)
        rating_sum += cell.get("rating_sum", 0)
        for currency, value in cell.get("amount", {}).items():
            amount[currency] = amount.get(currency, 0) + value
    return {"count": count, "amount": amount, "rating_count": rating_count, "rating_sum": rating_sum}
