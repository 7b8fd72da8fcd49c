"""What keeps a service from answering before its state may be shown."""

import logging
import threading

from shared.contracts.errors import Unavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS, _TROUBLE_SECONDS = 0.5, 5.0


class ReadinessGate:
    """Polls ``look`` in a thread of its own, once ``start`` is called, until nothing is left to wait for. Then it
    is ``open``, for good. A subclass implements ``look``. Safe for threads."""

    def __init__(self, unknown: str) -> None:
        """``unknown``: the problem to report until the first look has ended."""
        self.open = False
        self._problems = [unknown]
        self._said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gate", daemon=True)

    def look(self) -> list[str]:
        """Why nothing may be answered yet; empty when everything may. Raises Unavailable."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def problems(self) -> list[str]:
        """Why nothing may be answered yet, as of the last look."""
        return [] if self.open else self._problems

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if not (found := self.look()):
                    self.open = True
                    return
                self._problems = found
            except Unavailable as error:
                log.warning("the gate waits: %s", error)
            except Exception as error:
                # Somebody has to do something: grant a right, for one. Then it opens without a restart.
                if self._said != (said := repr(error)):
                    log.exception("the gate cannot be opened")
                    self._said = said
                self._problems = ["what has to be known before anything is answered cannot be read; see the log"]
                self._stop.wait(_TROUBLE_SECONDS)
            self._stop.wait(_LOOK_SECONDS)
