"""Routes of a developer: an application is registered (RFC 7591) and managed by its registration token (7592)."""

from functools import partial
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Response

from services.apps.both_routes import CHANGED, MISSING, ClientId, Side, add_both, recorded
from services.apps.figures import Figures
from services.apps.metadata import Application, Registration, applied, check_replacement, shown, stated
from services.apps.oauth import OAuthError
from services.apps.oauth_routes import ErrorAnswer
from services.apps.receipts import Receipts
from services.apps.registry import NotPossible, Registry
from shared.access.apps.model import App
from shared.access.guard import AccessOf, CallerOf
from shared.http.caller import APPS_OWN, APPS_REGISTER, Caller
from shared.http.costs import Cost, costs
from shared.http.purposes import IMPERSONAL
from shared.http.scopes import needs
from shared.http.server import BODY_FAILURES, json_response, problems

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


def own_app(registry: Registry, caller: Caller, client_id: str) -> App:
    """The application with this id, if ``caller`` shows its registration token. Raises HTTPException (404)."""
    found = registry.find(caller.tenant, client_id) if caller.key == client_id else None
    if found is None:
        raise HTTPException(404, "this credential is not the registration token of an application with this id")
    return found


def add_registration(app: FastAPI, registry: Registry, figures: Figures, receipts: Receipts, issuer: str) -> None:
    own = partial(own_app, registry)

    add_both(app, Side("/register", APPS_OWN, own), registry, figures, receipts)

    def answer(found: App, status: int = 200, **once: Any) -> Response:
        return json_response(shown(found, issuer, registry.clock(), **once), status)

    @app.post(
        "/register",
        status_code=201,
        response_model=Application,
        responses=BODY_FAILURES | _METADATA | CHANGED,
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

    @app.get("/register/{client_id}", response_model=Application, responses=BODY_FAILURES | MISSING)
    @needs(APPS_OWN, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def read(client_id: ClientId, caller: CallerOf) -> Response:
        """The registration as it is now."""
        return answer(own(caller, client_id))

    @app.put(
        "/register/{client_id}",
        response_model=Application,
        responses=BODY_FAILURES | MISSING | _METADATA | CHANGED,
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
