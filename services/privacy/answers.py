"""Models of the privacy API's answers, for its documentation."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from shared.access.apps.compliance import State
from shared.access.lineage import STRENGTH, ContainedIn, Count, DerivedFrom, Label, OrderedBy

#: A hash of the consumer's id, which anyone can compute for an id that they guess.
ErasureId = Annotated[str, DerivedFrom("consumer_id")]
Mode = Annotated[Literal["anonymise", "delete"], DerivedFrom("mode", "erased")]
#: The time of an event, for an erasure that was sent as one.
Asked = Annotated[datetime, DerivedFrom("time")]


class Accepted(BaseModel):
    erasure: ErasureId = Field(description="The erasure's id: GET /v1/erasures/{erasure} returns its progress.")
    mode: Mode
    asked: Asked = Field(description="Time of the first request.")


class Step(BaseModel):
    name: Label
    done: bool
    means: Label


class ToldApplication(BaseModel):
    app: Label
    state: Annotated[State, DerivedFrom()] = Field(
        description="`waiting`: it can be sent nowhere at present. `failed`: it was given up."
    )
    reason: Label | None = None
    enqueued: Annotated[datetime | None, DerivedFrom()] = None
    settled: Annotated[datetime | None, DerivedFrom()] = None


class Erasure(BaseModel):
    erasure: ErasureId
    consumer_id: str
    mode: Mode = Field(description="The most thorough that has been asked for.")
    asked: Asked
    done: bool
    steps: list[Step]
    sinks: list[Label] = Field(
        description="The sinks that it waits for, once the steps before are done. If one was given up, its "
        "page says how Kith forgets it."
    )
    # It contains them in readable form.
    receipt: Annotated[str | None, DerivedFrom("consumer_id", "mode", "erased", "time")] = Field(
        description="A JWS (compact) once all steps are done; else null."
    )
    applications: Annotated[list[ToldApplication], DerivedFrom("consent")] = Field(
        description="The applications of third parties that are told, because the consumer had agreed to them at "
        "some time. The erasure does not wait for them."
    )


class ErasureSummary(BaseModel):
    erasure: ErasureId
    consumer_id: str
    mode: Mode = Field(description="The most thorough that has been asked for.")
    asked: Asked
    done: bool
    waiting_for: Label | None = Field(description="The first step that is not done; null once all are.")


class ErasurePage(BaseModel):
    items: Annotated[list[ErasureSummary], OrderedBy("time")] = Field(
        description="Latest first, by the time of the last request."
    )
    next: Annotated[str | None, ContainedIn("consumer_id", "time")] = Field(
        description="The cursor of the next page; null on the last one."
    )


class AuditEntry(BaseModel):
    """An act, as it was recorded before it took place."""

    sequence: Count = Field(description="The entry's place in the tenant's chain, from 1.")
    time: str
    tenant: Label
    who: Label = Field(description="The caller's display name.")
    credential: Label = Field(description="The prefix of a key, a token's subject, `command` …")
    action: Label = Field(description="A short stable code such as `personal.read`.")
    subject: Annotated[dict[str, str], DerivedFrom("consumer_id", "provider_id", "relation_id")] = Field(
        description="The subject of the act, such as a consumer_id."
    )
    fields: list[Label] = Field(description="The personal fields that were shown.")
    # The mode of an erasure, and the reason that was stated for it.
    details: Annotated[dict[str, str | int], DerivedFrom("mode", "erased")]
    # Whoever has all but one field of an entry finds that one by hashing guesses.
    hash: Annotated[
        str, DerivedFrom("consumer_id", "provider_id", "relation_id", "kind", "mode", "erased", "time")
    ] = Field(description="Hash of the entry and of all before it: `kith audit verify` checks the chain.")


class AuditPage(BaseModel):
    items: list[AuditEntry] = Field(description="Latest first.")
    next: Label | None = Field(
        description="The cursor of the next page; null on the last one. Earlier pages may be short or empty."
    )


class Keys(BaseModel):
    """A JSON Web Key Set (RFC 7517)."""

    keys: Annotated[list[dict[str, Any]], DerivedFrom()]


class Correction(BaseModel):
    """The event that corrects the consumer. It is stored a moment later."""

    source: Annotated[str, DerivedFrom("event.source")]
    id: Annotated[str, DerivedFrom("event.id")]


class EventName(BaseModel):
    source: Annotated[str, DerivedFrom("event.source")]
    id: Annotated[str, DerivedFrom("event.id")]


class ExportedRelation(BaseModel):
    """A fact as it is stored. Fields that no event has stated are left out."""

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
    event: EventName | None = None


class Month(BaseModel):
    """The sums of a kind in a month."""

    count: Count
    amount: Annotated[dict[str, int], DerivedFrom("amount", "currency")] = Field({}, description="Minor units.")
    amount_count: Annotated[dict[str, int], DerivedFrom("currency")] = Field(
        {}, description="Relations by currency, where not all have it."
    )
    rating_count: Count = 0
    rating_sum: Annotated[int, DerivedFrom("rating")] = 0


class ExportedRelationship(BaseModel):
    """The sums of the relations with one provider, as they are stored."""

    consumer_id: str
    provider_id: str
    count: Count
    first: Annotated[datetime, DerivedFrom("time")]
    last: Annotated[datetime, DerivedFrom("time")]
    kinds: Annotated[dict[str, dict[str, Month]], DerivedFrom("kind", "time")] = Field(
        description="By kind and month. A relationship of more than 1,000 of them comes as several items, each "
        "with some of them and the same count, first and last."
    )


#: What a recommendation's score follows from.
_SCORE = DerivedFrom(*STRENGTH, "location", "categories")


class ExportedGraph(BaseModel):
    """The consumer's place among all consumers and providers, as the intelligence service last found it."""

    relationships: Count
    community: Label = Field(description="Consumers and providers who have more to do with each other.")
    pagerank: Annotated[float, DerivedFrom()] = Field(description="Of the PageRank of all, which adds up to 1.")


