"""The tables of the sink, as data, and their statements. Pure.

A row's key never changes, so its cells are fenced by the timestamp alone. The one exception is
``relationships_by_score``, the order of a provider's relationships: an entry there counts only while the
relationship itself, in the same partition of ``relationships_by_provider``, has the same score. A late writer may
leave an entry behind, and it is never shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

BY_CONSUMER, BY_PROVIDER = "relationships_by_consumer", "relationships_by_provider"
BY_SCORE, FACTS, AGGREGATES = "relationships_by_score", "relations_by_consumer", "aggregates"
#: Partitions over which the relationships of one provider are spread.
BUCKETS = 8


@dataclass(frozen=True, slots=True)
class Table:
    """``columns`` maps each column to its CQL type, those of the key first. Clustering columns in ``descending``
    are ordered so."""

    name: str
    partition: tuple[str, ...]
    clustering: tuple[str, ...]
    columns: Mapping[str, str]
    descending: tuple[str, ...] = field(default=())

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.partition, *self.clustering)

    def create(self, keyspace: str) -> str:
        columns = ", ".join(f'"{name}" {type}' for name, type in self.columns.items())
        order = ", ".join(f'"{name}" {"DESC" if name in self.descending else "ASC"}' for name in self.clustering)
        key = f"(({_list(self.partition)}), {_list(self.clustering)})"
        return (
            f"CREATE TABLE IF NOT EXISTS {keyspace}.{self.name} ({columns}, PRIMARY KEY {key}) "
            f"WITH CLUSTERING ORDER BY ({order})"
        )

    def insert(self, keyspace: str) -> str:
        """All columns are bound in every write: an absent one would keep the cell of an older write."""
        marks = ", ".join("?" for _ in self.columns)
        return f"INSERT INTO {keyspace}.{self.name} ({_list(self.columns)}) VALUES ({marks}) USING TIMESTAMP ?"

    def delete(self, keyspace: str) -> str:
        return f"DELETE FROM {keyspace}.{self.name} USING TIMESTAMP ? WHERE {_equal(self.key)}"

    def select(self, keyspace: str, condition: str = "") -> str:
        """The rows of a partition, all columns in their order."""
        return (
            f"SELECT {_list(self.columns)} FROM {keyspace}.{self.name} WHERE {_equal(self.partition)}{condition}"
        )

    def select_keys(self, keyspace: str) -> str:
        return f"SELECT {_list(self.key)} FROM {keyspace}.{self.name}"


def _list(names: Mapping[str, str] | tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _equal(names: tuple[str, ...]) -> str:
    return " AND ".join(f'"{name}" = ?' for name in names)


_RELATIONSHIP = {
    "count": "bigint",
    "first": "timestamp",
    "last": "timestamp",
    "score": "double",
    # Kind → month → sums, as JSON; null for a relationship of more than 1,000 kinds and months.
    "cells": "text",
}
_MONEY = "frozen<map<text, bigint>>"

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(
            FACTS,
            ("tenant", "consumer_id"),
            ("relation_id",),
            {
                **dict.fromkeys(("tenant", "consumer_id", "relation_id", "provider_id", "kind"), "text"),
                "time": "timestamp",
                "amount": "bigint",
                "currency": "text",
                "rating": "bigint",
                "traits": "text",
                "event_source": "text",
                "event_id": "text",
            },
        ),
        Table(
            BY_CONSUMER,
            ("tenant", "consumer_id"),
            ("provider_id",),
            {**dict.fromkeys(("tenant", "consumer_id", "provider_id"), "text"), **_RELATIONSHIP},
        ),
        Table(
            BY_PROVIDER,
            ("tenant", "provider_id", "bucket"),
            ("consumer_id",),
            {"tenant": "text", "provider_id": "text", "bucket": "int", "consumer_id": "text", **_RELATIONSHIP},
        ),
        Table(
            BY_SCORE,
            ("tenant", "provider_id", "bucket"),
            # By the relationship's id, as the list of the relations API is.
            ("score", "id"),
            {
                "tenant": "text",
                "provider_id": "text",
                "bucket": "int",
                "score": "double",
                "id": "text",
                "consumer_id": "text",
            },
            descending=("score",),
        ),
        Table(
            AGGREGATES,
            ("tenant", "by", "key"),
            # Readers add up the partitions: each has a row of its own, because another one counts it.
            ("bucket", "partition"),
            {
                **dict.fromkeys(("tenant", "by", "key", "bucket"), "text"),
                "partition": "int",
                "count": "bigint",
                "amount": _MONEY,
                "amount_count": _MONEY,
                "rating_count": "bigint",
                "rating_sum": "bigint",
                "consumers": "bigint",
                "hours": "text",
            },
        ),
    )
}
