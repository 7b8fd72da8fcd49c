"""Routes of a developer: an application is registered (RFC 7591) and managed by its registration token (7592)."""

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from services.apps.figures import Figures
from services.apps.metadata import (
    Application,
    Registration,
    SecretOfApp,
    applied,
    check_replacement,
    shown,
    stated,
)
from services.apps.oauth import OAuthError
from services.apps.oauth_routes import ErrorAnswer
from services.apps.registry import SECRET_DAYS, NotPossible, Registry
from shared.access.apps.model import App
from shared.access.audit import Act
from shared.access.guard import Access, AccessOf, CallerOf
from shared.access.lineage import Count, DerivedFrom, Label
from shared.http.caller import APPS_OWN, APPS_REGISTER, Caller
from shared.http.costs import Cost, costs
from shared.http.purposes import IMPERSONAL, SUMS
from shared.http.scopes import needs
from shared.http.server import json_response, problems

ClientId = Annotated[str, DerivedFrom(), Path(max_length=100, description="The application's id.")]
FAILURES = problems(
    {
        400: "The body is not JSON in UTF-8.",
        422: "A parameter or the body is malformed; detail names it.",
        503: "A server is unavailable. Retry after the seconds in Retry-After.",
    }
)
MISSING = problems({404: "There is no application with this id, or the credential is another one's."})
CHANGED = problems({409: "Not possible for this application, or it was changed at the same moment."})
_METADATA: dict[int | str, dict[str, Any]] = {
    400: {
        "model": ErrorAnswer,
        "description": "The metadata is not valid: `invalid_client_metadata`; or the body is no JSON, a problem.",
        "content": problems({400: ""})[400]["content"],
    }
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Registration.model_json_schema()}},
    }
}


class FiguresOfApp(BaseModel):
    """What is going on with an application."""

    consented: Count = Field(description="Consumers who have granted its purpose, counted up to 100,000.")
    purpose: Label


class NewSecret(BaseModel):
    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=SECRET_DAYS)] = Field(SECRET_DAYS, description="How long it is valid.")
    others_end_in_hours: Annotated[int, Field(ge=0, le=24 * 365)] | None = Field(
        None, description="How long the former secret is valid, at most. Default: until its own end."
    )


def recorded(access: Access, caller: Caller, action: str, app: App, **details: str | int) -> None:
    """Record an act on an application, before it is done. Raises Unavailable."""
    subject = {"app": app.id, "name": app.name}
    access.record(Act(app.tenant, caller.name, caller.key, action, subject, (), details))


def own_app(registry: Registry, caller: Caller, client_id: str) -> App:
    """The application with this id, if ``caller`` shows its registration token. Raises HTTPException (404)."""
    found = registry.find(caller.tenant, client_id) if caller.key == client_id else None
    if found is None:
        raise HTTPException(404, "this credential is not the registration token of an application with this id")
    return found


