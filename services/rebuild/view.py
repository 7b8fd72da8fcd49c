"""Output of a rebuild: progress with an estimate, the versions, and the result of a comparison."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from services.rebuild.build import RebuildContext, lag, offsets
from services.rebuild.compare import Difference
from services.rebuild.diff import Comparison
from shared.contracts.errors import Unavailable
from shared.observability.terminal import printable

_LOOK_SECONDS = 0.5
_LINE_SECONDS = {"json": 1.0, "terminal": 0.5, "lines": 5.0}
_WINDOW_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """The progress of a version towards the live one, in records. ``rate`` and ``growth`` are records a second,
    stored in it and in the live version; ``seconds_left`` is None when the lag does not shrink."""

    projection: str
    version: int
    live: int
    done: int
    goal: int
    rate: float
    growth: float

    @property
    def left(self) -> int:
        return max(0, self.goal - self.done)

    @property
    def level(self) -> bool:
        """Whether it is less than a second behind the live version, which may advance all the time."""
        return self.left <= self.growth

    @property
    def percent(self) -> float:
        return 100.0 if not self.goal else min(100.0, 100 * self.done / self.goal)

    @property
    def seconds_left(self) -> float | None:
        if self.level:
            return 0.0
        closing = self.rate - self.growth
        return self.left / closing if closing > 0 else None

    def as_dict(self) -> dict[str, Any]:
        left = self.seconds_left
        return {
            **asdict(self),
            "rate": round(self.rate, 1),
            "growth": round(self.growth, 1),
            "left": self.left,
            "level": self.level,
            "percent": round(self.percent, 2),
            "seconds_left": None if left is None else round(left, 1),
        }

    def __str__(self) -> str:
        text = (
            f"{self.projection}: version {self.version} is at {_percent(self.percent)} "
            f"({self.done:,} of {self.goal:,} events), {self.rate:,.0f} a second"
        )
        if self.level:
            return f"{text}, level with version {self.live}"
        if self.seconds_left is None:
            grows = f", and version {self.live} advances by {self.growth:,.0f}" if self.growth >= 1 else ""
            return text if not self.rate else f"{text}{grows}: at this rate it never catches up"
        return f"{text}, about {duration(self.seconds_left)} left"


def duration(seconds: float) -> str:
    """Roughly: 48 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _percent(value: float) -> str:
    # Rounded down, so that 100 % means done.
    return f"{int(value * 10) / 10:.1f} %"


class Meter:
    """Measures the progress of a version towards the live one, and shows it now and then. ``firsts`` are the first
    offsets of the logs."""

    def __init__(
        self,
        context: RebuildContext,
        version: int,
        firsts: Mapping[str, int],
        *,
        as_json: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._version, self._firsts = context, version, firsts
        self._json = as_json
        self._clock = clock
        self._terminal = not as_json and sys.stdout.isatty()
        self._every = _LINE_SECONDS["json" if as_json else "terminal" if self._terminal else "lines"]
        self._seen: deque[tuple[float, int, int]] = deque()
        self._looked_at = self._shown_at = -1e9
        self.progress: Progress | None = None
        self._shown: Progress | None = None

    def look(self) -> Progress | None:
        """The progress, measured every half second and shown now and then. None while MongoDB is unavailable."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            try:
                self.progress = self._measure(now)
            except Unavailable:
                self.progress = None
            if self.progress is not None and now - self._shown_at >= self._every:
                self._shown_at = now
                self.show()
        return self.progress

    def _measure(self, now: float) -> Progress:
        registry = self._context.registry
        # The target is read first: so it cannot be ahead of the live version, read a moment later.
        reached = offsets(registry, self._version)
        live = registry.read().live
        done, goal = lag(self._firsts, reached), lag(self._firsts, offsets(registry, live))
        self._seen.append((now, done, goal))
        while self._seen[-1][0] - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        then, done_then, goal_then = self._seen[0]
        span = max(now - then, 1e-9)
        rate, growth = (done - done_then) / span, (goal - goal_then) / span
        if len(self._seen) == 1:
            rate = growth = 0.0
        return Progress(registry.name, self._version, live, done, goal, rate, growth)

    def show(self) -> None:
        if self.progress is None or self.progress is self._shown:
            return
        self._shown = self.progress
        if self._json:
            print(json.dumps(self.progress.as_dict()), flush=True)
        elif self._terminal:
            sys.stdout.write(f"\r\033[K{self.progress}")
            sys.stdout.flush()
        else:
            print(self.progress, flush=True)

    def end(self) -> None:
        """End the line of progress."""
        if self._terminal:
            sys.stdout.write("\n")
            sys.stdout.flush()


def difference_dict(found: Difference) -> dict[str, Any]:
    """The difference, for JSON."""
    return {
        "projection": found.projection,
        "live": found.live,
        "other": found.other,
        "same": found.same,
        "collections": {
            name: {
                "compared": comparison.compared,
                "only_live": comparison.only_live,
                "only_other": comparison.only_other,
                "different": comparison.different,
                "reasons": dict(comparison.reasons),
                "examples": [
                    {
                        "id": example.id,
                        "why": example.why,
                        "fields": {name: [_plain(a), _plain(b)] for name, (a, b) in example.fields.items()},
                    }
                    for example in comparison.examples
                ],
            }
            for name, comparison in found.collections.items()
        },
    }


def show_difference(found: Difference, console: Console) -> None:
    """Shows a difference in a terminal: the counts, then examples with the fields that differ."""
    live, other = f"version {found.live}", f"version {found.other}"
    table = Table("Collection", "Compared", f"Only in {live}", f"Only in {other}", "Different")
    for name, c in found.collections.items():
        table.add_row(
            name,
            f"{c.compared:,}",
            f"{c.only_live:,}",
            f"{c.only_other:,}",
            f"{c.different:,}",
            style=None if c.same else "yellow",
        )
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    for name, comparison in found.collections.items():
        if not comparison.same:
            _show_examples(name, comparison, found, console)


def _show_examples(name: str, comparison: Comparison, found: Difference, console: Console) -> None:
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in comparison.reasons.most_common())
    console.print(f"\n{name}: {printable(reasons)}", markup=False, highlight=False)
    for example in comparison.examples:
        console.print(printable(f"  {example.id}: {example.why}"), markup=False, highlight=False, soft_wrap=True)
        for field, (live, other) in example.fields.items():
            console.print(
                printable(
                    f"    {field}: {_text(live)} in version {found.live}, {_text(other)} in version {found.other}"
                ),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _text(value: Any) -> str:
    if value is None:
        return "absent"
    return value if isinstance(value, str) else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
