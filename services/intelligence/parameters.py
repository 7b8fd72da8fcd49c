"""The parameters of questions, and the questions that they make. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from services.intelligence.engine.question import Question
from shared.access.lineage import DerivedFrom
from shared.contracts.events import MAX_ID, Name
from shared.contracts.spelling import nfc
from shared.http.caller import CONSUMERS_READ, RELATIONS_READ
from shared.http.paths import QueryId
from shared.http.scopes import Scoped
from shared.measures.query import OfCategory, OfCurrency, OfKind

BETA = 0.4
_MOST_WEIGHT = 1_000_000.0
_MOST_WEIGHTS = 50


def _weights(text: str) -> str:
    parse_weights(text)
    return text


def parse_weights(text: str) -> dict[str, float]:
    """``purchase:2,view:0.1`` as kind → weight. Raises ValueError."""
    parts = text.split(",")
    if len(parts) > _MOST_WEIGHTS:
        raise ValueError(f"must have at most {_MOST_WEIGHTS} kinds")
    found: dict[str, float] = {}
    for part in parts:
        kind, _, number = part.partition(":")
        weight = float(number)
        if not 0 <= weight <= _MOST_WEIGHT:
            raise ValueError(f"the weight of {kind} must be from 0 to {_MOST_WEIGHT:,.0f}")
        if kind in found:
            raise ValueError(f"{kind} has two weights")
        found[kind] = weight
    return found


Weights = Annotated[
    str,
    StringConstraints(
        max_length=2_000,
        pattern=r"^[a-z][a-z0-9_]{0,31}:[0-9]{1,7}(\.[0-9]{1,9})?"
        r"(,[a-z][a-z0-9_]{0,31}:[0-9]{1,7}(\.[0-9]{1,9})?)*$",
    ),
    AfterValidator(_weights),
]
Month = Annotated[str, StringConstraints(pattern=r"^(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])$")]
#: ``consumer:ada``, ``provider:cafe-lumen``
NodeName = Annotated[
    str,
    StringConstraints(pattern=r"^(consumer|provider):.+$", max_length=MAX_ID + 10),
    AfterValidator(nfc),
]
Consumer = Annotated[QueryId | None, DerivedFrom("consumer_id")]
Provider = Annotated[QueryId | None, DerivedFrom("provider_id")]


class StrengthQuery(BaseModel):
    """How a relationship's strength is computed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: OfKind = Field(None, description="Only relations of this kind, as if there were no others.")
    weights: Annotated[Weights | None, DerivedFrom("strength", "kind")] = Field(
        None,
        description="Weights of kinds that replace the configured ones: `purchase:2,view:0.1`. Kinds without a "
        "weight count 1.",
        examples=["purchase:2,view:0.1"],
    )
    half_life_months: Annotated[float | None, DerivedFrom("strength", "time")] = Field(
        None, ge=0.01, le=1200, description="Half-life in place of the configured one."
    )
    as_of: Annotated[Month | None, DerivedFrom("strength", "time")] = Field(
        None,
        description="The month that strengths are computed as of, such as 2026-11. Default: the present one. It "
        "changes no order: decay scales all alike.",
        examples=["2026-11"],
    )


class AskQuery(StrengthQuery):
    """What every list takes."""

    limit: int = Field(10, ge=1, le=100, description="Maximum number of answers.")
    category: OfCategory = Field(
        None, description="Only providers of this category as answers. Needs `relations:read`."
    )
    beta: float = Field(
        BETA,
        ge=0,
        le=1,
        description="How far popularity is taken out of a score: at 0 large providers win, at 1 small ones.",
    )
    explain: bool = Field(True, description="Whether each answer has its reasons.")
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None,
        description="Only consumers who have granted this purpose. `left_out` is true if any are missing for it."
        " Needs `consumers:read`.",
    )


class RecommendQuery(AskQuery):
    consumer_id: Consumer = Field(None, description="Providers for this consumer.")
    provider_id: Provider = Field(None, description="Consumers for this provider: whom to win.")
    known: Annotated[bool, Scoped(RELATIONS_READ)] = Field(
        False,
        description="Those with a relationship already, in place of those without: whom to win back. Needs "
        "`relations:read`.",
    )
    model: Annotated[str | None, StringConstraints(max_length=100)] = Field(
        None, description="`walk`, or the name of a learned model. Default: the one that is live."
    )
    record: Annotated[bool, DerivedFrom()] = Field(
        True,
        description="Whether the list may be recorded as shown, to see what follows (`/v1/outcomes`). `false` for"
        " lists that only you look at.",
    )


class SimilarQuery(AskQuery):
    consumer_id: Consumer = Field(None, description="Consumers similar to this one.")
    provider_id: Provider = Field(None, description="Providers similar to this one.")


class NextQuery(StrengthQuery):
    provider_id: Annotated[QueryId, DerivedFrom("provider_id")] = Field(
        description="The provider whose consumers are called."
    )
    currency: OfCurrency = Field(
        None,
        description="Value in money of this currency, such as EUR, in place of weights of relations.",
    )
    horizon_months: int = Field(12, ge=1, le=120, description="How far ahead the value looks, in months.")
    limit: int = Field(10, ge=1, le=100, description="Maximum number of consumers.")
    as_of: Annotated[Month | None, DerivedFrom("strength", "time")] = Field(
        None,
        description="The month that risk and value are computed as of, such as 2026-11: relations after it do not "
        "count in them. Default: the present one.",
        examples=["2026-11"],
    )
    beta: float = Field(BETA, ge=0, le=1, description="As in recommendations.")
    explain: bool = Field(True, description="Whether each affinity has its reasons.")
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None,
        description="Only consumers who have granted this purpose. `left_out` is true if any are missing for it."
        " Needs `consumers:read`.",
    )


class PairQuery(StrengthQuery):
    beta: float = Field(BETA, ge=0, le=1, description="As in recommendations.")
    explain: bool = Field(True, description="Whether the score has its reasons.")
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None, description="Refused unless the consumer has granted this purpose. Needs `consumers:read`."
    )


@dataclass(frozen=True, slots=True)
class Defaults:
    """The configured weights per kind and half-life, and the clock."""

    weights: Mapping[str, float]
    half_life: float
    now: Any

    def question(self, query: StrengthQuery, **more: Any) -> Question:
        """The question of a request."""
        weights = dict(self.weights)
        if query.weights is not None:
            weights |= parse_weights(query.weights)
        return Question(
            month=query.as_of or month_of(self.now()),
            weights=weights,
            half_life=query.half_life_months or self.half_life,
            kind=query.kind,
            **more,
        )

    def question_of(self, kind: str | None, **more: Any) -> Question:
        """A question with everything as configured."""
        return self.question(StrengthQuery(kind=kind), **more)


def month_of(time: datetime) -> str:
    utc = time.astimezone(UTC)
    return f"{utc.year:04d}-{utc.month:02d}"