class ExportedRecommendation(BaseModel):
    """A recommendation that was shown, and recorded."""

    provider_id: str
    asked_about: Annotated[Literal["consumer", "provider"], DerivedFrom()] = Field(
        description="`consumer`: the provider was recommended to the consumer. `provider`: the consumer to the "
        "provider."
    )
    at: Annotated[datetime, DerivedFrom()] = Field(description="When it was shown.")
    model: Label
    rank: Annotated[int, _SCORE]
    score: Annotated[float, _SCORE]
    followed: Annotated[datetime | None, DerivedFrom("time")] = Field(
        description="The time of the first relation of both within the window; null without one."
    )


class ExportedApplication(BaseModel):
    """An application of a third party that the consumer has agreed to, now or before."""

    app: Label
    name: Label | None = Field(description="Null when the application was deleted.")
    granted: bool = Field(description="Whether the consent holds now.")


class Export(BaseModel):
    """Everything that is stored about one consumer."""

    consumer: Annotated[dict[str, Any], DerivedFrom()] = Field(
        description="The profile, as in GET /v1/consumers/{consumer_id}."
    )
    erasure: Annotated[dict[str, Any] | None, DerivedFrom("consumer_id", "mode", "erased")] = Field(
        description="Set once the consumer is erased."
    )
    relationships: list[ExportedRelationship] = Field(description="By id.")
    relations: list[ExportedRelation] = Field(description="By id, without retracted ones.")
    graph: ExportedGraph | None = Field(
        description="Null before it was found, and for credentials without `intelligence:read`."
    )
    recommended: list[ExportedRecommendation] | None = Field(
        description="Null for credentials without `intelligence:read`."
    )
    applications: Annotated[list[ExportedApplication] | None, DerivedFrom("consent")] = Field(
        description="Every application that may have received data of the consumer, because they agreed to it at "
        "some time, by id. Null for credentials that are bound to a purpose."
    )
    masked: list[Label] = Field(description="The fields that the credential may not see, shown as `mask`.")
    mask: Label
