"""Takes the keys of personal data from their topic: all that were made and are not destroyed."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pymongo import ReplaceOne, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from services.explain.log import Bounds, LogScan
from shared.contracts.errors import ConfigurationError, InvalidEvent
from shared.contracts.topics import WRAPPED_KEYS, Topics
from shared.erasure.gate import destroy
from shared.mongo.errors import only_duplicates, translated
from shared.runtime.protocols import Document, Partition
from shared.settings import Settings
from shared.vault.key_records import read_record
from shared.vault.protocols import Destroyed, Wrapped, Wrapping
from shared.vault.schema import DATA_KEYS, WRAPPING_KEYS

#: Offsets read at a time: the keys of all consumers need not fit into memory.
_WINDOW = 50_000


def keys_bounds(settings: Settings) -> Bounds:
    """Where the topic of wrapped keys begins and ends now. Raises ConfigurationError when there is no such topic,
    and Unavailable."""
    topic = Topics(settings.topic_prefix).name(WRAPPED_KEYS)
    with LogScan(settings) as scan:
        bounds = scan.bounds([topic])
    if not bounds:
        raise ConfigurationError(f"Kafka has no topic {topic}; it is there where KITH_KEYS_TOPIC is on")
    return bounds


def restore_keys(
    settings: Settings, bounds: Bounds, database: Database[Document], say: Callable[[str], None]
) -> int:
    """Store the keys of the topic within ``bounds``. Those that are destroyed, here or there, stay so. Returns how
    many there were not here. Raises Unavailable."""
    count = 0
    for place, (first, end) in bounds.items():
        for start in range(first, end, _WINDOW):
            count += _window(settings, database, place, (start, min(end, start + _WINDOW)), say)
    return count


def _window(
    settings: Settings,
    database: Database[Document],
    place: Partition,
    offsets: tuple[int, int],
    say: Callable[[str], None],
) -> int:
    keys: dict[str, Wrapped | Destroyed] = {}
    wrappings: dict[int, Wrapping] = {}
    # A consumer for each round: one that has read a partition to its end may fetch nothing more of it.
    with LogScan(settings) as scan:
        records = scan.read({place: offsets}, lambda _: True)
    for record in records:
        try:
            found = read_record(record.key, record.value)
        except InvalidEvent as error:
            say(f"{record.partition}, offset {record.offset}: {error}; left out")
            continue
        if isinstance(found, Wrapping):
            wrappings[found.number] = found
        elif not isinstance(keys.get(found.id), Destroyed):
            keys[found.id] = found.key
    _store_wrappings(database, wrappings)
    return _store_keys(database, keys)


def _store_wrappings(database: Database[Document], wrappings: Mapping[int, Wrapping]) -> None:
    now = datetime.now(UTC)
    writes = [
        ReplaceOne({"_id": n}, {"_id": n, "wrapped": w.wrapped, "master": w.master, "created": now}, upsert=True)
        for n, w in wrappings.items()
    ]
    if writes:
        with translated():
            database[WRAPPING_KEYS].bulk_write(writes)


def _store_keys(database: Database[Document], keys: Mapping[str, Wrapped | Destroyed]) -> int:
    now, count = datetime.now(UTC), 0
    writes = [
        UpdateOne(
            {"_id": id, "destroyed": {"$ne": True}},
            {"$set": {"wrapped": key.wrapped, "wrapping": key.wrapping}, "$setOnInsert": {"created": now}},
            upsert=True,
        )
        for id, key in keys.items()
        if isinstance(key, Wrapped)
    ]
    if writes:
        with translated():
            try:
                count = database[DATA_KEYS].bulk_write(writes, ordered=False).upserted_count
            except BulkWriteError as error:
                # A destroyed one is there, which the filter passes over.
                if not only_duplicates(error):
                    raise
                count = error.details["nUpserted"]
    destroy(database, [id for id, key in keys.items() if isinstance(key, Destroyed)])
    return int(count)
