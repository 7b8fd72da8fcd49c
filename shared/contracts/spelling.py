"""The spellings of an id. Unicode encodes é as one character, or as an e and an accent; both are the same text.
Ids are compared, stored and sealed in normal form NFC, whatever form they arrive in. Pure."""

import unicodedata
from itertools import product
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.contracts.errors import InvalidEvent
from shared.contracts.events import MAX_ID

_BACKSLASH = ord("\\")
#: The fields of an event, and of its data, that are ids.
NAMES = ("id", "source")
NAMES_IN_DATA = ("consumer_id", "provider_id", "relation_id")
#: Unicode's normal forms take quadratic time for a row of accents.
_LONGEST = 5 * MAX_ID
#: An id with fewer decomposable characters than this is searched in every mixture of both forms.
_FEW = 7

_Event = TypeVar("_Event", bound=BaseModel)


def nfc(id: str) -> str:
    """The id in NFC; nearly always unchanged. What is much longer than an id is none, and stays as it is."""
    return id if id.isascii() or len(id) > _LONGEST else unicodedata.normalize("NFC", id)


def may_differ(raw: bytes) -> bool:
    """Whether the JSON may contain an id that is not in NFC. Fast. False for ASCII without escapes."""
    # An integer is found fifty times as fast as a sequence of two bytes.
    return not raw.isascii() or (_BACKSLASH in raw and b"\\u" in raw)


def other_spellings(id: str) -> list[str]:
    """The other spellings in which an id in NFC may have been stored before ids were normalised: each of its
    characters composed or decomposed. If many are decomposable, only these: all decomposed, or all before or after
    one place.

    Left out are spellings that no keyboard or file system produces: one of two accents decomposed, and the
    characters that NFC replaces by another single one (the signs of kelvin and ångström).
    """
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
    """The event with its ids, and its source, in NFC; nearly always unchanged. Raises InvalidEvent for an id that
    is too long in that form."""
    data: BaseModel = event.data  # type: ignore[attr-defined]
    update = _moved(event, NAMES, "")
    if moved := _moved(data, NAMES_IN_DATA, "data."):
        update["data"] = data.model_copy(update=moved)
    return event.model_copy(update=update) if update else event


def bytes_in_nfc(raw: bytes) -> bytes:
    """The bytes of a valid event with its ids, and its source, in NFC; nearly always unchanged."""
    if not may_differ(raw):
        return raw
    import orjson  # a command's help is shown without it

    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw  # stricter than the codec, as for half an emoji; the reader normalises it again
    return orjson.dumps(fields) if put_in_nfc(fields) else raw


def put_in_nfc(fields: dict[str, Any]) -> bool:
    """Convert the ids, and the source, of an event's JSON object to NFC. Returns whether any changed."""
    data = fields.get("data")
    return _respell(fields, NAMES) | (isinstance(data, dict) and _respell(data, NAMES_IN_DATA))


def spelled_consumer(raw: bytes) -> str | None:
    """The consumer's id as an event in structured mode spells it."""
    import orjson

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
