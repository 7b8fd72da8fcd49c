"""Dead letters of messages that never reached Kafka."""

import hashlib
import json
from collections.abc import Sequence

from pymongo import UpdateOne
from pymongo.database import Database

from services.rabbitmq.judging import ANY_TENANT, Bad
from services.rabbitmq.protocols import Properties
from services.rabbitmq.translation import as_far_as_readable
from shared.contracts.errors import Stale, Unavailable
from shared.mongo.errors import translated
from shared.runtime.dead_letters import COLLECTION, to_dead_letter, truncate
from shared.runtime.protocols import Document, Headers, Outcome, Partition, Publisher, Record
from shared.vault.dead_letters import conceal, owner_of
from shared.vault.keys import TENANT, Vault

SERVICE = "rabbitmq"


class DeadLetters:
    """Writes to MongoDB and to the topic of dead letters. Blocks."""

    def __init__(
        self, database: Database[Document], publisher: Publisher, topic: str, vault: Vault | None
    ) -> None:
        self._letters = database[COLLECTION]
        self._publisher, self._topic, self._vault = publisher, topic, vault

    def write(self, queue: str, tenant: str, bad: Sequence[Bad], arrived_ms: int) -> None:
        """Return when all are stored and published. Writing the same again changes nothing in MongoDB. Raises
        Unavailable."""
        outcome = letters_of(queue, tenant, bad, arrived_ms, self._topic, self._vault)
        writes = [UpdateOne({"_id": each.id}, {"$set": each.after}, upsert=True) for each in outcome.writes]
        try:
            with translated():
                self._letters.bulk_write(writes, ordered=False)
        except Stale as error:
            raise Unavailable(f"MongoDB: {error}") from error
        self._publisher.send(outcome.messages).result()


def letters_of(
    queue: str, tenant: str, bad: Sequence[Bad], arrived_ms: int, topic: str, vault: Vault | None
) -> Outcome:
    """Their documents and messages. Raises Unavailable for keys."""
    outcome = Outcome()
    for each in bad:
        record, event = record_of(queue, each, arrived_ms), as_far_as_readable(each.body, each.properties)
        shown = record if vault is None else _concealed(record, event, tenant, vault)
        to_dead_letter(record, each.error, SERVICE, topic, outcome, shown, event)
        letter = outcome.writes[-1].after
        assert letter is not None
        del letter["_id"]
        if tenant != ANY_TENANT:
            # What the message says of its tenant is not what decides who sees it.
            letter["tenant"] = tenant
    return outcome


def record_of(queue: str, bad: Bad, arrived_ms: int) -> Record:
    """The message as a record. A queue has no offsets: the number is 56 bits of the SHA-256 of what was sent, so
    that a redelivery is the same letter."""
    headers = _headers(bad.properties)
    content = hashlib.sha256(bad.body)
    content.update(json.dumps([[name, value.hex()] for name, value in headers]).encode())
    number = int.from_bytes(content.digest()[:7])
    return Record(Partition(f"{SERVICE}/{queue}", 0), number, arrived_ms, None, bad.body, headers)


def _headers(properties: Properties) -> Headers:
    """The properties and headers of the message, as text."""
    named = {
        "content-type": properties.content_type,
        "content-encoding": properties.content_encoding,
        "message-id": properties.message_id,
        "type": properties.type,
        "timestamp": properties.timestamp,
        **properties.headers,
    }
    return tuple(
        (name.replace("\0", ""), value if isinstance(value, bytes) else str(value).encode())
        for name, value in sorted(named.items())
        if value is not None
    )


def _concealed(record: Record, event: bytes, tenant: str, vault: Vault) -> Record:
    # As the door judges: an event that states no tenant is the queue's.
    owner = owner_of(record._replace(value=event, headers=()), "default" if tenant == ANY_TENANT else tenant)
    if tenant not in (ANY_TENANT, owner[0]):
        # Not under a key of the tenant that it only claims.
        owner = tenant, TENANT
    key = vault.keys(owner[0], [owner[1]])[owner[1]]
    return conceal(truncate(record), owner, key)
