"""Spellings of one id. Unicode writes é as one character or as an e and an accent, which are the same text. Ids
are compared, stored and sealed in its form NFC, whatever the form in which they came. Pure.
"""

import unicodedata
from itertools import product
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel

from shared.contracts.errors import InvalidEvent
from shared.contracts.events import MAX_ID

_BACKSLASH = ord("\\")
_NAMES = ("id", "source")
_NAMES_IN_DATA = ("consumer_id", "provider_id", "relation_id")
#: An id with fewer characters that can be decomposed is looked for in every mixture of both forms.
_FEW = 7

_Event = TypeVar("_Event", bound=BaseModel)


def nfc(id: str) -> str:
    """The id in NFC: itself, nearly always."""
    return id if id.isascii() else unicodedata.normalize("NFC", id)


def may_differ(raw: bytes) -> bool:
    """Whether JSON may hold an id that is not in NFC. Quick, and False for all that is ASCII without escapes."""
    # As a number, a byte is found fifty times as fast as two bytes are.
    return not raw.isascii() or (_BACKSLASH in raw and b"\\u" in raw)


def other_spellings(id: str) -> list[str]:
    """How else an id in NFC may have been written, and stored, before ids were normalised: each of its characters
    whole or decomposed. Where many can be, all are decomposed, or all before or after one place.

    Left out are spellings that no keyboard or file system makes: one of two accents decomposed, and the characters
    that NFC replaces by another single one (the signs of kelvin and ångström)."""
    if id.isascii():
        return []
    forms = [(each, unicodedata.normalize("NFD", each)) for each in id]
    places = [place for place, (whole, parts) in enumerate(forms) if whole != parts]
    if len(places) < _FEW:
        found = {"".join(each) for each in product(*(dict.fromkeys(form) for form in forms))}
    else:
        found = {"".join(parts for _, parts in forms)}
        for place in places:
            found.add("".join(form[index < place] for index, form in enumerate(forms)))
            found.add("".join(form[index >= place] for index, form in enumerate(forms)))
    return sorted(found - {id})


def with_ids_in_nfc(event: _Event) -> _Event:
    """The event with its ids, and its source, in NFC: itself, nearly always. Raises InvalidEvent for one that is
    longer than ids may be in that form."""
    data: BaseModel = event.data  # type: ignore[attr-defined]
    update = _moved(event, _NAMES, "")
    if moved := _moved(data, _NAMES_IN_DATA, "data."):
        update["data"] = data.model_copy(update=moved)
    return event.model_copy(update=update) if update else event


def bytes_in_nfc(raw: bytes) -> bytes:
    """The bytes of a valid event with its ids, and its source, in NFC: ``raw`` itself, nearly always."""
    if not may_differ(raw):
        return raw
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw  # stricter than the codec: half an emoji, for one. Who reads it normalises it again.
    return orjson.dumps(fields) if put_in_nfc(fields) else raw


def put_in_nfc(fields: dict[str, Any]) -> bool:
    """Put the ids, and the source, of an event's JSON object in NFC. Returns whether any was in another form."""
    data = fields.get("data")
    return _respell(fields, _NAMES) | (isinstance(data, dict) and _respell(data, _NAMES_IN_DATA))


def spelled_consumer(raw: bytes) -> str | None:
    """The consumer's id as an event in structured mode states it."""
    try:
        found = orjson.loads(raw)["data"]["consumer_id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _moved(part: BaseModel, names: tuple[str, ...], prefix: str) -> dict[str, Any]:
    found = {}
    for name in names:
        stated: str | None = getattr(part, name, None)
        if stated is None or (new := nfc(stated)) == stated:
            continue
        if len(new) > MAX_ID:
            detail = f"has more than {MAX_ID} characters in Unicode's form NFC, in which ids are compared"
            raise InvalidEvent("invalid", detail, prefix + name)
        found[name] = new
    return found


def _respell(part: dict[str, Any], names: tuple[str, ...]) -> bool:
    changed = False
    for name in names:
        if isinstance(stated := part.get(name), str) and (new := nfc(stated)) != stated:
            part[name], changed = new, True
    return changed
