"""Routes about the graph as a whole: who is central, and communities."""

from datetime import UTC
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.intelligence import graph_answers as shown
from services.intelligence.consented import first_granted
from services.intelligence.engine.answers import FEW
from services.intelligence.engine.neighbours import central
from services.intelligence.engine.question import Side
from services.intelligence.failures import COMBINED, FAILURES
from services.intelligence.nodes import Nodes
from services.intelligence.present import as_of, few, positions, relationships
from services.intelligence.questions import Questions
from services.intelligence.state import Tenant
from shared.access.guard import CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.events import Name
from shared.http.caller import CONSUMERS_READ, INTELLIGENCE_READ, RELATIONS_READ, Caller, forbidden
from shared.http.parameters import BadParameter
from shared.http.purposes import SUMS
from shared.http.scopes import Scoped, needs
from shared.http.server import json_response, problems
from shared.measures.query import OfKind
from shared.runtime.protocols import Document

_NO_JOB = "communities and PageRank are found every few minutes, and have not been found yet"


class CentralQuery(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Annotated[Literal["pagerank", "degree"], DerivedFrom()] = Field(
        "pagerank", description="`pagerank`: of the last job. `degree`: by the number of relationships, as of now."
    )
    side: Side = Field("provider", description="`provider`, or `consumer` (needs `relations:read`, too).")
    kind: OfKind = Field(None, description="With `degree`: only relations of this kind.")
    limit: int = Field(10, ge=1, le=100, description="Maximum number of items.")
    purpose: Annotated[Name | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ)] = Field(
        None,
        description="Only consumers who have granted this purpose. `left_out` is true if any are missing."
        " Needs `consumers:read`.",
    )


