"""The interfaces of what is stored of applications, for every service that verifies their tokens. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from shared.access.apps.model import App
from shared.contracts.errors import Unavailable


class UnreadableApp(Unavailable):
    """What is stored of an application is of another form than this version reads: a newer version has written it,
    or somebody by hand. It is unavailable until a process can read it; no other application is concerned."""

    def __init__(self, id: str) -> None:
        super().__init__(f"the application {id} is stored in a form that this version cannot read")
        self.id = id


class Full(Exception):
    """The tenant has as many applications as it may have."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies access tokens: a JWK without its private part. ``kid`` names it, ``issuer`` is the
    ``iss`` of its tokens. ``until``: no token of it is valid from then on; None for a key in use."""

    kid: str
    issuer: str
    jwk: Mapping[str, Any] = field(repr=False)
    created: datetime
    until: datetime | None = None


class AppStore(Protocol):
    """Stores applications. Every method raises Unavailable while the servers are unavailable. A write is durable
    when the method returns."""

    def insert(self, app: App, most: int | None = None) -> bool:
        """Store a new application. Returns False when one with this id exists. Raises Full when the tenant has
        ``most`` already, whoever inserts one at the same moment."""

    def find(self, id: str) -> App | None:
        """Raises UnreadableApp, too."""

    def all(self, tenant: str) -> list[App]:
        """Every application of a tenant that can be read, oldest first, for a list: without the tokens that were
        revoked, so that none of them may be replaced."""

    def replace(self, before: App, after: App) -> bool:
        """Store ``after`` if the stored application still has the revision of ``before``. Returns whether it
        had."""

    def delete(self, app: App, notice: Mapping[str, Any] | None = None) -> bool:
        """Delete the application if it still has this revision, and store the ``notice`` of it: both or neither.
        Returns whether it had."""


class PublicKeyStore(Protocol):
    """The keys that verify access tokens. Every method raises Unavailable."""

    def find(self, kid: str) -> PublicKey | None: ...

    def all(self) -> list[PublicKey]:
        """Every key, the oldest first, also those that have ended."""
