"""The route about what followed what was shown."""

from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from services.intelligence.answers import MASKED
from services.intelligence.failures import COMBINED
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.outcomes.report import OutcomesQuery, report
from shared.access.guard import CallerOf, TenantOf
from shared.access.lineage import Count, DerivedFrom, Label, OrderedBy
from shared.http.caller import INTELLIGENCE_READ
from shared.http.costs import Cost, costs
from shared.http.purposes import SUMS
from shared.http.scopes import needs
from shared.http.server import json_response

Rate = Annotated[float, DerivedFrom("time")]


class Followed(BaseModel):
    """How many were shown, and how many of these a relation followed."""

    shown: Count
    followed: Annotated[int, DerivedFrom("time")]
    rate: Annotated[float | None, DerivedFrom("time")] = Field(description="followed / shown; null of none.")
    low: Rate = Field(description="Lower bound of the rate, with 97.5 % confidence (Wilson).")
    high: Rate = Field(description="Upper bound of the rate, with 97.5 % confidence (Wilson).")


class OfRank(Followed):
    rank: Count = Field(description="Place in the list, from 1.")


class OfModel(BaseModel):
    model: Label = Field(description="`walk`, or name and version of a learned model.")
    lists: Followed = Field(description="Lists; followed if a relation followed with any item.")
    items: Followed = Field(description="Items of these lists, each with the node that was asked about.")
    by_rank: list[OfRank]


class Outcomes(BaseModel):
    models: Annotated[list[OfModel], OrderedBy()] = Field(description="Most lists first.")
    open: Count = Field(description="Lists of the period that do not count yet: their window has not ended.")
    share: Annotated[float, DerivedFrom()] = Field(description="The part of lists that is recorded at present.")
    window_days: Annotated[float, DerivedFrom()] = Field(
        description="Days in which a relation counts, of lists that are recorded at present."
    )
    masked: list[Label] | None = Field(None, description=MASKED)


def add_outcomes(app: FastAPI, recorder: Recorder) -> None:
    @app.get(
        "/v1/outcomes",
        tags=["models"],
        summary="How often a relation followed what was shown, by model and by place in the list.",
        response_model=Outcomes,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    @costs(Cost.QUERY)
    def outcomes(query: Annotated[OutcomesQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """What followed the lists of `/v1/recommendations` that were recorded: once per day, node asked about and
        model."""
        return json_response(report(recorder.store, recorder.recording, caller.tenant, query, recorder.clock()))
