"""A dead letter's message, line by line, with what is wrong in it marked. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from shared.access.lineage import reveals
from shared.access.masks import MASK
from shared.contracts.events import EVENT_MODELS, ConsumerLocation
from shared.runtime.protocols import Document

#: A page shows no more lines of one message; the answer says how many there are.
MAX_LINES = 2_000

Json = dict[str, Any]


class Line(NamedTuple):
    text: str
    #: Whether the field that the letter complains about is in this line, or the JSON ends to be JSON here.
    wrong: bool = False


class Unmaskable(ValueError):
    """The message is not a JSON object, so the masked fields in it cannot be located."""


class _Literal(str):
    """A number as the message has it: converting it could change it, which may be the very fault."""


class _Object(list[tuple[str, Any]]):
    """The members of an object as the message has them: repeated names are kept."""


def tenant_of(letter: Document) -> str | None:
    """The tenant of a message: by the event, or by the message's key (``tenant:id``) if the event cannot be read;
    None if neither has one, or the event states none that is certain."""
    if (tenant := letter.get("tenant")) is not None:
        return str(tenant)
    # It was read, and each of two tenants could be meant: whatever else is wrong in it may be the fault.
    if letter.get("field") == "tenant" or "type" in letter or "event_id" in letter:
        return None
    named, colon, _ = (letter.get("key") or b"").partition(b":")
    return named.decode("utf-8", "replace") if colon else None


def shown(letter: Document, masks: Sequence[str] = ()) -> Json:
    """What the page shows of an opened letter, for JSON. Raises Unmaskable."""
    value, field = letter["value"] or b"", letter["field"]
    lines = lines_of(value, field, masks) if value else []
    return {
        "id": letter["_id"],
        "field": field,
        "missing": missing(value, field),
        "lines": [{"text": line.text, "wrong": line.wrong} for line in lines[:MAX_LINES]],
        "more": max(0, len(lines) - MAX_LINES),
        "cut": letter.get("cut"),
    }


def lines_of(value: bytes, field: str | None, masks: Sequence[str] = ()) -> list[Line]:
    """The message as lines. ``field`` (``data.amount``) is marked where it is; ``masks`` are hidden, and with any
    mask also every value in a place that no event has: it may be a masked one under a misspelt name. A message
    that is no JSON comes as it is, the line that breaks it marked. Raises Unmaskable."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        if masks:
            raise Unmaskable from None
        # Bytes that are no text: 32 of them a line, in hexadecimal.
        return [Line(value[at : at + 32].hex(" ")) for at in range(0, len(value), 32)]
    try:
        found = json.loads(
            text,
            object_pairs_hook=_Object,
            parse_int=_Literal,
            parse_float=_Literal,
            parse_constant=_Literal,
        )
    except (json.JSONDecodeError, RecursionError) as error:
        if masks:
            raise Unmaskable from None
        broken = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        return [Line(line, at == broken) for at, line in enumerate(text.split("\n"), 1)]
    if masks and not isinstance(found, _Object):
        raise Unmaskable
    wanted = tuple(field.split(".")) if field else ()
    return list(_lines(found, (), "", "", wanted, tuple(masks)))


def missing(value: bytes, field: str | None) -> bool:
    """Whether ``field`` is named, and the message is JSON without it."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return False
    for name in field.split(".") if field else ():
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return True
    return False


def _lines(
    value: Any,
    place: tuple[str, ...],
    before: str,
    after: str,
    wanted: tuple[str, ...],
    masks: tuple[str, ...],
) -> Iterator[Line]:
    """``before`` is what stands on the first line in front of the value, ``after`` on its last behind it."""
    indent = "  " * len(place)
    wrong = bool(wanted) and place == wanted
    if masks and _is_masked(value, place, masks):
        yield Line(f"{indent}{before}{json.dumps(MASK, ensure_ascii=False)}{after}", wrong)
    elif isinstance(value, _Object | list) and value:
        opening, closing = ("{", "}") if isinstance(value, _Object) else ("[", "]")
        yield Line(f"{indent}{before}{opening}", wrong)
        members = value if isinstance(value, _Object) else [(str(at), item) for at, item in enumerate(value)]
        for at, (name, item) in enumerate(members):
            label = f"{json.dumps(name, ensure_ascii=False)}: " if isinstance(value, _Object) else ""
            comma = "," if at + 1 < len(members) else ""
            yield from _lines(item, (*place, name), label, comma, wanted, masks)
        yield Line(f"{indent}{closing}{after}", wrong)
    else:
        shown = "{}" if isinstance(value, _Object) else str(value)
        if not isinstance(value, _Literal | _Object):
            shown = json.dumps(value, ensure_ascii=False)
        yield Line(f"{indent}{before}{shown}{after}", wrong)


#: The parts of an event's data whose members have any name.
_OPEN_PARTS = frozenset({"personal", "traits", "consent"})
_DATA = frozenset(
    name for model in EVENT_MODELS for name in cast(Any, model.model_fields["data"].annotation).model_fields
)
_ATTRIBUTES = frozenset(name for model in EVENT_MODELS for name in model.model_fields) - {"data"}
#: Attributes that are derived from fields with other names: SDKs often set ``subject`` to the id of a consumer.
_REVEALED: Mapping[str, tuple[str, ...]] = {
    "id": ("event.id",),
    "source": ("event.source",),
    "time": ("time", "event.time"),
    "occurred_at": ("time",),
    "subject": ("consumer_id", "provider_id", "relation_id"),
}


def _is_masked(value: Any, place: tuple[str, ...], masks: tuple[str, ...]) -> bool:
    names = tuple(name for name in place if not name.isdecimal())
    # In binary mode the message is the data alone.
    path = names[1:] if names[:1] == ("data",) else names
    if not path:
        return bool(names) and not isinstance(value, _Object)
    if not _is_known(path):
        return True
    if isinstance(value, _Object) and path[0] in (*_OPEN_PARTS, "location") and len(path) == 1:
        # Its members are judged one by one, unless all of them are masked.
        return any(mask in (path[0], f"{path[0]}.*") for mask in masks)
    fields = _REVEALED.get(path[0], (".".join(path),)) if len(path) == 1 else (".".join(path),)
    return reveals(masks, fields) is not None


def _is_known(path: tuple[str, ...]) -> bool:
    """Whether events have a value, or an object, in this place."""
    match path:
        case (name,):
            return name in _DATA or name in _ATTRIBUTES
        case ("location", name):
            return name in ConsumerLocation.model_fields
        case (part, _):
            return part in _OPEN_PARTS
    return False
