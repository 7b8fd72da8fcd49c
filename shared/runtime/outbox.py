"""Documents of the outbox: messages of a stored slice that may not be published yet. Pure."""

from collections.abc import Mapping
from typing import Any

import lz4.frame
import msgspec

from shared.runtime.protocols import Document, Message, OutboxBatch, Slice

# A document must stay below MongoDB's 16 MB.
_MAX_BYTES = 8 * 1024 * 1024


def pack(slice: Slice) -> list[OutboxBatch]:
    """The messages of a slice in batches. The ids of the batches sort in publishing order."""
    if not slice.outcome.messages:
        return []  # nor need the position have an offset
    groups: list[list[Message]] = []
    size = 0
    for message in slice.outcome.messages:
        length = len(message.value) + len(message.key or b"") + 200
        if not groups or size + length > _MAX_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(message)
        size += length
    prefix = f"{slice.claim.position}/{slice.after.next:020d}"
    return [OutboxBatch(f"{prefix}/{index:06d}", tuple(group)) for index, group in enumerate(groups)]


_PACK = msgspec.msgpack.Encoder()
_UNPACK: msgspec.msgpack.Decoder[list[tuple[str, bytes | None, bytes, int | None, list[tuple[str, bytes]]]]] = (
    msgspec.msgpack.Decoder(list[tuple[str, bytes | None, bytes, int | None, list[tuple[str, bytes]]]])
)


def document(batch: OutboxBatch) -> Document:
    """The stored form."""
    # A single compressed value: a thousand subdocuments cost mongod ten times as much.
    rows = [(m.topic, m.key, m.value, m.partition, m.headers) for m in batch.messages]
    return {"_id": batch.id, "count": len(rows), "messages": lz4.frame.compress(_PACK.encode(rows))}


def messages(stored: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages in a stored document."""
    rows = _UNPACK.decode(lz4.frame.decompress(stored["messages"]))
    return tuple(Message(topic, key, value, number, tuple(headers)) for topic, key, value, number, headers in rows)