class CommunitiesQuery(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(20, ge=1, le=200, description="Maximum number of communities.")


class MembersQuery(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(50, ge=1, le=500, description="Maximum number of members.")


def add_communities(app: FastAPI, questions: Questions, nodes: Nodes) -> None:
    @app.get(
        "/v1/central",
        tags=["graph"],
        summary="Who is central: by PageRank, or by the number of relationships.",
        response_model=shown.CentralList,
        responses=COMBINED,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def most_central(query: Annotated[CentralQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """Consumers need `relations:read`, too."""
        if query.side == "consumer" and not caller.may(RELATIONS_READ):
            raise forbidden(RELATIONS_READ)
        if query.kind is not None and query.by == "pagerank":
            raise BadParameter("kind", "needs by=degree: PageRank is of all relationships")
        found: dict[str, Document] = {}
        answer: Document = {}

        def first(limit: int) -> list[str]:
            question = questions.defaults.question_of(query.kind, limit=limit)
            if query.by == "pagerank":
                job = nodes.job(caller.tenant)
                answer.update({"as_of": _as_of(job)} if job else {"as_of": None, "reason": _NO_JOB})
                items = [_figures(each) for each in nodes.central(caller.tenant, query.side, limit)]
            else:
                with questions.reading(caller.tenant) as state:
                    figures = central(state.known(caller.tenant).graph, query.side, question)
                    answer["as_of"] = as_of(state.seen, question, "walk")
                items = [
                    {"id": each.id, "relationships": relationships(query.side, each.degree)} for each in figures
                ]
            found.update({each["id"]: each for each in items})
            return [each["id"] for each in items]

        if (purpose := query.purpose) is not None and query.side == "consumer":
            granted = partial(questions.source.granted, caller.tenant, purpose=purpose)
            ids, answer["left_out"] = first_granted(first, granted, query.limit)
        else:
            ids = first(query.limit)
        with questions.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
        listed = [
            {"side": query.side, **_named(caller, tenant, query.side, id), "rank": rank, **found[id]}
            for rank, id in enumerate(ids, 1)
        ]
        return json_response({"items": listed, **answer})

    @app.get(
        "/v1/communities",
        tags=["graph"],
        summary="Who has more to do with each other than with the rest.",
        response_model=shown.Communities,
        responses=FAILURES,
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def communities(query: Annotated[CommunitiesQuery, Query()], caller: CallerOf, _: TenantOf) -> Any:
        """Found by Leiden's method every few minutes, largest first. Ids are those of one run."""
        job = nodes.job(caller.tenant)
        if job is None:
            return json_response({"items": [], "modularity": None, "reason": _NO_JOB, "as_of": None})
        with questions.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
        items = [_community(caller, tenant, each) for each in job["communities"][: query.limit]]
        return json_response({"items": items, "modularity": job["modularity"], "as_of": _as_of(job)})

    @app.get(
        "/v1/communities/{id}",
        tags=["graph"],
        summary="One community and its members.",
        response_model=shown.OneCommunity,
        responses=FAILURES | problems({404: "There is no community with this id now."}),
    )
    @needs(INTELLIGENCE_READ, purpose=SUMS)
    def community(
        id: Annotated[str, DerivedFrom(), Path(max_length=20)],
        query: Annotated[MembersQuery, Query()],
        caller: CallerOf,
        _: TenantOf,
    ) -> Any:
        """Consumers are among the members for credentials with `relations:read`."""
        job = nodes.job(caller.tenant)
        found = next((each for each in job["communities"] if each["id"] == id), None) if job else None
        if job is None or found is None:
            raise HTTPException(404, "there is no community with this id now; /v1/communities lists them")
        sides: list[Side] = ["provider", *(["consumer"] if caller.may(RELATIONS_READ) else [])]  # type: ignore[list-item]
        with questions.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
        members = [
            {
                "side": each["side"],
                **_named(caller, tenant, each["side"], each["id"]),
                "rank": rank,
                **_figures(each),
            }
            for rank, each in enumerate(nodes.members(caller.tenant, id, sides, query.limit), 1)
        ]
        return json_response(
            {"community": _community(caller, tenant, found), "members": members, "as_of": _as_of(job)}
        )


def _figures(node: Document) -> Document:
    return {
        "id": node["id"],
        "relationships": relationships(node["side"], node["degree"]),
        "pagerank": node["pagerank"],
        "community": node["community"],
    }


def _community(caller: Caller, tenant: Tenant, stored: Document) -> Document:
    strongest = [
        {
            "side": "provider",
            **_named(caller, tenant, "provider", each["id"]),
            "id": each["id"],
            "inside": few(each["inside"]),
        }
        for each in stored["strongest"]
    ]
    named = caller.may(RELATIONS_READ)
    telling = _telling(stored)
    return {
        **stored,
        "consumers": few(stored["consumers"]),
        "inside": "few" if telling else stored["inside"],
        "outside": few(stored["outside"]) if telling else stored["outside"],
        "categories": stored["categories"] if named else [],
        "places": stored["places"] if named else [],
        "strongest": strongest,
    }


def _telling(stored: Document) -> bool:
    """Whether the number of relationships within a community would tell a number of consumers below five: that of
    all of them, or that of a provider by what the others leave."""
    if stored["consumers"] < FEW:
        return True
    listed: list[int] = [each["inside"] for each in stored["strongest"]]
    shown = [count for count in listed if count >= FEW]
    hidden: int = stored["providers"] - len(shown)
    rest: int = stored["inside"] - sum(shown)
    ranked = len(listed) - len(shown)
    most = FEW - 1 if ranked or not listed else listed[-1]

    def highest(place: int) -> int:
        return min(most, (rest - (hidden - place)) // place)

    def lowest(place: int) -> int:
        return max(1, -((most * (place - 1) - rest) // (hidden - place + 1)))

    # Of those in the list the order is known, of the others only that they come after these.
    if any(lowest(place) == highest(place) < FEW for place in range(1, ranked + 1)):
        return True
    return hidden > ranked and lowest(hidden) == highest(ranked + 1) < FEW


def _named(caller: Caller, tenant: Tenant, side: str, id: str) -> Document:
    known = tenant.providers.get(id) if side == "provider" and caller.may(RELATIONS_READ) else None
    return {} if known is None or known.name is None else {"name": known.name}


def _as_of(job: Document) -> Document:
    return {
        "at": job["at"].astimezone(UTC).isoformat(),
        "positions": positions({each["origin"]: each["number"] for each in job["positions"]}),
    }
