"""kafka-python reads a record whose header has a name that is not UTF-8, and still refuses what is corrupt."""

import subprocess
import sys
from typing import Any

import pytest
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from shared.kafka.python_client.headers import read_any_header_name

PLAIN, GZIP = 0, 1


class Bytes(str):
    """A name that is not UTF-8 on the wire."""

    def encode(self, *_: str) -> bytes:
        return b"\xff\xfe"


@pytest.fixture(autouse=True)
def lenient() -> None:
    for _ in range(2):
        read_any_header_name()


def batch(*names: str, compression: int = PLAIN) -> bytearray:
    """A batch as a producer writes it: one record of 1,000 bytes for each name, with one more header."""
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 20)
    for n, name in enumerate(names):
        builder.append(n, 1_000 + n, b"k%d" % n, b"v" * 1_000, [("other", b"1"), (name, b"2")])
    built: bytearray = builder.build()
    return built


def read(raw: bytes | bytearray) -> list[Any]:
    [found] = MemoryRecords(bytes(raw))
    assert found.validate_crc()
    return list(found)


@pytest.mark.parametrize("compression", [PLAIN, GZIP])
def test_such_a_record_comes_without_its_headers_and_those_around_it_as_they_are(compression: int) -> None:
    odd = Bytes("?")
    records = read(batch("a", odd, "\ufffd", odd, odd, "b", compression=compression))
    whole = [[("other", b"1"), (name, b"2")] for name in ("a", "\ufffd", "b")]
    assert [record.headers for record in records] == [whole[0], [], whole[1], [], [], whole[2]]
    assert [(r.offset, r.timestamp, r.key, r.value) for r in records] == [
        (n, 1_000 + n, b"k%d" % n, b"v" * 1_000) for n in range(6)
    ]


def test_a_record_whose_lengths_do_not_fit_is_still_corrupt() -> None:
    raw = batch("a", Bytes("?"))
    place = raw.index(b"\xff\xfe")
    raw[place - 1] += 2  # the name's length, by one
    [found] = MemoryRecords(bytes(raw))
    assert not found.validate_crc()
    records = iter(found)
    assert next(records).offset == 0
    with pytest.raises(CorruptRecordError):
        next(records)


def test_a_batch_that_goes_on_after_its_last_record_is_still_corrupt() -> None:
    raw = batch("a", Bytes("?"))
    raw[57:61] = (1).to_bytes(4, "big")  # the count of records
    [found] = MemoryRecords(bytes(raw))
    with pytest.raises(CorruptRecordError, match="unconsumed"):
        list(found)


def test_importing_changes_nothing() -> None:
    code = (
        "from kafka.record import default_records, memory_records\n"
        "import shared.kafka.python_client.watch, shared.kafka.python_client.all_partitions\n"
        "assert memory_records.DefaultRecordBatch is default_records.DefaultRecordBatch"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
