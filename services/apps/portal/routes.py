"""What only the developer portal asks with a registration token: an access token, without a client secret."""

import secrets
from typing import Annotated

from fastapi import Body, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from services.apps.both_routes import CHANGED, MISSING, ClientId
from services.apps.oauth import WHY_NOT, OAuthError, scopes_of
from services.apps.oauth_routes import TokenAnswer, issued
from services.apps.registration_routes import own_app
from services.apps.registry import NotPossible, Registry
from services.apps.signing import Signer
from shared.access.apps.tokens import caller_of
from shared.access.audit import Act
from shared.access.guard import AccessOf, CallerOf
from shared.http.caller import APPS_OWN
from shared.http.costs import Cost, costs
from shared.http.purposes import IMPERSONAL
from shared.http.scopes import needs
from shared.http.server import BODY_FAILURES


class WantedToken(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scope: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="Scopes, separated by spaces. Default: all that are granted."
    )


def add_portal_route(app: FastAPI, registry: Registry, signer: Signer) -> None:
    @app.post(
        "/register/{client_id}/token", response_model=TokenAnswer, responses=BODY_FAILURES | MISSING | CHANGED
    )
    @needs(APPS_OWN, masks_itself=True, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def token(
        client_id: ClientId,
        caller: CallerOf,
        access: AccessOf,
        wanted: Annotated[WantedToken, Body(default_factory=WantedToken)],
    ) -> Response:
        """Get an access token for the developer's own page, without a secret. (Whoever holds the registration
        token could add a secret, and get one with that.) It ends with the oldest secret of the application,
        because services learn of a new one only after seconds."""
        found = own_app(registry, caller, client_id)
        if found.state != "approved":
            raise NotPossible(WHY_NOT[found.state])
        valid = found.valid_secrets(registry.clock())
        if not valid:
            raise NotPossible("the application has no valid secret; add one first")
        oldest = min(valid, key=lambda each: each.created)
        try:
            scopes = scopes_of(wanted.scope, found.scopes)
        except OAuthError as error:
            raise NotPossible(f"scope: {error.description}") from None
        # As the tokens that it gets by a secret.
        access.charge(caller_of(found, frozenset(scopes)), "requests", 1)
        details = {"scope": " ".join(scopes), "secret": oldest.id, "by": "registration token"}
        access.record(Act(found.tenant, found.name, found.id, "app.token", {"app": found.id}, (), details))
        return issued(signer.token(found, oldest, scopes, secrets.token_urlsafe(16)), scopes)
