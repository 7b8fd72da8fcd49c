"""Routes about learned models, and campaigns."""

from datetime import UTC
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field

from services.intelligence.answers import MASKED, AsOf, Reason, Score
from services.intelligence.engine.campaign import TooLarge, campaign, explained
from services.intelligence.failures import COMBINED
from services.intelligence.models import Models
from services.intelligence.parameters import BETA, StrengthQuery, Weights
from services.intelligence.present import Presenter, as_of
from services.intelligence.questions import REASONS, Questions
from shared.access.guard import CallerOf, TenantOf
from shared.access.lineage import STRENGTH, Count, DerivedFrom, Label, OrderedBy, Ratio
from shared.contracts.events import Name, ShortText
from shared.http.caller import CONSUMERS_READ, INTELLIGENCE_READ, RELATIONS_READ, Denied
from shared.http.costs import Cost, costs
from shared.http.parameters import BadParameter
from shared.http.paths import QueryId
from shared.http.problems.client import PURPOSE_BOUND
from shared.http.purposes import LEARNED_ITSELF, SUMS
from shared.http.scopes import Scoped, needs
from shared.http.server import json_response, problems
from shared.measures.query import OfKind
from shared.runtime.protocols import Document

#: The most consumers of a campaign with reasons.
EXPLAINED = 200


class Quality(BaseModel):
    """How a method ranks what was held out."""

    ndcg: Ratio = Field(description="NDCG@10: 1 where the right provider is always first.")
    error: Ratio = Field(description="Standard error of it, over consumers.")
    hits: Ratio = Field(description="Share of consumers with the right provider among the first ten.")
    coverage: Ratio = Field(description="Share of providers among the first ten of anybody.")
    gini: Ratio = Field(description="How unevenly providers are shown: 0 all alike.")


class ModelAnswer(BaseModel):
    name: Label
    version: Count
    live: Annotated[bool, DerivedFrom()] = Field(
        description="Whether it answers; the walk does where none is live."
    )
    learned: Annotated[str, DerivedFrom()] = Field(description="When.")
    features: Annotated[dict[str, float], DerivedFrom()] = Field(
        description="Weight of each standardised feature."
    )
    digest: Label = Field(description="Of the data that it was learned from.")
    accepted: Annotated[bool, DerivedFrom()] = Field(
        description="Whether it beat the walk on held-out relations by more than chance. Others never answer."
    )
    consumers: Count = Field(description="Consumers with a held-out relation.")
    quality: Annotated[dict[str, Quality], DerivedFrom()] = Field(
        description="By method: `learned`, `walk`, `popularity`, `cosine`."
    )


class ModelList(BaseModel):
    items: list[ModelAnswer] = Field(description="The latest version first.")


class CampaignBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    consumer_ids: Annotated[list[QueryId], DerivedFrom("consumer_id")] = Field(
        min_length=1, max_length=20_000, description="Whom to make lists for."
    )
    limit: int = Field(10, ge=1, le=100, description="Length of each list.")
    share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="What each provider is guaranteed, as a part of an equal share of all places.",
    )
    category: Annotated[ShortText | None, DerivedFrom("categories"), Scoped(RELATIONS_READ)] = Field(
        None, description="Only providers of this category. Needs `relations:read`."
    )
    beta: float = Field(BETA, ge=0, le=1, description="As in recommendations.")
    kind: OfKind = Field(None, description="Only relations of this kind, as if there were no others.")
    weights: Annotated[Weights | None, DerivedFrom("strength", "kind")] = Field(
        None, description="As in recommendations: `purchase:2,view:0.1`.", examples=["purchase:2,view:0.1"]
    )
    half_life_months: Annotated[float | None, DerivedFrom("strength", "time")] = Field(
        None, ge=0.01, le=1200, description="Half-life in place of the configured one."
    )
    explain: bool = Field(
        False, description=f"Whether each score has its reasons: for at most {EXPLAINED:,} consumers."
    )
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None, description="Only consumers who have granted this purpose get a list. Needs `consumers:read`."
    )


class Place(BaseModel):
    provider_id: str
    score: Score
    because: list[Reason] | None = Field(
        None, description="With `explain`: why, in parts that add up to the score. Not there where the score is 0."
    )


class CampaignList(BaseModel):
    consumer_id: str
    providers: Annotated[list[Place], OrderedBy(*STRENGTH, "closed")] = Field(
        description="Highest score first; 0 where the walk does not lead there."
    )


class CampaignReport(BaseModel):
    """What the guarantee did, and what it cost."""

    consumers: Count
    providers: Count
    guaranteed: Count = Field(description="Places that each provider is guaranteed.")
    shown_before: Count = Field(description="Providers in any list without the guarantee.")
    shown: Count = Field(description="Providers in any list.")
    gini_before: Ratio = Field(description="How unequal the exposure is without the guarantee: 0 all alike.")
    gini: Ratio
    kept_mean: Ratio = Field(description="Mean score of the lists, as a part of the best ones'.")
    kept_least: Ratio = Field(description="The same for the consumer who loses most.")
    below: Count = Field(
        description="Providers with fewer places than guaranteed: those that nearly all consumers know already."
    )
    short: Count = Field(description="Places that are missing, of consumers who know nearly all providers.")
    unreached: Count = Field(description="Consumers without any score: their lists are by popularity.")


