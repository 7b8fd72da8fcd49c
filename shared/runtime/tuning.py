"""How a process that handles many events shares its one interpreter lock, and how often it collects garbage."""

import gc
import sys

_SWITCH_SECONDS = 0.0005
_ALLOCATIONS = 100_000


def tune_gc() -> None:
    """Events and documents hold no cycles, and looking for some takes a quarter of the time of handling them. Call
    it once everything is loaded that stays."""
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)


def shorten_switch_interval() -> None:
    """Where one thread computes and others wait for servers or answer queries: let these get on as soon as they
    may. By default they would only after 5 ms, and several times for every operation."""
    sys.setswitchinterval(_SWITCH_SECONDS)
