"""The dead letters in MongoDB, and how replaying and discarding changes them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.topics import Topics
from shared.letters.fate import Fate, fate
from shared.letters.letter import LOG_ORDER, Selection, replay, replayable
from shared.letters.sealing import sealed_again, with_values
from shared.mongo.limits import STREAM_MS
from shared.runtime.dead_letters import COLLECTION
from shared.runtime.protocols import Document, Message, Publisher
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.open import vault_in

if TYPE_CHECKING:
    from pymongo.database import Database

_BATCH = 200
#: Bytes of messages that a replay holds together, and one more: a letter has up to a mebibyte.
_BATCH_BYTES = 4 * 1024 * 1024


class Letters:
    """The dead letters of one database. Letters are never deleted."""

    def __init__(self, database: "Database[Document]", topics: Topics, vault: Vault | None = None) -> None:
        """``vault`` decrypts sealed letters, and encrypts what is published."""
        self._letters = database[COLLECTION]
        self._topics = topics
        self._vault = vault

    def opened(self, letters: Sequence[Document]) -> list[Document]:
        """The letters with their original values."""
        return with_values(letters, self._vault)

    def by_id(self, ids: Sequence[str]) -> list[Document]:
        return list(self._letters.find({"_id": {"$in": list(ids)}})) if ids else []

    def tenants(self, ids: Sequence[str]) -> dict[str, str | None]:
        """The tenants of the letters that there are, by their ids; None of one whose tenant is not known."""
        found = self._letters.find({"_id": {"$in": list(ids)}}, {"tenant": 1})
        return {letter["_id"]: letter.get("tenant") for letter in found}

    def latest(self, selection: Selection, limit: int) -> list[Document]:
        query = selection.query(self._topics)
        return list(self._letters.find(query, {"value": 0}).sort([("time", -1), ("_id", -1)]).limit(limit))

    def reasons(self, selection: Selection) -> dict[str, int]:
        """The number of letters per reason, most frequent first."""
        grouped = self._letters.aggregate(
            [
                {"$match": selection.query(self._topics)},
                {"$group": {"_id": "$reason", "count": {"$sum": 1}}},
                {"$sort": {"count": -1, "_id": 1}},
            ]
        )
        return {entry["_id"]: entry["count"] for entry in grouped}

    def replayable(self, letter: Document) -> bool:
        """Whether a replay publishes it again: it is a complete event."""
        return replayable(letter, self._topics)

    def replay(
        self, selection: Selection, publisher: Publisher | None, explain: Callable[[Fate], None] = lambda _: None
    ) -> tuple[list[str], list[str]]:
        """Publish the selected letters again, in the order of the log. Returns the ids of the published letters,
        and of those left out: a letter that is not an event, is truncated, would be rejected again, or concerns an
        erased consumer. Without a publisher it changes nothing. ``explain`` receives the fate of each letter
        before it is published."""
        # The sort completes before the first letter is returned, so replays that fail again are not included.
        found = (
            self._letters.find(selection.query(self._topics), max_time_ms=STREAM_MS)
            .sort(LOG_ORDER)
            .allow_disk_use(True)
        )
        done: list[str] = []
        left_out: list[str] = []
        for batch in _pieces(found):
            there = [letter for letter in batch if replayable(letter, self._topics)]
            opened = {letter["_id"]: letter for letter in self.opened(there)}
            messages = {id: self.sealed(replay(letter)) for id, letter in opened.items()}
            for letter in batch:
                id = letter["_id"]
                explain(fate(opened.get(id, letter), messages.get(id) is not None, self._topics))
            left_out += [letter["_id"] for letter in batch if messages.get(letter["_id"]) is None]
            try:
                done += self.publish([(id, message) for id, message in messages.items() if message], publisher)
            except Unavailable as error:
                raise Unavailable(f"{error}; {len(done)} dead letters were replayed before") from error
        return done, left_out

    def sealed(self, message: Message) -> Message | None:
        """The message as it may go into Kafka; None when it must not."""
        return sealed_again(message, self._vault)

    def publish(self, messages: Sequence[tuple[str, Message]], publisher: Publisher | None) -> list[str]:
        """Publish messages in place of letters (given by their ids), then mark the letters as replayed."""
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
        """Mark the selected letters as discarded. Returns their ids."""
        ids: list[str] = [
            letter["_id"]
            for letter in self._letters.find(
                selection.query(self._topics), {"_id": 1}, max_time_ms=STREAM_MS
            ).sort(LOG_ORDER)
        ]
        if not dry_run:
            now = datetime.now(UTC)
            for batch in _batches(ids):
                self._letters.update_many(
                    {"_id": {"$in": batch}}, {"$set": {"discarded_at": now, "discard_reason": reason_text}}
                )
        return ids


def letters_in(settings: Settings, database: "Database[Document]") -> Callable[[], Letters | None]:
    """Opens the dead letters of a service that may lack the master key. Without the key and with encrypted
    personal data the result is None: letters could not be decrypted, and might go into Kafka in plain text."""
    topics = Topics(settings.topic_prefix)
    try:
        vault = vault_in(settings, database)
    except ConfigurationError:
        return lambda: None
    return lambda: Letters(database, topics, vault)


def _pieces(letters: Iterable[Document]) -> Iterator[list[Document]]:
    piece, size = list[Document](), 0
    for letter in letters:
        piece.append(letter)
        size += len(letter["value"] or b"") + sum(len(header["value"]) for header in letter["headers"])
        if len(piece) == _BATCH or size >= _BATCH_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]
