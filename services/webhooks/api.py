"""The HTTP interface of webhooks: endpoints, their deliveries, replays."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Body, FastAPI, Response

from services.webhooks.applications import application_of
from services.webhooks.delivery.addresses import Network
from services.webhooks.delivery.urls import check_url
from services.webhooks.fanout.subscription import CONDITIONS, SCOPES
from services.webhooks.management import models
from services.webhooks.management.delivery_routes import add_delivery_routes
from services.webhooks.management.endpoints import Endpoints, Made, TooMany
from services.webhooks.management.managed import (
    MISSING,
    EndpointName,
    Managed,
    beginning,
    manages,
    record,
    time_problem,
)
from services.webhooks.management.openapi import publish
from shared.access.app import guarded_app
from shared.access.apps.model import is_app_id
from shared.access.guard import Access, AccessOf, CallerOf, TenantOf
from shared.access.lineage import reveals
from shared.http.caller import CONSUMERS_READ, WEBHOOKS_MANAGE, Caller, Denied, forbidden
from shared.http.problems.client import HIDDEN_FIELD, PURPOSE_BOUND
from shared.http.purposes import GRANTED_ITSELF
from shared.http.scopes import needs
from shared.http.server import BODY_FAILURES, json_response, problem, problems
from shared.runtime.protocols import Document

DESCRIPTION = """\
Sends changes of relations, consumers and providers to HTTP endpoints, signed by Standard Webhooks 1.0.0.

