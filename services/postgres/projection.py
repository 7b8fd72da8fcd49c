"""Changes → rows of Postgres. Pure.

A change says which documents of relations to look at, and a row is what its document says now. So a row never
goes back in time, however often a slice is repeated, and it equals its document once the last change is read. No
row has personal values (name, e-mail, phone, address) or free text.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from shared.contracts.changes import RelationChange, decode_change, value_of
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import document_id
from shared.contracts.fact_fields import PUBLISHED
from shared.contracts.money import Money, add_stored, amounts_of
from shared.contracts.topic_names import CHANGES
from shared.contracts.topics import Topics
from shared.runtime.protocols import Answer, Ask, Document, Get, Outcome, Record
from shared.runtime.relation_changes import ReadsChanges
from shared.sinks.target import Row

#: The key of a row: the tenant, and the ids by which the table is kept.
Key = tuple[str, ...]
Named = Sequence[tuple[str, Key]]


class PostgresProjection(ReadsChanges):
    """Folds the three change topics into the rows of the documents that they name."""

    name = "postgres"
    version = 1

    def __init__(self, topics: Topics) -> None:
        self._short = {topics.name(short): short for short in CHANGES.values()}
        self.topics: tuple[str, ...] = tuple(self._short)

    def decode(self, record: Record) -> Named:
        """The rows that a change may change: (table, key). Raises InvalidEvent."""
        value = value_of(record.value)
        short = self._short[record.partition.topic]
        if short == CHANGES["relations"]:
            return _of_relation(decode_change(value))
        side = "consumer" if short == CHANGES["consumers"] else "provider"
        return [(f"{side}s", _subject(value, f"{side}_id"))]

    def project(self, items: Sequence[tuple[Record, Named]]) -> Generator[Ask, Answer, Outcome]:
        """The rows of everything that the slice names, read at once."""
        named: dict[str, dict[Key, str]] = {}
        for table, key in (each for _, several in items for each in several):
            named.setdefault(table, {})[key] = document_id(*key)
        if not named:
            return Outcome()
        found = yield Get({table: list(ids.values()) for table, ids in named.items()})
        return Outcome(effects=list(rows_of(named, found)))


def _of_relation(change: RelationChange) -> Named:
    tenant, data = change.tenant, change.data
    providers = {state.provider_id for state in (data.before, data.after) if state is not None}
    return [
        ("relations", (tenant, data.consumer_id, data.relation_id)),
        *(("relationships", (tenant, data.consumer_id, provider)) for provider in sorted(providers)),
    ]


def _subject(value: bytes, field: str) -> Key:
    """The tenant and the id in a change of a profile. Raises InvalidEvent."""
    try:
        change = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise InvalidEvent("not_json", "is not JSON") from None
    if not isinstance(change, dict) or not isinstance(data := change.get("data"), dict):
        raise InvalidEvent("invalid", "is not a change")
    tenant, id = change.get("tenant"), data.get(field)
    if not isinstance(tenant, str):
        raise InvalidEvent("invalid", "is missing or no text", "tenant")
    if not isinstance(id, str):
        raise InvalidEvent("invalid", "is missing or no text", f"data.{field}")
    if "\0" in tenant + id:  # which Postgres refuses in every text
        raise InvalidEvent("invalid", "contains a NUL", f"data.{field}")
    return tenant, id


def rows_of(named: Mapping[str, Mapping[Key, str]], found: Mapping[str, Mapping[str, Document]]) -> Iterable[Row]:
    """The rows of ``named`` (table → key → id of the document), as the documents found are (table → id)."""
    for name, ids in named.items():
        documents = found.get(name, {})
        for key, id in ids.items():
            document = documents.get(id)
            yield Row(name, key, None if document is None else TABLES[name].values(document))


class Table(NamedTuple):
    """A table: the columns of its key, and what a document says in the others (None: there is no row)."""

    key: tuple[str, ...]
    values: Callable[[Document], dict[str, Any] | None]


def _relation(document: Document) -> dict[str, Any] | None:
    if document["retracted"]:
        return None
    return {name: document.get(name) for name in PUBLISHED}


def _relationship(document: Document) -> dict[str, Any]:
    # The sums of a pair with very many cells are in its document; its kinds are elsewhere.
    kinds = document.get("kinds")
    sums = [document["sums"]] if kinds is None else [cell for months in kinds.values() for cell in months.values()]
    money: Money = {}
    for each in sums:
        add_stored(money, each)
    return {
        "count": document["count"],
        "first": document["first"],
        "last": document["last"],
        "score": document["score"],
        "rating_count": sum(each.get("rating_count", 0) for each in sums),
        "rating_sum": sum(each.get("rating_sum", 0) for each in sums),
        "amounts": amounts_of(money),
        "kinds": kinds,
    }


def _consumer(document: Document) -> dict[str, Any] | None:
    if "erased" in document:
        return None
    location = document.get("location", {})
    return {
        **{name: location.get(name) for name in ("country", "region")},
        **{name: document.get(name) for name in ("traits", "consent")},
    }


def _provider(document: Document) -> dict[str, Any]:
    location = document.get("location", {})
    return {
        **{name: document.get(name) for name in ("name", "categories", "closed", "traits")},
        **{name: location.get(name) for name in ("country", "region", "city", "lat", "lon")},
    }


#: By name, which is that of the collection, too.
TABLES: Mapping[str, Table] = {
    "relations": Table(("tenant", "consumer_id", "relation_id"), _relation),
    "relationships": Table(("tenant", "consumer_id", "provider_id"), _relationship),
    "consumers": Table(("tenant", "consumer_id"), _consumer),
    "providers": Table(("tenant", "provider_id"), _provider),
}
