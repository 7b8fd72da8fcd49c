"""Builds the audit from the settings: for services, and for commands that change stored data."""

import getpass

from pymongo.database import Database

from shared.access.audit import Recorder
from shared.access.audit_kafka import TopicWitness
from shared.access.audit_mongo import MongoAuditLog
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import AUDIT, Topics
from shared.kafka.clients import open_publisher
from shared.runtime.clock import now
from shared.runtime.protocols import Document
from shared.settings import Settings

NO_KEY = (
    "the audit is made with a key, and an entry without it would break its chain for good: set KITH_AUDIT_KEY or "
    "KITH_AUDIT_KEY_FILE, as for the services"
)


def open_audit(settings: Settings, database: Database[Document]) -> Recorder:
    """The audit in MongoDB, and, if Kafka's address is set, also in the topic. The caller closes it."""
    witness = None if settings.kafka is None else open_witness(settings)
    return Recorder(MongoAuditLog(database), now, audit_key(settings), witness)


def open_witness(settings: Settings) -> TopicWitness:
    """The copy of the audit in Kafka. The caller closes it."""
    topic = Topics(settings.topic_prefix).name(AUDIT)
    return TopicWitness(lambda: open_publisher(settings), topic)


def check_key(settings: Settings, database: Database[Document], tenant: str) -> None:
    """Raise ConfigurationError where the tenant's chain is made with a key that this process has not. Its entry
    would break the chain for good. A service goes on: it must not be stopped by what another process has."""
    if settings.audit_key is None and MongoAuditLog(database).needs_key(tenant):
        raise ConfigurationError(NO_KEY)


def audit_key(settings: Settings) -> bytes | None:
    return None if settings.audit_key is None else settings.audit_key.get_secret_value().encode()


def user() -> str:
    """The user who runs this process, for acts without a credential."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return "unknown"
