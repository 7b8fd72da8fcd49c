"""Switches single protections of a worker off, to see that the checker notices.

Like fault points, all of it is wrapped around production code from outside. Several are joined by commas.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymongo import DeleteOne, ReplaceOne
from pymongo.client_session import ClientSession

from services.relations import fact_documents
from shared.contracts.events import Version
from shared.mongo.store import MongoStore, _progress_fields
from shared.runtime import slice_fold
from shared.runtime.protocols import Message, OutboxBatch, Record, Slice, Write
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import SequenceFilter, assign_numbers


def install(names: str) -> None:
    """Switch off what ``names`` says, ``"no-cas,no-guard"``."""
    for name in names.split(","):
        SABOTAGES[name]()


def _no_cas() -> None:
    """A slice is stored whoever has the partition and however far it has come."""
    _advance_where(lambda slice: {"_id": slice.claim.position})


def _no_epoch() -> None:
    """The compare-and-set looks at the offset only."""
    _advance_where(lambda slice: {"_id": slice.claim.position, "next": slice.before.next})


def _no_next() -> None:
    """The compare-and-set looks at the epoch only."""
    _advance_where(lambda slice: {"_id": slice.claim.position, "epoch": slice.claim.epoch})


def _advance_where(where: Callable[[Slice], dict[str, Any]]) -> None:
    def advance(self: MongoStore, slice: Slice, session: ClientSession) -> bool:
        fields = {"$set": _progress_fields(slice.after)}
        return self._positions.update_one(where(slice), fields, session=session).matched_count == 1

    MongoStore._advance = advance  # type: ignore[method-assign]


def _no_guard() -> None:
    """Documents are overwritten whatever they have become since they were read."""

    def write(self: MongoStore, writes: Sequence[Write], session: ClientSession) -> None:
        for one in writes:
            operation = (
                DeleteOne({"_id": one.id})
                if one.after is None
                else ReplaceOne({"_id": one.id}, one.after, upsert=True)
            )
            self._database[one.collection].bulk_write([operation], session=session)

    MongoStore._write = write  # type: ignore[method-assign]


def _no_new_claim() -> None:
    """After a transaction of unknown result the same slice is tried again under the old claim."""
    Runner._reclaim = lambda self, state: state  # type: ignore[method-assign]  # noqa: ARG005


def _no_version() -> None:
    """The event that comes last wins, not the one that is latest."""
    fact_documents._version = lambda fact: Version(-1, "", "", "")  # noqa: ARG005


def _no_numbers() -> None:
    """A reader of changes counts what it has counted before."""

    def accept(self: SequenceFilter, record: Record) -> bool:
        del self, record
        return True

    SequenceFilter.accept = accept  # type: ignore[method-assign]


def _no_emitted() -> None:
    """The numbers of changes start again at 1 with each slice, as if they were not stored with it."""

    def forgetful(messages: Iterable[Message], origin: str, emitted: int) -> tuple[list[Message], int]:
        del emitted
        return assign_numbers(messages, origin, 0)

    vars(slice_fold)["assign_numbers"] = forgetful


def _no_outbox_drain() -> None:
    """Whoever claims a partition leaves in the outbox what the last owner has left there."""

    def unpublished(self: MongoStore, position: str) -> list[OutboxBatch]:
        del self, position
        return []

    MongoStore.unpublished = unpublished  # type: ignore[method-assign]


SABOTAGES: dict[str, Callable[[], None]] = {
    "no-cas": _no_cas,
    "no-epoch": _no_epoch,
    "no-next": _no_next,
    "no-guard": _no_guard,
    "no-new-claim": _no_new_claim,
    "no-version": _no_version,
    "no-numbers": _no_numbers,
    "no-emitted": _no_emitted,
    "no-outbox-drain": _no_outbox_drain,
}
