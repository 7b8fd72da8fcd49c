"""Keeps a service from answering before its state may be shown."""

import logging
import threading

from shared.contracts.errors import Unavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS, _TROUBLE_SECONDS = 0.5, 5.0


class ReadinessGate:
    """Polls ``look`` on its own thread from ``start`` on, until nothing is left to wait for. It is then ``open``,
    permanently. A subclass implements ``look``. Thread-safe."""

    def __init__(self, unknown: str) -> None:
        """``unknown``: the problem to report until the first ``look`` has returned."""
        self.open = False
        self._problems = [unknown]
        self._logged = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gate", daemon=True)

    def look(self) -> list[str]:
        """Why requests cannot be answered yet; empty when they can. Raises Unavailable."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def problems(self) -> list[str]:
        """Why requests cannot be answered yet, as of the last ``look``."""
        return [] if self.open else self._problems

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if not (found := self.look()):
                    self.open = True
                    return
                self._problems = found
            except Unavailable as error:
                log.warning("not ready to answer requests, checking again: %s", error)
            except Exception as error:
                # An operator has to act, for example grant a right. The gate then opens without a restart.
                if self._logged != (text := repr(error)):
                    log.exception("readiness cannot be checked; correct the cause, no restart is needed")
                    self._logged = text
                self._problems = ["the state required for readiness cannot be read; see the log"]
                self._stop.wait(_TROUBLE_SECONDS)
            self._stop.wait(_LOOK_SECONDS)
