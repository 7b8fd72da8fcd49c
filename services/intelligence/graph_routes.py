"""Routes about the graph itself: paths and neighbours."""

from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from pydantic import Field

from services.intelligence import graph_answers as shown
from services.intelligence.consented import ATTEMPTS, granted_of_each, through_granted
from services.intelligence.engine.answers import Connection
from services.intelligence.engine.neighbours import consumers_around, neighbours
from services.intelligence.engine.paths import LONGEST, connection, instead
from services.intelligence.engine.question import Side
from services.intelligence.failures import FAILURES
from services.intelligence.parameters import NodeName, StrengthQuery
from services.intelligence.present import Presenter, as_of
from services.intelligence.questions import Questions
from shared.access.guard import CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.events import Name
from shared.http.caller import CONSUMERS_READ, INTELLIGENCE_READ, RELATIONS_READ, forbidden
from shared.http.paths import PathId
from shared.http.purposes import SUMS
from shared.http.scopes import Scoped, needs
from shared.http.server import json_response
from shared.runtime.protocols import Document

#: How many consumers of each provider of a path are asked for at once, where some on it have not granted.
_INSTEAD = 1_000

SidePath = Annotated[Side, Path(description="`consumer` or `provider`.")]


class PathsQuery(StrengthQuery):
    from_: Annotated[NodeName, DerivedFrom("consumer_id", "provider_id")] = Field(
        alias="from", description="`consumer:` or `provider:` and an id."
    )
    to: Annotated[NodeName, DerivedFrom("consumer_id", "provider_id")] = Field(
        description="`consumer:` or `provider:` and an id."
    )
    longest: int = Field(LONGEST, ge=1, le=LONGEST, description="The most relationships of the path.")
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None,
        description="Only through consumers who have granted this purpose. `left_out` is true if others would have"
        " been on the way. Refused (403) where an end has not. Needs `consumers:read`.",
    )


class NeighboursQuery(StrengthQuery):
    depth: int = Field(1, ge=1, le=2, description="Steps from the node.")
    limit: int = Field(10, ge=1, le=50, description="Maximum number of neighbours of each node.")
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None,
        description="Only consumers who have granted this purpose. `left_out` is true if any are missing."
        " Needs `consumers:read`.",
    )


def add_graph(app: FastAPI, questions: Questions) -> None:
    @app.get(
        "/v1/paths",
        tags=["graph"],
        summary="How two are connected: the path of the fewest relationships, through the least busy nodes.",
        response_model=shown.Paths,
        responses=FAILURES,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def paths(query: Annotated[PathsQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """Needs `relations:read`, too."""
        if not caller.may(RELATIONS_READ):
            raise forbidden(RELATIONS_READ)
        question = questions.defaults.question(query)
        start, end = split(query.from_), split(query.to)
        for consumer_id in (id for side, id in (start, end) if side == "consumer"):
            questions.check(caller.tenant, consumer_id, query.purpose)

        def look(without: frozenset[str]) -> tuple[tuple[Connection, Document], list[str], list[str]]:
            with questions.reading(caller.tenant) as state:
                tenant = state.known(caller.tenant)
                found = connection(tenant.graph, start, end, question, query.longest, without)
                others = [] if query.purpose is None else instead(tenant.graph, found, _INSTEAD)
                document = {
                    "found": found.found,
                    "steps": found.steps,
                    **Presenter(question, tenant.providers).parts(found.nodes, found.edges),
                    "as_of": as_of(state.seen, question, "walk"),
                }
            return (found, document), [node.id for node in found.nodes if node.side == "consumer"], others

        if (purpose := query.purpose) is None:
            found, document = look(frozenset())[0]
        else:
            granted = partial(questions.source.granted, caller.tenant, purpose=purpose)
            (found, document), left_out, given_up = through_granted(look, granted)
            document["left_out"] = left_out
            if given_up:
                document |= {"found": False, "steps": 0, "nodes": [], "edges": []}
                document["reason"] = f"no path through those who have granted it was found in {ATTEMPTS} attempts"
                return json_response(document)
        if found.lack is not None:
            document["reason"] = f"this {found.lack} has no relationship"
        elif not found.found:
            document["reason"] = f"no path of at most {query.longest} relationships connects them"
        return json_response(document)

    @app.get(
        "/v1/neighbours/{side}/{id}",
        tags=["graph"],
        summary="Who is around a consumer or provider.",
        response_model=shown.Neighbours,
        responses=FAILURES,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def around(
        side: SidePath,
        id: Annotated[PathId, DerivedFrom("consumer_id", "provider_id"), Path()],
        query: Annotated[NeighboursQuery, Query()],
        caller: CallerOf,
        _: TenantOf,
    ) -> Any:
        """The strongest relationships of the node, and with `depth=2` those of each of its neighbours. Needs
        `relations:read`, too."""
        if not caller.may(RELATIONS_READ):
            raise forbidden(RELATIONS_READ)
        question = questions.defaults.question(query, limit=query.limit)
        consumers, left_out = None, False
        if (purpose := query.purpose) is not None:
            questions.check(caller.tenant, id if side == "consumer" else None, purpose)

            def first(most: int) -> list[list[str]]:
                with questions.reading(caller.tenant) as state:
                    graph = state.known(caller.tenant).graph
                    return consumers_around(graph, side, id, question, query.depth, most)

            granted = partial(questions.source.granted, caller.tenant, purpose=purpose)
            consumers, left_out = granted_of_each(first, granted, query.limit)
        with questions.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
            found = neighbours(tenant.graph, side, id, question, query.depth, consumers)
            seen = as_of(state.seen, question, "walk")
            presenter = Presenter(question, tenant.providers)
        if found is None:
            reason = f"this {side} has no relationship"
            return json_response({"nodes": [], "edges": [], "omitted": 0, "reason": reason, "as_of": seen})
        document = presenter.parts(found.nodes, found.edges)
        if purpose is not None:
            document["left_out"] = left_out
        return json_response({**document, "omitted": found.left_out, "as_of": seen})


def split(node: str) -> tuple[Side, str]:
    """The side and the id of a node's name."""
    side, _, id = node.partition(":")
    return ("consumer" if side == "consumer" else "provider"), id
