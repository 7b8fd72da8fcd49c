"""The records of the topic of wrapped keys."""

import pytest

from shared.contracts.errors import InvalidEvent
from shared.vault.key_records import KeyRecord, key_messages, read_record, wrapping_messages
from shared.vault.protocols import DESTROYED, Destroyed, Wrapped, Wrapping


def test_a_record_is_read_as_it_was_written() -> None:
    keys: dict[str, Wrapped | Destroyed] = {"t:a%3Ab": Wrapped(b"\x00\xff", 3), "t:wrapping/1": DESTROYED}
    wrapping = Wrapping(2, b"\x01", "m1")
    messages = [*key_messages("kith.keys", keys), *wrapping_messages("kith.keys", [wrapping])]
    assert [read_record(message.key, message.value) for message in messages] == [
        *(KeyRecord(id, key) for id, key in keys.items()),
        wrapping,
    ]
    assert {message.topic for message in messages} == {"kith.keys"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"key/t:a", None),
        (b"key/t:a", b"[]"),
        (b"key/t:a", b'{"wrapped": "AA=="}'),
        (b"key/t:a", b'{"wrapped": "?", "wrapping": 1}'),
        (b"key/t:a", b'{"wrapped": 7, "wrapping": 1}'),
        (b"wrapping/x", b'{"wrapped": "AA==", "master": "m"}'),
        (b"other", b'{"destroyed": true}'),
    ],
)
def test_anything_else_is_named_and_not_shown(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(InvalidEvent, match="is no record of a key"):
        read_record(key, value)
