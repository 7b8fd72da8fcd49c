"""Loads a backup into the database, in an order in which an interruption harms nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure
from pymongo.write_concern import WriteConcern

from services.backup.audit import Kept, kept_audit, record_restore, recover_audit
from services.backup.claim import Claim
from services.backup.files import Manifest, check_collection, extended, read_collection, read_manifest
from services.backup.keys_topic import keys_bounds, restore_keys
from services.backup.log import check_no_members, check_positions, record_ends
from services.backup.lost import find_lost, record_lost
from shared.access.audit_factory import audit_key, open_witness, user
from shared.access.audit_mongo import COLLECTION as AUDITED
from shared.access.keys_mongo import COLLECTION as API_KEYS
from shared.contracts.errors import ConfigurationError, Stale, Unavailable
from shared.contracts.revision import REVISION
from shared.erasure.gate import destroy
from shared.erasure.ledger import read_ledger
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.mongo.restores import ENDS
from shared.mongo.store import OUTBOX, POSITIONS, connect
from shared.runtime.protocols import Document, Partition
from shared.settings import Settings, servers_of
from shared.vault.schema import DATA_KEYS, WRAPPING_KEYS
from shared.versions.generations import place_of

#: Keys first, so that the erased ones among them are destroyed before there is anything that they open. Positions
#: last: what they stand for is there by then.
_FIRST, _LAST = (WRAPPING_KEYS, DATA_KEYS), (OUTBOX, POSITIONS)
_BATCH, _BATCH_BYTES = 1_000, 8 * 1024 * 1024
_PASS_SECONDS = STREAM_MS / 1000
_BUSY = (
    "another process has written to the collection {name} meanwhile: a service that runs, or another kith "
    "restore. Stop them, and restore again"
)
#: MongoDB's codes: the collection is there already, or was dropped while an index was built.
_CONCURRENT = (26, 48, 276)


@dataclass(frozen=True)
class Restored:
    """What a restore has done. ``from_topic``: keys that the topic of wrapped keys had and the backup had not.
    ``destroyed``: keys whose consumers have been erased since."""

    moment: str
    documents: int
    from_topic: int
    destroyed: int
    revoked: int
    recovered: int
    lost_entries: int
    lost_keys: list[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """Which folder has which collections."""

    data: Manifest
    folders: dict[str, Path]
    manifests: dict[str, Manifest]

    @property
    def keys_are_as_new(self) -> bool:
        """Whether every key of a consumer who is in the data is there."""
        found = [self.manifests[name] for name in _FIRST if name in self.manifests]
        # Moments are whole seconds.
        return all(keys is self.data or keys.moment > self.data.moment for keys in found)

    def collections(self) -> list[str]:
        """All of them, in the order in which they are loaded."""
        middle = sorted(self.folders.keys() - {*_FIRST, *_LAST})
        return [name for name in (*_FIRST, *middle, *_LAST) if name in self.folders]


def open_source(folder: Path, keys: Path | None, keys_topic: bool, say: Callable[[str], None]) -> Source:
    """The backup in ``folder``, with the keys of another one in ``keys``; with ``keys_topic`` it needs none.
    Checks every file. Raises ConfigurationError."""
    data = read_manifest(folder)
    if data.revision > REVISION:
        raise ConfigurationError(f"{folder} was written by a later version of Kith ({data.kith})")
    if data.part == "keys":
        raise ConfigurationError(
            f"{folder} has the data keys only; name the folder of the data, and this with --keys"
        )
    if data.part == "data" and keys is None and not keys_topic:
        raise ConfigurationError(
            f"{folder} has no data keys; name the folder that has them with --keys, or take them from their topic "
            "with --keys-from-topic"
        )
    folders = dict.fromkeys(data.collections, folder)
    manifests = dict.fromkeys(data.collections, data)
    if keys is not None:
        other = read_manifest(keys)
        if other.part == "data":
            raise ConfigurationError(f"{keys} has no data keys")
        if data.topics and not _shared_topics(data, other):
            raise ConfigurationError(
                f"{keys} is of another installation than {folder}: it knows none of its topics"
            )
        for name in _FIRST:
            if name in other.collections:
                folders[name], manifests[name] = keys, other
    for name, place in sorted(folders.items()):
        check_collection(place, name, manifests[name].collections[name])
    say(f"{len(folders)} files are whole")
    return Source(data, folders, manifests)


def _shared_topics(one: Manifest, other: Manifest) -> set[str]:
    """The topics that both know, by name and by Kafka's id."""
    return {
        name for name, known in one.topics.items() if name in other.topics and other.topics[name].id == known.id
    }


