"""Access tokens of applications (RFC 9068): JWTs that the apps service signs, verified by every service itself.

A verified token is remembered by its hash until it ends, because a signature takes half a millisecond. The state
of its application is read every few seconds as that of an API key is: a token of an application that was suspended
or deleted, that was revoked, or whose secret was removed, is refused then.
"""

import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cachetools import LRUCache
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from shared.access.apps.model import SCOPES_OF_APPS, App, app_of_registration_token, is_registration_token
from shared.access.apps.store import AppStore, PublicKey, PublicKeyStore, UnreadableApp
from shared.access.fresh import FreshReads
from shared.http.caller import Caller, Denied, unauthorized

ALGORITHM, TYPE, AUDIENCE = "ES256", "at+jwt", "kith"
#: The name of a key that signs tokens begins with it: an identity provider's token is told apart by its ``kid``.
KID_PREFIX = "kith-apps-"
_KID = re.compile(KID_PREFIX + "[0-9]{1,18}", re.ASCII)
TOKEN_SECONDS = 600
#: The tolerated difference between the clocks of the issuing and the verifying process.
LEEWAY_SECONDS = 30
_MAX_TOKEN = 4 * 1024
_MOST = 10_000
_CLAIMS = ("iss", "sub", "client_id", "exp", "iat", "jti", "scope", "tenant", "app", "secret")


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature is verified. ``ends`` is in seconds since 1970."""

    app: str
    tenant: str
    jti: str
    scopes: frozenset[str]
    secret: str = field(repr=False)
    kid: str
    ends: int


class AppTokens:
    """Finds the caller of an access token or a registration token. For one event loop at a time."""

    def __init__(
        self,
        apps: AppStore,
        keys: PublicKeyStore,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = apps
        self._apps: FreshReads[App | UnreadableApp] = FreshReads(self._find, "the applications", "apps", clock)
        self._keys: FreshReads[PublicKey] = FreshReads(keys.find, "the keys of applications", "app-keys", clock)
        self._now = now
        self._verified: LRUCache[bytes, Token] = LRUCache(_MOST)
        #: How many signatures were verified.
        self.verifications = 0

    @staticmethod
    def accepts(text: str) -> bool:
        """Whether the text is a credential of an application, valid or not."""
        return text.startswith("kithr_") or str(header_of(text).get("kid", "")).startswith(KID_PREFIX)

    async def caller(self, text: str) -> Caller:
        """Raises Denied (401, 403), and Unavailable when the application was not read recently and cannot be
        now."""
        if text.startswith("kithr_"):
            return await self._owner(text)
        token = await self._token(text)
        # An application is approved, and gets a secret, a moment before its first token.
        app = await self._app(
            token.app,
            lambda app: app.state == "approved" and any(secret.id == token.secret for secret in app.secrets),
        )
        if app is None or app.tenant != token.tenant:
            raise unauthorized("the token's application does not exist any more")
        if any(revoked.jti == token.jti for revoked in app.revoked):
            raise unauthorized("the token was revoked")
        if all(secret.id != token.secret for secret in app.secrets):
            raise unauthorized("the secret that the token was issued for was removed")
        if app.state != "approved":
            raise Denied(403, "the application is suspended; the tenant decides when it may go on")
        return caller_of(app, token.scopes)

    async def _owner(self, text: str) -> Caller:
        id = app_of_registration_token(text)
        # One that was replaced a moment ago.
        app = None if id is None else await self._app(id, lambda app: is_registration_token(app, text))
        if app is None or not is_registration_token(app, text):
            raise unauthorized("the registration token is not known, or its application was deleted")
        return app.owner()

    def _find(self, id: str) -> App | UnreadableApp | None:
        # It says nothing of the server: what is known of others is not kept for longer because of it.
        try:
            return self._store.find(id)
        except UnreadableApp as error:
            return error

    async def _app(self, id: str, accept: Callable[[App], bool]) -> App | None:
        found = await self._apps.get(id, lambda each: isinstance(each, App) and accept(each))
        if isinstance(found, UnreadableApp):
            raise UnreadableApp(found.id)
        return found

    async def _token(self, text: str) -> Token:
        if len(text) > _MAX_TOKEN:
            raise unauthorized("the token is too long")
        hashed = sha256(text.encode("utf-8", "replace")).digest()
        token = self._verified.get(hashed)
        kid = str(header_of(text).get("kid", "")) if token is None else token.kid
        # Anybody can write a header: only what can be the name of a key is looked up, and remembered.
        key = await self._keys.get(kid) if _KID.fullmatch(kid) else None
        now = self._now()
        if key is None or (key.until is not None and key.until <= datetime.fromtimestamp(now, UTC)):
            raise unauthorized("the key that has signed the token is not valid any more")
        if token is None:
            self.verifications += 1
            token = self._verified[hashed] = verified(text, key, now)
        if token.ends <= now:
            self._verified.pop(hashed, None)
            raise unauthorized("the token has ended; get another one")
        return token


def caller_of(app: App, scopes: frozenset[str]) -> Caller:
    """The application as a caller, with those of ``scopes`` that it still has. For it, only consumers who have
    granted its purpose exist."""
    return Caller(
        app.tenant,
        scopes & frozenset(app.scopes) & frozenset(SCOPES_OF_APPS),
        app.masks,
        app.name,
        app.id,
        app.limits.requests,
        purpose=app.purpose,
        events_a_day=app.limits.events_a_day,
        endpoints=app.limits.endpoints,
    )


def verified(text: str, key: PublicKey, now: float) -> Token:
    """The token in ``text``, if ``key`` has signed it for this audience and it is of this time. Whether it has
    ended is not checked. Raises Denied (401)."""
    try:
        found = jwt.decode(text, _imported(json.dumps(key.jwk)), algorithms=[ALGORITHM])
        claims = found.claims
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(now),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": key.issuer},
            aud={"essential": True, "value": AUDIENCE},
            iat={"essential": True},
        )
        registry.validate({name: value for name, value in claims.items() if name != "exp"})
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        # joserfc's own messages, which do not quote the token.
        said = str(error) if isinstance(error, JoseError) else "it cannot be read"
        raise unauthorized(f"the token is not accepted: {said}") from None
    texts = all(isinstance(claims.get(name), int if name in ("exp", "iat") else str) for name in _CLAIMS)
    if str(found.header.get("typ", "")).lower() not in (TYPE, f"application/{TYPE}") or not texts:
        raise unauthorized("the token is not an access token of an application")
    if not claims["app"] == claims["sub"] == claims["client_id"]:
        raise unauthorized("the token is not accepted: it names different applications")
    scopes = frozenset(claims["scope"].split())
    return Token(claims["app"], claims["tenant"], claims["jti"], scopes, claims["secret"], key.kid, claims["exp"])


@lru_cache(16)
def _imported(jwk: str) -> ECKey:
    return ECKey.import_key(json.loads(jwk))


def header_of(text: str) -> Mapping[str, Any]:
    """The header of a JWT, not verified; empty where the text is none."""
    start = text[:_MAX_TOKEN].partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(start + "=" * (-len(start) % 4)))
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}
