"""The least privileges of each service in Kafka and MongoDB; `kith privileges` prints them."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.cassandra.schema import BESIDE as CASSANDRA_BESIDE
from services.cassandra.schema import COLLECTIONS as CASSANDRA
from services.intelligence.schema import COLLECTIONS as INTELLIGENCE
from services.privacy.schema import COLLECTIONS as PRIVACY
from services.relations.fact_erasure import ERASED
from services.relations.schema import COLLECTIONS as RELATIONS
from services.webhooks.schema import BESIDE as WEBHOOKS_BESIDE
from services.webhooks.schema import COLLECTIONS as WEBHOOKS
from shared.access.apps.schema import APPS, NOTICES, PUBLIC_KEYS, RECEIPTS, REGISTER
from shared.access.apps.schema import COLLECTIONS as APPLICATIONS
from shared.access.audit_mongo import COLLECTION as AUDITED
from shared.access.cursor_key import COLLECTION as CURSOR_KEYS
from shared.access.event_days import COLLECTION as EVENT_DAYS
from shared.access.key_uses import COLLECTION as KEY_USES
from shared.access.keys_mongo import COLLECTION as API_KEYS
from shared.contracts.findings import FINDINGS
from shared.contracts.services import PROJECTIONS as FOLDING
from shared.contracts.services import SERVICES, ServiceSpec
from shared.contracts.topics import AUDIT, INPUTS, OUTPUTS, WRAPPED_KEYS, Topics
from shared.erasure.derived import GRAPH_NODES, OUTCOMES
from shared.mongo.restores import RESTORES
from shared.mongo.store import OUTBOX, POSITIONS
from shared.observability.heartbeat import WORKERS
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.vault.lost import LOST_KEYS
from shared.vault.schema import COLLECTIONS as VAULT
from shared.vault.schema import DATA_KEYS, UNPUBLISHED_KEYS, WRAPPING_KEYS
from shared.versions.followers import FOLLOWERS
from shared.versions.generations import collection_of
from shared.versions.mongo_registry import PROJECTIONS

#: Versions of a projection whose collections are covered: a rebuild takes the next number.
VERSIONS = range(1, 21)
_READ = ("find",)
_ADD = ("find", "insert")
_CHANGE = ("find", "insert", "update", "remove")
_PREPARE = ("createCollection", "createIndex", "collMod", "listIndexes")
_KEEP = (*_CHANGE, *_PREPARE)
#: What `kith topics create` does to one.
_TOPIC_CHANGES = ("CREATE", "ALTER", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")
#: The user who runs the commands.
OPERATOR = "operator"
#: The user of `kith backup` and `kith restore`, which copy and replace everything.
BACKUP = "backup"
_REPLACE = (
    *_CHANGE,
    "createCollection",
    "dropCollection",
    "createIndex",
    "listIndexes",
    "bypassDocumentValidation",
)


class Acl(NamedTuple):
    """Allows operations on a topic or a group of this name."""

    kind: str
    name: str
    operations: tuple[str, ...]


def mongo_roles(database: str) -> dict[str, list[dict[str, Any]]]:
    """The privileges of each service's role in ``database``, as ``createRole`` takes them.

    Services can only add entries to the audit and only read API keys; the time of a key's last use is stored
    elsewhere. ``operator`` is for the commands: they create and revoke API keys, but cannot change the audit
    either, nor read the keys that sign receipts.
    """
    everything = {"db": database, "collection": ""}
    roles = {
        service: [
            {"resource": everything, "actions": ["listCollections"]},
            *(
                {"resource": {"db": database, "collection": name}, "actions": list(actions)}
                for name, actions in sorted(collections.items())
            ),
        ]
        for service, collections in _granted().items()
    }
    return {**roles, BACKUP: [{"resource": everything, "actions": ["listCollections", *_REPLACE]}]}


def _granted() -> dict[str, dict[str, tuple[str, ...]]]:
    """The actions of each service on each collection."""
    common = {
        **dict.fromkeys((API_KEYS, APPS, PUBLIC_KEYS, RESTORES), _READ),
        **dict.fromkeys((KEY_USES, EVENT_DAYS), ("find", "insert", "update")),
        **dict.fromkeys((AUDITED, CURSOR_KEYS), _ADD),
    }
    # Every service that seals creates keys; relations and privacy destroy them; only an operator rewraps them.
    sealing = {**common, **dict.fromkeys(VAULT, _ADD)}
    projected = {**_versions(RELATIONS, _READ), **_versions(ANALYTICS, _READ), PROJECTIONS: _READ}
    worker = {**common, POSITIONS: _KEEP, OUTBOX: _KEEP, PROJECTIONS: (*_ADD, "update"), WORKERS: _CHANGE}
    granted = {
        "ingest": {**sealing, WORKERS: _READ},
        "relations": {
            **worker,
            FINDINGS: ("find", "insert", "update"),
            # A document is replaced by deleting and inserting it.
            DATA_KEYS: _KEEP,
            LOST_KEYS: ("find", "remove"),
            WRAPPING_KEYS: (*_ADD, *_PREPARE),
            **_versions(RELATIONS, _KEEP),
        },
        "privacy": {
            **sealing,
            **projected,
            **dict.fromkeys((POSITIONS, OUTBOX), ("find", "listIndexes", "createCollection")),
            # Keys from a restored dump are destroyed again before the service answers requests.
            DATA_KEYS: (*_ADD, "update"),
            **dict.fromkeys(PRIVACY, _KEEP),
            # Applications are told of exports, and it shows which were told of an erasure.
            NOTICES: (*_ADD, "update"),
            **dict.fromkeys((RECEIPTS, REGISTER), _READ),
            # An erasure takes along what intelligence has stored of the consumer.
            FOLLOWERS: ("find", "remove"),
            GRAPH_NODES: ("find", "remove"),
            OUTCOMES: ("find", "update", "remove"),
        },
        "exports": {**common, **projected, **dict.fromkeys(VAULT, _READ)},
        "analytics": {
            **worker,
            FINDINGS: _READ,
            # The operations page shows the number of documents, which needs no read access to them.
            **dict.fromkeys((name for spec in SERVICES.values() for name in spec.documents), ("collStats",)),
            **_versions(SERVICES["relations"].documents, ("collStats",)),
            APPS: (*_READ, "collStats"),
            **_versions(ANALYTICS, (*_KEEP, "collStats")),
            **_versions(("providers",), (*_READ, "collStats")),
            # To check that the consumers of the ledger are erased; it reads every relation in the changes anyway.
            **_versions(("relations",), (*_READ, "collStats")),
            **_versions((ERASED,), _READ),
        },
        "intelligence": {
            **common,
            # Preparing collections looks at these, too.
            **dict.fromkeys((POSITIONS, OUTBOX), ("find", "listIndexes", "createCollection")),
            PROJECTIONS: _READ,
            DEAD_LETTERS: (*_ADD, "update"),
            **dict.fromkeys(INTELLIGENCE, _KEEP),
            # It holds what they contain as a graph, and reads changed profiles again.
            **_versions(("relationships", "relationship_cells", "providers", "consumers"), _READ),
            # To check that the consumers of the ledger are erased.
            **_versions(("relations", ERASED), _READ),
        },
        "webhooks": {
            **worker,
            # Its secrets are sealed with the tenant's own key.
            **dict.fromkeys(VAULT, _ADD),
            # Those of what applications are told are among them.
            **dict.fromkeys({**WEBHOOKS, **WEBHOOKS_BESIDE}, _KEEP),
            # Consent and categories decide what is sent.
            **_versions(("consumers", "providers", "relations", ERASED), _READ),
        },
        "apps": {
            **common,
            # Preparing collections looks at these, too.
            **dict.fromkeys((POSITIONS, OUTBOX), ("find", "listIndexes", "createCollection")),
            PROJECTIONS: _READ,
            # The keys that sign tokens are sealed.
            **dict.fromkeys(VAULT, _ADD),
            **dict.fromkeys(APPLICATIONS, _KEEP),
            # A deletion leaves a notice; the webhooks service makes receipts of it.
            NOTICES: _ADD,
            RECEIPTS: _READ,
            # To count consent, and to check that the consumers of the ledger are erased.
            **_versions(("consumers", "relations", ERASED), _READ),
        },
        "rabbitmq": {
            **worker,
            # As ingest: it seals what comes in.
            **dict.fromkeys(VAULT, _ADD),
            DEAD_LETTERS: _KEEP,
            # To check that the consumers of the ledger are erased.
            **_versions(("consumers", "relations", ERASED), _READ),
        },
        "cassandra": {
            **worker,
            **dict.fromkeys({**CASSANDRA, **CASSANDRA_BESIDE}, _KEEP),
            # The rows are made of these.
            **_versions(("relations", "relationships", "aggregates"), _READ),
            # To check that the consumers of the ledger are erased.
            **_versions(("consumers", ERASED), _READ),
            DATA_KEYS: _READ,
        },
        "postgres": {
            **worker,
            DEAD_LETTERS: _KEEP,
            # What the changes name is read from them.
            **_versions(("consumers", "providers", "relations", "relationships", ERASED), _READ),
            # To check that the keys of the consumers in the ledger are destroyed.
            DATA_KEYS: _READ,
        },
        OPERATOR: {
            **worker,
            API_KEYS: ("find", "insert", "update"),
            FINDINGS: _READ,
            **_versions({**RELATIONS, **ANALYTICS}, (*_KEEP, "collStats", "dropCollection")),
            **dict.fromkeys({**INTELLIGENCE, **WEBHOOKS, **WEBHOOKS_BESIDE}, (*_KEEP, "collStats")),
            APPS: (*_READ, "collStats"),
            # To replace the key that signs access tokens.
            PUBLIC_KEYS: ("find", "update"),
            **dict.fromkeys(CASSANDRA_BESIDE, _KEEP),
            # Neither belongs to a version, so dropping a version keeps them.
            DEAD_LETTERS: _CHANGE,
            **dict.fromkeys(VAULT, (*_ADD, "update", *_PREPARE)),
        },
    }
    # What is to be published to the topic of wrapped keys is noted there.
    for service in (OPERATOR, *(name for name, spec in SERVICES.items() if spec.seals)):
        granted[service][UNPUBLISHED_KEYS] = ("find", "insert", "remove")
    return granted


def kafka_acls(topics: Topics, group: str) -> dict[str, list[Acl]]:
    """The ACLs of each service's user."""
    return {
        **{name: _acls(spec, topics, group) for name, spec in SERVICES.items()},
        OPERATOR: [
            Acl(
                "TOPIC",
                topics.name(short),
                ("READ", "WRITE", "DESCRIBE", *_TOPIC_CHANGES),
            )
            for short in (*INPUTS, *OUTPUTS, WRAPPED_KEYS)
        ],
        BACKUP: [
            *_topics(topics, "READ", (*INPUTS, *OUTPUTS, WRAPPED_KEYS)),
            # That a backup was taken, or restored.
            *_topics(topics, "WRITE", (AUDIT,)),
            # To see that no worker runs.
            *(Acl("GROUP", f"{group}.{name}", ("DESCRIBE",)) for name in FOLDING),
        ],
    }


def _acls(spec: ServiceSpec, topics: Topics, group: str) -> list[Acl]:
    return [
        *_topics(topics, "WRITE", spec.writes),
        *_topics(topics, "READ", (*spec.folds, *spec.reads)),
        *(Acl("TOPIC", topics.name(short), ("DESCRIBE",)) for short in spec.describes),
        *_topics(topics, "WRITE", (WRAPPED_KEYS,) if spec.seals else ()),
        *([Acl("GROUP", f"{group}.{spec.name}", ("READ",))] if spec.folds else []),
    ]


def _versions(names: Iterable[str], actions: Collection[str]) -> dict[str, tuple[str, ...]]:
    return {collection_of(name, version): tuple(actions) for name in names for version in VERSIONS}


def _topics(topics: Topics, operation: str, shorts: Iterable[str]) -> list[Acl]:
    return [Acl("TOPIC", topics.name(short), (operation, "DESCRIBE")) for short in shorts]
