"""One slice on its way through a projection: decoded, what it must read fetched, folded. Pure."""

import logging
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any

from shared.dead_letters import bury
from shared.errors import InvalidEvent
from shared.numbering import Sieve, number
from shared.protocols import Answer, Ask, Discreet, Headers, Outcome, Progress, Projection, Record

log = logging.getLogger(__name__)


class Folding:
    """The fold of ``records``, which come right after ``before`` and of which there is at least one.

    ``fetch`` begins to read what the projection asks for; until it is there, somebody else's slice can be
    folded. ``trimmed`` says that the log does not begin at its first record. Bad events become dead letters for
    the topic ``dead_letters``. Messages are numbered for ``position`` and bear the headers ``trace``.
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
        self._fetch = fetch
        self._sieve = Sieve(dict(before.seen), trimmed=trimmed)
        self._buried = Outcome()
        items: list[tuple[Record, Any]] = []
        bad: list[tuple[Record, InvalidEvent]] = []
        for record in records:
            try:
                if not projection.numbered or self._sieve.admits(record):
                    items.append((record, projection.decode(record)))
            except InvalidEvent as error:
                bad.append((record, error))
        if self._sieve.ahead:
            log.warning("%s: %d changes are ahead of a gap; they come again", position, self._sieve.ahead)
        self._outcome = Outcome()
        self.answer: Future[Answer] | None = None
        if items or bad:
            self._steps = self._fold(projection, items, bad, dead_letters)
            self._go_on(None)

    def _fold(
        self,
        projection: Projection[Any],
        items: Sequence[tuple[Record, Any]],
        bad: Sequence[tuple[Record, InvalidEvent]],
        dead_letters: str,
    ) -> Generator[Ask, Answer, Outcome]:
        if bad:
            shown: Sequence[Record] = [record for record, _ in bad]
            if isinstance(projection, Discreet):
                shown = yield from projection.conceal(shown)
            for (record, error), letter in zip(bad, shown, strict=True):
                bury(record, error, projection.name, dead_letters, self._buried, letter)
        return (yield from projection.project(items)) if items else Outcome()

    def _go_on(self, answer: Answer) -> None:
        try:
            self.answer = self._fetch(self._steps.send(answer))
        except StopIteration as done:
            self.answer, self._outcome = None, done.value

    def advance(self) -> tuple[Outcome, Progress] | None:
        """Go on as far as the answers are there: what is to be stored, or None. Raises what a read raised."""
        while self.answer is not None:
            if not self.answer.done():
                return None
            self._go_on(self.answer.result())
        outcome = self._outcome
        outcome.writes += self._buried.writes
        messages, emitted = number(outcome.messages, self._position, self._before.emitted)
        outcome.messages = messages + self._buried.messages
        if self._trace:
            outcome.messages = [m._replace(headers=(*m.headers, *self._trace)) for m in outcome.messages]
        return outcome, Progress(self.records[-1].offset + 1, emitted, self._sieve.seen)
