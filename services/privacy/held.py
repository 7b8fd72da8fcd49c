"""What each collection holds of single consumers, and where their export has it. Pure.

A collection that is missing here fails a test: whoever adds one decides whether a consumer's copy of their data
has it (the member of the export), or says why not.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Exported(NamedTuple):
    """``member``: of the export."""

    member: str


class LeftOut(NamedTuple):
    why: str


_IMPERSONAL = LeftOut("holds nothing of consumers")
_SUMS = LeftOut("sums of the relations, all of which are in the export")
_KEYS = LeftOut("a key, not a statement about the consumer")
_TRANSIENT = LeftOut("changes of the relations in the export, on their way: deleted within 30 days")

HELD: Mapping[str, Exported | LeftOut] = {
    "consumers": Exported("consumer"),
    "relations": Exported("relations"),
    "relationships": Exported("relationships"),
    "relationship_cells": Exported("relationships"),
    "graph_nodes": Exported("graph"),
    "outcomes": Exported("recommended"),
    "app_consumers": Exported("applications"),
    "erasures": Exported("erasure"),
    "erased": LeftOut("a marker of the erasure, which is in the export"),
    "erasure_requests": LeftOut("the progress of the erasure: GET /v1/erasures/{erasure}"),
    "aggregates": _SUMS,
    "presence": _SUMS,
    "dead_letters": LeftOut("messages that were refused, as they came: nothing was concluded from them"),
    "audit": LeftOut("acts of the staff: GET /v1/audit, with the scope for it"),
    "app_notices": LeftOut("what applications are to be told of, until they are"),
    "app_receipts": LeftOut("what applications were told of: the apps service lists it by application"),
    "webhook_deliveries": _TRANSIENT,
    "webhook_log": _TRANSIENT,
    "outbox": _TRANSIENT,
    "data_keys": _KEYS,
    "lost_keys": _KEYS,
    "unpublished_keys": _KEYS,
    **dict.fromkeys(
        (
            "api_key_uses",
            "api_keys",
            "app_keys",
            "app_private_keys",
            "app_tenants",
            "apps",
            "cursor_keys",
            "event_days",
            "findings",
            "followers",
            "graph_jobs",
            "models",
            "positions",
            "projections",
            "providers",
            "restores",
            "signing_keys",
            "sink_numbers",
            "webhook_endpoints",
            "webhook_feeds",
            "webhook_lanes",
            "webhook_leases",
            "webhook_ranges",
            "workers",
            "wrapping_keys",
        ),
        _IMPERSONAL,
    ),
}
