"""OIDC bearer tokens: signed by a trusted issuer, verified with its published keys."""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key
from pydantic import TypeAdapter, ValidationError

from shared.access.lineage import is_maskable
from shared.access.masks import is_path
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.events import Name, Tenant
from shared.http.caller import SCOPES, Caller, Denied, unauthorized

#: Asymmetric signatures only. With HS256, anyone who can verify a token can also sign one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
#: Keys are read again after this many seconds, and for an unknown key id at most once every REFETCH_SECONDS.
KEYS_SECONDS = 3600.0
REFETCH_SECONDS = 30.0
#: While the issuer's keys cannot be read, those that were read last are used for so long.
GRACE_SECONDS = 86_400.0
#: The tolerated difference between the issuer's clock and this one.
LEEWAY_SECONDS = 30
_PAUSE_SECONDS = 2.0
#: How long a request waits for the keys to be read: with earlier ones to go on with, and without.
_PATIENCE_SECONDS, _GIVE_UP_SECONDS = 0.5, 5.0
_FETCH_SECONDS = 5.0
_PIECE = 64 * 1024
_MAX_BYTES = 1024 * 1024
_MAX_TOKEN = 16 * 1024
_MAX_SUBJECT = 200
ABSENT = object()
#: The errors raised for a key that is damaged, or of an unknown kind.
_NOT_UNDERSTOOD = (
    JoseError,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)
_TENANT: TypeAdapter[str] = TypeAdapter(Tenant)
_PURPOSE: TypeAdapter[str] = TypeAdapter(Name)

Json = dict[str, Any]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trust:
    """The trusted issuer, and the meaning of its claims."""

    issuer: str
    audience: str
    jwks_url: str
    algorithms: Sequence[str] = ("RS256", "ES256")
    tenant_claim: str = "tenant"
    scopes_claim: str = "scope"
    masks_claim: str = "masks"
    purpose_claim: str = "purpose"

    def check(self) -> None:
        """Raise ConfigurationError for unsafe values."""
        if weak := [name for name in self.algorithms if name not in ALGORITHMS]:
            raise ConfigurationError(
                f"KITH_OIDC_ALGORITHMS: {', '.join(weak)} cannot be used; choose of {', '.join(ALGORITHMS)}"
            )
        if not self.algorithms:
            raise ConfigurationError("KITH_OIDC_ALGORITHMS names no algorithm")
        url = urlsplit(self.jwks_url)
        if url.scheme != "https" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigurationError("KITH_OIDC_JWKS_URL must be https, unless it is on this machine")


