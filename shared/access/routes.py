"""Routes that admit only authorised callers, and share out the work of a service among them."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders

from shared.access.binding import bind
from shared.access.guard import Access, held_by, owner_of
from shared.access.masks import hidden_order, masked, with_masks
from shared.access.openapi import document_access
from shared.access.pools import pools_of
from shared.access.query import Parameters
from shared.contracts.limits import Owner
from shared.http.bodies import Room, json_of, refuse_ambiguous, with_limits
from shared.http.caller import Caller, Denied
from shared.http.contention import Contention
from shared.http.costs import Cost, cost_of
from shared.http.problems.client import HIDDEN_FIELD, RATE_LIMITED
from shared.http.processor import Processor
from shared.http.scopes import need_of, takes_any_parameter
from shared.http.server import SECURITY_HEADERS, Refusal, problem
from shared.http.shares import Share
from shared.http.streams import WhileValid, is_streamed
from shared.http.work import CURRENT, Work, blocking, off_the_loop

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class GuardedRoute(APIRoute):
    """A route that admits only authorised callers, accepts only the parameters that it declares and a body that is
    understood in one way, and hides masked fields and everything derived from them. A function that blocks works
    in the turn of its caller."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, off_the_loop(endpoint, lambda: self.response_model), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        need = need_of(self.endpoint)
        parameters = Parameters(self.dependant)
        any_parameter = takes_any_parameter(self.endpoint)
        answer_model = self.response_model
        model = answer_model if isinstance(answer_model, type) and issubclass(answer_model, BaseModel) else None

        async def guarded(request: Request) -> Response:
            access: Access = request.app.state.access
            if access.lets_anyone(need):
                return await answered(_shared_out(request, access.address_of(request.scope), self.endpoint))
            caller = await access.admit(request, *need.scopes)
            request.scope["kith.caller"] = caller
            if caller.purpose is not None:
                bind(request, need.purpose, caller.purpose)
            try:
                answer = await answered(_shared_out(request, owner_of(caller), self.endpoint), caller)
            except (Denied, Refusal) as refused:
                if _status(refused) == RATE_LIMITED.status:
                    await access.refused(request, caller)
                raise
            if not is_streamed(answer):
                return answer
            return WhileValid(answer, lambda: access.still_admits(request, caller))

        async def answered(request: Request, caller: Caller | None = None) -> Response:
            given: list[tuple[str, Any]] = request.query_params.multi_items()
            if not any_parameter and (problem := parameters.refused(given)) is not None:
                return problem
            if self.body_field is not None:
                await refuse_ambiguous(request)
            if caller is None:
                return await handle(request)
            if parameters.body:
                given = [*given, *parameters.members(await json_of(request))]
            # The purpose that a credential is bound to is not the caller's choice, and tells them nothing.
            chosen = given if caller.purpose is None else [pair for pair in given if pair[0] != "purpose"]
            parameters.check_scopes(caller, chosen)
            if not caller.masks:
                return await handle(request)
            parameters.check(caller.masks, chosen, request.path_params)
            values = parameters.values(given)
            if model is not None:
                check_order(model, caller.masks, values)
            if need.masks_itself:
                return await handle(request)
            return await blocking(_hidden, await handle(request), caller, model, values)

        return guarded


def secure(app: FastAPI, access: Access) -> None:
    """Guard every route that is added from now on, and add the security headers and the quota to every answer."""
    limits = access.limits
    app.state.access = access
    app.state.processor = Processor(speed=Contention().share)
    app.state.pools = pools_of(limits, app.state.processor)
    app.state.bodies = Share("MiB of request bodies in memory", limits.bodies, unit=2**20)
    app.router.route_class = GuardedRoute
    build = app.build_middleware_stack
    # Around every other middleware, also one that is added later: some answer by themselves, as to a preflight.
    app.build_middleware_stack = lambda: _Answers(build())  # type: ignore[method-assign]
    document_access(app)

    @app.exception_handler(Denied)
    async def denied(_: Request, error: Denied) -> Response:
        return problem(error.status, error.detail, error.headers, kind=error.kind)


def check_order(model: type[BaseModel], masks: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Raise Denied (403) for an answer that reveals a masked field even where its values are masked."""
    if (found := hidden_order(model, masks, parameters)) is not None:
        name, field = found
        detail = f"{field} is hidden from this credential, and the order or choice of {name} would reveal it"
        raise Denied(403, detail, kind=HIDDEN_FIELD)


def _status(refused: Denied | Refusal) -> int:
    return refused.status if isinstance(refused, Denied) else refused.status_code


def _shared_out(request: Request, owner: Owner, endpoint: Any) -> Request:
    """``request`` of ``owner``: its body is limited, and what blocks waits for its turn."""
    state = request.app.state
    cost = cost_of(endpoint, request.path_params)
    room = Room(state.bodies, owner, held_by(request))
    request.scope["kith.room"] = room
    if (connection := request.scope.get("kith.connection")) is not None:
        connection.belongs_to(owner)
    limited = with_limits(request, room, state.access.limits.body_seconds)
    # What writes is finished. One document takes less time than to notice that nobody waits for it.
    endable = request.method == "GET" and cost is not Cost.DOCUMENT
    CURRENT.set(Work(state.pools[cost], owner, limited if endable else None))
    return limited


def _hidden(
    answer: Response, caller: Caller, model: type[BaseModel] | None, parameters: dict[str, Any]
) -> Response:
    if answer.status_code >= 400:
        return answer
    kind = answer.headers.get("content-type", "").partition(";")[0]
    body = getattr(answer, "body", None)
    if kind != "application/json" or body is None:
        raise Denied(
            403,
            "this answer cannot be masked, but the credential has masks; use one without masks",
            kind=HIDDEN_FIELD,
        )
    content = orjson.loads(body)
    if not isinstance(content, dict):
        content = {"items": content}
    if model is None:
        shown = with_masks(content, caller.masks)
    else:
        shown = masked(content, model, caller.masks, parameters)
    return Response(orjson.dumps(shown), answer.status_code, media_type="application/json")


class _Answers:
    """ASGI middleware: has answers wait for their turn, adds headers, gives back what the request has taken."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        access: Access = scope["app"].state.access

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await access.answered(scope, message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                if (quota := scope.get("kith.quota")) is not None:
                    for name, value in quota.headers().items():
                        headers.setdefault(name, value)
            await send(message)

        with ExitStack() as held:
            scope["kith.held"] = held
            await self._app(scope, receive, with_headers)
