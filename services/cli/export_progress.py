"""The progress of an export: rows, rows per second, time."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from services.exports.columns import Batches, Row


class ExportProgress:
    """Writes rows, rows per second and time of each export to stderr.

    Without a terminal, it writes only one line at the end of each export.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.completed:,.0f} rows, {task.fields[rate]:,.0f} a second"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._rows: dict[str, int] = {}

    def __enter__(self) -> "ExportProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def counted(self, name: str, rows: "Batches") -> "Counted":
        task = self._bars.add_task(name, total=None, rate=0.0)
        started = time.monotonic()

        def count(total: int) -> None:
            self._rows[name] = total
            rate = total / max(time.monotonic() - started, 0.001)
            self._bars.update(task, completed=total, rate=rate)

        return Counted(rows, count)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def done(self, name: str, path: Path) -> None:
        self._console.print(f"{name}: {self._rows.get(name, 0):,} rows in {path}", markup=False, highlight=False)


class Counted:
    def __init__(self, rows: "Batches", count: Callable[[int], None]) -> None:
        self._rows = rows
        self._count = count
        self._total = 0

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> "Sequence[Row]":
        rows = next(self._rows)
        self._total += len(rows)
        self._count(self._total)
        return rows

    def close(self) -> None:
        self._rows.close()
