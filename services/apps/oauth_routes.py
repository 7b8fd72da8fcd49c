"""Routes of OAuth 2.0: tokens, revocation, keys and metadata."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from services.apps.oauth import FORM, WHY_NOT, OAuthError, client_of, form_of, scopes_of
from services.apps.registry import Changed, NotPossible, Registry
from services.apps.signing import Signer
from shared.access.apps.model import SCOPES_OF_APPS, App, Secret
from shared.access.apps.tokens import TOKEN_SECONDS, caller_of, header_of, verified
from shared.access.audit import Act
from shared.access.guard import Access, AccessOf
from shared.access.lineage import Count, DerivedFrom, Label
from shared.http.caller import Caller, Denied
from shared.http.costs import Cost, costs
from shared.http.problems.client import TOO_LARGE
from shared.http.scopes import public
from shared.http.server import Refusal, json_response, problem, problems
from shared.http.work import blocking

_UNAVAILABLE = problems({503: "A server is unavailable. Retry after the seconds in Retry-After."})
_BODIES = problems(
    {
        408: "The request did not arrive in time.",
        413: "The body has more than 16 KiB.",
        429: "Too many requests of this application, or of this address at once. Retry after the seconds in "
        "Retry-After.",
    }
)


#: Of a form: a token has 4 KiB, secrets and scopes less. Reading a mebibyte of %41 takes a tenth of a second, and
#: anybody may send one.
MOST_BYTES = 16 * 1024


class TokenAnswer(BaseModel):
    access_token: Label = Field(repr=False)
    token_type: Label
    expires_in: Count = Field(description="Seconds.")
    scope: Label


class ErrorAnswer(BaseModel):
    """An error of RFC 6749, 5.2."""

    error: Label
    error_description: Label


class KeySetAnswer(BaseModel):
    keys: Annotated[list[dict[str, Any]], DerivedFrom()]


#: The answers of the specifications, which are not problems of RFC 9457.
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The request is malformed, or not allowed to this client."},
    401: {"model": ErrorAnswer, "description": "The client is not known, or its secret is wrong or has ended."},
}


def _form(**properties: str) -> dict[str, Any]:
    names = {name: {"type": "string", "description": text} for name, text in properties.items()}
    names |= {"client_id": {"type": "string"}, "client_secret": {"type": "string"}}
    first = next(iter(properties))
    schema = {"type": "object", "properties": names, "required": [first]}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


async def body_of(request: Request) -> bytes:
    """The body of a form. Raises Refusal (413)."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > MOST_BYTES:
            raise Refusal(TOO_LARGE, f"a form has at most {MOST_BYTES:,} bytes")
    return found


