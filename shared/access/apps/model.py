"""An application of a third party: what is stored of it, and its secrets. Pure.

An application's id is its OAuth ``client_id`` and also the purpose that consumers grant it (``consent``). A client
secret is ``kiths_<id>_<secret>``, a registration token ``kithr_<application>_<secret>``; the secret is 256 random
bits in a URL-safe alphabet, because clients disagree on how Basic authentication encodes other characters. Only
the SHA-256 of the whole is stored (``shared.access.keys`` says why that is enough).
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Literal

from shared.http.caller import APPS_OWN, Caller

State = Literal["pending", "approved", "suspended"]

#: What an application may be granted, in the words that its users read. The others are for the tenant's own
#: people and machines: an application must not administer, nor see the whole installation.
SCOPES_OF_APPS: Mapping[str, str] = {
    "events:write": "send events about consumers, providers and what they do with each other",
    "consumers:read": "see the profiles of consumers who have agreed, without names, addresses and free text",
    "personal:read": "see names, e-mail addresses, telephone numbers and places of consumers who have agreed",
    "relations:read": "see what consumers who have agreed have done, and all providers",
    "analytics:read": "see counts and sums over all consumers, which name none",
    "intelligence:read": "get recommendations and similar consumers and providers",
    "webhooks:manage": "get changes at addresses of its own, as soon as they happen",
}
#: Secrets that an application has at once: a new one before the old one ends, so that a change is no downtime.
MOST_SECRETS = 2
_ID = re.compile(r"app_[a-z2-7]{16}", re.ASCII)
_SECRET = re.compile(r"kiths_([a-z2-7]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
_REGISTRATION = re.compile(r"kithr_(app_[a-z2-7]{16})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an application may use: a rate of requests such as ``10/second``, events a day, endpoints of webhooks,
    and the rate at which these are sent to."""

    requests: str = "10/second"
    events_a_day: int = 10_000
    endpoints: int = 20
    webhooks: str = "50/second"


@dataclass(frozen=True, slots=True)
class Secret:
    """A client secret as it is stored. ``id`` is the part of its text that may be shown."""

    id: str
    hash: str
    created: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class RevokedToken:
    """An access token that was revoked before it ended at ``ends``."""

    jti: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class App:
    """``requested`` are the scopes that its developer wants, ``scopes`` those that the tenant has granted.
    ``registration`` is the hash of the registration token. ``secrets`` and ``revoked`` may contain some that have
    ended. ``revision`` rises with every change."""

    id: str
    tenant: str
    name: str
    state: State
    requested: tuple[str, ...]
    registration: str
    created: datetime
    created_by: str
    scopes: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    limits: Limits = Limits()
    secrets: tuple[Secret, ...] = ()
    revoked: tuple[RevokedToken, ...] = ()
    uri: str | None = field(default=None, repr=False)
    logo_uri: str | None = field(default=None, repr=False)
    policy_uri: str | None = field(default=None, repr=False)
    tos_uri: str | None = field(default=None, repr=False)
    contacts: tuple[str, ...] = ()
    software_id: str | None = None
    software_version: str | None = None
    auth_method: str = "client_secret_basic"
    reason: str | None = None
    revision: int = 1

    @property
    def purpose(self) -> str:
        """The purpose whose consent the application needs: ``consent: {app_…: true}`` of a consumer."""
        return self.id

    def valid_secrets(self, now: datetime) -> tuple[Secret, ...]:
        return tuple(each for each in self.secrets if now < each.ends)

    def next(self, **changes: object) -> "App":
        """The application after a change."""
        return replace(self, revision=self.revision + 1, **changes)  # type: ignore[arg-type]

    def owner(self) -> Caller:
        """The one who shows its registration token. What is hidden from the application is hidden from them."""
        return Caller(self.tenant, frozenset({APPS_OWN}), self.masks, self.name, self.id)


def is_app_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def app_of_registration_token(text: str) -> str | None:
    """The id of the application in a registration token; None when the text is none."""
    found = _REGISTRATION.fullmatch(text)
    return found[1] if found else None


def secret_of(app: App, text: str, now: datetime) -> Secret | None:
    """The valid secret of an application that ``text`` is, compared in constant time."""
    found = _SECRET.fullmatch(text)
    if found is None:
        return None
    hashed = digest(text)
    for secret in app.valid_secrets(now):
        if hmac.compare_digest(secret.hash, hashed):
            return secret
    return None


def is_registration_token(app: App, text: str) -> bool:
    return hmac.compare_digest(app.registration, digest(text))


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
