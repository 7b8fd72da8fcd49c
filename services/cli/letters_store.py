"""The dead letters in MongoDB, and what replaying and discarding them does there."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from services.cli.letters import LOG_ORDER, Selection, replay, replayable
from shared.dead_letters import COLLECTION
from shared.errors import Unavailable
from shared.protocols import Document, Message, Publisher
from shared.topics import Topics

if TYPE_CHECKING:
    from pymongo.database import Database

_BATCH = 200


class Letters:
    """The dead letters of one database. Nothing is ever deleted here."""

    def __init__(self, database: "Database[Document]", topics: Topics) -> None:
        self._letters = database[COLLECTION]
        self._topics = topics

    def by_id(self, ids: Sequence[str]) -> list[Document]:
        return list(self._letters.find({"_id": {"$in": list(ids)}})) if ids else []

    def latest(self, selection: Selection, limit: int) -> list[Document]:
        query = selection.query(self._topics)
        return list(self._letters.find(query, {"value": 0}).sort([("time", -1), ("_id", -1)]).limit(limit))

    def reasons(self, selection: Selection) -> dict[str, int]:
        """How many there are of each reason, most first."""
        grouped = self._letters.aggregate(
            [
                {"$match": selection.query(self._topics)},
                {"$group": {"_id": "$reason", "count": {"$sum": 1}}},
                {"$sort": {"count": -1, "_id": 1}},
            ]
        )
        return {entry["_id"]: entry["count"] for entry in grouped}

    def replay(self, selection: Selection, publisher: Publisher | None) -> tuple[list[str], list[str]]:
        """Publish again what is meant, in the order of the log. Returns the ids of what was published and of
        what was left out because it is no event. Without a publisher nothing is done."""
        # The sort is complete before the first letter comes, so that replays that fail again are not among them.
        found = self._letters.find(selection.query(self._topics)).sort(LOG_ORDER).allow_disk_use(True)
        done: list[str] = []
        left_out: list[str] = []
        while batch := list(islice(found, _BATCH)):
            left_out += [letter["_id"] for letter in batch if not replayable(letter, self._topics)]
            events = [(letter["_id"], replay(letter)) for letter in batch if replayable(letter, self._topics)]
            try:
                done += self.publish(events, publisher)
            except Unavailable as error:
                raise Unavailable(f"{error}; {len(done)} dead letters were replayed before") from error
        return done, left_out

    def publish(self, messages: Sequence[tuple[str, Message]], publisher: Publisher | None) -> list[str]:
        """Publish messages in place of letters (their ids), then mark these as replayed."""
        ids = [id for id, _ in messages]
        if publisher is not None and ids:
            publisher.send([message for _, message in messages]).result()
            self._letters.update_many(
                {"_id": {"$in": ids}},
                {
                    "$set": {"replayed_at": datetime.now(UTC)},
                    "$inc": {"replays": 1},
                    "$unset": {"discarded_at": "", "discard_reason": ""},
                },
            )
        return ids

    def discard(self, selection: Selection, reason_text: str, *, dry_run: bool) -> list[str]:
        """Mark what is meant as discarded; returns the ids."""
        ids: list[str] = [
            letter["_id"]
            for letter in self._letters.find(selection.query(self._topics), {"_id": 1}).sort(LOG_ORDER)
        ]
        if not dry_run:
            now = datetime.now(UTC)
            for batch in _batches(ids):
                self._letters.update_many(
                    {"_id": {"$in": batch}}, {"$set": {"discarded_at": now, "discard_reason": reason_text}}
                )
        return ids


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]
