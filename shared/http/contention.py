"""How much of a processor this process gets of what it wants: less than all while other processes want it, too."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

#: Nanoseconds that the main thread, which runs the event loop, has run, and has waited for a processor.
_SCHEDSTAT = Path("/proc/self/schedstat")
_LOOK_SECONDS = 0.25
#: Below so many nanoseconds of both, what was measured last is still the best guess.
_FEWEST = 2_000_000
#: A share below it counts as it: one bad moment must not stop anybody for long.
_LEAST = 0.05


class Contention:
    """Thread-safe. Where the kernel does not tell (it does on Linux), the process has all it wants."""

    def __init__(self, file: Path = _SCHEDSTAT, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        self._before = self._read()
        self._share = 1.0

    def share(self) -> float:
        """The part of a processor that the event loop got lately while it wanted one: above 0, at most 1."""
        with self._lock:
            now = self._clock()
            if self._before is not None and now - self._looked_at >= _LOOK_SECONDS:
                self._looked_at = now
                self._look(self._before)
            return self._share

    def _look(self, before: tuple[int, int]) -> None:
        if (found := self._read()) is None:
            return
        ran, waited = found[0] - before[0], found[1] - before[1]
        if ran + waited >= _FEWEST:
            self._before = found
            self._share = max(_LEAST, ran / (ran + waited))

    def _read(self) -> tuple[int, int] | None:
        try:
            ran, waited, _ = self._file.read_text().split()
            return int(ran), int(waited)
        except (OSError, ValueError):
            return None
