"""Lets one thread at a time compile how kafka-python reads a kind of message.

Refers to kafka-python 3.0.12. It compiles a reader when the first such message comes, and meanwhile keeps the
message's class in a field of all threads. Of two clients of a process that connect at the same moment, one could
be left with a reader that fails for every message: no client of the process connected any more until it ended.
"""

import threading
from typing import Any

from kafka.protocol.schemas import StructField

_lock = threading.Lock()
_compiled_decode_from = StructField.compiled_decode_from


def compile_one_at_a_time() -> None:
    """Make kafka-python do so in this process. Idempotent."""
    StructField.compiled_decode_from = _compiled_alone


def _compiled_alone(self: Any, *form: Any, **options: Any) -> Any:
    with _lock:
        return _compiled_decode_from(self, *form, **options)
