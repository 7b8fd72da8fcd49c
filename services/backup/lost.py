"""Whose personal data can no longer be read after a restore: their data keys were made after the backup, or after
the older copy of the keys that was restored with it."""

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
from shared.mongo.limits import STREAM_MS
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.protocols import Document, Partition
from shared.settings import Settings
from shared.vault.dead_letters import sealed_for
from shared.vault.fields import PERSONAL_PARTS, first_token_path, holds_tokens
from shared.vault.keys import TENANT
from shared.vault.lost import LOST_KEYS, finding_of
from shared.vault.sealing import consumer_of
from shared.vault.tokens import PREFIX, is_token

_BATCH = 5_000
#: The topics with personal values, and the collections.
_SEALED = ("consumers", "relations")
_FIELDS = ("tenant", "consumer_id", *PERSONAL_PARTS, "blind")
#: What is sealed under a tenant's own key, beside dead letters without a consumer and the blind index: the secrets
#: of webhook endpoints; and under that of no tenant: keys that sign.
_ENDPOINTS, _SIGNING = "webhook_endpoints", ("signing_keys", "app_private_keys")
_NO_TENANT = "*"


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
    settings: Settings, database: Database[Document], positions: dict[Partition, int], *, stored: bool
) -> list[tuple[str, str]]:
    """Tenant and id of each consumer with sealed values in the log from ``positions`` on whose key is nowhere.
    Without positions the whole log is read. With ``stored`` also of those with sealed values in the restored
    documents: what came into Kafka in plain text is sealed there alone. An empty id is the tenant's own key.

    A key is made before anything is sealed with it, so one that is missing is lost. Raises Unavailable.
    """
    topics, owners = Topics(settings.topic_prefix), _Owners()
    if stored:
        with translated():
            owners.found.update(_stored(database))
    with LogScan(settings) as scan:
        bounds = scan.bounds([topics.name(short) for short in _SEALED])
        scan.read(
            {place: (max(first, positions.get(place, first)), end) for place, (first, end) in bounds.items()},
            owners.take,
        )
    return [owner for batch in _batches(sorted(owners.found)) for owner in _without_key(database, batch)]


def _stored(database: Database[Document]) -> Iterator[tuple[str, str]]:
    """The owners of the keys that seal something in the database, in any version of a projection."""
    for name in database.list_collection_names():
        base = name.partition("@")[0]
        documents = database[name]
        if base in _SEALED:
            for each in documents.find({}, dict.fromkeys(_FIELDS, 1), max_time_ms=STREAM_MS):
                if holds_tokens(each):
                    yield each["tenant"], each["consumer_id"]
                if each.get("blind"):
                    yield each["tenant"], TENANT
        elif base == DEAD_LETTERS:
            for each in documents.find({}, {"value": 1, "headers": 1}, max_time_ms=STREAM_MS):
                headers = tuple((header["name"], bytes(header["value"])) for header in each["headers"])
                if (owner := sealed_for(each["value"], headers)) is not None:
                    yield owner
        elif base == _ENDPOINTS:
            for each in documents.find({}, {"tenant": 1, "secrets": 1}, max_time_ms=STREAM_MS):
                if any(is_token(secret.get("secret")) for secret in each["secrets"]):
                    yield each["tenant"], TENANT
        elif base in _SIGNING and documents.find_one({"sealed": True}, {"_id": 1}) is not None:
            yield _NO_TENANT, TENANT


def _without_key(database: Database[Document], owners: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    ids = {document_id(*owner): owner for owner in owners}
    with translated():
        known = {each["_id"] for each in database[KEYS].find({"_id": {"$in": list(ids)}}, {"_id": 1})}
    yield from (owner for id, owner in ids.items() if id not in known)


def record_lost(database: Database[Document], lost: Iterable[tuple[str, str]], moment: str, now: datetime) -> None:
    """Store who is affected, and the findings that count them by tenant. Raises Unavailable."""
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
            for finding in (finding_of(*owner) for owner in batch):
                counts[finding] = counts.get(finding, 0) + 1
        if counts:
            database[FINDINGS].bulk_write(
                [
                    UpdateOne({"_id": finding}, {"$set": {"count": count, "last": now}}, upsert=True)
                    for finding, count in counts.items()
                ]
            )


def _batches(found: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rest = iter(found)
    while batch := list(islice(rest, _BATCH)):
        yield batch
