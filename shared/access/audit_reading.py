"""Reads the audit: the latest entries first, filtered, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.access.audit_mongo import COLLECTION, entry_id
from shared.access.chain import Entry
from shared.contracts.spelling import nfc
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: How many entries are scanned together, and for one page at most. A page that found fewer ends there, with a
#: cursor. There is no index but the chain's order, so that recording costs one write.
_SPAN, _MOST = 20_000, 200_000
#: How far the clocks of two processes that write one chain may differ.
_CLOCKS = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """The filter of a search; None: anything. ``subject`` is what an act was done to (a consumer_id, a key, a
    letter …), in any spelling. ``caller`` is a name or the prefix of a key. ``action`` is a code, or its first
    part: ``keys`` matches ``keys.create`` and ``keys.revoke``. The period includes ``first`` and excludes ``end``;
    both are timezone-aware."""

    subject: str | None = None
    caller: str | None = None
    action: str | None = None
    first: datetime | None = None
    end: datetime | None = None


class AuditReader(Protocol):
    def latest(
        self, tenant: str, sought: AuditFilter, limit: int, below: int | None = None
    ) -> tuple[list[Entry], int | None]:
        """Entries of a tenant, the latest first, and the sequence below which the next page starts; None at the
        end. A page may hold fewer than ``limit`` entries, even none, without being the last. Raises
        Unavailable."""


class MongoAuditReader:
    """An AuditReader with read concern majority."""

    def __init__(self, database: Database[Document]) -> None:
        self._entries = database.get_collection(COLLECTION, read_concern=ReadConcern("majority"))

    def latest(
        self, tenant: str, sought: AuditFilter, limit: int, below: int | None = None
    ) -> tuple[list[Entry], int | None]:
        wanted = _wanted(sought)
        found: list[Entry] = []
        with translated():
            if below is None:
                last = self._entries.find_one({"_id": _between(tenant, 1, None)}, sort=[("_id", -1)])
                below = 1 if last is None else last["sequence"] + 1
            stop = max(1, below - _MOST)
            while below > stop and len(found) < limit:
                low = max(stop, below - _SPAN)
                batch = self._entries.find({"_id": _between(tenant, low, below), **wanted}).sort("_id", -1)
                found += [_entry(each) for each in batch.limit(limit - len(found))]
                below = found[-1]["sequence"] if len(found) == limit else low
                if sought.first is not None and self._is_older(tenant, below, sought.first - _CLOCKS):
                    return found, None
        return found, below if below > 1 else None

    def _is_older(self, tenant: str, sequence: int, time: datetime) -> bool:
        entry = self._entries.find_one({"_id": entry_id(tenant, sequence)}, {"time": 1})
        return entry is not None and entry["time"] < stamp(time)


def stamp(time: datetime) -> str:
    """A time in the form of entries."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wanted(sought: AuditFilter) -> Document:
    wanted: Document = {}
    either: list[Document] = []
    if sought.caller is not None:
        either.append({"$or": [{"who": sought.caller}, {"key": sought.caller}]})
    if sought.action is not None:
        # The slash follows the dot. A regular expression could not hold every text: BSON's end at a NUL.
        below = {"$gte": f"{sought.action}.", "$lt": f"{sought.action}/"}
        either.append({"$or": [{"action": sought.action}, {"action": below}]})
    if either:
        wanted["$and"] = either
    if sought.subject is not None:
        parts = {"$map": {"input": {"$objectToArray": "$subject"}, "in": "$$this.v"}}
        # As a literal: a subject may begin with a dollar sign.
        # Acts of before ids were normalised have them as they were typed.
        spellings = {sought.subject, nfc(sought.subject)}
        wanted["$expr"] = {"$or": [{"$in": [{"$literal": each}, parts]} for each in sorted(spellings)]}
    ends = {"$gte": sought.first, "$lt": sought.end}
    if time := {operator: stamp(end) for operator, end in ends.items() if end is not None}:
        wanted["time"] = time
    return wanted


def _between(tenant: str, low: int, end: int | None) -> dict[str, Any]:
    # A tenant's name contains no colon, and the digits come before the semicolon.
    return {"$gte": entry_id(tenant, low), "$lt": f"{tenant};" if end is None else entry_id(tenant, end)}


def _entry(document: Document) -> Entry:
    return {name: value for name, value in document.items() if name != "_id"}


def described(sought: AuditFilter) -> dict[str, str]:
    """The filter in the form of an audit entry, which records the search."""
    times: Sequence[tuple[str, datetime | None]] = (("from", sought.first), ("to", sought.end))
    named = (("subject", sought.subject), ("caller", sought.caller), ("action", sought.action))
    return {name: value for name, value in named if value is not None} | {
        name: stamp(time) for name, time in times if time is not None
    }
