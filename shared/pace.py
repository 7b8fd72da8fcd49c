"""How a process that handles many events shares its one interpreter lock, and how often it collects garbage."""

import gc
import sys

# Whoever waits for the lock to send, receive or answer gets on as soon as it may: by default only after 5 ms, and
# several times for every operation on a server.
_SWITCH_SECONDS = 0.0005
# Events and documents hold no cycles, and looking for some takes a quarter of the time of handling them.
_ALLOCATIONS = 100_000


def keep_pace() -> None:
    """Call it once everything is loaded that stays."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)
