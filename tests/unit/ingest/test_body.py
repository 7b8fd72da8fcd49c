"""Decompressing a body within its limits. Those of reading it are of all services (tests/unit/http)."""

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.body import MAX_MEMBERS, inflate, is_gzip
from services.ingest.limits import Refused
from shared.contracts.limits import MAX_BODY_BYTES


@pytest.mark.parametrize("value", ["br", "gzip, gzip"])
def test_another_encoding_is_refused(value: str) -> None:
    with pytest.raises(Refused) as refused:
        is_gzip([(b"content-encoding", value.encode())])
    assert refused.value.status == 415


def test_gzip_is_decompressed() -> None:
    assert inflate(gzip.compress(b"events" * 1000)) == b"events" * 1000
    assert inflate(gzip.compress(b"")) == b""
    assert len(inflate(gzip.compress(bytes(MAX_BODY_BYTES)))) == MAX_BODY_BYTES


@given(st.lists(st.binary(max_size=40_000), min_size=1, max_size=4), st.integers(0, 20))
def test_gzip_of_several_members_is_their_contents_one_after_the_other(parts: list[bytes], zeros: int) -> None:
    assert inflate(b"".join(map(gzip.compress, parts)) + bytes(zeros)) == b"".join(parts)


@pytest.mark.parametrize("name", ["gzip", "GZip", "X-Gzip", " gzip "])
def test_x_gzip_is_the_old_name_of_gzip(name: str) -> None:
    assert is_gzip([(b"content-encoding", name.encode())])
    assert not is_gzip([])
    assert not is_gzip([(b"content-encoding", b"identity")])


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


@pytest.mark.parametrize(
    ("packed", "detail"),
    [
        (b"plain", "is not gzip"),
        (b"\x1f", "is truncated"),
        (gzip.compress(b"x") + b"plain", "is followed by other bytes"),
        (gzip.compress(b"x")[:-8] + bytes(8), "is damaged"),
        (gzip.compress(random.Random(1).randbytes(50_000))[:40_000] + bytes(50_000), "is damaged"),
    ],
)
def test_what_is_wrong_with_gzip_is_said(packed: bytes, detail: str) -> None:
    with pytest.raises(Refused, match=detail):
        inflate(packed)