Each change is enqueued exactly once and sent in order per consumer (or provider) until the endpoint answers 2xx.
A repeated delivery has the same `webhook-id`, `kith-origin` and `kith-number`.
"""
#: What a condition of an endpoint compares.
CHANGED = problems({409: "The endpoint was changed at the same moment."})


def create_app(
    endpoints: Endpoints,
    ready: Callable[[], Sequence[str]],
    allowed: Sequence[Network],
    *,
    access: Access,
) -> FastAPI:
    """The app. ``ready`` returns the reasons why the service cannot work, ``allowed`` are networks that endpoints
    may be in although they are not public."""
    app = guarded_app("Kith webhooks", DESCRIPTION, access, ready)
    publish(app)

    managed = Managed(endpoints)

    def unchanged() -> Response:
        return problem(409, "the endpoint was changed or deleted at the same moment; read it and try again")

    def switched(
        name: str, caller: Caller, access: Access, action: str, switch: Callable[[Document], Document | None]
    ) -> Response:
        stored = managed.find(caller, name)
        record(access, caller, action, name)
        after = switch(stored)
        return unchanged() if after is None else json_response(managed.answer(after, caller))

    @app.post(
        "/v1/webhooks/endpoints",
        status_code=201,
        response_model=models.Endpoint,
        responses=BODY_FAILURES
        | problems({409: "The tenant, or the credential, has as many endpoints as it may have."}),
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def create(
        stated: Annotated[models.NewEndpoint, Body()], tenant: TenantOf, caller: CallerOf, access: AccessOf
    ) -> Response:
        """Create an endpoint. The answer contains its secret, which is not shown again. Deliveries have the masks
        of the credential, and its purpose, if it is bound to one: then only credentials of this purpose, and those
        without one, manage the endpoint."""
        _permit(stated, caller, stated.types)
        if (reason := check_url(stated.url, allowed)) is not None:
            return problem(422, f"url: {reason}")
        if (reason := time_problem(stated.since)) is not None:
            return problem(422, reason)
        record(access, caller, "webhook.create", stated.url)
        kept = stated.model_dump(exclude={"algorithm", "since"}, exclude_none=True)
        if caller.purpose is not None:
            kept |= {"purpose": caller.purpose, "bound": True}
        try:
            made = endpoints.create(
                tenant,
                kept,
                stated.algorithm,
                list(caller.masks),
                caller.key,
                caller.endpoints,
                None if stated.since is None else beginning(stated.since),
            )
        except TooMany as error:
            return problem(409, str(error))
        return _with_secret(managed.answer(made.endpoint, caller), made, 201)

    @app.get("/v1/webhooks/endpoints", response_model=models.EndpointList, responses=BODY_FAILURES)
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def every(tenant: TenantOf, caller: CallerOf) -> Any:
        """The endpoints of the tenant: for a credential that is bound to a purpose, those of this purpose."""
        found = [each for each in endpoints.all(tenant) if manages(caller, each)]
        return json_response({"items": [managed.answer(each, caller) for each in found]})

    @app.get(
        "/v1/webhooks/endpoints/{endpoint}", response_model=models.Endpoint, responses=BODY_FAILURES | MISSING
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def one(endpoint: EndpointName, _: TenantOf, caller: CallerOf) -> Any:
        """One endpoint, with how much waits for it."""
        return json_response(managed.answer(managed.find(caller, endpoint), caller))

    @app.patch(
        "/v1/webhooks/endpoints/{endpoint}",
        response_model=models.Endpoint,
        responses=BODY_FAILURES | MISSING | CHANGED,
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def change(
        endpoint: EndpointName,
        stated: Annotated[models.EndpointChange, Body()],
        _: TenantOf,
        caller: CallerOf,
        access: AccessOf,
    ) -> Response:
        """Change an endpoint: members replace, null removes, others stay. It applies to what is enqueued from now
        on; url, template and headers also to what waits."""
        before = managed.find(caller, endpoint)
        _permit_waiting(before, caller, endpoints.waiting_types)
        given = stated.model_dump(exclude_unset=True)
        for name in ("url", "types"):
            if name in given and given[name] is None:
                return problem(422, f"{name}: cannot be removed")
        if before.get("bound") and given.get("purpose", before["purpose"]) != before["purpose"]:
            return problem(422, f"purpose: the endpoint is bound to {before['purpose']}")
        _permit(stated, caller, given.get("types") or before["types"])
        if "url" in given and (reason := check_url(given["url"], allowed)) is not None:
            return problem(422, f"url: {reason}")
        record(access, caller, "webhook.change", endpoint)
        removed = {name for name, value in given.items() if value is None}
        kept = {name: value for name, value in given.items() if value is not None}
        after = endpoints.change(before, kept, removed, list(caller.masks))
        return unchanged() if after is None else json_response(managed.answer(after, caller))

    @app.delete("/v1/webhooks/endpoints/{endpoint}", status_code=204, responses=BODY_FAILURES | MISSING)
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def delete(endpoint: EndpointName, _: TenantOf, caller: CallerOf, access: AccessOf) -> Response:
        """Delete an endpoint. What waits for it is not sent."""
        stored = managed.find(caller, endpoint)
        record(access, caller, "webhook.delete", endpoint)
        endpoints.delete(stored)
        return Response(status_code=204)

    @app.post(
        "/v1/webhooks/endpoints/{endpoint}/secret",
        response_model=models.Endpoint,
        responses=BODY_FAILURES | MISSING | CHANGED,
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def rotate(
        endpoint: EndpointName,
        _: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        stated: Annotated[models.Rotation, Body(default_factory=models.Rotation)],
    ) -> Response:
        """Make a new secret. Deliveries are signed with the former one, too, until the overlap ends, and with
        those before it until theirs. An overlap of 0 ends all former secrets now."""
        stored = managed.find(caller, endpoint)
        record(access, caller, "webhook.rotate", endpoint)
        try:
            made = endpoints.rotate(stored, timedelta(hours=stated.overlap_hours))
        except TooMany as error:
            return problem(409, str(error))
        return unchanged() if made is None else _with_secret(managed.answer(made.endpoint, caller), made, 200)

    @app.post(
        "/v1/webhooks/endpoints/{endpoint}/enable",
        response_model=models.Endpoint,
        responses=BODY_FAILURES | MISSING | CHANGED,
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def enable(endpoint: EndpointName, caller: CallerOf, access: AccessOf, _: TenantOf) -> Response:
        """Enable an endpoint. It gets everything that has changed while it was disabled, in order."""
        return switched(endpoint, caller, access, "webhook.enable", endpoints.enable)

    @app.post(
        "/v1/webhooks/endpoints/{endpoint}/disable",
        response_model=models.Endpoint,
        responses=BODY_FAILURES | MISSING | CHANGED,
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def disable(endpoint: EndpointName, caller: CallerOf, access: AccessOf, _: TenantOf) -> Response:
        """Disable an endpoint. Kith remembers from where it has to go on."""
        return switched(endpoint, caller, access, "webhook.disable", endpoints.disable)

    add_delivery_routes(app, managed)
    return app


def _permit(stated: models.EndpointChange, caller: Caller, types: Sequence[str]) -> None:
    """Raises Denied for an endpoint that would get, or search, what the caller may not see."""
    for type in types:
        if type in SCOPES and not caller.may(SCOPES[type]):
            raise forbidden(SCOPES[type])
    if caller.purpose is not None and stated.purpose not in (None, caller.purpose):
        detail = f"purpose: this credential is bound to the purpose {caller.purpose}"
        raise Denied(403, detail, kind=PURPOSE_BOUND)
    for name, fields in CONDITIONS.items():
        if name == "purpose" and caller.purpose is not None:
            continue  # not the caller's choice, so that it tells them nothing
        if getattr(stated, name, None) and (field := reveals(caller.masks, fields)) is not None:
            detail = f"{field} is hidden from this credential, and {name} would reveal it"
            raise Denied(403, detail, kind=HIDDEN_FIELD)
    if stated.purpose and caller.purpose is None and not caller.may(CONSUMERS_READ):
        raise forbidden(CONSUMERS_READ)


def _permit_waiting(endpoint: Document, caller: Caller, waiting_types: Callable[[Document], set[str]]) -> None:
    """Raises Denied for an endpoint whose deliveries, also those that wait, are of types that the caller may not
    read, or were chosen by what is hidden from the caller, who could have them sent elsewhere."""
    if caller.key == application_of(endpoint):
        return  # it has the masks of its application at any time, and no change that this may not read
    denied = {type for type, scope in SCOPES.items() if not caller.may(scope)}
    # What waits may be of types that the endpoint had before.
    if denied and (kept := denied & {*endpoint["types"]} or denied & waiting_types(endpoint)):
        raise forbidden(SCOPES[min(kept)])
    if caller.masks and is_app_id(endpoint["created_by"]):
        # So it would not keep those of the caller.
        detail = (
            f"{caller.masks[0]} is hidden from this credential, and not from what an application has made; "
            "change it with a credential without masks"
        )
        raise Denied(403, detail, kind=HIDDEN_FIELD)
    hidden = sorted({*caller.masks} - {*endpoint["masks"]})
    for name, fields in CONDITIONS.items():
        if endpoint.get(name) and (field := reveals(hidden, fields)) is not None:
            detail = f"{field} is hidden from this credential, and {name} of the endpoint would reveal it"
            raise Denied(403, detail, kind=HIDDEN_FIELD)
    if hidden and endpoint.get("filter"):
        detail = f"{hidden[0]} is hidden from this credential, and filter of the endpoint may reveal it"
        raise Denied(403, detail, kind=HIDDEN_FIELD)


def _with_secret(shown: Document, made: Made, status: int) -> Response:
    return json_response({**shown, "secret": made.secret}, status)
