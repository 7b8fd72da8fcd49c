"""Repeats a small piece of work on a thread of its own, while the servers that it needs come and go."""

import logging
import threading
from collections.abc import Callable

from shared.contracts.errors import Unavailable

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0


class Periodic:
    """A Background that calls ``work`` at its start and every ``seconds`` after. A turn that fails is skipped: the
    next one does its work. Any error but Unavailable is logged as one."""

    def __init__(self, name: str, work: Callable[[], object], seconds: float) -> None:
        self._name, self._do, self._seconds = name, work, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the turn under way has ended, or after ten seconds."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._do()
            except Unavailable as error:
                log.debug("%s: skipped: %s", self._name, error)
            except Exception:
                # As a right that is missing in MongoDB. Nobody would notice a thread that has ended.
                log.exception("%s: failed; correct the cause, no restart is needed", self._name)
            self._stop.wait(self._seconds)
