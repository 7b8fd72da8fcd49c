"""Interpreter settings for processes that handle many events: thread switching and garbage collection."""

import gc
import sys

_SWITCH_SECONDS = 0.0005
_ALLOCATIONS = 100_000


def tune_gc() -> None:
    """Collect garbage rarely. Events and documents contain no cycles, and searching for cycles takes a quarter of
    the time of handling them. Call it once all permanent objects are loaded."""
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)


def shorten_switch_interval() -> None:
    """Let threads that wait for servers or answer queries run as soon as they can, beside one that computes. By
    default each waits up to 5 ms for the interpreter lock, several times per operation."""
    sys.setswitchinterval(_SWITCH_SECONDS)
