"""The forms of OAuth 2.0: client credentials, scopes and errors of RFC 6749 and RFC 7009. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus

FORM = "application/x-www-form-urlencoded"
#: Why an application in this state gets no token.
WHY_NOT = {
    "pending": "the tenant has not approved the application yet",
    "suspended": "the tenant has suspended the application",
}
Code = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_client_metadata",
]


class OAuthError(Exception):
    """A request is refused: a code of the specification, and a sentence for a person."""

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code, self.description = code, description

    @property
    def status(self) -> int:
        return 401 if self.code == "invalid_client" else 400

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Basic realm="kith"'} if self.status == 401 else {}


@dataclass(frozen=True, slots=True)
class Client:
    """The credentials that a client shows."""

    id: str
    secret: str = field(repr=False)


def form_of(content_type: str, body: bytes) -> dict[str, str]:
    """The parameters of a form that have a value; the others are as left out (RFC 6749, 3.2). Raises
    OAuthError."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"the body must be a form: Content-Type: {FORM}")
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "strict"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError:
        raise OAuthError("invalid_request", "the body is not a form in UTF-8") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise OAuthError("invalid_request", f"{name[:100]} is given twice")
        form[name] = value
    return {name: value for name, value in form.items() if value}


def client_of(authorization: Sequence[str], form: Mapping[str, str]) -> Client:
    """The client's credentials, from the header or from the form (RFC 6749, 2.3.1). Raises OAuthError."""
    in_form = "client_secret" in form
    if len(authorization) > 1 or (authorization and in_form):
        raise OAuthError("invalid_request", "the client may use one way to authenticate, not two")
    if authorization:
        client = _basic(authorization[0])
        if form.get("client_id", client.id) != client.id:
            raise OAuthError("invalid_request", "client_id is not that of the header Authorization")
        return client
    if not in_form or not form.get("client_id"):
        detail = "authenticate by HTTP Basic, or by client_id and client_secret in the body"
        raise OAuthError("invalid_client", detail)
    return Client(form["client_id"], form["client_secret"])


def _basic(header: str) -> Client:
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        raise OAuthError("invalid_client", "authenticate by HTTP Basic, or in the body")
    try:
        id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise OAuthError("invalid_client", "the header Authorization does not contain id:secret in Base64")
    return Client(unquote_plus(id), unquote_plus(secret))


def scopes_of(requested: str | None, granted: Sequence[str]) -> list[str]:
    """The scopes of a token: those that are requested, by default all that are granted. Raises OAuthError."""
    wanted = list(dict.fromkeys((requested or "").split()))
    if not wanted:
        return sorted(granted)
    if beyond := [scope for scope in wanted if scope not in granted]:
        raise OAuthError("invalid_scope", f"{beyond[0][:100]!r} is not granted; granted are: {' '.join(granted)}")
    return sorted(wanted)
