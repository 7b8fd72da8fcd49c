"""Records the acts of a command in the audit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pymongo.database import Database

from shared.access.audit import Audit
from shared.access.audit_factory import open_audit, user
from shared.access.chain import INSTALLATION, Act
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.settings import Settings

__all__ = ["INSTALLATION", "Acts", "record_act", "recorder"]


class Acts:
    """Records acts in the name of the user who runs the command."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
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
        Raises Unavailable when it cannot be stored."""
        self._audit.record(Act(tenant, self._who, "command", action, subject, tuple(fields), details or {}))


@contextmanager
def recorder(settings: Settings, database: Database[Document]) -> Iterator[Acts]:
    audit = open_audit(settings, database)
    try:
        yield Acts(audit)
    finally:
        audit.close()


def record_act(
    settings: Settings,
    action: str,
    subject: Mapping[str, str],
    tenant: str = INSTALLATION,
    fields: Sequence[str] = (),
) -> None:
    """Record one act before it is done. When it raises Unavailable, the act must not be done."""
    assert settings.mongo is not None
    with connect(settings.mongo) as client, recorder(settings, client[settings.database]) as acts:
        acts.record(tenant, action, subject, fields=fields)