def add_registration(app: FastAPI, registry: Registry, figures: Figures, issuer: str) -> None:
    own = partial(own_app, registry)

    def answer(found: App, status: int = 200, **once: Any) -> Response:
        response = json_response(shown(found, issuer, registry.clock(), **once))
        response.status_code = status
        return response

    @app.post(
        "/register",
        status_code=201,
        response_model=Application,
        responses=FAILURES | _METADATA | CHANGED,
        openapi_extra=_BODY,
    )
    @needs(APPS_REGISTER, purpose=IMPERSONAL)
    def register(body: Annotated[dict[str, Any], Body()], caller: CallerOf, access: AccessOf) -> Response:
        """Register an application of the credential's tenant, which then approves it. The secret and the
        registration token are in no later answer."""
        fresh = App("", caller.tenant, "", "pending", (), "", registry.clock(), caller.key, revision=0)
        after = applied(fresh, stated(body))
        try:
            recorded(access, caller, "app.register", after)
            made = registry.register(after)
        except NotPossible as error:
            raise OAuthError("invalid_client_metadata", str(error)) from None
        return answer(
            made.app,
            201,
            client_secret=made.secret_text,
            client_secret_expires_at=int(made.secret.ends.timestamp()),
            registration_access_token=made.registration_token,
        )

    @app.get("/register/{client_id}", response_model=Application, responses=FAILURES | MISSING)
    @needs(APPS_OWN, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def read(client_id: ClientId, caller: CallerOf) -> Response:
        """The registration as it is now."""
        return answer(own(caller, client_id))

    @app.put(
        "/register/{client_id}",
        response_model=Application,
        responses=FAILURES | MISSING | _METADATA | CHANGED,
        openapi_extra=_BODY,
    )
    @needs(APPS_OWN, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def change(
        client_id: ClientId, body: Annotated[dict[str, Any], Body()], caller: CallerOf, access: AccessOf
    ) -> Response:
        """Replace the metadata: what is left out is removed. A scope that is new waits until the tenant grants it;
        one that is left out is taken back at once."""
        before = own(caller, client_id)
        check_replacement(body, before)
        if "client_secret" in body and registry.client(client_id, str(body["client_secret"])) is None:
            raise OAuthError("invalid_client_metadata", "client_secret: is not a valid secret of the application")
        after = applied(before, stated(body))
        try:
            recorded(access, caller, "app.change", before)
            return answer(registry.change(before, after))
        except NotPossible as error:
            raise OAuthError("invalid_client_metadata", str(error)) from None

    @app.delete("/register/{client_id}", status_code=204, responses=FAILURES | MISSING | CHANGED)
    @needs(APPS_OWN, masks_itself=True, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def delete(client_id: ClientId, caller: CallerOf, access: AccessOf) -> Response:
        """Delete the application. Its tokens are refused within five seconds."""
        found = own(caller, client_id)
        recorded(access, caller, "app.delete", found)
        registry.delete(found)
        return Response(status_code=204)

    @app.post(
        "/register/{client_id}/secrets",
        status_code=201,
        response_model=SecretOfApp,
        responses=FAILURES | MISSING | CHANGED,
    )
    @needs(APPS_OWN, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def add_secret(
        client_id: ClientId,
        caller: CallerOf,
        access: AccessOf,
        wanted: Annotated[NewSecret, Body(default_factory=NewSecret)],
    ) -> Response:
        """Add a secret. Two are valid at once, so that the old one can be replaced without downtime."""
        return with_secret(registry, access, caller, own(caller, client_id), wanted)

    @app.delete("/register/{client_id}/secrets/{secret}", status_code=204, responses=FAILURES | MISSING | CHANGED)
    @needs(APPS_OWN, masks_itself=True, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def remove_secret(client_id: ClientId, secret: ClientId, caller: CallerOf, access: AccessOf) -> Response:
        """End a secret now, and the tokens that were issued for it."""
        found = own(caller, client_id)
        registry.check_secret(found, secret)
        recorded(access, caller, "app.secret.remove", found, secret=secret)
        registry.remove_secret(found, secret)
        return Response(status_code=204)

    @app.get("/register/{client_id}/figures", response_model=FiguresOfApp, responses=FAILURES | MISSING)
    @needs(APPS_OWN, purpose=SUMS)
    @costs(Cost.QUERY)
    def count(client_id: ClientId, caller: CallerOf) -> Response:
        """How many consumers have agreed to the application."""
        return figures_of(figures, own(caller, client_id))


def with_secret(registry: Registry, access: Access, caller: Caller, app: App, wanted: NewSecret) -> Response:
    """Add a secret, and answer it."""
    recorded(access, caller, "app.secret.add", app)
    hours = wanted.others_end_in_hours
    _, secret, text = registry.add_secret(app, wanted.days, None if hours is None else timedelta(hours=hours))
    response = json_response(
        {"secret": secret.id, "created": secret.created, "ends": secret.ends, "client_secret": text, "valid": True}
    )
    response.status_code = 201
    return response


def figures_of(figures: Figures, app: App) -> Response:
    return json_response({"consented": figures.consented(app.tenant, app.purpose), "purpose": app.purpose})
