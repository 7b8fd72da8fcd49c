"""Access control of an HTTP service: whose a request is and what it may do, and what a route learns of that.

Every route is guarded (``routes.py``), by its declaration or as an administrative act.
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Request
from starlette.datastructures import Headers

from shared.access.audit import Act, Audit
from shared.access.cursor_key import OwnKey
from shared.access.event_days import EventDays
from shared.access.quota import Quotas, What
from shared.contracts.errors import Unavailable
from shared.contracts.events import Tenant
from shared.contracts.limits import Owner, of_address
from shared.http.addresses import Proxies
from shared.http.bodies import Room
from shared.http.caller import SCOPES, Caller, Denied, forbidden, unauthorized
from shared.http.cursors import CursorKey, Cursors
from shared.http.limits import Limits
from shared.http.problems.client import WRONG_TENANT
from shared.http.refusals import OF_ADDRESS, OF_STRANGER, Refusals
from shared.http.scopes import Need

TENANT_HEADER = "Kith-Tenant"
_OPEN = frozenset(SCOPES)
Scope = MutableMapping[str, Any]
#: Parameters that choose a part of a list.
_PAGING = ("cursor", "limit")


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
        #: Of addresses: what is 401, and what needs no credential.
        self.denials = Refusals(a_second=OF_ADDRESS[0], at_once=OF_ADDRESS[1])
        self.strangers = Refusals(a_second=OF_STRANGER[0], at_once=OF_STRANGER[1])
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
        request.scope["kith.known"] = self._open
        if self._open:
            # A header that is not a tenant's name is rejected where the route reads it.
            return Caller(stated[0] if stated else "default", _OPEN, name="anyone", key="open", bound=False)
        caller = await self._caller(request.headers.getlist("Authorization"))
        request.scope["kith.known"] = True
        if self._quotas is not None:
            try:
                request.scope["kith.quota"] = self._quotas.take(caller)
            except Denied:
                await self.refused(request, caller)
                raise
        if any(tenant != caller.tenant for tenant in stated):
            detail = f"the header {TENANT_HEADER} is not the tenant of the credential"
            raise Denied(403, detail, kind=WRONG_TENANT)
        for scope in scopes:
            if not caller.may(scope):
                raise forbidden(scope)
        return caller

    async def refused(self, request: Request, caller: Caller) -> None:
        """Return when a caller who has more than its share may be told so."""
        await self.refusals.wait(owner_of(caller), _gone(request.scope))

    async def answered(self, scope: Scope, status: int) -> None:
        """Return when an answer with this status may begin. Who shows a valid credential does not wait."""
        if not scope.get("kith.known", False):
            turns = self.denials if status == 401 else self.strangers
            await turns.wait(self.address_of(scope), _gone(scope))

    def address_of(self, scope: Scope) -> Owner:
        """The owner of a request without a credential: its client's address, also behind a proxy."""
        host = scope["client"][0] if scope.get("client") else ""
        return of_address(self._proxies.client_of(host, Headers(scope=scope).getlist("X-Forwarded-For")))

    async def still_admits(self, request: Request, caller: Caller) -> bool:
        """Whether the credential of an admitted request is still valid and may do all that it might as ``caller``,
        whose masks its answer has. While that cannot be found out, it is so."""
        if self._open:
            return True
        try:
            now = await self._caller(request.headers.getlist("Authorization"))
        except Denied:
            return False
        except Unavailable:
            return True
        kept = (now.tenant, now.purpose) == (caller.tenant, caller.purpose)
        return kept and now.scopes >= caller.scopes and {*now.masks} <= {*caller.masks}

    def reading(self, caller: Caller, subject: dict[str, str], fields: list[str]) -> None:
        """Record in the audit that personal ``fields`` are about to be shown. ``subject`` is what was requested,
        such as {"consumer_id": "c1"}. Returns when the entry is stored. Raises Unavailable; then nothing may be
        shown."""
        if fields:
            self.record(Act(caller.tenant, caller.name, caller.key, "personal.read", subject, tuple(fields)))

    def record(self, *acts: Act) -> None:
        """Record acts of one tenant in the audit, as one piece of work. Returns when the entries are stored;
        raises Unavailable."""
        if self._audit is not None:
            self._audit.record(*acts)
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


def _gone(scope: Scope) -> "asyncio.Future[None] | None":
    """Done when the client has left; None where that is not known."""
    return getattr(scope.get("kith.connection"), "gone", None)


def owner_of(caller: Caller) -> Owner:
    """The one whom the work of ``caller`` counts for."""
    return Owner(caller.tenant, caller.key, caller.bound)


def held_by(request: Request) -> ExitStack:
    """What is given back when the request has ended, however it ends."""
    held: ExitStack = request.scope["kith.held"]
    return held


def room_of(request: Request) -> Room:
    """The memory for the request's body."""
    room: Room = request.scope["kith.room"]
    return room


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
