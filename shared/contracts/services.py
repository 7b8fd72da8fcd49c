"""The table of services: the one place that says which there are, and what each reads, writes and keeps. Pure.

Commands, ports, `kith up`, `kith status`, lag, Kafka's ACLs and what can be rebuilt follow from it. What cannot
follow (a setting's name, a compose file, MongoDB's roles, the apps that tests walk) is held equal to it by
``tests/unit/project/test_services.py``, which names the place that was forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.contracts.topic_names import AUDIT, CHANGES, DEAD_LETTERS, INPUTS, LEDGER, OUTPUTS


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A process type. Topics are short names (``shared.contracts.topic_names``).

    ``summary`` is the help of `kith NAME`. ``folds`` are the topics of its projection, which it reads as a member
    of the group named like itself; ``reads`` are those that it reads as a member of no group; ``describes`` are
    those of which it only asks how long they are. ``documents`` are the collections that `kith status` counts.
    """

    name: str
    port: int
    summary: str
    writes: tuple[str, ...]
    folds: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    describes: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


_TABLE = (
    ServiceSpec(
        "ingest",
        8701,
        "Run the ingest service: events over HTTP into Kafka. Needs KITH_KAFKA.",
        writes=(*INPUTS, AUDIT),
        reads=(LEDGER,),
    ),
    ServiceSpec(
        "relations",
        8702,
        "Run a relations worker and its query API. Needs KITH_KAFKA and KITH_MONGO.",
        # Erasures go on to the topic of the facts; those that a restored dump lacks are ordered again.
        writes=(*OUTPUTS, "relations", "consumers"),
        folds=INPUTS,
        reads=(*CHANGES.values(), LEDGER),
        documents=("consumers", "providers", "relations", "relationships"),
    ),
    ServiceSpec(
        "analytics",
        8703,
        "Run an analytics worker and its report API. Needs KITH_KAFKA and KITH_MONGO.",
        writes=(DEAD_LETTERS, AUDIT),
        folds=(CHANGES["relations"],),
        reads=(LEDGER,),
        # The operators' page shows how far behind relations are.
        describes=INPUTS,
        documents=("aggregates",),
    ),
    ServiceSpec(
        "privacy",
        8704,
        "Run the privacy API: erasing, correcting and exporting consumers. Needs KITH_KAFKA and KITH_MONGO.",
        writes=("consumers", AUDIT),
        reads=(LEDGER,),
    ),
    ServiceSpec(
        "exports",
        8705,
        "Run the exports service: files and the OData feed. Needs KITH_MONGO, and KITH_KAFKA for the ledger.",
        writes=(AUDIT,),
        reads=(LEDGER,),
    ),
)

#: By name, in the order in which they are started.
SERVICES: Mapping[str, ServiceSpec] = {spec.name: spec for spec in _TABLE}
#: Those with a projection, which has workers, lag and versions.
PROJECTIONS: Mapping[str, ServiceSpec] = {name: spec for name, spec in SERVICES.items() if spec.folds}
