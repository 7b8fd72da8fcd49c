"""Access control of an HTTP service: every route is guarded, by its declaration or as an administrative act."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Protocol

import orjson
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders

from shared.access.audit import Act, Audit
from shared.access.binding import bind
from shared.access.cursor_key import OwnKey
from shared.access.event_days import EventDays
from shared.access.masks import hidden_order, masked, with_masks
from shared.access.openapi import document_access
from shared.access.query import Parameters
from shared.access.quota import Quotas, What
from shared.contracts.errors import Unavailable
from shared.contracts.events import Tenant
from shared.contracts.limits import Owner, of_address
from shared.http.addresses import Proxies
from shared.http.bodies import Room, with_limits
from shared.http.caller import SCOPES, Caller, Denied, forbidden, unauthorized
from shared.http.contention import Contention
from shared.http.costs import Cost, cost_of
from shared.http.cursors import CursorKey, Cursors
from shared.http.fair_pool import FairPool
from shared.http.limits import Limits
from shared.http.problems.client import HIDDEN_FIELD, RATE_LIMITED, WRONG_TENANT
from shared.http.processor import Processor
from shared.http.refusals import OF_ADDRESS, Refusals
from shared.http.scopes import Need, need_of, takes_any_parameter
from shared.http.server import SECURITY_HEADERS, Refusal, problem
from shared.http.shares import Share
from shared.http.streams import WhileValid, is_streamed
from shared.http.work import CURRENT, Work, blocking, off_the_loop

TENANT_HEADER = "Kith-Tenant"
_OPEN = frozenset(SCOPES)
#: Parameters that choose a part of a list.
_PAGING = ("cursor", "limit")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Credentials(Protocol):
    """Finds the caller of a bearer credential."""

    async def caller(self, text: str) -> Caller:
        """The caller. Raises Denied (401, 403) and Unavailable."""


class Access:
    """Decides about requests. Without ``keys`` and ``tokens`` nothing is admitted, unless ``open`` is set: then
    every request is admitted, with all scopes and for the tenant that it names."""

    def __init__(
        self,
        keys: Credentials | None = None,
        tokens: Credentials | None = None,
        quotas: Quotas | None = None,
        audit: Audit | None = None,
        *,
        open: bool = False,
        open_metrics: bool = False,
        limits: Limits | None = None,
        cursor_key: CursorKey | None = None,
        event_days: EventDays | None = None,
    ) -> None:
        self.limits = limits or Limits.usual()
        self.refusals = Refusals()
        #: Of addresses without a valid credential.
        self.denials = Refusals(a_second=OF_ADDRESS[0], at_once=OF_ADDRESS[1])
        self._proxies = Proxies(self.limits.proxies)
        #: Of the cursors of lists. Without ``cursor_key`` they are of this process alone.
        self.cursor_key = cursor_key or OwnKey()
        self._keys = keys
        self._tokens = tokens
        self._quotas = quotas
        self._audit = audit
        self._event_days = event_days
        self._open = open
        self._open_metrics = open_metrics

    def lets_anyone(self, need: Need) -> bool:
        return need.scope is None or (need.scope == "metrics:read" and self._open_metrics)

    async def admit(self, request: Request, *scopes: str) -> Caller:
        """The admitted caller, who has all of ``scopes``. Raises Denied (401, 403, 429) and Unavailable."""
        stated = request.headers.getlist(TENANT_HEADER)
        if self._open:
            # A header that is not a tenant's name is rejected where the route reads it.
            return Caller(stated[0] if stated else "default", _OPEN, name="anyone", key="open", bound=False)
        caller = await self._caller(request.headers.getlist("Authorization"))
        if self._quotas is not None:
            try:
                request.scope["kith.quota"] = self._quotas.take(caller)
            except Denied:
                await self.refusals.wait(owner_of(caller))
                raise
        if any(tenant != caller.tenant for tenant in stated):
            detail = f"the header {TENANT_HEADER} is not the tenant of the credential"
            raise Denied(403, detail, kind=WRONG_TENANT)
        for scope in scopes:
            if not caller.may(scope):
                raise forbidden(scope)
        return caller

    async def denied(self, request: Request) -> None:
        """Return when a request whose credential is not valid may be told so."""
        host = request.client.host if request.client else ""
        address = self._proxies.client_of(host, request.headers.getlist("X-Forwarded-For"))
        await self.denials.wait(of_address(address))

    async def still_admits(self, request: Request) -> bool:
        """Whether the credential of an admitted request is still valid. While that cannot be found out, it is."""
        if self._open:
            return True
        try:
            await self._caller(request.headers.getlist("Authorization"))
        except Denied:
            return False
        except Unavailable:
            pass
        return True

    def reading(self, caller: Caller, subject: dict[str, str], fields: list[str]) -> None:
        """Record in the audit that personal ``fields`` are about to be shown. ``subject`` is what was requested,
        such as {"consumer_id": "c1"}. Returns when the entry is stored. Raises Unavailable; then nothing may be
        shown."""
        if fields:
            self.record(Act(caller.tenant, caller.name, caller.key, "personal.read", subject, tuple(fields)))

    def record(self, act: Act) -> None:
        """Record an act in the audit. Returns when the entry is stored; raises Unavailable."""
        if self._audit is not None:
            self._audit.record(act)
        elif not self._open:
            raise Unavailable("this process has no audit to write to")

    async def record_all(self, acts: Sequence[Act]) -> None:
        """Record the acts of one request, as one piece of work of each tenant. Raises Unavailable; then none of
        them may be done."""
        if self._audit is None and acts and not self._open:
            raise Unavailable("this process has no audit to write to")
        if self._audit is not None:
            of_tenants = [[act for act in acts if act.tenant == tenant] for tenant in {act.tenant for act in acts}]
            recorded = [asyncio.wrap_future(self._audit.submit(each)) for each in of_tenants]
            await asyncio.gather(*recorded)

    def charge(self, caller: Caller, what: What, amount: int) -> None:
        """Count events or erasures of a request against the quotas. Raises Denied (429); then nothing of the
        request may be done."""
        if self._quotas is not None:
            self._quotas.charge(caller, what, amount)

    async def charge_day(self, request: Request, caller: Caller, events: int) -> None:
        """Count events against the credential's quota of a day. The answer states this quota, if less is left of
        it than of the other. Raises Denied (429) and Unavailable; then nothing of the request may be done."""
        if self._event_days is not None:
            day, other = await self._event_days.take(caller, events), request.scope.get("kith.quota")
            if day is not None and (other is None or day.remaining < other.remaining):
                request.scope["kith.quota"] = day
        elif caller.events_a_day is not None:
            raise Unavailable("this process has no count of events by day")

    def check_quota(self, caller: Caller, what: What) -> None:
        """Raise Denied (429) when nothing is left, before work is spent on the request."""
        if self._quotas is not None:
            self._quotas.check(caller, what)

    async def _caller(self, stated: list[str]) -> Caller:
        if not stated:
            raise unauthorized(
                "this route needs a credential: the header Authorization: Bearer with an API key", None
            )
        kind, _, text = stated[0].partition(" ")
        if len(stated) > 1 or kind.lower() != "bearer" or not text.strip():
            raise unauthorized("the header Authorization must be Bearer and one key or token", "invalid_request")
        text = text.strip()
        if text.startswith("kith_"):
            if self._keys is not None:
                return await self._keys.caller(text)
        elif self._tokens is not None:
            return await self._tokens.caller(text)
        raise unauthorized("credentials of this kind are not accepted here")


class GuardedRoute(APIRoute):
    """A route that admits only authorised callers, accepts only the parameters that it declares, and hides masked
    fields and everything derived from them. A function that blocks works in the turn of its caller."""

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
                owner = of_address(request.client.host if request.client else "")
                return await answered(_shared_out(request, owner, self.endpoint))
            try:
                caller = await access.admit(request, *need.scopes)
            except Denied as refused:
                if refused.status == 401:
                    await access.denied(request)
                raise
            request.scope["kith.caller"] = caller
            if caller.purpose is not None:
                bind(request, need.purpose, caller.purpose)
            try:
                answer = await answered(_shared_out(request, owner_of(caller), self.endpoint), caller)
            except (Denied, Refusal) as refused:
                if _status(refused) == RATE_LIMITED.status:
                    await access.refusals.wait(owner_of(caller))
                raise
            return WhileValid(answer, lambda: access.still_admits(request)) if is_streamed(answer) else answer

        async def answered(request: Request, caller: Caller | None = None) -> Response:
            given = request.query_params.multi_items()
            if not any_parameter and (problem := parameters.refused(given)) is not None:
                return problem
            if caller is None:
                return await handle(request)
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
    app.add_middleware(_Headers)
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


def owner_of(caller: Caller) -> Owner:
    """The one whom the work of ``caller`` counts for."""
    return Owner(caller.tenant, caller.key, caller.bound)


def _status(refused: Denied | Refusal) -> int:
    return refused.status if isinstance(refused, Denied) else refused.status_code


def held_by(request: Request) -> ExitStack:
    """What is given back when the request has ended, however it ends."""
    held: ExitStack = request.scope["kith.held"]
    return held


def room_of(request: Request) -> Room:
    """The memory for the request's body."""
    room: Room = request.scope["kith.room"]
    return room


