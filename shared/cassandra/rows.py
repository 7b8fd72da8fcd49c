"""Documents ↔ rows. Pure.

Nothing that MongoDB holds encrypted gets into a row: of a fact, the fields that changes contain.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from shared.cassandra.tables import AGGREGATES, BUCKETS, BY_CONSUMER, BY_PROVIDER, FACTS, TABLES
from shared.contracts.events import document_id
from shared.contracts.fact_fields import PUBLISHED
from shared.runtime.protocols import Document

Key = tuple[Any, ...]
#: tenant, consumer id, provider id
Pair = tuple[str, str, str]
#: tenant, by, key, day, partition
Place = tuple[str, str, str, str, int]


class Row(NamedTuple):
    """A row as it is from now on: ``values`` are the columns beside the key, None: there is no such row."""

    table: str
    key: Key
    values: Mapping[str, Any] | None


def fact_row(key: tuple[str, str, str], fact: Document | None, cause: Mapping[str, str] | None) -> Row:
    """The row of a stored fact by tenant, consumer and relation; none for one that is retracted or absent.
    ``cause`` are source and id of its event, as they may be shown."""
    if fact is None or fact["retracted"] or cause is None:
        return Row(FACTS, key, None)
    values = {name: fact.get(name) for name in PUBLISHED}
    values["traits"] = None if values["traits"] is None else _json(values["traits"])
    return Row(FACTS, key, {**values, "event_source": cause["source"], "event_id": cause["id"]})


def relationship_rows(pair: Pair, document: Document | None) -> tuple[Row, Row]:
    """The rows of a stored relationship, by consumer and by provider."""
    tenant, consumer_id, provider_id = pair
    values = None
    if document is not None:
        values = {name: document[name] for name in ("count", "first", "last")}
        values["score"] = score_of(document)
        values["cells"] = _json(document["kinds"]) if "kinds" in document else None
    return (
        Row(BY_CONSUMER, (tenant, consumer_id, provider_id), values),
        Row(BY_PROVIDER, (*bucket_of(pair), consumer_id), values),
    )


def score_of(document: Document) -> float:
    """Without a negative zero, which Cassandra puts before zero, and MongoDB does not."""
    score: float = document["score"] + 0.0
    return score


def bucket_of(pair: Pair) -> tuple[str, str, int]:
    """The partition of ``relationships_by_provider`` that a relationship is in."""
    tenant, consumer_id, provider_id = pair
    return tenant, provider_id, zlib.crc32(consumer_id.encode()) % BUCKETS


def aggregate_row(place: Place, document: Document | None) -> Row:
    """The row of one partition's sums of a day."""
    if document is None:
        return Row(AGGREGATES, place, None)
    names = [name for name in TABLES[AGGREGATES].columns if name not in TABLES[AGGREGATES].key]
    values = {name: document.get(name) for name in names}
    return Row(AGGREGATES, place, {**values, "hours": _json(document["hours"])})


def aggregate_id(place: Place) -> str:
    """The id of the document of analytics that a place is from."""
    tenant, by, key, day, partition = place
    return f"{document_id(tenant, by, key)}:{day}:{partition}"


def relationship_of(row: Mapping[str, Any]) -> Document:
    """A relationship's document as lists need it, of a row of either table."""
    pair = row["tenant"], row["consumer_id"], row["provider_id"]
    cells = row["cells"]
    return {
        "_id": document_id(*pair),
        **{
            name: row[name] for name in ("tenant", "consumer_id", "provider_id", "count", "first", "last", "score")
        },
        # The mark of a wide relationship. Its number of cells is in MongoDB.
        **({"cells": 0} if cells is None else {"kinds": orjson.loads(cells)}),
    }


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
