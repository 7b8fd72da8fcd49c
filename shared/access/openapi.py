"""Access control in a service's OpenAPI document: schemes, scopes, and the answers to rejected requests."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from shared.http.caller import SCOPES
from shared.http.scopes import need_of
from shared.http.server import problems

Json = dict[str, Any]

SCHEMES: Json = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "kith_<prefix>_<secret>",
        "description": "An API key: `kith keys api create` makes one. Scopes: "
        + "; ".join(f"`{scope}`: {meaning}" for scope, meaning in SCOPES.items())
        + ".",
    },
    "oidc": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of the OIDC issuer that the service trusts, with the same scopes.",
    },
}
_OF_BODIES = {
    408: "The request did not arrive in time.",
    413: "The body has more than 1 MiB.",
}
_QUOTA = {
    "RateLimit-Limit": "Requests that this key may send in a period.",
    "RateLimit-Remaining": "Requests left in the period.",
    "RateLimit-Reset": "Seconds until the quota is full again.",
}


def document_access(app: FastAPI) -> None:
    """Document the schemes, and per operation its scope and the answers 401, 403 and 429."""
    generate = app.openapi

    def openapi() -> Json:
        document = generate()
        document.setdefault("components", {}).setdefault("securitySchemes", SCHEMES)
        for route in app.routes:
            if not isinstance(route, APIRoute) or not route.include_in_schema:
                continue
            scopes = need_of(route.endpoint).scopes
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                _guarded(operation, scopes)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _guarded(operation: Json, scopes: Sequence[str]) -> None:
    if not scopes:
        operation["security"] = []
        return
    # OpenAPI 3.1 allows scopes for schemes of every kind.
    operation["security"] = [{"apiKey": [*scopes]}, {"oidc": [*scopes]}]
    named = " or ".join(f"`{scope}`" for scope in scopes)
    answers = operation["responses"]
    for status, answer in problems(
        {
            401: "The credential is missing, unknown, expired or revoked.",
            403: f"The credential lacks the scope {named}, or is for another tenant.",
            429: "A quota of the key or its tenant is used up, or its share of the process is in progress. Retry "
            "after the seconds in Retry-After.",
            503: "A server that the request needs is unavailable. Retry after the seconds in Retry-After.",
            **(_OF_BODIES if "requestBody" in operation else {}),
        }
    ).items():
        answers.setdefault(str(status), answer)
    answers["429"]["headers"] = {
        name: {"description": text, "schema": {"type": "integer"}}
        for name, text in {"Retry-After": "Seconds.", **_QUOTA}.items()
    }