def fetch(url: str) -> Json:
    """The JSON at ``url``, at most 1 MiB, without following redirects. Raises Unavailable."""
    opener = urllib.request.build_opener(_NoRedirects())
    ends, body = time.monotonic() + _FETCH_SECONDS, b""
    try:
        with opener.open(url, timeout=_FETCH_SECONDS) as answer:
            # The timeout is of each piece. One that trickles in would take for ever.
            while piece := answer.read1(_PIECE):
                body += piece
                if len(body) > _MAX_BYTES:
                    raise Unavailable(f"the issuer's keys have more than {_MAX_BYTES:,} bytes")
                if time.monotonic() > ends:
                    raise Unavailable(f"the issuer's keys did not arrive within {_FETCH_SECONDS:g} s")
        found = json.loads(body)
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise Unavailable(f"the issuer's keys cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Unavailable("the issuer's keys are not a JSON object")
    return found


class Tokens:
    """Finds the caller of a token. For one event loop at a time."""

    def __init__(
        self,
        trust: Trust,
        fetch: Callable[[str], Json] = fetch,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        trust.check()
        self._trust = trust
        self._fetch = fetch
        self._clock = clock
        self._now = now
        self._keys: KeySet | None = None
        self._read_at = self._tried_at = -float("inf")
        self._reading: asyncio.Task[Unavailable | None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="issuer")

    async def caller(self, token: str) -> Caller:
        """Raises Denied (401, 403), and Unavailable until the issuer's keys have been read once, and where they
        cannot be read for GRACE_SECONDS."""
        if len(token) > _MAX_TOKEN:
            raise unauthorized("the token is too long")
        try:
            keys = await self._current()
            try:
                claims = self._checked(token, keys)
            # A token need not name its key, whose signature is then wrong after a rotation. The time between two
            # readings bounds what strangers can cause.
            except (InvalidKeyIdError, BadSignatureError):
                claims = self._checked(token, await self._current(again=True))
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            # joserfc's own messages, which quote names of the header at most.
            said = str(error) if isinstance(error, JoseError) else "it cannot be read"
            raise unauthorized(f"the token is not accepted: {said}") from None
        return self._caller(claims)

    def _checked(self, token: str, keys: KeySet) -> Json:
        trust = self._trust
        found = jwt.decode(token, keys, algorithms=list(trust.algorithms), decoder_cls=_Claims)
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": trust.issuer},
            aud={"essential": True, "value": trust.audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        registry.validate(found.claims)
        return found.claims

    def _caller(self, claims: Json) -> Caller:
        tenant = _claim(claims, self._trust.tenant_claim)
        try:
            tenant = _TENANT.validate_python(tenant, strict=True)
        except ValidationError:
            raise Denied(403, f"the token's claim {self._trust.tenant_claim} names no tenant") from None
        # Tokens contain scopes for other services, too (openid, profile). An unknown scope grants nothing.
        scopes = frozenset(_words(_claim(claims, self._trust.scopes_claim))) & frozenset(SCOPES)
        masks = _masks(claims, self._trust.masks_claim)
        purpose = _purpose(claims, self._trust.purpose_claim)
        # The audit stores it as UTF-8, which cannot encode a lone surrogate.
        whole = str(claims["sub"]).encode("utf-8", "replace")
        subject = whole.decode()
        if len(subject) > _MAX_SUBJECT:
            # Those of two people may begin alike, and each has a quota and a name in the audit of their own.
            subject = f"{subject[: _MAX_SUBJECT - 65]}~{sha256(whole).hexdigest()}"
        return Caller(tenant, scopes, masks, subject, f"oidc:{subject}", purpose=purpose)

    async def _current(self, again: bool = False) -> KeySet:
        """The issuer's keys. ``again`` reads them again unless that was just done. Whoever has keys to go on with
        waits a moment for newer ones, however long the issuer takes."""
        if not again and self._keys is not None and self._clock() - self._read_at < KEYS_SECONDS:
            return self._keys
        reading, since = self._reading, self._clock() - self._tried_at
        if reading is None or reading.done():
            if self._keys is not None and since < REFETCH_SECONDS:
                return self._known()
            if self._keys is None and since < _PAUSE_SECONDS:
                raise Unavailable("the issuer's keys could not be read a moment ago")
            self._tried_at, since = self._clock(), 0.0
            reading = self._reading = asyncio.create_task(self._read())
        patience = _GIVE_UP_SECONDS if again or self._too_old() else _PATIENCE_SECONDS
        await asyncio.wait([reading], timeout=max(0.0, patience - since))
        if self._keys is None:
            failed = reading.result() if reading.done() else None
            raise failed or Unavailable(f"the issuer's keys did not arrive within {_GIVE_UP_SECONDS:g} s")
        return self._known()

    async def _read(self) -> Unavailable | None:
        """Read the keys. Returns why that was not possible."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._fetch, self._trust.jwks_url
            )
        except Unavailable as error:
            return error
        keys = key_set(found)
        if keys is None and self._keys is not None and found.get("keys") == []:
            # All keys are withdrawn.
            keys = KeySet([])
        if keys is None:
            return Unavailable("the issuer publishes no key that signatures can be checked with")
        self._keys, self._read_at = keys, self._clock()
        return None

    def _known(self) -> KeySet:
        """The keys that were read last. Raises Unavailable when that is too long ago: one may be withdrawn."""
        assert self._keys is not None
        if self._too_old():
            raise Unavailable("the issuer's keys could not be read for a day")
        return self._keys

    def _too_old(self) -> bool:
        return self._clock() - self._read_at >= GRACE_SECONDS


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: a redirect is an error, because it could lead to an address without TLS."""


class _Claims(json.JSONDecoder):
    """Reads claims, once their signature is verified. Raises Denied (401) for one that is stated twice: its issuer
    may have meant the other one."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._members)

    def _members(self, pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise unauthorized("the token is not accepted: it states a claim twice")
        return found


def _claim(claims: Mapping[str, Any], path: str, absent: object = None) -> Any:
    """A claim by its name, or by a path such as ``kith.tenant`` if it is nested. Raises Denied (403) for one that
    is in both places, and where something else is in the place of an object on the way."""
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping):
            raise Denied(403, f"the token's claim {path} cannot be read: what should hold {part} is no object")
        if part not in value:
            value = absent
            break
        value = value[part]
    if path in claims and "." in path:
        if value is not absent:
            raise Denied(403, f"the token's claim {path} is there twice: under this name, and nested")
        return claims[path]
    return value


def _narrowing(claims: Mapping[str, Any], path: str) -> Any:
    """A claim without which the caller sees more; ABSENT without it. Raises Denied (403) for a name in other
    letters, too: it was meant to narrow."""
    value: Any = claims
    for part in (path,) if path in claims else path.split("."):
        if not isinstance(value, Mapping):
            break
        if near := [name for name in value if name != part and name.casefold() == part.casefold()]:
            raise Denied(403, f"the token's claim {near[0]} is not {part}: its letters differ")
        value = value.get(part)
    return _claim(claims, path, ABSENT)


def key_set(published: Json) -> KeySet | None:
    """The signature keys of a JSON Web Key Set, each parsed on its own. A key that cannot be parsed is left out
    with a warning, an encryption key without one. None when no key is left."""
    keys: list[Key] = []
    listed = published.get("keys")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        try:
            if one.get("use", "sig") != "sig" or "verify" not in one.get("key_ops", ["verify"]):
                continue
            key = import_key(one)
            key.ensure_kid()
            key.get_op_key("verify")
        except _NOT_UNDERSTOOD as error:
            _log.warning(
                "a key of the issuer is not understood", extra={"number": number, "reason": type(error).__name__}
            )
            continue
        keys.append(key)
    return KeySet(keys) if keys else None


def _masks(claims: Json, path: str) -> tuple[str, ...]:
    """The fields that stay hidden. Raises Denied (403) for anything but a list of existing fields: a misspelt mask
    would hide nothing."""
    value = _narrowing(claims, path)
    if value is ABSENT:
        return ()
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or not all(isinstance(mask, str) and is_path(mask) for mask in value):
        raise Denied(403, f"the token's claim {path} is not a list of fields")
    if unknown := [mask for mask in value if not is_maskable(mask)]:
        raise Denied(403, f"the token's claim {path} names {unknown[0]}, which is not a field that can be hidden")
    return tuple(sorted(set(value)))


def _purpose(claims: Json, path: str) -> str | None:
    """The purpose that the caller is bound to; None without the claim. Raises Denied (403) for anything but the
    name of a purpose: who cannot be bound as the issuer wants it must not see everybody."""
    value = _narrowing(claims, path)
    if value is ABSENT:
        return None
    try:
        return _PURPOSE.validate_python(value, strict=True)
    except ValidationError:
        raise Denied(403, f"the token's claim {path} is not the name of a purpose") from None


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
