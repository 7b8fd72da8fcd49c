"""Whatever a publisher writes into the properties of a message, the message is read, and only it is bad."""

import struct
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode
from pamqp.commands import Basic
from pamqp.frame import unmarshal
from pamqp.header import ContentHeader

from services.rabbitmq.frames import delivery_of
from services.rabbitmq.lenient import Undecodable, tolerate_properties
from services.rabbitmq.translation import requests_of
from shared.contracts.errors import InvalidEvent

#: pamqp's own, of before.
STRICT = {**decode.METHODS}
OF_TABLE = {**decode.TABLE_MAPPING}
NAMES = {each: Basic.Properties.flags[each] for each in Basic.Properties.__slots__}


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "METHODS", {**STRICT})
    monkeypatch.setattr(decode, "TABLE_MAPPING", {**OF_TABLE})
    tolerate_properties()


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def table(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def nested(depth: int) -> bytes:
    """Arrays in arrays."""
    found = b""
    for _ in range(depth):
        found = b"A" + table(found)
    return found


ENTRY = st.builds(
    lambda name, kind, value: short(name) + kind + value,
    st.binary(max_size=4),
    st.sampled_from([b"S", b"T", b"A", b"F", b"x", b"l", b"V", b"q", b"D", b"t"]),
    st.binary(max_size=12),
)
VALUES: dict[str, st.SearchStrategy[bytes]] = {
    "octet": st.integers(0, 255).map(lambda n: bytes([n])),
    "shortstr": st.one_of(st.binary(max_size=20), st.text(max_size=8).map(str.encode)).map(short),
    "timestamp": st.binary(min_size=8, max_size=8),
    "table": st.lists(ENTRY, max_size=4).map(b"".join).map(table),
}


@st.composite
def properties(draw: st.DrawFn) -> dict[str, bytes]:
    chosen = draw(st.sets(st.sampled_from(list(NAMES))))
    return {name: draw(VALUES[Basic.Properties.amqp_type(name)]) for name in NAMES if name in chosen}


def header(written: dict[str, bytes]) -> bytes:
    flags = sum(NAMES[name] for name in written)
    return struct.pack(">HHQH", 60, 0, 2, flags) + b"".join(written.values())


def frame_of(written: dict[str, bytes]) -> Any:
    content = header(written)
    return unmarshal(struct.pack(">BHI", 2, 1, len(content)) + content + b"\xce")[2]


@given(properties())
def test_every_message_is_read_and_what_pamqp_reads_is_read_as_it_does(written: dict[str, bytes]) -> None:
    frame = frame_of(written)
    assert isinstance(frame, ContentHeader)
    rest = b"".join(written.values())
    for name, value in written.items():
        found, data = getattr(frame.properties, name), rest
        rest = rest[len(value) :]
        try:
            strict = STRICT[Basic.Properties.amqp_type(name)](data)[1]
        except (ValueError, OverflowError, OSError):
            # A bad time in a table leaves its number; all else that is bad is the whole property.
            assert isinstance(found, Undecodable) or name == "headers"
        else:
            assert found == strict or repr(found) == repr(strict)


def delivered(written: dict[str, bytes]) -> Any:
    deliver = Basic.Deliver("consumer", 7, False, "", "orders")
    return delivery_of(
        DeliveredMessage(delivery=deliver, header=frame_of(written), body=b"{}", channel=None)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"timestamp": struct.pack(">Q", 1_700_000_000_000_000)}, "timestamp"),
        ({"timestamp": b"\xff" * 8}, "timestamp"),
        ({"message_id": short(b"\xff\xfe")}, "message_id"),
        ({"content_type": short(b"\xff")}, "content_type"),
        ({"headers": table(short(b"\xff") + b"V")}, "headers"),
        ({"headers": table(short(b"a") + b"q")}, "headers"),
        ({"headers": table(short(b"a") + nested(3_000))}, "headers"),
    ],
)
def test_a_message_with_a_bad_property_is_bad_and_says_which(written: dict[str, bytes], named: str) -> None:
    delivery = delivered(written)
    assert delivery.undecodable == named
    with pytest.raises(InvalidEvent, match=f"property {named} is not as AMQP"):
        requests_of(delivery, "orders")


def test_what_has_no_meaning_here_harms_nothing() -> None:
    bad_time = short(b"sent") + b"T" + struct.pack(">Q", 1_700_000_000_000_000)
    delivery = delivered({"headers": table(bad_time), "app_id": short(b"\xff"), "user_id": short(b"\xfe")})
    assert delivery.undecodable == ""
    assert delivery.properties.headers == {"sent": 1_700_000_000_000_000}
