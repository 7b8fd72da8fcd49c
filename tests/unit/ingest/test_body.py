"""Reading a body within its limits."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest import body as body_module
from services.ingest.body import MAX_MEMBERS, declared_bytes, inflate, read
from services.ingest.limits import MAX_BODY_BYTES, Refused

GZIP = [(b"content-encoding", b"GZip")]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_chunks_are_put_together() -> None:
    assert asyncio.run(read(chunks(b"ab", b"", b"c"), [])) == b"abc"


def test_reading_stops_at_the_limit() -> None:
    seen = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal seen
        while True:
            seen += 1
            yield b"x" * 65536

    with pytest.raises(Refused) as refused:
        asyncio.run(read(endless(), []))
    assert refused.value.status == 413
    assert seen == MAX_BODY_BYTES // 65536 + 1
    assert len(asyncio.run(read(chunks(b"x" * MAX_BODY_BYTES), []))) == MAX_BODY_BYTES


def test_a_sender_that_dawdles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "READ_SECONDS", 0.01)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    with pytest.raises(Refused) as refused:
        asyncio.run(read(slow(), []))
    assert refused.value.status == 408


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ([(b"content-length", b"17")], 17),
        ([(b"content-length", str(MAX_BODY_BYTES).encode())], MAX_BODY_BYTES),
        ([], MAX_BODY_BYTES),
        ([(b"content-length", b"17"), *GZIP], MAX_BODY_BYTES),
        ([(b"content-length", b"17"), (b"content-encoding", b"identity")], 17),
    ],
)
def test_the_size_is_known_in_advance(headers: list[tuple[bytes, bytes]], size: int) -> None:
    assert declared_bytes(headers) == size


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("content-length", str(MAX_BODY_BYTES + 1), 413),
        ("content-length", "9" * 5000, 413),
        ("content-length", "-1", 400),
        ("content-length", "1e3", 400),
        ("content-encoding", "br", 415),
        ("content-encoding", "gzip, gzip", 415),
    ],
)
def test_a_body_that_will_not_do_is_refused_unread(name: str, value: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        declared_bytes([(name.encode(), value.encode())])
    assert refused.value.status == status


def test_gzip_is_decompressed() -> None:
    packed = gzip.compress(b"events" * 1000)
    assert asyncio.run(read(chunks(packed[:7], packed[7:]), GZIP)) == b"events" * 1000
    assert inflate(gzip.compress(b"")) == b""
    assert len(inflate(gzip.compress(bytes(MAX_BODY_BYTES)))) == MAX_BODY_BYTES


@given(st.lists(st.binary(max_size=40_000), min_size=1, max_size=4), st.integers(0, 20))
def test_gzip_of_several_members_is_their_contents_one_after_the_other(parts: list[bytes], zeros: int) -> None:
    assert inflate(b"".join(map(gzip.compress, parts)) + bytes(zeros)) == b"".join(parts)


def test_x_gzip_is_the_old_name_of_gzip() -> None:
    headers = [(b"content-encoding", b"X-Gzip")]
    assert asyncio.run(read(chunks(gzip.compress(b"events")), headers)) == b"events"


def test_members_without_end_are_refused_soon() -> None:
    empty = gzip.compress(b"")
    assert inflate(empty * MAX_MEMBERS) == b""
    with pytest.raises(Refused) as refused:
        inflate(empty * (MAX_MEMBERS + 1))
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (gzip.compress(b"x") + bytes(9) + b"more", 400),
        (gzip.compress(b"x") + gzip.compress(b"y")[:-1], 400),
        (gzip.compress(b"x" * 600_000) + gzip.compress(b"y" * 600_000), 413),
        (b"", 400),
        (b"not gzip", 400),
        (gzip.compress(b"x" * 99)[:-3], 400),
        (gzip.compress(b"x") + b"more", 400),
        (gzip.compress(b"x")[:-8] + bytes(8), 400),
        (gzip.compress(bytes(MAX_BODY_BYTES + 1)), 413),
    ],
)
def test_bad_gzip_is_refused(packed: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        inflate(packed)
    assert refused.value.status == status
