"""Looks at a system while it runs: positions never go back, and now and then the whole invariant."""

import threading
import time
from collections.abc import Callable

from kafka.errors import KafkaError
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Document

_GLANCE_SECONDS = 0.1
_MOST = 20


class Watch:
    """Context manager. ``wrong`` are the statements that did not hold; ``longest_stall`` is the longest time in
    seconds without any progress while ``busy`` said that there was something to do."""

    def __init__(
        self,
        database: Database[Document],
        check: Callable[[], list[str]],
        every_seconds: float = 2.0,
        busy: Callable[[], bool] = lambda: True,
    ) -> None:
        # What is not durable yet may be taken back by a crash.
        self._positions = database.get_collection("positions", read_concern=ReadConcern("majority"))
        self._check = check
        #: Both may be set while it watches.
        self.every, self.busy = every_seconds, busy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._before: dict[str, Document] = {}
        self._moved_at = time.monotonic()
        #: When each position last moved (``time.monotonic()``), and its longest time without, in seconds.
        self._each_moved_at: dict[str, float] = {}
        self.stalls: dict[str, float] = {}
        self._lock = threading.Lock()
        self.wrong: list[str] = []
        self.checks = 0
        self.longest_stall = 0.0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        next_check = time.monotonic() + self.every / 2
        while not self._stop.wait(_GLANCE_SECONDS):
            try:
                self._glance()
                if time.monotonic() >= next_check:
                    self._note(self._check())
                    self.checks += 1
                    next_check = time.monotonic() + self.every
            except (PyMongoError, KafkaError, Unavailable):
                continue  # a server is unavailable: nothing can be said
            except Exception as error:
                self._note([f"the check itself failed: {type(error).__name__}: {error}"])

    def _glance(self) -> None:
        now = {each["_id"]: each for each in self._positions.find()}
        for id, before in self._before.items():
            after = now.get(id, {})
            for name in ("epoch", "next", "emitted"):
                old, new = before.get(name) or 0, after.get(name) or 0
                if new < old:
                    self._note([f"{id}: {name} went back from {old} to {new}"])
        moved = any(position.get("next") != self._before.get(id, {}).get("next") for id, position in now.items())
        if moved or not self.busy():
            self._moved_at = time.monotonic()
        self.longest_stall = max(self.longest_stall, time.monotonic() - self._moved_at)
        self._time_each(now)
        self._before = now

    def _time_each(self, now: dict[str, Document]) -> None:
        moment = time.monotonic()
        for id, position in now.items():
            if position.get("next") != self._before.get(id, {}).get("next"):
                self._each_moved_at[id] = moment
            stall = moment - self._each_moved_at.setdefault(id, moment)
            self.stalls[id] = max(self.stalls.get(id, 0.0), stall)

    def _note(self, wrong: list[str]) -> None:
        with self._lock:
            self.wrong = [*self.wrong, *wrong][:_MOST]