def issued(token: str, scopes: Sequence[str]) -> Response:
    """The answer with a token (RFC 6749, 5.1)."""
    body = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "scope": " ".join(scopes),
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def add_oauth(
    app: FastAPI,
    registry: Registry,
    signer: Signer,
    issuer: str,
    outcome: Callable[[str], None],
) -> None:
    """``issuer`` is the service's public address. ``outcome`` is called with the outcome of each token request."""

    async def client(request: Request) -> tuple[dict[str, str], App, Secret]:
        """The form, and the client that shows valid credentials. Raises OAuthError and Unavailable."""
        form = form_of(request.headers.get("content-type", ""), await body_of(request))
        shown = client_of(request.headers.getlist("Authorization"), form)
        found = await blocking(registry.client, shown.id, shown.secret)
        if found is None:
            raise OAuthError("invalid_client", "the client is not known, or its secret is wrong or has ended")
        return form, *found

    async def limited(request: Request, access: Access, caller: Caller) -> None:
        """Count the request against the application's own rate: each token, and the end of one, costs an entry of
        the audit. Raises Denied (429)."""
        try:
            access.charge(caller, "requests", 1)
        except Denied:
            await access.refused(request, caller)
            raise

    @app.post(
        "/oauth/token",
        response_model=TokenAnswer,
        responses=ERRORS | _BODIES | _UNAVAILABLE,
        openapi_extra=_form(grant_type="`client_credentials`.", scope="By default all that are granted."),
    )
    @public
    @costs(Cost.DOCUMENT)
    async def token(request: Request, access: AccessOf) -> Response:
        """Get an access token by client credentials (RFC 6749, 4.4)."""
        try:
            form, found, secret = await client(request)
            if not form.get("grant_type"):
                raise OAuthError("invalid_request", "grant_type is missing")
            if form["grant_type"] != "client_credentials":
                raise OAuthError("unsupported_grant_type", "grant_type must be client_credentials")
            if found.state != "approved":
                raise OAuthError("unauthorized_client", WHY_NOT[found.state])
            scopes = scopes_of(form.get("scope"), found.scopes)
            await limited(request, access, caller_of(found, frozenset(scopes)))
        except OAuthError as error:
            outcome(error.code)
            raise
        jti = secrets.token_urlsafe(16)

        def issue() -> str:
            details = {"scope": " ".join(scopes), "secret": secret.id}
            access.record(Act(found.tenant, found.name, found.id, "app.token", {"app": found.id}, (), details))
            return signer.token(found, secret, scopes, jti)

        text = await blocking(issue)
        outcome("issued")
        return issued(text, scopes)

    @app.post(
        "/oauth/revoke",
        status_code=200,
        responses=ERRORS | _BODIES | _UNAVAILABLE,
        openapi_extra=_form(token="An access token.", token_type_hint="Not needed."),
    )
    @public
    @costs(Cost.DOCUMENT)
    async def revoke(request: Request, access: AccessOf) -> Response:
        """Revoke an access token (RFC 7009). A token that is not valid changes nothing."""
        form, found, _ = await client(request)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is missing")
        await limited(request, access, caller_of(found, frozenset()))
        text = form["token"]

        def end() -> Response:
            kid = str(header_of(text).get("kid", ""))
            key = signer.find(kid) if kid else None
            try:
                parsed = None if key is None else verified(text, key, registry.clock().timestamp())
            except Denied:
                parsed = None
            if parsed is None:
                return Response(status_code=200)
            if parsed.app != found.id:
                raise OAuthError("unauthorized_client", "the token is not this client's")
            act = Act(found.tenant, found.name, found.id, "app.token.revoke", {"app": found.id})
            access.record(act)
            try:
                registry.revoke_token(found, parsed.jti, datetime.fromtimestamp(parsed.ends, UTC))
            except (Changed, NotPossible) as error:
                detail = str(error) or "the application was changed at the same moment"
                return problem(503, f"{detail}; try again", {"Retry-After": "1"})
            return Response(status_code=200)

        return await blocking(end)

    @app.get("/.well-known/jwks.json", response_model=KeySetAnswer, responses=_UNAVAILABLE)
    @public
    @costs(Cost.DOCUMENT)
    def jwks() -> Any:
        """The keys that verify access tokens (RFC 7517)."""
        return json_response(signer.jwks())

    @app.get("/.well-known/oauth-authorization-server")
    @public
    async def metadata() -> dict[str, Any]:
        """What this authorization server can do (RFC 8414)."""
        methods = ["client_secret_basic", "client_secret_post"]
        return {
            "issuer": issuer,
            "token_endpoint": f"{issuer}/oauth/token",
            "revocation_endpoint": f"{issuer}/oauth/revoke",
            "registration_endpoint": f"{issuer}/register",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "scopes_supported": list(SCOPES_OF_APPS),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
        }

    @app.exception_handler(OAuthError)
    async def refused(_: Request, error: OAuthError) -> Response:
        body = {"error": error.code, "error_description": error.description}
        headers = {**error.headers, "Cache-Control": "no-store", "Pragma": "no-cache"}
        return JSONResponse(body, error.status, headers)
