"""API keys: created, shown once, stored as a hash.

A key is ``kith_<prefix>_<secret>``. The prefix identifies it and may be shown; the secret is 256 random bits. Only
the SHA-256 of the whole is stored. A slow salted hash protects secrets that people choose and that can be guessed.
2^256 secrets cannot be enumerated, however fast the hash, and the door checks a key with every request.
"""

import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from limits import parse
from pydantic import TypeAdapter, ValidationError

from shared.access.lineage import MASKABLE, is_maskable
from shared.access.masks import is_path
from shared.contracts.errors import ConfigurationError
from shared.contracts.events import Name, Tenant
from shared.contracts.limits import LARGEST
from shared.http.caller import SCOPES, Caller

NO_LIMIT = "none"
_KEY = re.compile(r"kith_([a-z0-9]{8})_([A-Za-z0-9_-]{43})", re.ASCII)
#: One rate: how many, in how many of which period.
_RATE = re.compile(r"\s*([0-9]+)\s*(?:/|per)\s*([0-9]*)\s*[a-z]+\s*", re.ASCII | re.IGNORECASE)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_TENANT: TypeAdapter[str] = TypeAdapter(Tenant)
_PURPOSE: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored form of a key. ``until`` is when it expires (after a rotation), ``revoked`` when it was revoked,
    ``successor`` the prefix of the key that replaces it. ``purpose``, ``events_a_day`` and ``endpoints`` are as in
    Caller."""

    prefix: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    masks: tuple[str, ...]
    hash: str
    created: datetime
    limit: str | None = None
    until: datetime | None = None
    revoked: datetime | None = None
    successor: str | None = None
    purpose: str | None = None
    events_a_day: int | None = None
    endpoints: int | None = None

    def valid(self, now: datetime) -> bool:
        return self.revoked is None and (self.until is None or now < self.until)

    def caller(self) -> Caller:
        return Caller(
            self.tenant,
            frozenset(self.scopes),
            self.masks,
            self.name,
            self.prefix,
            self.limit,
            purpose=self.purpose,
            events_a_day=self.events_a_day,
            endpoints=self.endpoints,
        )


#: What a rotated key hands on to its successor.
_RIGHTS = ("tenant", "name", "scopes", "masks", "limit", "purpose", "events_a_day", "endpoints")


class KeyStore(Protocol):
    """Stores keys. Every method raises Unavailable while the servers are unavailable."""

    def insert(self, key: ApiKey) -> bool:
        """Store a new key. Returns False when a key with this prefix exists."""

    def find(self, prefix: str) -> ApiKey | None: ...

    def all(self) -> list[ApiKey]:
        """Every key, oldest first, including expired and revoked ones."""

    def replace(self, before: ApiKey, after: ApiKey) -> bool:
        """Store ``after`` if ``before`` is still stored (compare-and-set). Returns whether it was."""


class ApiKeys:
    """Creates and ends keys. Every method raises Unavailable, and ConfigurationError for an impossible request."""

    def __init__(self, store: KeyStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def create(
        self,
        tenant: str,
        name: str,
        scopes: Sequence[str],
        masks: Sequence[str] = (),
        limit: str | None = None,
        *,
        purpose: str | None = None,
        events_a_day: int | None = None,
        endpoints: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its full text, which is not stored and cannot be shown again."""
        _check(tenant, scopes, masks, limit)
        check_bounds(purpose, events_a_day, endpoints)
        for mask in masks:
            # A misspelt mask would hide nothing.
            if not is_maskable(mask):
                near = difflib.get_close_matches(mask.partition(".")[0], sorted(MASKABLE), 1)
                hint = (
                    f"did you mean {near[0]}?"
                    if near
                    else f"a mask begins with one of {', '.join(sorted(MASKABLE))}"
                )
                raise ConfigurationError(f"{mask} is not a field that can be hidden; {hint}")
        named = {"tenant": tenant, "name": name, "limit": limit, "purpose": purpose}
        sets = {"scopes": tuple(sorted(set(scopes))), "masks": tuple(sorted(set(masks)))}
        return self._made({**named, **sets, "events_a_day": events_a_day, "endpoints": endpoints})

    def _made(self, rights: Mapping[str, Any]) -> tuple[ApiKey, str]:
        """``rights``: the fields of the key that do not make it another key."""
        while True:
            prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
            text = f"kith_{prefix}_{secrets.token_urlsafe(32)}"
            key = ApiKey(prefix=prefix, hash=digest(text), created=_milliseconds(self._clock()), **rights)
            if self._store.insert(key):
                return key, text

    def all(self) -> list[ApiKey]:
        """Every key, oldest first, including expired and revoked ones."""
        return self._store.all()

    def get(self, prefix: str) -> ApiKey:
        key = self._store.find(prefix)
        if key is None:
            raise ConfigurationError(f"there is no key {prefix}")
        return key

    def rotate(self, prefix: str, overlap: timedelta) -> tuple[ApiKey, str]:
        """A new key with the rights of an old one, which ends after ``overlap``."""
        now = _milliseconds(self._clock())
        old = self.get(prefix)
        if not old.valid(now) or old.successor is not None:
            raise ConfigurationError(f"the key {prefix} has ended or been rotated already")
        new, text = self._made({name: getattr(old, name) for name in _RIGHTS})
        if not self._store.replace(old, replace(old, until=now + overlap, successor=new.prefix)):
            self._store.replace(new, replace(new, revoked=now))
            raise ConfigurationError(f"the key {prefix} was changed by another process; try again")
        return new, text

    def revoke(self, prefix: str) -> ApiKey:
        """End a key now. A key that is revoked already stays unchanged."""
        while True:
            key = self.get(prefix)
            if key.revoked is not None:
                return key
            revoked = replace(key, revoked=_milliseconds(self._clock()))
            if self._store.replace(key, revoked):
                return revoked


