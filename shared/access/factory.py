"""Builds the access control of a service from its settings."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.database import Database

from shared.access.apps.credentials import BearerTokens
from shared.access.apps.mongo import MongoApps, MongoPublicKeys
from shared.access.apps.tokens import AppTokens
from shared.access.audit_factory import open_audit
from shared.access.cursor_key import MongoCursorKey
from shared.access.event_days import EventDays, MongoCounts
from shared.access.guard import Access
from shared.access.key_uses import MongoKeyUses, UseRecorder
from shared.access.keys import NO_LIMIT, check_limit
from shared.access.keys_mongo import MongoKeys
from shared.access.lookup import KeyLookup
from shared.access.oidc import Tokens, Trust
from shared.access.quota import Quotas, Rates
from shared.contracts.errors import ConfigurationError
from shared.http.limits import Limits
from shared.runtime.clock import now
from shared.runtime.protocols import Document
from shared.settings import Settings


@contextmanager
def open_access(settings: Settings, database: Database[Document] | None) -> Iterator[Access]:
    """Access control with its audit, until the end of the block. Raises ConfigurationError."""
    cursor_key = None if database is None else MongoCursorKey(database)
    if settings.access == "open":
        yield Access(open=True, open_metrics=True, limits=Limits.of(settings), cursor_key=cursor_key)
        return
    if database is None:
        raise ConfigurationError(
            "KITH_MONGO is not set; it stores API keys and the audit. KITH_ACCESS=open admits anyone without"
        )
    quotas = _quotas(settings)
    trust = trust_of(settings)
    audit = open_audit(settings, database)
    try:
        yield Access(
            KeyLookup(MongoKeys(database), uses=UseRecorder(MongoKeyUses(database), now)),
            BearerTokens(
                AppTokens(MongoApps(database), MongoPublicKeys(database)),
                None if trust is None else Tokens(trust),
            ),
            quotas,
            audit,
            open_metrics=settings.metrics == "open",
            limits=Limits.of(settings),
            cursor_key=cursor_key,
            event_days=EventDays(MongoCounts(database), now),
        )
    finally:
        audit.close()


def _quotas(settings: Settings) -> Quotas:
    """Raises ConfigurationError for a limit that is not one."""
    rates = []
    for what in ("rate", "event", "erasure"):
        limits = []
        for name in (f"{what}_limit", f"tenant_{what}_limit"):
            limits.append(limit := str(getattr(settings, name)))
            if limit != NO_LIMIT:
                try:
                    check_limit(limit)
                except ConfigurationError as error:
                    raise ConfigurationError(f"KITH_{name.upper()}: {error}") from None
        rates.append(Rates(*limits))
    requests, events, erasures = rates
    return Quotas(requests, events, erasures)


def trust_of(settings: Settings) -> Trust | None:
    """The trusted issuer of tokens, None without one. Raises ConfigurationError for an incomplete setting."""
    issuer, audience, url = settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url
    if issuer is None and audience is None and url is None:
        return None
    if issuer is None or audience is None or url is None:
        raise ConfigurationError(
            "KITH_OIDC_ISSUER, KITH_OIDC_AUDIENCE and KITH_OIDC_JWKS_URL belong together; one is not set"
        )
    trust = Trust(
        issuer,
        audience,
        url,
        settings.oidc_algorithms,
        settings.oidc_tenant_claim,
        settings.oidc_scopes_claim,
        settings.oidc_masks_claim,
        settings.oidc_purpose_claim,
    )
    trust.check()
    return trust