class CampaignAnswer(BaseModel):
    items: list[CampaignList]
    report: CampaignReport
    left_out: Annotated[bool | None, DerivedFrom("consent")] = Field(
        None, description="With a purpose: whether consumers are missing who have not granted it."
    )
    as_of: AsOf
    masked: list[Label] | None = Field(None, description=MASKED)


def add_models(app: FastAPI, questions: Questions, models: Models) -> None:
    @app.get(
        "/v1/models",
        tags=["models"],
        summary="The learned models, with their evaluation.",
        response_model=ModelList,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def all_models(tenant: TenantOf) -> Any:
        """`kith learn` makes them, and lets one answer."""
        return json_response({"items": [_model(each) for each in models.all(tenant)]})

    @app.get(
        "/v1/models/{name}",
        tags=["models"],
        summary="The versions of one model.",
        response_model=ModelList,
        responses=COMBINED | problems({404: "There is no model of this name."}),
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def one_model(name: Annotated[str, DerivedFrom(), Path(max_length=100)], tenant: TenantOf) -> Any:
        """The latest version first."""
        if not (found := models.all(tenant, name)):
            raise HTTPException(404, "there is no model of this name; /v1/models lists them")
        return json_response({"items": [_model(each) for each in found]})

    @app.post(
        "/v1/campaigns",
        tags=["recommendations"],
        summary="Lists for many consumers at once, with a guaranteed exposure for each provider.",
        response_model=CampaignAnswer,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=LEARNED_ITSELF)
    @costs(Cost.MEASURE)
    def campaigns(body: CampaignBody, caller: CallerOf, _: TenantOf) -> Any:
        """FairRec: consumers take turns to choose among the guaranteed places; then the lists are filled by score.
        Nothing is stored."""
        wanted = sorted(set(body.consumer_ids))
        if body.explain and len(wanted) > EXPLAINED:
            raise BadParameter("explain", f"reasons are listed for at most {EXPLAINED:,} consumers; ask in parts")
        left_out = None
        if caller.purpose is not None and body.purpose not in (None, caller.purpose):
            detail = f"purpose: this credential is bound to the purpose {caller.purpose}"
            raise Denied(403, detail, kind=PURPOSE_BOUND)
        if (purpose := caller.purpose or body.purpose) is not None:
            granted = questions.source.granted(caller.tenant, wanted, purpose)
            left_out = len(granted) < len(wanted)
            wanted = sorted(granted)
        with questions.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
            open_ones = frozenset(tenant.graph.names["provider"].ids) - tenant.closed - {""}
            among = open_ones if body.category is None else open_ones & tenant.of_category(body.category)
            strengths = StrengthQuery(kind=body.kind, weights=body.weights, half_life_months=body.half_life_months)
            question = questions.defaults.question(
                strengths, limit=body.limit, beta=body.beta, among=among, reasons=REASONS if body.explain else 0
            )
            presenter = Presenter(question, dict(tenant.providers) if caller.may(RELATIONS_READ) else None)
            seen = as_of(state.seen, question, "walk")
            graph = tenant.graph.apart()
        # It may compute for many seconds. Meanwhile everybody else is answered, and changes are followed.
        try:
            found = campaign(graph, wanted, question, body.share)
        except TooLarge as error:
            raise BadParameter("consumer_ids", str(error)) from None
        report = {name: getattr(found.report, name) for name in CampaignReport.model_fields}
        items = []
        for id, row in found.lists.items():
            why = explained(graph, id, [each for each, _ in row], question) if body.explain else {}
            reasons = {each: {"because": [presenter.walk(answer, id)]} for each, answer in why.items()}
            places = [{"provider_id": each, "score": score, **reasons.get(each, {})} for each, score in row]
            items.append({"consumer_id": id, "providers": places})
        more: Document = {} if left_out is None else {"left_out": left_out}
        return json_response({"items": items, "report": report, **more, "as_of": seen})


def _model(stored: Document) -> Document:
    parameters, evaluation = stored["parameters"], stored["evaluation"]
    return {
        "name": stored["name"],
        "version": stored["version"],
        "live": stored["live"],
        "learned": stored["learned"].astimezone(UTC).isoformat(),
        "features": dict(zip(parameters["features"], parameters["weights"], strict=True)),
        "digest": stored["digest"],
        "accepted": evaluation["accepted"],
        "consumers": evaluation["consumers"],
        "quality": {
            name: {field: evaluation[name][field] for field in Quality.model_fields}
            for name in ("learned", "walk", "popularity", "cosine")
        },
    }