def pools_of(limits: Limits, processor: Processor | None = None) -> dict[Cost, FairPool]:
    """Threads for work of each cost. No work waits for work of another cost; all share ``processor``."""
    heavy, waiting = limits.heavy_threads, limits.heavy_waiting
    # One of the usual four: a second query of a tenant would slow down the others more than it helps the first.
    share = max(1, heavy // 4)
    pool = partial(FairPool, processor=processor)
    return {
        Cost.DOCUMENT: pool("document", limits.threads, limits.waiting, per_tenant=max(1, limits.threads // 4)),
        # Most of it is Python's work, as is that of measures: one thread computes at a time.
        Cost.LIST: pool("list", limits.threads, limits.waiting, per_tenant=max(1, limits.threads // 8)),
        Cost.QUERY: pool("query", heavy, waiting, what="queries waiting", per_tenant=share),
        Cost.MEASURE: pool("measure", heavy, waiting, what="measures waiting", per_tenant=share),
        Cost.COMPUTATION: _computing(limits),
    }


def _computing(limits: Limits) -> FairPool:
    """A thread for each process that computes, of which a tenant has half; without processes they are those of
    measures."""
    threads = limits.measure_processes or limits.heavy_threads
    share = max(1, threads // (2 if limits.measure_processes else 4))
    return FairPool("computation", threads, limits.heavy_waiting, what="measures waiting", per_tenant=share)


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


async def caller_of(request: Request) -> Caller:
    found: Caller = request.scope["kith.caller"]
    return found


async def tenant_of(
    caller: Annotated[Caller, Depends(caller_of)],
    _: Annotated[
        Tenant | None,
        Header(alias=TENANT_HEADER, description="The tenant. Optional; it must be the credential's."),
    ] = None,
) -> str:
    return caller.tenant


async def access_of(request: Request) -> Access:
    found: Access = request.app.state.access
    return found


async def cursors_of(request: Request, tenant: Annotated[str, Depends(tenant_of)]) -> Cursors:
    """The cursors of the list that is asked for: everything but the page's place and size belongs to it."""
    shaping = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _PAGING)
    return cursors_in(request, tenant, [*sorted(request.path_params.items()), *shaping])


def cursors_in(request: Request, tenant: str, shaping: Sequence[Any], parameter: str = "cursor") -> Cursors:
    """The cursors of a list of the request's route that has this ``shaping``."""
    place = [request.app.title, request.scope["route"].path, tenant, shaping]
    return Cursors(request.app.state.access.cursor_key, place, parameter)


#: Types for the parameters of routes.
CallerOf = Annotated[Caller, Depends(caller_of)]
TenantOf = Annotated[str, Depends(tenant_of)]
CursorsOf = Annotated[Cursors, Depends(cursors_of)]
AccessOf = Annotated[Access, Depends(access_of)]


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


class _Headers:
    """ASGI middleware: adds headers, and gives back what the request has taken."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
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
