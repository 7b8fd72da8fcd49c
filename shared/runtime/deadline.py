"""The end of a process that was told to stop: by itself, before its process manager kills it."""

import logging
import os
import sys
import threading
import traceback

log = logging.getLogger(__name__)

#: Process managers commonly kill after 30 s.
STOP_SECONDS = 25.0


def end_within(seconds: float = STOP_SECONDS) -> None:
    """End this process if it still runs after ``seconds``, and log where it hangs. It loses nothing by that: what
    is not committed is repeated by the next worker."""
    timer = threading.Timer(seconds, _end, [seconds])
    timer.daemon = True
    timer.start()


def _end(seconds: float) -> None:
    stacks = "\n".join("".join(traceback.format_stack(frame)) for frame in sys._current_frames().values())
    log.critical(
        "told to stop %.0f s ago, and a server still does not answer: ends now; what is not stored is repeated",
        seconds,
        extra={"stack": stacks},
    )
    logging.shutdown()
    os._exit(1)
