"""Events that are stored already, known by their bytes alone. Pure.

A fact keeps with its version a digest of the very bytes of the event that made it. An event of the same bytes
has no effect, wherever in the log it comes: a fact is the highest of its events, and this one is among them. So it
need not be decoded, which is most of what a replay costs.
"""

from collections.abc import Callable, Generator, Sequence

import msgspec

from services.relations.erasing import ERASED, weight
from services.relations.world import digest
from shared.events import document_id
from shared.protocols import Answer, Ask, Document, Get, Record


class _Names(msgspec.Struct, gc=False):
    consumer_id: str
    relation_id: str


class _Named(msgspec.Struct, gc=False):
    data: _Names
    tenant: str = "default"


_named = msgspec.json.Decoder(_Named).decode


def unknown(
    records: Sequence[Record], trusted: Callable[[Document], bool], *, facts_only: bool = False
) -> Generator[Ask, Answer, Sequence[Record]]:
    """The records of facts that are not certainly stored already, by comparison with ``trusted`` facts. All,
    where somebody's erasure is among them or has been: an event of theirs may move the fact that it finds."""
    wanted: list[tuple[str, str] | None] = [_ids(record) for record in records]
    ids = {found[0] for found in wanted if found}
    if not ids or any(weight(record) > 1 for record in records):
        return records
    markers = set() if facts_only else {found[1] for found in wanted if found}
    documents = yield Get({"relations": ids, ERASED: markers} if markers else {"relations": ids})
    stored: dict[str, Document] = documents["relations"]
    if not stored or (markers and documents[ERASED]):
        return records
    return [
        record
        for record, found in zip(records, wanted, strict=True)
        if not found
        or (fact := stored.get(found[0])) is None
        or (known := fact["version"].get("digest")) is None
        or known != digest(record.value or b"")
        or not trusted(fact)
    ]


def _ids(record: Record) -> tuple[str, str] | None:
    """The ids of the fact that a record may be about and of its consumer; whether it is one is not asked here."""
    try:
        event = _named(record.value or b"")
    except (ValueError, RecursionError):  # no JSON, no such names, or nested too deep
        return None
    consumer = document_id(event.tenant, event.data.consumer_id)
    return document_id(consumer, event.data.relation_id), consumer
