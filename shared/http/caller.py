"""The sender of a request: its tenant, its scopes, the fields that stay hidden. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.http.problems.client import MISSING_SCOPE
from shared.http.problems.kind import ProblemType

#: All scopes that a credential can have, with their purpose. None contains another.
SCOPES: Mapping[str, str] = {
    "events:write": "send events to the door",
    "consumers:read": "read consumer profiles",
    "personal:read": "see personal fields, which are masked otherwise",
    "relations:read": "read providers, relations and relationships",
    "analytics:read": "read aggregates and measures",
    "intelligence:read": "read recommendations, similarity, communities and models",
    "webhooks:manage": "create webhook endpoints, and see and repeat their deliveries",
    "apps:register": "register applications of third parties",
    "apps:manage": "approve, limit, suspend and delete the applications of the tenant",
    "apps:own": "see and change one's own application; only its registration token can do it",
    "metrics:read": "read /metrics, which is about the whole installation",
    "admin": "administrative acts",
}
EVENTS_WRITE, CONSUMERS_READ, PERSONAL_READ = "events:write", "consumers:read", "personal:read"
RELATIONS_READ, ANALYTICS_READ, METRICS_READ, ADMIN = "relations:read", "analytics:read", "metrics:read", "admin"
INTELLIGENCE_READ = "intelligence:read"
WEBHOOKS_MANAGE = "webhooks:manage"
APPS_REGISTER, APPS_MANAGE, APPS_OWN = "apps:register", "apps:manage", "apps:own"


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    ``masks`` are paths of fields (``personal.email``, ``amount``) that stay hidden regardless of the scopes.
    ``name`` is for people. ``key`` identifies the credential (a key's prefix, ``oidc:`` and the subject, or
    ``open``). ``limit`` replaces the configured rate limit; "none" removes it. ``bound``: the tenant comes from
    the credential, not from the request. ``purpose``: only consumers who have granted it exist for this caller
    (shared.http.purposes). ``events_a_day`` and ``endpoints`` (of webhooks) are quotas; None: no own one.
    """

    tenant: str
    scopes: frozenset[str]
    masks: tuple[str, ...] = ()
    name: str = ""
    key: str = ""
    limit: str | None = None
    bound: bool = True
    purpose: str | None = None
    events_a_day: int | None = None
    endpoints: int | None = None

    def may(self, scope: str) -> bool:
        return scope in self.scopes


class Denied(Exception):
    """The request is refused: an HTTP status (401, 403 or 429), a sentence for a person, response headers, and the
    kind of problem where it is not the general one of the status."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        kind: ProblemType | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})


def unauthorized(detail: str, error: str | None = "invalid_token") -> Denied:
    """A 401 in the form of RFC 6750; ``error`` is None when the request had no credential."""
    challenge = 'Bearer realm="kith"' + (f', error="{error}"' if error else "")
    return Denied(401, detail, {"WWW-Authenticate": challenge})


def forbidden(scope: str, what: str = "this") -> Denied:
    """A 403 that names the missing scope. ``what`` needs it."""
    challenge = f'Bearer realm="kith", error="insufficient_scope", scope="{scope}"'
    detail = f"{what} needs the scope {scope}, which the credential lacks"
    return Denied(403, detail, {"WWW-Authenticate": challenge}, kind=MISSING_SCOPE)
