"""Records the acts of a command in the audit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pymongo.database import Database

from shared.access.audit import Audit
from shared.access.audit_factory import check_key, open_audit, user
from shared.access.chain import INSTALLATION, Act
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.settings import Settings

__all__ = ["INSTALLATION", "Acts", "record_act", "recorder"]


class Acts:
    """Records acts in the name of the user who runs the command."""

    def __init__(self, audit: Audit, check: Callable[[str], object]) -> None:
        """``check`` raises ConfigurationError where no entry may be added to a tenant's chain."""
        self._audit, self._check = audit, check
        self._who = user()

    def record(
        self,
        tenant: str,
        action: str,
        subject: Mapping[str, str],
        details: Mapping[str, str | int] | None = None,
        fields: Sequence[str] = (),
    ) -> None:
        """Record an act on a tenant, or on the INSTALLATION. ``fields`` are the personal ones that it shows.
        Raises Unavailable when it cannot be stored, and ConfigurationError without the key that the entries before
        it have."""
        self._check(tenant)
        self._audit.record(Act(tenant, self._who, "command", action, subject, tuple(fields), details or {}))


@contextmanager
def recorder(settings: Settings, database: Database[Document]) -> Iterator[Acts]:
    audit = open_audit(settings, database)
    try:
        yield Acts(audit, lambda tenant: check_key(settings, database, tenant))
    finally:
        audit.close()


def record_act(
    settings: Settings,
    action: str,
    subject: Mapping[str, str],
    tenant: str = INSTALLATION,
    fields: Sequence[str] = (),
) -> None:
    """Record one act before it is done. When it raises Unavailable or
    ConfigurationError, the act must not be done."""
    assert settings.mongo is not None
    with connect(settings.mongo) as client, recorder(settings, client[settings.database]) as acts:
        acts.record(tenant, action, subject, fields=fields)
