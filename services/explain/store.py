"""The MongoDB queries of `kith explain`. Reads only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from pymongo.errors import ExecutionTimeout

from services.analytics.projection import AGGREGATES
from services.explain.find import Asked, Name, Subject
from services.explain.fold import day_total
from services.explain.model import AggregateMove
from services.explain.replay_log import StoredState
from services.relations.registers import PARTS
from shared.contracts.topics import Topics
from shared.letters.sealing import with_values
from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.forms import readable
from shared.runtime.protocols import Document, Partition, Record
from shared.vault.keys import Vault
from shared.versions.generations import collection_of, place_of
from shared.versions.mongo_registry import MongoRegistry

if TYPE_CHECKING:
    from pymongo.database import Database

#: Time limit for searching a collection, which has no index by event id. After it the log is searched.
_SEARCH_MS = 5_000
_BATCH = 1_000


class ExplainStore:
    """The documents of one database. Every method raises Unavailable."""

    def __init__(self, database: "Database[Document]", topics: Topics, vault: Vault | None = None) -> None:
        """``vault`` decrypts sealed dead letters."""
        self._vault = vault
        self._database = database
        self._topics = topics
        self._relations = MongoRegistry(database, "relations")
        self._analytics = MongoRegistry(database, "analytics")

    def subjects(self, asked: Asked) -> dict[str, set[Subject]]:
        """Short topic → subjects whose stored documents name the event. Searches whole collections within a time
        limit: an event that is not found may still be in the log."""
        found: dict[str, set[Subject]] = {}
        version = self._relations.read().live
        for collection, field, query in (
            ("relations", "consumer_id", {"version.id": asked.id}),
            *((c, f"{c[:-1]}_id", _states(asked.id, parts)) for c, parts in PARTS.items()),
        ):
            documents = self._database[collection_of(collection, version)]
            names = {"tenant": 1, field: 1, "version": 1, "versions": 1}
            with translated(), suppress(ExecutionTimeout):
                for document in documents.find(query, names, max_time_ms=_SEARCH_MS):
                    if any(asked.admits(name) for name in _names(document)):
                        subject = Subject(document["tenant"], field, document[field])
                        found.setdefault(collection, set()).add(subject)
        return found

    def letters_of(self, asked: Asked) -> list[Record]:
        """The original messages of the dead letters with the event's id."""
        with translated():
            found = list(self._database[DEAD_LETTERS].find({"event_id": asked.id, "service": "relations"}))
        return [_record(letter) for letter in with_values(found, self._vault)]

    def letters(self, ids: Sequence[str]) -> dict[str, Document]:
        """Dead letters by id, without their values."""
        found: dict[str, Document] = {}
        pending = iter(ids)
        while batch := list(islice(pending, _BATCH)):
            with translated():
                for letter in self._database[DEAD_LETTERS].find({"_id": {"$in": batch}}, {"value": 0, "key": 0}):
                    found[letter["_id"]] = letter
        return found

    def refused_changes(self, ids: Sequence[str]) -> dict[str, Document]:
        """The dead letters of changes that analytics rejected, by the id of the change."""
        if not ids:
            return {}
        query = {"event_id": {"$in": list(ids)}, "service": "analytics"}
        with translated():
            return {
                letter["event_id"]: letter
                for letter in self._database[DEAD_LETTERS].find(query, {"value": 0, "key": 0})
            }

    def stored(self, places: Mapping[str, Sequence[str]]) -> StoredState:
        """The positions of relations and these documents, as of one moment."""
        version = self._relations.read().live
        with translated(), self._database.client.start_session(snapshot=True) as session:
            positions = {
                Partition(topic, int(number)): position["next"]
                for position in self._database[POSITIONS].find({"_id": _of("relations", version)}, session=session)
                for topic, _, number in [place_of(position["_id"]).rpartition("/")]
                if position.get("next") is not None
            }
            documents = {
                name: {
                    document["_id"]: document
                    for document in self._database[collection_of(name, version)].find(
                        {"_id": {"$in": list(ids)}}, session=session
                    )
                }
                for name, ids in places.items()
            }
        return StoredState(positions, documents)

    def counted(self) -> dict[Partition, int]:
        """The next offset of analytics by partition of the changes."""
        found = self._analytics.positions(self._analytics.read().live)
        return {
            Partition(topic, int(number)): stand.next
            for place, stand in found.items()
            for topic, _, number in [place.rpartition("/")]
            if stand.next is not None
        }

    def day_totals(self, moves: Iterable[AggregateMove], partitions: int) -> Iterator[AggregateMove]:
        """The moves with the present totals of their days, over all partitions."""
        collection = self._database[collection_of(AGGREGATES, self._analytics.read().live)]
        for move in moves:
            stem = move.id.rpartition(":")[0]
            with translated():
                partials = list(collection.find({"_id": {"$in": [f"{stem}:{n}" for n in range(partitions)]}}))
            yield AggregateMove(
                move.id, move.by, move.key, move.day, move.partition, move.sums, move.hours, day_total(partials)
            )


def _of(projection: str, version: int) -> Document:
    # "0" is the character after "/": this is the range of ids that begin with the version.
    return {"$gte": f"{projection}@{version}/", "$lt": f"{projection}@{version}0"}


def _states(id: str, parts: Sequence[str]) -> Document:
    """A filter for profiles with a field that the event stated, in today's form and in the one with a version by
    part."""
    return {"$or": [{"versions.id": id}, *({f"versions.{part}.id": id} for part in parts)]}


def _names(document: Document) -> Iterator[Name]:
    versions = document.get("versions") or [document["version"]]
    for version in versions.values() if isinstance(versions, Mapping) else versions:
        yield Name(document["tenant"], version["source"], version["id"])


def _record(letter: Document) -> Record:
    timestamp = round(letter["time"].timestamp() * 1000)
    headers = tuple((header["name"], header["value"]) for header in letter["headers"])
    partition = Partition(letter["topic"], letter["partition"])
    return readable(Record(partition, letter["offset"], timestamp, letter["key"], letter["value"], headers))
