"""The HTTP interface of the apps service: what a tenant decides about applications, and the other routes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.apps.both_routes import (
    CHANGED,
    MISSING,
    ClientId,
    Side,
    add_both,
    check_not_wider,
    recorded,
)
from services.apps.figures import Figures
from services.apps.metadata import Application, ApplicationList, Text, shown
from services.apps.oauth_routes import add_oauth
from services.apps.portal.routes import add_portal_route
from services.apps.receipts import Receipts
from services.apps.registration_routes import add_registration
from services.apps.registry import Changed, NotPossible, Registry
from services.apps.signing import Signer
from shared.access.app import guarded_app
from shared.access.apps.model import SCOPES_OF_APPS, App, State
from shared.access.guard import Access, AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom, Label
from shared.http.caller import APPS_MANAGE
from shared.http.costs import Cost, costs
from shared.http.purposes import IMPERSONAL
from shared.http.scopes import needs, public
from shared.http.server import BODY_FAILURES, json_response, problem

DESCRIPTION = """\
Registers applications of third parties, and gives them access tokens by OAuth 2.0 client credentials.

A developer registers an application, the tenant approves it, and consumers grant it a purpose of its own. Every
service accepts its tokens: it sees the consumers who have granted the purpose, and no others.
"""


#: Bounded, because it is put on record before it is judged.
Word = Annotated[str, DerivedFrom(), Field(max_length=200)]


class Approval(BaseModel):
    """What a tenant grants. What is left out stays; at the first approval it is the default."""

    model_config = ConfigDict(extra="forbid")

    scopes: list[Word] | None = Field(None, max_length=20, description="At first, default: all that it requests.")
    masks: list[Word] | None = Field(None, max_length=100, description="Fields that stay hidden from it.")
    requests: Label | None = Field(None, max_length=40, description="Requests, as in `10/second`.")
    events_a_day: Annotated[int, Field(ge=0, le=10**9)] | None = None
    endpoints: Annotated[int, Field(ge=0, le=100)] | None = None
    webhooks: Label | None = Field(
        None, max_length=40, description="Deliveries to its endpoints, as in `50/second`."
    )
    client_name: Text | None = Field(None, description="Another name than the developer's.")
    revision: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None,
        description="That of the application as it was seen; another is refused. At first, this or `scopes` is "
        "needed: the developer may have changed what it requests.",
    )


class Suspension(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Text | None = Field(None, description="For the developer, who reads it.")


class Scope(BaseModel):
    scope: Label
    means: Label


class ScopeList(BaseModel):
    items: list[Scope]


def create_app(
    registry: Registry,
    signer: Signer,
    figures: Figures,
    receipts: Receipts,
    ready: Callable[[], Sequence[str]],
    outcome: Callable[[str], None] = lambda _: None,
    *,
    access: Access,
    issuer: str = "http://127.0.0.1:8708",
) -> FastAPI:
    """The app. ``ready`` returns the reasons why the service cannot work; ``issuer`` is its public address."""
    app = guarded_app("Kith apps", DESCRIPTION, access, ready)
    add_oauth(app, registry, signer, issuer, outcome)
    add_registration(app, registry, figures, receipts, issuer)
    add_portal_route(app, registry, signer)
    _add_scopes(app)
    _add_decisions(app, registry, figures, receipts, issuer)

    @app.exception_handler(Changed)
    async def changed(_: Request, __: Changed) -> Response:
        return problem(409, "the application was changed or deleted at the same moment; read it and try again")

    @app.exception_handler(NotPossible)
    async def refused(_: Request, error: NotPossible) -> Response:
        return problem(409, str(error))

    return app


def _add_scopes(app: FastAPI) -> None:
    @app.get("/v1/apps/scopes", response_model=ScopeList)
    @public
    async def scopes() -> Any:
        """The scopes that an application can have, in plain words."""
        return {"items": [{"scope": name, "means": means} for name, means in SCOPES_OF_APPS.items()]}


def _add_decisions(app: FastAPI, registry: Registry, figures: Figures, receipts: Receipts, issuer: str) -> None:
    def of(tenant: str, client_id: str) -> App:
        if (found := registry.find(tenant, client_id)) is None:
            raise HTTPException(404, "there is no application with this id")
        return found

    side = Side("/v1/apps", APPS_MANAGE, lambda caller, id: of(caller.tenant, id), outlives=True)
    add_both(app, side, registry, figures, receipts)

    def answer(found: App) -> Response:
        return json_response(shown(found, issuer, registry.clock()))

    @app.get("/v1/apps", response_model=ApplicationList, responses=BODY_FAILURES)
    @needs(APPS_MANAGE, purpose=IMPERSONAL)
    def every(
        tenant: TenantOf,
        state: Annotated[State | None, DerivedFrom(), Query(description="Only those in this state.")] = None,
    ) -> Response:
        """The applications of the tenant, oldest first. One that this version cannot read is left out, and
        named in the log of the service."""
        found = [each for each in registry.all(tenant) if state in (None, each.state)]
        return json_response({"items": [shown(each, issuer, registry.clock()) for each in found]})

    @app.get("/v1/apps/{client_id}", response_model=Application, responses=BODY_FAILURES | MISSING)
    @needs(APPS_MANAGE, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def one(client_id: ClientId, tenant: TenantOf) -> Response:
        """One application."""
        return answer(of(tenant, client_id))

    @app.post(
        "/v1/apps/{client_id}/approve", response_model=Application, responses=BODY_FAILURES | MISSING | CHANGED
    )
    @needs(APPS_MANAGE, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def approve(
        client_id: ClientId,
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        granted: Annotated[Approval, Body(default_factory=Approval)],
    ) -> Response:
        """Let an application work, or change what it is granted. It takes effect within five seconds. It has the
        masks of the credential that approves it, too."""
        found = of(tenant, client_id)
        masks = sorted({*(found.masks if granted.masks is None else granted.masks), *caller.masks})
        check_not_wider(caller, found.purpose, masks)
        if granted.revision is not None and granted.revision != found.revision:
            raise Changed
        if granted.revision is None and granted.scopes is None and not found.scopes:
            return problem(422, "state scopes, or the revision of the application as you have seen it")
        names = ("requests", "events_a_day", "endpoints", "webhooks")
        given = {name: value for name in names if (value := getattr(granted, name)) is not None}
        limits = replace(found.limits, **given)
        scopes = (found.scopes or found.requested) if granted.scopes is None else granted.scopes
        recorded(access, caller, "app.approve", found, scopes=" ".join(sorted(scopes)))
        return answer(registry.approve(found, scopes, limits, masks, granted.client_name))

    @app.post(
        "/v1/apps/{client_id}/suspend", response_model=Application, responses=BODY_FAILURES | MISSING | CHANGED
    )
    @needs(APPS_MANAGE, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def suspend(
        client_id: ClientId,
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        stated: Annotated[Suspension, Body(default_factory=Suspension)],
    ) -> Response:
        """Stop an application. Its tokens are refused within five seconds, until it is approved again."""
        found = of(tenant, client_id)
        recorded(access, caller, "app.suspend", found)
        return answer(registry.suspend(found, stated.reason))