def prefix_of(text: str) -> str | None:
    """The prefix in a key's full text; None when the text is not a key."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def matches(key: ApiKey, text: str) -> bool:
    """Whether ``text`` is this key, compared in constant time."""
    return hmac.compare_digest(key.hash, digest(text))


def _check(tenant: str, scopes: Sequence[str], masks: Sequence[str], limit: str | None) -> None:
    try:
        _TENANT.validate_python(tenant)
    except ValidationError:
        raise ConfigurationError(f"{tenant!r} is not a tenant's name") from None
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise ConfigurationError(f"there is no scope {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    if wrong := [mask for mask in masks if not is_path(mask)]:
        raise ConfigurationError(f"{', '.join(wrong)} is not a field's path such as personal.email")
    if limit is not None and limit != NO_LIMIT:
        check_limit(limit)


def check_bounds(purpose: str | None, events_a_day: int | None, endpoints: int | None) -> None:
    """Raise ConfigurationError for a purpose that no consent can have, and for quotas that are no numbers."""
    if purpose is not None:
        try:
            _PURPOSE.validate_python(purpose)
        except ValidationError:
            raise ConfigurationError(
                f"{purpose!r} cannot be a purpose: it begins with a letter or _ and has letters, digits, _ and -"
            ) from None
    for what, most in (("events a day", events_a_day), ("endpoints", endpoints)):
        if most is not None and not 0 <= most <= LARGEST:
            raise ConfigurationError(f"{most} {what}: must be 0 to {LARGEST:,}")


def check_limit(limit: str) -> None:
    """Raise ConfigurationError unless ``limit`` has the form ``100/second``."""
    # `parse` takes a list of rates, of which only the first would hold, and 0 seconds for one.
    found = _RATE.fullmatch(limit)
    try:
        if found is None or not all(0 < int(number) <= LARGEST for number in (found[1], found[2] or "1")):
            raise ValueError(limit)
        parse(limit)
    except ValueError:
        raise ConfigurationError(f"{limit!r} is not a rate such as 100/second or 5000/hour") from None


def _milliseconds(time: datetime) -> datetime:
    """Truncated to MongoDB's precision."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
