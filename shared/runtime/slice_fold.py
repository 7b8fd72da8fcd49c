"""The fold of one slice: decode the records, fetch what the projection must read, fold. Pure."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any

from shared.contracts.errors import InvalidEvent
from shared.runtime.dead_letters import to_dead_letter
from shared.runtime.protocols import (
    Answer,
    Ask,
    Deduplicating,
    Document,
    Get,
    Headers,
    Outcome,
    Progress,
    Projection,
    Record,
    RedactsDeadLetters,
)
from shared.runtime.sequence_numbers import SequenceFilter, assign_numbers


class SliceFold:
    """The fold of ``records``, at least one, which directly follow ``before``.

    ``fetch`` starts the reads that the projection requests; until they complete, the slices of other partitions
    can be folded. ``trimmed``: the log does not start at its first record. Bad events become dead letters for the
    topic ``dead_letters``. Messages are numbered for ``position`` and carry the headers ``trace``.
    """

    def __init__(
        self,
        projection: Projection[Any],
        records: Sequence[Record],
        before: Progress,
        position: str,
        fetch: Callable[[Ask], Future[Answer]],
        *,
        dead_letters: str,
        trimmed: bool = False,
        trace: Headers = (),
    ) -> None:
        self.records = records
        self._before, self._position, self._trace = before, position, trace
        self._cache = _ReadCache(fetch)
        self._sequence = SequenceFilter(dict(before.seen), trimmed=trimmed)
        self._letters = Outcome()
        self._outcome = Outcome()
        self.answer: Future[Answer] | None = None
        self._steps = self._fold(projection, dead_letters)
        self._resume(None)

    def _fold(self, projection: Projection[Any], dead_letters: str) -> Generator[Ask, Answer, Outcome]:
        records = self.records
        if isinstance(projection, Deduplicating):
            records = yield from projection.recall(records)
        items, bad = self._decoded(projection, records)
        if bad:
            shown: Sequence[Record] = [record for record, _ in bad]
            if isinstance(projection, RedactsDeadLetters):
                shown = yield from projection.conceal(shown)
            for (record, error), letter in zip(bad, shown, strict=True):
                to_dead_letter(record, error, projection.name, dead_letters, self._letters, letter)
        return (yield from projection.project(items)) if items else Outcome()

    def _decoded(
        self, projection: Projection[Any], records: Sequence[Record]
    ) -> tuple[list[tuple[Record, Any]], list[tuple[Record, InvalidEvent]]]:
        """The events of the records, and the records that could not be decoded with their errors."""
        items: list[tuple[Record, Any]] = []
        bad: list[tuple[Record, InvalidEvent]] = []
        for record in records:
            try:
                if not projection.numbered or self._sequence.accept(record):
                    items.append((record, projection.decode(record)))
            except InvalidEvent as error:
                bad.append((record, error))
        return items, bad

    def _resume(self, answer: Answer) -> None:
        try:
            self._ask = self._steps.send(answer)
        except StopIteration as done:
            self.answer, self._outcome = None, done.value
        else:
            self.answer = self._cache.fetch_missing(self._ask)

    @property
    def out_of_order(self) -> int:
        """How many changes were skipped because of a gap before their numbers. They will be redelivered."""
        return self._sequence.ahead

    def advance(self) -> tuple[Outcome, Progress] | None:
        """Fold as far as the answers allow. Returns what is to be stored, or None while a read is pending. Raises
        the errors of reads."""
        while self.answer is not None:
            if not self.answer.done():
                return None
            self._resume(self._cache.complete(self._ask, self.answer.result()))
        outcome = self._outcome
        outcome.writes += self._letters.writes
        messages, emitted = assign_numbers(outcome.messages, self._position, self._before.emitted)
        outcome.messages = messages + self._letters.messages
        if self._trace:
            outcome.messages = [m._replace(headers=(*m.headers, *self._trace)) for m in outcome.messages]
        return outcome, Progress(self.records[-1].offset + 1, emitted, self._sequence.seen)


class _ReadCache:
    """Documents that a slice has read by id, so that each is requested once."""

    def __init__(self, fetch: Callable[[Ask], Future[Answer]]) -> None:
        self._fetch = fetch
        #: Collection → id → document, None if absent.
        self._read: dict[str, dict[str, Document | None]] = {}

    def fetch_missing(self, ask: Ask) -> Future[Answer]:
        """The pending answer for the part of ``ask`` that is not cached."""
        if not isinstance(ask, Get):
            return self._fetch(ask)
        rest = {}
        for name, ids in ask.ids.items():
            known = self._read.get(name, {})
            if unknown := [id for id in ids if id not in known]:
                rest[name] = unknown
        if rest:
            return self._fetch(Get(rest))
        nothing: Future[Answer] = Future()
        nothing.set_result({})
        return nothing

    def complete(self, ask: Ask, answer: Answer) -> Answer:
        """The complete answer: that of ``fetch_missing`` together with the cached part."""
        if not isinstance(ask, Get):
            return answer
        whole = {}
        for name, ids in ask.ids.items():
            known, found = self._read.setdefault(name, {}), answer.get(name, {})
            known.update({id: found.get(id) for id in ids if id not in known})
            whole[name] = {id: document for id in ids if (document := known[id]) is not None}
        return whole
