"""Whose personal data can no longer be read after a restore: their data keys were made after the backup."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from pymongo import ReplaceOne, UpdateOne
from pymongo.database import Database

from services.explain.log import LogScan
from shared.contracts.codec import decode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import document_id
from shared.contracts.findings import FINDINGS
from shared.contracts.topics import Topics
from shared.erasure.records import KEYS
from shared.mongo.errors import translated
from shared.runtime.protocols import Document, Partition
from shared.settings import Settings
from shared.vault.fields import first_token_path
from shared.vault.lost import LOST_KEYS, finding_of
from shared.vault.sealing import consumer_of
from shared.vault.tokens import PREFIX

_BATCH = 5_000
#: The topics with personal values.
_SEALED = ("consumers", "relations")


class _Owners:
    """The consumers whose values are sealed in the messages read."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str]] = set()

    def take(self, value: bytes | None) -> bool:
        """Always False, so that the scan keeps no message."""
        if value is not None and PREFIX.encode() in value:
            try:
                event = decode(value)
            except InvalidEvent:
                return False  # it becomes a dead letter, and is one already
            if first_token_path(event) is not None:
                self.found.add(consumer_of(event))
        return False


def find_lost(
    settings: Settings, database: Database[Document], positions: dict[Partition, int]
) -> list[tuple[str, str]]:
    """Tenant and id of each consumer with sealed values in the log from ``positions`` on whose key is nowhere.
    Without positions the whole log is read.

    A key is made before anything is sealed with it, so one that is missing is lost. Raises Unavailable.
    """
    topics, owners = Topics(settings.topic_prefix), _Owners()
    with LogScan(settings) as scan:
        bounds = scan.bounds([topics.name(short) for short in _SEALED])
        scan.read(
            {place: (max(first, positions.get(place, first)), end) for place, (first, end) in bounds.items()},
            owners.take,
        )
    return [owner for batch in _batches(sorted(owners.found)) for owner in _without_key(database, batch)]


def _without_key(database: Database[Document], owners: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    ids = {document_id(*owner): owner for owner in owners}
    with translated():
        known = {each["_id"] for each in database[KEYS].find({"_id": {"$in": list(ids)}}, {"_id": 1})}
    yield from (owner for id, owner in ids.items() if id not in known)


def record_lost(database: Database[Document], lost: Iterable[tuple[str, str]], moment: str, now: datetime) -> None:
    """Store who is affected, and the finding that counts them by tenant. Raises Unavailable."""
    counts: dict[str, int] = {}
    with translated():
        for batch in _batches(list(lost)):
            documents = [
                {
                    "_id": document_id(*owner),
                    "tenant": owner[0],
                    "consumer_id": owner[1],
                    "moment": moment,
                    "at": now,
                }
                for owner in batch
            ]
            database[LOST_KEYS].bulk_write(
                [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in documents]
            )
            for tenant, _ in batch:
                counts[tenant] = counts.get(tenant, 0) + 1
        if counts:
            database[FINDINGS].bulk_write(
                [
                    UpdateOne({"_id": finding_of(tenant)}, {"$set": {"count": count, "last": now}}, upsert=True)
                    for tenant, count in counts.items()
                ]
            )


def _batches(found: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rest = iter(found)
    while batch := list(islice(rest, _BATCH)):
        yield batch
