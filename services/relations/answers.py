"""Answers of the relations API: their models for the documentation, and their making from documents. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from services.relations.strength import Strength
from shared.access.lineage import ContainedIn, Count, DerivedFrom, Label, OrderedBy
from shared.erasure.records import cause_of
from shared.runtime.protocols import Document

LEFT_OUT = "With a purpose: whether the page leaves out items of consumers who have not granted it."
#: The strength of a single relation follows from its kind and time, so it reveals both.
_Strength = Annotated[float, DerivedFrom("strength", "kind", "time")]
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
    kinds: Annotated[dict[str, int], DerivedFrom("kind")] = Field(description="Relations by kind.")
    first: Annotated[datetime, DerivedFrom("time")]
    last: Annotated[datetime, DerivedFrom("time")]
    strength: _Strength = Field(description="As of now.")


class RelationshipPage(BaseModel):
    items: Annotated[list[RelationshipSummary], OrderedBy("strength", "kind", "time")] = Field(
        description="Strongest first."
    )
    next: Annotated[str | None, ContainedIn("strength", "consumer_id", "provider_id")] = Field(
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
    kinds: Annotated[dict[str, KindShare], DerivedFrom("kind")]
    # Which relations they are reveals their kinds and times, too.
    evidence: Annotated[list[Evidence], DerivedFrom("strength", "kind", "time")] = Field(
        description="The relations with the highest weights, highest first."
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
    return {
        "consumer_id": document["consumer_id"],
        "provider_id": document["provider_id"],
        "count": document["count"],
        "kinds": {kind: sum(c["count"] for c in months.values()) for kind, months in document["kinds"].items()},
        "first": document["first"],
        "last": document["last"],
        "strength": _rounded(strength.at(document["kinds"], now)[0]),
    }


def relationship(document: Document, evidence: list[Document], strength: Strength, now: datetime) -> Document:
    """A stored relationship with its strength as of ``now`` explained."""
    total, parts = strength.at(document["kinds"], now)
    shares = strength.shares(document["kinds"])
    kinds = {kind: _sums(months) for kind, months in document["kinds"].items()}
    for kind, sums in kinds.items():
        sums["strength"] = _rounded(parts[kind])
        sums["share"] = _rounded(shares[kind])
    amount: dict[str, int] = {}
    for sums in kinds.values():
        for currency, value in sums["amount"].items():
            amount[currency] = amount.get(currency, 0) + value
    return {
        "consumer_id": document["consumer_id"],
        "provider_id": document["provider_id"],
        "count": document["count"],
        "amount": amount,
        "rating_count": sum(sums["rating_count"] for sums in kinds.values()),
        "rating_sum": sum(sums["rating_sum"] for sums in kinds.values()),
        "first": document["first"],
        "last": document["last"],
        "as_of": now,
        "strength": _rounded(total),
        "kinds": kinds,
        "evidence": evidence,
    }


def _rounded(value: float) -> float:
    """Ten significant digits; the digits after them are rounding errors."""
    return float(f"{value:.10g}")


def _sums(months: Mapping[str, Document]) -> Document:
    amount: dict[str, int] = {}
    for cell in months.values():
        for currency, value in cell.get("amount", {}).items():
            amount[currency] = amount.get(currency, 0) + value
    return {
        "count": sum(cell["count"] for cell in months.values()),
        "amount": amount,
        "rating_count": sum(cell.get("rating_count", 0) for cell in months.values()),
        "rating_sum": sum(cell.get("rating_sum", 0) for cell in months.values()),
    }
