"""The table of services: the only list of them, with what each reads, writes and stores. Pure.

Commands, ports, `kith up`, `kith status`, lag, Kafka's ACLs and what can be rebuilt follow from it. What cannot
follow (a setting's name, a compose file, MongoDB's roles, the apps that tests walk) is compared with it by
``tests/unit/project/test_services.py``, which names a forgotten place.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.contracts.topic_names import AUDIT, CHANGES, DEAD_LETTERS, INPUTS, LEDGER, OUTPUTS


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A process type. Topics are short names (``shared.contracts.topic_names``).

    ``summary`` is the help of `kith NAME`. ``folds`` are the topics of its projection, which it reads in the
    consumer group with its own name. ``reads`` are topics that it reads outside any group. ``describes`` are
    topics of which it only requests the end offsets. ``documents`` are the collections that `kith status` counts.
    ``rebuilds`` is the help of `kith rebuild NAME`; empty where there is nothing to rebuild. ``needs`` is the
    setting with the address of the outside system that the service connects Kith to (`amqp`). Such a *connector*
    runs only where it is asked for: `kith up --NAME`, the profile NAME of docker-compose. ``seals``: it encrypts
    personal data or secrets, and so makes keys. ``extras`` are those of pyproject.toml that it needs beyond
    ``EVERYWHERE``, and so what its image carries.
    """

    name: str
    port: int
    summary: str
    writes: tuple[str, ...]
    folds: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    describes: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    rebuilds: str = ""
    needs: str = ""
    seals: bool = False
    extras: tuple[str, ...] = ()


#: The extras in every service's image: the API, and traces.
EVERYWHERE = ("api", "otel")

_TABLE = (
    ServiceSpec(
        "ingest",
        8701,
        "Run the ingest service: events over HTTP into Kafka. Needs KITH_KAFKA.",
        writes=(*INPUTS, AUDIT),
        reads=(LEDGER,),
        seals=True,
    ),
    ServiceSpec(
        "relations",
        8702,
        "Run a relations worker and its query API. Needs KITH_KAFKA and KITH_MONGO.",
        # Erasures are forwarded to the topic of the facts. Those missing in a restored dump are published again.
        writes=(*OUTPUTS, "relations", "consumers"),
        folds=INPUTS,
        reads=(*CHANGES.values(), LEDGER),
        documents=("consumers", "providers", "relations", "relationships", "relationship_cells"),
        rebuilds="Rebuild consumers, providers, relations and relationships from their topics.",
        seals=True,
        extras=("cassandra", "measures"),
    ),
    ServiceSpec(
        "analytics",
        8703,
        "Run an analytics worker and its report API. Needs KITH_KAFKA and KITH_MONGO.",
        writes=(DEAD_LETTERS, AUDIT),
        folds=(CHANGES["relations"],),
        reads=(LEDGER,),
        # The operators' page shows the lag of relations.
        describes=INPUTS,
        documents=("aggregates",),
        rebuilds="Rebuild aggregates and presence from the changes of relations.",
        extras=("measures",),
    ),
    ServiceSpec(
        "privacy",
        8704,
        "Run the privacy API: erasing, correcting and exporting consumers. Needs KITH_KAFKA and KITH_MONGO.",
        writes=("consumers", AUDIT),
        reads=(LEDGER,),
        seals=True,
    ),
    ServiceSpec(
        "exports",
        8705,
        "Run the exports service: files and the OData feed. Needs KITH_MONGO, and KITH_KAFKA for the ledger.",
        writes=(AUDIT,),
        reads=(LEDGER,),
        extras=("exports",),
    ),
    ServiceSpec(
        "intelligence",
        8706,
        "Run the intelligence service: recommendations, similarity and reasons. Needs KITH_KAFKA and KITH_MONGO.",
        writes=(DEAD_LETTERS, AUDIT),
        # Each process holds the whole graph, so it follows the changes outside any group.
        reads=(*CHANGES.values(), LEDGER),
        documents=("graph_nodes", "models"),
        extras=("intelligence",),
    ),
    ServiceSpec(
        "webhooks",
        8707,
        "Run the webhooks service: changes to HTTP endpoints, signed. Needs KITH_KAFKA and KITH_MONGO.",
        writes=(DEAD_LETTERS, AUDIT),
        folds=tuple(CHANGES.values()),
        reads=(LEDGER, *CHANGES.values()),
        documents=("webhook_endpoints", "webhook_deliveries"),
        seals=True,
        extras=("webhooks",),
    ),
    ServiceSpec(
        "apps",
        8708,
        "Run the apps service: applications of third parties and their tokens. Needs KITH_KAFKA and KITH_MONGO.",
        writes=(AUDIT,),
        reads=(LEDGER,),
        documents=("apps",),
        seals=True,
    ),
    ServiceSpec(
        "rabbitmq",
        8709,
        "Run the bridge to RabbitMQ: events in, changes out. Needs KITH_AMQP, KITH_KAFKA and KITH_MONGO.",
        writes=(*INPUTS, DEAD_LETTERS, AUDIT),
        folds=tuple(CHANGES.values()),
        reads=(LEDGER,),
        # To see whether Kafka has them.
        describes=INPUTS,
        needs="amqp",
        seals=True,
        extras=("rabbitmq",),
    ),
    ServiceSpec(
        "cassandra",
        8710,
        "Run the Cassandra sink: facts, relationships and aggregates in its tables. Needs KITH_CASSANDRA.",
        writes=(DEAD_LETTERS, AUDIT),
        folds=(CHANGES["relations"],),
        reads=(LEDGER,),
        needs="cassandra",
        extras=("cassandra",),
    ),
    ServiceSpec(
        "postgres",
        8711,
        "Run the Postgres sink: tables for SQL. Needs KITH_KAFKA, KITH_MONGO and KITH_POSTGRES.",
        writes=(DEAD_LETTERS, AUDIT),
        folds=tuple(CHANGES.values()),
        reads=(LEDGER,),
        needs="postgres",
        extras=("postgres",),
    ),
)

#: By name, in starting order.
SERVICES: Mapping[str, ServiceSpec] = {spec.name: spec for spec in _TABLE}
#: Those that run everywhere.
CORE: Mapping[str, ServiceSpec] = {name: spec for name, spec in SERVICES.items() if not spec.needs}
#: Those that run where they are asked for.
CONNECTORS: Mapping[str, ServiceSpec] = {name: spec for name, spec in SERVICES.items() if spec.needs}
#: Services with a projection, which have workers, lag and versions.
PROJECTIONS: Mapping[str, ServiceSpec] = {name: spec for name, spec in SERVICES.items() if spec.folds}
CORE_PROJECTIONS: Mapping[str, ServiceSpec] = {name: spec for name, spec in CORE.items() if spec.folds}
