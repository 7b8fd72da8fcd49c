"""The records of the topic of wrapped keys, compacted: the last one of each key is what it is now. Pure."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from shared.contracts.errors import InvalidEvent
from shared.runtime.protocols import Message
from shared.vault.protocols import DESTROYED, Destroyed, Wrapped, Wrapping

_KEY, _WRAPPING = "key/", "wrapping/"
_DESTROYED = orjson.dumps({"destroyed": True})


class KeyRecord(NamedTuple):
    """The data key with this id in ``data_keys``."""

    id: str
    key: Wrapped | Destroyed


def key_messages(topic: str, keys: Mapping[str, Wrapped | Destroyed]) -> list[Message]:
    """A message per data key. The mark of a destroyed one stays for good, and is all that compaction leaves."""
    return [Message(topic, f"{_KEY}{id}".encode(), _key_value(key)) for id, key in keys.items()]


def wrapping_messages(topic: str, wrappings: Iterable[Wrapping]) -> list[Message]:
    return [
        Message(
            topic,
            f"{_WRAPPING}{each.number}".encode(),
            orjson.dumps({"wrapped": b64encode(each.wrapped).decode(), "master": each.master}),
        )
        for each in wrappings
    ]


def read_record(key: bytes | None, value: bytes | None) -> KeyRecord | Wrapping:
    """Raises InvalidEvent."""
    name = (key or b"").decode(errors="replace")
    try:
        fields = dict(orjson.loads(value or b""))
        if name.startswith(_WRAPPING):
            number = int(name.removeprefix(_WRAPPING))
            return Wrapping(number, b64decode(fields["wrapped"], validate=True), str(fields["master"]))
        if name.startswith(_KEY):
            return KeyRecord(name.removeprefix(_KEY), _key(fields))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidEvent("invalid", f"is no record of a key ({type(error).__name__})") from None
    raise InvalidEvent("invalid", "is no record of a key: its own key begins with neither key/ nor wrapping/")


def _key_value(key: Wrapped | Destroyed) -> bytes:
    if isinstance(key, Destroyed):
        return _DESTROYED
    return orjson.dumps({"wrapped": b64encode(key.wrapped).decode(), "wrapping": key.wrapping})


def _key(fields: Mapping[str, object]) -> Wrapped | Destroyed:
    if fields.get("destroyed"):
        return DESTROYED
    wrapped, wrapping = fields["wrapped"], fields["wrapping"]
    if not isinstance(wrapped, str) or not isinstance(wrapping, int):
        raise TypeError
    return Wrapped(b64decode(wrapped, validate=True), wrapping)
