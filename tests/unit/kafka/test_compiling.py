"""Clients that connect at the same moment can all read what they are answered."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kafka.protocol.api_header import ResponseClassRegistry
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


class Versions(dict[int, Any]):
    """Two threads find that a version has no class yet, if both are let."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.made = threading.Barrier(2), 0

    def __contains__(self, version: object) -> bool:
        found = super().__contains__(version)
        with contextlib.suppress(threading.BrokenBarrierError):
            if not found:
                self.both.wait(0.3)
        return found

    def __setitem__(self, version: int, made: Any) -> None:
        self.made += 1
        super().__setitem__(version, made)


def test_two_threads_make_one_class_of_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python holds the one that was registered last by a weak reference, and the one that was kept last."""
    connection(Settings(kafka="127.0.0.1:9"))
    versions = Versions()
    monkeypatch.setattr(ApiVersionsResponse, "_VERSIONS", versions)
    known = ResponseClassRegistry._response_class_registry
    monkeypatch.setattr(ResponseClassRegistry, "_response_class_registry", {**known})
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: ApiVersionsResponse[VERSION], range(2))
    assert versions.made == 1
    assert one is other
