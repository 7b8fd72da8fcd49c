"""Clients that connect at the same moment can all read what they are answered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kafka.protocol.metadata import ApiVersionsResponse
from kafka.protocol.schemas import StructField

from shared.kafka.python_client.reader import connection
from shared.settings import Settings

VERSION = 3
ANSWER = ApiVersionsResponse(version=VERSION, error_code=0, api_keys=[], throttle_time_ms=0).encode(
    header=False, framed=False
)


def test_a_reader_that_two_threads_want_at_once_reads_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(Settings(kafka="127.0.0.1:9"))
    monkeypatch.setattr(ApiVersionsResponse._struct, "_compiled_encoders", {})
    emit = StructField.emit_decode_from
    both, first_is_done = threading.Barrier(2), threading.Event()

    def together(self: StructField, *given: Any, **options: Any) -> None:
        """The second thread begins before the first one ends, and goes on afterwards, if it is let."""
        if self is ApiVersionsResponse._struct:
            try:
                second = both.wait(0.3) == 1
            except threading.BrokenBarrierError:
                second = False  # it was not let
            if second:
                first_is_done.wait(60)
        emit(self, *given, **options)

    monkeypatch.setattr(StructField, "emit_decode_from", together)

    def read(_: int) -> Any:
        try:
            return ApiVersionsResponse.decode(ANSWER, version=VERSION).error_code
        finally:
            first_is_done.set()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(read, range(2))) == [0, 0]
