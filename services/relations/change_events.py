"""The change event of a fact: its published state before and after, and the event that caused it. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from shared.contracts.fact_fields import PUBLISHED
from shared.runtime.protocols import Document, Record


def change_event(
    record: Record,
    time: Any,
    fact: Document,
    before: Document | None,
    after: Document | None,
    *,
    cause: Mapping[str, str],
    index: int = 0,
) -> bytes | None:
    """The change event for what ``record`` did to ``fact``; None when the published state stays the same.
    ``index`` counts the changes of one record."""
    old, new = public_state(before), public_state(after)
    if old == new and (old is None or orjson.dumps(old.get("traits")) == orjson.dumps(new and new.get("traits"))):
        return None  # traits compared as bytes, because 1 equals True in Python
    topic, number = record.partition
    place = f"{topic}/{number}/{record.offset}"
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{place}/{index}" if index else place,
            "source": "kith/relations",
            "type": "relation.changed",
            "time": time,
            "tenant": fact["tenant"],
            "data": {
                "relation_id": fact["relation_id"],
                "consumer_id": fact["consumer_id"],
                "before": old,
                "after": new,
                "cause": cause,
                "origin": {"topic": topic, "partition": number, "offset": record.offset, "index": index},
            },
        }
    )


def public_state(fact: Document | None) -> Document | None:
    """The fields of a stored fact that changes contain; None for a fact that is retracted or absent."""
    return None if fact is None or fact["retracted"] else {name: fact[name] for name in PUBLISHED if name in fact}
