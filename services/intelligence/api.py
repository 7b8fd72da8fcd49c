"""The HTTP interface of intelligence: routes over questions."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response

from services.intelligence import answers
from services.intelligence.community_routes import add_communities
from services.intelligence.engine.question import Side
from services.intelligence.failures import COMBINED
from services.intelligence.graph_routes import add_graph
from services.intelligence.model_routes import add_models
from services.intelligence.models import Models
from services.intelligence.next_routes import add_next
from services.intelligence.nodes import Nodes
from services.intelligence.outcome_routes import add_outcomes
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.parameters import PairQuery, RecommendQuery, SimilarQuery
from services.intelligence.questions import NotGranted, Questions
from shared.access.app import guarded_app
from shared.access.guard import Access, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.http.caller import INTELLIGENCE_READ, RELATIONS_READ, Caller, forbidden
from shared.http.parameters import BadParameter
from shared.http.paths import PathId
from shared.http.problems.client import PURPOSE_NOT_GRANTED
from shared.http.purposes import LEARNED
from shared.http.scopes import needs
from shared.http.server import json_response, problem

DESCRIPTION = """\
Who comes next, who is alike, how two are connected, and why: from the relationships between consumers and
providers, all of which this service holds in memory as a graph. A new event counts within a second.

Scores are those of a random walk that starts from the consumer or provider who is asked about, or of a learned
model. Every score comes with its reasons, whose points add up to it. `as_of` states what an answer follows from:
the same `as_of` gives the same answer.

A share of the recommended lists may be recorded as shown; `/v1/outcomes` reports what followed.

Answers that name consumers other than the one asked about need the scope `relations:read`, too, as do names and
categories of providers. Elsewhere consumers are counted, and below five they are `few`.

A field that the credential may not see is shown as `•••`, whatever its type. The member `masked` of the answer
names it.
"""


def create_app(
    questions: Questions,
    nodes: Nodes,
    models: Models,
    recorder: Recorder,
    ready: Callable[[], Sequence[str]],
    *,
    access: Access,
) -> FastAPI:
    """The app. ``nodes`` holds what the job has stored, ``models`` what was learned, ``recorder`` records what is
    shown. ``ready`` returns the reasons why the service cannot answer, ``access`` decides on each request."""
    app = guarded_app("Kith intelligence", DESCRIPTION, access, ready, ids_in_paths=True)

    @app.get(
        "/v1/recommendations",
        tags=["recommendations"],
        summary="Who comes next: providers for a consumer, or consumers for a provider.",
        response_model=answers.Answers,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=LEARNED)
    def recommendations(query: Annotated[RecommendQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """Lists those without a relationship yet, best first; with `known`, those with one. An id without
        relationships has no answers: `lack` and `reason` state why, and `popular` lists the most popular ones
        instead. Consumers for a provider need `relations:read`, too."""
        side, id = one_of(query.consumer_id, query.provider_id)
        if side == "provider":
            names_consumers(caller)
        found = questions.recommend(caller, side, id, query)
        if query.record and not query.known:
            recorder.show(caller.tenant, side, id, found)
        return json_response(found)

    @app.get(
        "/v1/similar",
        tags=["recommendations"],
        summary="Who is alike: providers with the same consumers, consumers with the same providers.",
        response_model=answers.Answers,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=LEARNED)
    def similar(query: Annotated[SimilarQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """The walk, a step shorter. Similar consumers need `relations:read`, too."""
        side, id = one_of(query.consumer_id, query.provider_id)
        if side == "consumer":
            names_consumers(caller)
        return json_response(questions.similar(caller, side, id, query))

    @app.get(
        "/v1/affinity/{consumer_id}/{provider_id}",
        tags=["recommendations"],
        summary="One consumer and one provider: what they have, and how near they are otherwise.",
        response_model=answers.Affinity,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, RELATIONS_READ, purpose=LEARNED)
    def affinity(
        consumer_id: Annotated[PathId, DerivedFrom("consumer_id"), Path()],
        provider_id: Annotated[PathId, DerivedFrom("provider_id"), Path()],
        query: Annotated[PairQuery, Query()],
        caller: CallerOf,
        _: TenantOf,
    ) -> Any:
        """Score and rank of a provider that the consumer knows are made of the consumer's other relationships."""
        return json_response(questions.affinity(caller, consumer_id, provider_id, query))

    add_next(app, questions)
    add_graph(app, questions)
    add_communities(app, questions, nodes)
    add_models(app, questions, models)
    add_outcomes(app, recorder)

    @app.exception_handler(BadParameter)
    async def bad_parameter(_: Request, error: BadParameter) -> Response:
        return problem(400, str(error), errors=[{"field": error.name, "detail": error.detail}])

    @app.exception_handler(NotGranted)
    async def not_granted(_: Request, error: NotGranted) -> Response:
        return problem(403, f"the consumer has not granted the purpose {error}", kind=PURPOSE_NOT_GRANTED)

    return app


def one_of(consumer_id: str | None, provider_id: str | None) -> tuple[Side, str]:
    """Who is asked about. Raises BadParameter."""
    if consumer_id is not None and provider_id is None:
        return "consumer", consumer_id
    if provider_id is not None and consumer_id is None:
        return "provider", provider_id
    raise BadParameter("consumer_id", "the query needs exactly one of consumer_id and provider_id")


def names_consumers(caller: Caller) -> None:
    """Raise Denied unless the caller may read both sides of relationships."""
    if not caller.may(RELATIONS_READ):
        raise forbidden(RELATIONS_READ)
