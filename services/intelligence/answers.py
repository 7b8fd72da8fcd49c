"""The models of the API's answers. Pure."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import STRENGTH, Count, DerivedFrom, Label, OrderedBy, Ratio

Strength = Annotated[float, DerivedFrom(*STRENGTH)]
#: A score is made of strengths.
Score = Annotated[float, DerivedFrom(*STRENGTH, "location", "categories")]
Points = Annotated[float, DerivedFrom(*STRENGTH, "location", "categories")]
Few = Annotated[int | Literal["few"], DerivedFrom()]
MASKED = "Fields that the credential may not see, shown as •••. Left out when there are none."
LEFT_OUT = "With a purpose: whether consumers are missing who have not granted it."


class AsOf(BaseModel):
    """What an answer follows from. The same `as_of` and question give the same answer, in any process."""

    positions: Annotated[dict[str, int], DerivedFrom()] = Field(
        description="By partition, the number of the last change that the graph contains."
    )
    month: Label = Field(description="The month that strengths are as of.")
    weights: Annotated[dict[str, float], DerivedFrom()] = Field(description="Weights per kind; others count 1.")
    half_life_months: Annotated[float | None, DerivedFrom()] = Field(description="Null: nothing fades.")
    beta: Ratio
    model: Label = Field(description="`walk`, or name and version of a learned model.")


class Via(BaseModel):
    """One of the relationships that led to an answer, and how many consumers it shares with it."""

    provider_id: str
    name: str | None = None
    strength: Strength = Field(description="Of the consumer's relationship with it.")
    shared_consumers: Few | None = Field(
        None,
        description="Consumers who have a relationship with both providers; `few` below five. Not there for a "
        "similar consumer, who knows this provider, too.",
    )
    of: Few = Field(description="Consumers of it that were looked at.")
    points: Points = Field(description="Its part of the points of the reason.")
    relationship: Annotated[str, DerivedFrom("consumer_id", "provider_id")] = Field(
        description="The path of the relationship in the relations API."
    )


class Reason(BaseModel):
    """A part of a score. The points of all reasons add up to the score."""

    term: Label = Field(description="`walk`, `popularity`, or a feature of a learned model.")
    points: Points
    via: list[Via] | None = Field(
        None,
        description="For the walk: what led there, largest part first. Empty without `relations:read`: then all "
        "of it is the rest.",
    )
    shared_consumers: Few | None = Field(
        None,
        description="For a similar provider: how many consumers know both, who are not named; `few` below five.",
    )
    rest: Count | None = Field(None, description="How many further relationships led there.")
    rest_points: Annotated[float | None, DerivedFrom(*STRENGTH)] = Field(
        None, description="Their part of the points."
    )


class Answer(BaseModel):
    """Somebody who comes next, or is similar."""

    consumer_id: str | None = None
    provider_id: str | None = None
    name: str | None = Field(None, description="Of a provider, for credentials that may read providers.")
    categories: list[str] | None = None
    rank: Count
    score: Score
    chance: Annotated[float | None, DerivedFrom(*STRENGTH)] = Field(
        None, description="By a learned model: the probability that this one is next."
    )
    relationships: Few = Field(
        description="How many the answer has. Of a provider it is a number of consumers, `few` below five."
    )
    strength: Annotated[float | None, DerivedFrom(*STRENGTH)] = Field(
        None, description="Of the relationship that exists already, with `known`."
    )
    shared: Few | None = Field(None, description="For similar ones: neighbours of both; `few` below five.")
    because: list[Reason] | None = Field(None, description="Why, in parts that add up to the score.")


Why = Literal["unknown", "withheld", "weightless", "unreached", "excluded"]


class Answers(BaseModel):
    # A closed provider is no answer, unless the known ones are asked for.
    items: Annotated[list[Answer], OrderedBy(*STRENGTH, "location", "categories", "closed")] = Field(
        description="Best first, equal ones by id."
    )
    candidates: Annotated[int | None, DerivedFrom()] = Field(
        description="How many had a score, whatever `limit` is and whether or not they have granted a `purpose`. "
        "Null where the answers are consumers and the credential is bound to a purpose: for it there are no "
        "others."
    )
    lack: Annotated[Why | None, DerivedFrom()] = Field(
        None,
        description="Why there are no items. `unknown`: nobody with this id has a relationship (of the kind); "
        "`withheld`: the consumer has not granted the purpose that the tenant's data is used for (`unknown` for a "
        "credential that may not read consents); `weightless`: "
        "all relationships weigh 0; `unreached`: nobody else shares them; `excluded`: only such are reached as "
        "may not be an answer: of another category, closed, or without the purpose.",
    )
    reason: Label | None = Field(None, description="The same as a sentence.")
    popular: list[Answer] | None = Field(
        None,
        description="Where the walk has no answer: those with the most relationships, by their number. Of a "
        "provider with fewer than five the score is 0.",
    )
    sampled: Annotated[bool, DerivedFrom()] = Field(
        description="Whether the walk followed a sample of the relationships, to bound its time."
    )
    left_out: Annotated[bool | None, DerivedFrom("consent")] = Field(None, description=LEFT_OUT)
    as_of: AsOf
    masked: list[Label] | None = Field(None, description=MASKED)


class Affinity(BaseModel):
    """One consumer and one provider: what they have, and what the rest of the graph says."""

    consumer_id: str
    provider_id: str
    name: str | None = None
    strength: Annotated[float | None, DerivedFrom(*STRENGTH)] = Field(
        description="Of their relationship; null without one."
    )
    score: Annotated[float | None, DerivedFrom(*STRENGTH)] = Field(
        description="Predicted from the consumer's other relationships; null where these do not lead there."
    )
    rank: Annotated[int | None, DerivedFrom(*STRENGTH)] = Field(
        description="Among the providers that the consumer does not know; for a known one, among the known."
    )
    # What weighs nothing leads nowhere, and the strongest relationships are listed first.
    candidates: Annotated[int, DerivedFrom(*STRENGTH)]
    lack: Annotated[Why | None, DerivedFrom(*STRENGTH)] = Field(None, description="Why there is no score.")
    reason: Annotated[str | None, DerivedFrom(*STRENGTH)] = None
    because: Annotated[list[Reason] | None, DerivedFrom(*STRENGTH)] = None
    sampled: Annotated[bool, DerivedFrom()]
    as_of: AsOf
    masked: list[Label] | None = Field(None, description=MASKED)
