"""Recognises events that are already stored by their bytes alone. Pure.

A fact keeps, with its version, a digest of the bytes of the event that made it. An event of the same bytes has no
effect, wherever in the log it lies: a fact is the highest of its events, and this one is among them. So it need
not be decoded, and decoding is most of the cost of a replay.
"""

from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec

from services.relations.fact_documents import digest
from services.relations.fact_erasure import ERASED
from shared.contracts.codec import MAX_SEALED_BYTES
from shared.contracts.events import EPOCH, arrival_milliseconds, document_id
from shared.runtime.forms import all_readable
from shared.runtime.protocols import Answer, Ask, Document, Get, Record

_ORDER = "relation.subject_erased"
_Id = Annotated[str, msgspec.Meta(max_length=200)]


class _Names(msgspec.Struct, gc=False):
    consumer_id: _Id = ""
    relation_id: _Id = ""


class _Named(msgspec.Struct, gc=False):
    type: str
    data: _Names
    tenant: Annotated[str, msgspec.Meta(max_length=63)] = "default"


_named = msgspec.json.Decoder(_Named).decode


def drop_known(
    records: Sequence[Record],
    trusted: Callable[[Document], bool],
    most_ahead: timedelta,
    *,
    facts_only: bool,
) -> Generator[Ask, Answer, Sequence[Record]]:
    """The records of facts without those that are certainly stored already, by comparison with ``trusted`` facts.

    Keeps every record where the slice contains, or may contain, an erasure, or a consumer is already erased: an
    event of an erased consumer may move the fact that it finds. Keeps records that would be judged to be dated
    more than ``most_ahead`` ahead of their arrival, too.
    """
    wanted: list[tuple[str, str] | None] = []
    seen = all_readable(records)
    for record in seen:
        wanted.append(found := _ids(record))
        if found is None and _may_erase(record):
            return records
    ids = {found[0] for found in wanted if found}
    if not ids:
        return records
    markers = set() if facts_only else {found[1] for found in wanted if found}
    documents = yield Get({"relations": ids, ERASED: markers} if markers else {"relations": ids})
    stored: dict[str, Document] = documents["relations"]
    if not stored or (markers and documents[ERASED]):
        return records
    allowed = most_ahead // timedelta(milliseconds=1)
    return [
        original
        for original, record, found in zip(records, seen, wanted, strict=True)
        if not found
        or (fact := stored.get(found[0])) is None
        or (known := fact["version"].get("digest")) is None
        or known != digest(record.value or b"")
        or not _timely(fact, record.timestamp, allowed)
        or not trusted(fact)
    ]


def _ids(record: Record) -> tuple[str, str] | None:
    """The ids of the fact that a record may be about and of its consumer. None for an erasure, and for a record
    that cannot be read here."""
    raw = record.value
    if raw is None or len(raw) > MAX_SEALED_BYTES:
        return None
    try:
        event = _named(raw)
    except (ValueError, RecursionError):  # no JSON, no such names, or nested too deep
        return None
    if event.type == _ORDER:
        return None
    consumer = document_id(event.tenant, event.data.consumer_id)
    return document_id(consumer, event.data.relation_id), consumer


def _may_erase(record: Record) -> bool:
    """Whether a record that names no fact may be an erasure, however it is written."""
    raw = record.value or b""
    return len(raw) <= MAX_SEALED_BYTES and (b"subject_erased" in raw or b"\\u" in raw)


def _timely(fact: Document, timestamp: int, allowed: int) -> bool:
    """Whether the times of a fact are certainly not more than ``allowed`` milliseconds ahead of a record's
    timestamp, if the record has a time of arrival."""
    if (bounds := _latest(timestamp, allowed)) is None:
        return True
    version, time = bounds
    # A fact's own time is truncated to milliseconds.
    return fact["version"]["time"] <= version and ("time" not in fact or fact["time"] < time)


@lru_cache(4_096)  # records of one slice share their milliseconds
def _latest(timestamp: int, allowed: int) -> tuple[int, datetime] | None:
    """The latest version (microseconds) and the end of the times that a record of this timestamp may state."""
    if (arrived := arrival_milliseconds(timestamp)) is None:
        return None
    latest = arrived + allowed
    return latest * 1000, EPOCH + timedelta(milliseconds=latest)
