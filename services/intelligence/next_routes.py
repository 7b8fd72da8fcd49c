"""The route about whom a provider calls first."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from services.intelligence.answers import LEFT_OUT, MASKED, AsOf, Reason, Strength
from services.intelligence.calling import Calling
from services.intelligence.failures import COMBINED
from services.intelligence.parameters import NextQuery
from services.intelligence.questions import Questions
from shared.access.guard import CallerOf, TenantOf
from shared.access.lineage import STRENGTH, Count, DerivedBy, DerivedFrom, Label, OrderedByParameter
from shared.http.caller import INTELLIGENCE_READ, RELATIONS_READ, forbidden
from shared.http.costs import Cost, costs
from shared.http.purposes import SUMS
from shared.http.scopes import needs
from shared.http.server import json_response

# Which months count follows from the weights of kinds, and from times.
Months = Annotated[int, DerivedFrom(*STRENGTH)]
Month = Annotated[str, DerivedFrom("first", "last", *STRENGTH)]
Estimate = Annotated[float, DerivedFrom(*STRENGTH)]
#: Of the walk alone, so that neither places nor categories are in it.
Score = Annotated[float, DerivedFrom(*STRENGTH)]
Money = Annotated[float, DerivedFrom("amount", "currency", *STRENGTH)]


_BY_CURRENCY = {"None": STRENGTH, "*": (*STRENGTH, "amount", "currency")}


class NextCall(BaseModel):
    """A consumer to call. `worth` is `risk` × `expected_weight` × `affinity`; with `currency`,
    `expected_value_minor` in place of the weight."""

    consumer_id: str
    rank: Count
    worth: Annotated[float, DerivedBy("currency", _BY_CURRENCY)] = Field(
        description="risk × expected_weight × affinity, or risk × expected_value_minor × affinity."
    )
    risk: Estimate = Field(
        description="Probability that the consumer has left this provider for good, from 0 to 1: 1 − P(alive) of "
        "BG/NBD."
    )
    expected_weight: Estimate = Field(
        description="The value, expected_months × per_month: what may be expected of the consumer within the "
        "horizon, in weights of relations."
    )
    affinity: Score = Field(
        description="The score of the walk, as in `/v1/recommendations` with `known=true`: how near the "
        "consumer's other relationships are to the provider."
    )
    months: Months = Field(description="Months with a relation of the two.")
    first_month: Month = Field(description="The first of them.")
    last_month: Month = Field(description="The last of them, at most `as_of.month`.")
    expected_months: Estimate = Field(
        description="Expected months with a relation within the horizon; it contains the probability that the "
        "consumer is still there."
    )
    per_month: Estimate = Field(description="Mean weight of the relations of such a month.")
    expected_value_minor: Money | None = Field(
        None, description="With `currency`, the value in money: expected_months × per_month_minor, in minor units."
    )
    per_month_minor: Money | None = Field(
        None, description="With `currency`: the net amount until the month, divided by `months`; at least 0."
    )
    strength: Strength = Field(description="Of their relationship.")
    because: list[Reason] | None = Field(None, description="Why the affinity, in parts that add up to it.")


class ChurnModel(BaseModel):
    """BG/NBD, fitted to the complete months of the relationships of all providers: relations are Poisson at a rate
    of Gamma(r, alpha); who leaves, leaves after one, by Beta(a, b)."""

    r: Estimate
    alpha: Estimate = Field(description="Months.")
    a: Estimate
    b: Estimate
    log_likelihood: Estimate
    relationships: Count = Field(description="How many it was fitted to: a sample beyond about 16,384.")
    reliable: Annotated[bool, DerivedFrom()] = Field(
        description="False if the fit found no clear optimum: then the risks are unreliable."
    )


class NextCalls(BaseModel):
    items: Annotated[list[NextCall], OrderedByParameter("currency", _BY_CURRENCY)] = Field(
        description="Worth most first, equal ones by id."
    )
    candidates: Count = Field(
        description="Consumers whose worth is above 0, whether or not they have granted a `purpose`."
    )
    consumers: Count = Field(description="Consumers with a relation until the month.")
    repeaters: Count = Field(
        description="Those with relations in at least two months. The others are not listed: the model gives no "
        "risk before a second month."
    )
    horizon_months: Count
    currency: Annotated[str | None, DerivedFrom()] = Field(None, description="Of the money, with `currency`.")
    churn_model: ChurnModel | None
    lack: Annotated[
        Literal["unknown", "weightless", "unreached", "too_few", "no_repeaters", "no_model", "no_money"] | None,
        DerivedFrom(),
    ] = Field(
        None,
        description="Why there are no items. `unknown`: the provider has no relationship (of the kind); "
        "`weightless`: all of them weigh 0; `too_few`: fewer than 10 relationships of all providers have a second "
        "month; "
        "`no_repeaters`: no consumer of this one came back in a second month; "
        "`no_money`: nobody has an amount above 0 in the currency; "
        "`no_model`: no model with finite numbers fits; `unreached`: the consumers share no other provider.",
    )
    reason: Label | None = Field(None, description="The same as a sentence.")
    sampled: Annotated[bool, DerivedFrom()] = Field(
        description="Whether a sample of the provider's relationships was looked at, to bound the time."
    )
    left_out: Annotated[bool | None, DerivedFrom("consent")] = Field(None, description=LEFT_OUT)
    as_of: AsOf
    masked: list[Label] | None = Field(None, description=MASKED)


def add_next(app: FastAPI, questions: Questions) -> None:
    calling = Calling(questions)

    @app.get(
        "/v1/next",
        tags=["recommendations"],
        summary="Whom to call today: a provider's consumers by risk × value × affinity.",
        response_model=NextCalls,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    @costs(Cost.MEASURE)
    def next_calls(query: Annotated[NextQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """Consumers of the provider who may be leaving (BG/NBD), from whom much is expected, and who are near to
        it by their other relationships. Every factor is in the answer. Needs `relations:read`, too."""
        if not caller.may(RELATIONS_READ):
            raise forbidden(RELATIONS_READ)
        return json_response(calling.next(caller, query))