def restore(
    settings: Settings,
    folder: Path,
    keys: Path | None,
    replace: bool,
    say: Callable[[str], None],
    *,
    keys_topic: bool = False,
) -> Restored:
    """Load the backup, and with ``keys_topic`` the keys in the topic of wrapped keys; destroy the keys of those
    who have been erased since, add the entries of the audit that the topic has kept, revoke the API keys that have
    been revoked since, and find out whose keys are lost.

    Until all of that is done no service works on the database; an interrupted restore is repeated from the
    start. Raises ConfigurationError before anything is changed, and Unavailable.
    """
    _, mongo = servers_of(settings)
    if settings.keys_topic == "on" and not keys_topic:
        # A consumer whose key the backup lacks would get another one, which replaces the one in the topic.
        raise ConfigurationError(
            "KITH_KEYS_TOPIC is on, and the topic may have keys that the backup lacks: take them, too, with "
            "--keys-from-topic. New ones would replace them there for good"
        )
    source = open_source(folder, keys, keys_topic, say)
    check_no_members(settings)
    positions = list(_positions(read_collection(folder, POSITIONS) if POSITIONS in source.folders else ()))
    check_positions(((id, next) for id, next in positions), source.data.topics, settings)
    ledger = read_ledger(settings)
    # Before anything is dropped: without the topic there would be no keys for what is loaded.
    kept = keys_bounds(settings) if keys_topic else {}
    audited = read_collection(folder, AUDITED) if AUDITED in source.folders else ()
    trail = kept_audit(settings, audited, audit_key(settings))
    with connect(mongo) as client:
        database = client.get_database(settings.database, write_concern=WriteConcern("majority"))
        claim = Claim(database, source.data.moment)
        claim.take(replace)
        collections = source.collections()
        first = [name for name in collections if name in _FIRST]
        documents = sum(_load(database, name, source, claim, say) for name in first)
        from_topic = restore_keys(settings, kept, database, say)
        destroyed = destroy(database, [entry.document_id for entry in ledger.values()])
        others = [name for name in collections if name not in first]
        documents += sum(_load(database, name, source, claim, say) for name in others)
        # A topic that was made late lacks keys that are older than it.
        as_new = source.keys_are_as_new and not keys_topic
        counts = documents, from_topic, destroyed
        done = _afterwards(settings, database, claim, source, dict(positions), trail, as_new, counts)
    if done.lost_keys and not keys_topic:
        # What is done is told in any case.
        with suppress(ConfigurationError, Unavailable):
            keys_bounds(settings)
            say("There is a topic of data keys, which may have them: restore again, with --keys-from-topic")
    return done


def _afterwards(
    settings: Settings,
    database: Database[Document],
    claim: Claim,
    source: Source,
    positions: dict[str, int | None],
    trail: Kept,
    keys_are_as_new: bool,
    counts: tuple[int, int, int],
) -> Restored:
    now, key, moment = datetime.now(UTC), audit_key(settings), source.data.moment
    claim.check()
    recovered = recover_audit(database, trail, key)
    revoked = _revoke(database, recovered.revoked, now)
    read = _read_by_relations(positions)
    lost = find_lost(settings, database, read if keys_are_as_new else {}, stored=not keys_are_as_new)
    # The search may have read the whole log.
    claim.check()
    record_lost(database, lost, moment, now)
    entries = record_restore(database, recovered, moment, user(), now, key)
    with closing(open_witness(settings)) as witness:
        witness.forward(entries)
    # What was published before the restore was made of events before these. Sinks wait until they are read again.
    ends = [{"place": str(place), "end": end} for place, end in sorted(record_ends(settings, read).items())]
    claim.end({"at": now, "lost_keys": len(lost), ENDS: ends})
    return Restored(
        moment,
        *counts,
        revoked,
        sum(map(len, recovered.entries.values())),
        sum(recovered.lost.values()),
        lost,
    )


def _load(
    database: Database[Document], name: str, source: Source, claim: Claim, say: Callable[[str], None]
) -> int:
    known = source.manifests[name].collections[name]
    claim.check()
    try:
        with translated():
            database.create_collection(name, **extended(known.options))
            for batch in _batches(read_collection(source.folders[name], name)):
                claim.check()
                # Documents that were stored before a validator may not satisfy it.
                database[name].insert_many(batch, ordered=False, bypass_document_validation=True)
            # Instead of the client's limits, which are those of an answer, not of a pass over a whole collection.
            with pymongo.timeout(_PASS_SECONDS):
                # Before an index lets MongoDB delete what has expired since.
                count = database[name].count_documents({})
                for index in extended(known.indexes):
                    given = {option: value for option, value in index.items() if option not in ("key", "v", "ns")}
                    database[name].create_index(list(index["key"].items()), **given)
    except (CollectionInvalid, OperationFailure, Stale) as error:
        if isinstance(error, OperationFailure) and error.code not in _CONCURRENT:
            raise
        raise ConfigurationError(_BUSY.format(name=name)) from None
    if count != known.documents:
        raise ConfigurationError(_BUSY.format(name=name))
    say(f"{name}: {count:,} documents")
    return count


def _batches(documents: Iterable[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.raw)
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _positions(found: Iterable[RawBSONDocument]) -> Iterator[tuple[str, int | None]]:
    for each in found:
        yield each["_id"], each.get("next")


def _read_by_relations(positions: dict[str, int | None]) -> dict[Partition, int]:
    """The lowest next offset of each partition, over all versions of relations."""
    found: dict[Partition, int] = {}
    for id, next in positions.items():
        if id.startswith("relations@"):
            topic, _, number = place_of(id).rpartition("/")
            place = Partition(topic, int(number))
            found[place] = min(found.get(place, next or 0), next or 0)
    return found


def _revoke(database: Database[Document], prefixes: list[str], now: datetime) -> int:
    if not prefixes:
        return 0
    wanted = {"_id": {"$in": prefixes}, "revoked": None}
    with translated():
        return database[API_KEYS].update_many(wanted, {"$set": {"revoked": now}}).modified_count
