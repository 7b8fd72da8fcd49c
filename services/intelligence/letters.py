"""Dead letters of changes that cannot be read. Several processes read each change: the first stores the letter."""

from collections.abc import Callable

from pymongo.database import Database

from shared.contracts.errors import InvalidEvent
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.dead_letters import COLLECTION, dead_letter_id, to_dead_letter
from shared.runtime.protocols import Document, Outcome, Publisher, Record


class Letters:
    """``publisher`` opens a publisher, ``topic`` is that of the dead letters."""

    def __init__(self, database: Database[Document], publisher: Callable[[], Publisher], topic: str) -> None:
        self._letters = database.get_collection(COLLECTION, write_concern=DURABLE)
        self._publisher, self._topic = publisher, topic
        self.count = 0

    def bury(self, record: Record, error: InvalidEvent) -> None:
        """Store and publish the dead letter of ``record``, unless it has one. Raises Unavailable."""
        outcome = Outcome()
        to_dead_letter(record, error, "intelligence", self._topic, outcome)
        [write] = outcome.writes
        assert write.after is not None
        fields = {name: value for name, value in write.after.items() if name != "_id"}
        with translated():
            if self._letters.find_one({"_id": dead_letter_id(record)}, {"_id": 1}) is not None:
                return
        publisher = self._publisher()
        try:
            # Published first: a process that ends in between repeats both.
            publisher.send(outcome.messages).result()
        finally:
            publisher.close()
        with translated():
            self._letters.update_one({"_id": dead_letter_id(record)}, {"$setOnInsert": fields}, upsert=True)
        self.count += 1
