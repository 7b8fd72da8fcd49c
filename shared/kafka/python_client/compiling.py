"""Lets one thread at a time make what kafka-python reads a kind of message with.

Refers to kafka-python 3.0.12. It makes a class for a version of a message, and compiles a reader, when the first
such message comes, and keeps what it makes in fields of all threads. Of two clients of a process that connect at
the same moment, one could be left with a class that is gone or a reader that fails: no client of the process
connected any more until it ended.
"""

import threading
from typing import Any

from kafka.protocol.api_message import VersionSubscriptable
from kafka.protocol.schemas import StructField

_lock = threading.RLock()
_compiled_decode_from = StructField.compiled_decode_from
_of_version = VersionSubscriptable.__getitem__


def compile_one_at_a_time() -> None:
    """Make kafka-python do so in this process. Idempotent."""
    StructField.compiled_decode_from = _compiled_alone
    VersionSubscriptable.__getitem__ = _of_version_alone


def _compiled_alone(self: Any, *form: Any, **options: Any) -> Any:
    with _lock:
        return _compiled_decode_from(self, *form, **options)


def _of_version_alone(cls: Any, version: int | None) -> Any:
    with _lock:
        return _of_version(cls, version)
