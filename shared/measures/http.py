"""The routes of measures."""

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Query, Request, Response

from shared.access.guard import Access, AccessOf, CallerOf, TenantOf
from shared.access.masks import presented
from shared.http.caller import Caller, forbidden
from shared.http.costs import Cost, costs
from shared.http.problems.server import COMPUTATION_ENDED
from shared.http.purposes import SUMS
from shared.http.scopes import needs
from shared.http.server import problem, problems
from shared.measures.computing import Compute
from shared.measures.query import BadMeasure, NotInstalled, PeriodQuery
from shared.measures.spec import Measure, S
from shared.runtime.children import ChildEnded

_log = logging.getLogger(__name__)

_FAILURES = problems(
    {
        400: "Parameters cannot be combined, or request too much; detail states which and why.",
        422: "A parameter is missing, unknown or malformed; detail states which.",
        501: "This installation lacks a library that the measure needs; detail names the extra to install.",
        503: "MongoDB is unavailable or too slow. Retry after the seconds in Retry-After.",
    }
)


def add_measures(app: FastAPI, measures: Sequence[Measure[S]], compute: Compute, scope: str) -> None:
    """Add ``GET /v1/measures/{name}`` for each measure, for callers with ``scope``."""
    for measure in measures:
        _add(app, measure, compute, scope)

    @app.exception_handler(BadMeasure)
    async def bad_measure(_: Request, error: BadMeasure) -> Response:
        return problem(400, str(error), errors=[{"field": error.name, "detail": error.detail}])

    @app.exception_handler(NotInstalled)
    async def not_installed(_: Request, error: NotInstalled) -> Response:
        return problem(501, str(error))

    @app.exception_handler(ChildEnded)
    async def ended(_: Request, error: ChildEnded) -> Response:
        _log.warning("a measure was not computed", extra={"reason": str(error)})
        detail = f"the process that computes the answer {error}; ask for less: a shorter period, one kind"
        return problem(503, detail, {"Retry-After": "5"}, kind=COMPUTATION_ENDED)


def _add(app: FastAPI, measure: Measure[S], compute: Compute, scope: str) -> None:
    def answered(query: PeriodQuery, caller: Caller, access: Access) -> bytes:
        for scope in measure.scopes(query):
            if not caller.may(scope):
                raise forbidden(scope)
        content = compute(measure, caller.tenant, query)
        if not (personal := measure.personal(query)):
            return content
        shown, fields = presented(orjson.loads(content), personal, caller)
        access.reading(caller, {"measure": measure.name}, fields)
        return orjson.dumps(shown)

    @needs(scope, purpose=SUMS)
    @costs(Cost.COMPUTATION)
    def route(query: Any, caller: CallerOf, access: AccessOf, _: TenantOf) -> Any:
        return Response(answered(query, caller, access), media_type="application/json")

    # The model of the query is known only here; FastAPI reads it from the annotation.
    route.__annotations__["query"] = Annotated[measure.query, Query()]
    app.get(
        f"/v1/measures/{measure.name}",
        tags=["measures"],
        summary=measure.question,
        operation_id=f"measure_{measure.name.replace('-', '_')}",
        response_model=measure.answer,
        responses=_FAILURES,
    )(route)
