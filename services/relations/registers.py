"""The fields of a profile: each is a register of its own, with the version of the event that stated it last. Pure.

A field is named by its path: ``personal.email``, ``consent.sms``, ``categories``; ``location.point`` is latitude
and longitude together. A document has the values where readers expect them. Its ``versions`` has one entry for
each event of which some field is left, with the names of these fields. A field that is named there without a value
is a tombstone: its version stays, so that an older value that arrives later does not restore it.

A group keeps at most LIMITS registers, tombstones included: those with the highest versions, and within one
version those with the highest names. This is a function of the set of events, too: a register that is dropped has
as many above it as the group keeps, and versions only rise, so no event could restore it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson

from shared.contracts.events import ConsumerUpserted, ProviderClosed, ProviderUpserted, Version
from shared.runtime.protocols import Document

#: The fields and groups of a profile, in the order in which documents have them.
PARTS = {
    "consumers": ("personal", "location", "traits", "consent"),
    "providers": ("name", "categories", "location", "traits", "closed"),
}
#: How many registers a group keeps: as many as one event can state.
LIMITS = {"personal": 50, "traits": 100, "consent": 50}
_POINT = "location.point"

_GROUPS = frozenset({"personal", "location", "traits", "consent"})
_POINT_NAME = "point"
_COORDINATES = ("lat", "lon")
_PLACES = ("country", "region", "city")
_PLACE = (*_PLACES, *_COORDINATES)

_SAME_IF_EQUAL = frozenset({str, int, bool, type(None)})

#: Maps a field to its value; None removes it.
Stated = Mapping[str, Any]
#: A Version as a plain tuple: it compares alike, and is made in a third of the time.
_Plain = tuple[int, str, str, str]
#: The version of an event that counts, and its entry in ``versions``.
_Entry = tuple[_Plain, Document]


def stated(event: ConsumerUpserted | ProviderUpserted | ProviderClosed) -> Stated:
    """The profile fields that an event states. A group that is null or empty states nothing."""
    if isinstance(event, ProviderClosed):
        return {"closed": True}
    data: Any = event.data
    found: dict[str, Any] = {}
    if isinstance(event, ProviderUpserted):
        given = data.__pydantic_fields_set__
        found = {name: getattr(data, name) for name in ("name", "categories") if name in given}
        found["closed"] = False
    else:
        for group in ("personal", "consent"):
            for name, value in (getattr(data, group) or {}).items():
                found[f"{group}.{name}"] = value
    for name, value in (data.traits or {}).items():
        found[f"traits.{name}"] = value
    if (location := data.location) is not None:
        for name in location.__pydantic_fields_set__:
            if name not in _COORDINATES:
                found[f"location.{name}"] = getattr(location, name)
            else:
                found[_POINT] = None if location.lat is None else (location.lat, location.lon)
    return found


def versions_of(profile: Document) -> dict[str, Version]:
    """The version of each field of a stored profile, removed ones included."""
    return {field: Version(*version) for version, entry in _entries(profile) for field in entry["fields"]}


def _entries(profile: Document) -> list[_Entry]:
    """``versions``, in their order."""
    kept = profile.get("versions", ())
    if not isinstance(kept, Mapping):
        return [((e["time"], e.get("sequence", ""), e["source"], e["id"]), e) for e in kept]
    # Stored before fields had their own versions: each field has the version of its part.
    found: defaultdict[Version, list[str]] = defaultdict(list)
    for part, version in kept.items():
        found[Version.stored(version)] += _fields_in(profile, part)
    return [(version, _entry(version, found[version])) for version in sorted(found) if found[version]]


def _entry(version: Version, fields: Iterable[str]) -> Document:
    return {**version.document(), "fields": sorted(fields)}


def _fields_in(profile: Document, part: str) -> Iterable[str]:
    if part not in _GROUPS:
        return (part,)
    names = profile.get(part, {})
    if part == "location":
        return {_POINT if name in _COORDINATES else f"location.{name}" for name in names}
    return [f"{part}.{name}" for name in names]


def value_of(profile: Document, field: str) -> Any:
    """The value of a field in a stored profile; None if it has been removed."""
    group, _, name = field.partition(".")
    if not name:
        return profile.get(group)
    part = profile.get(group, {})
    if field == _POINT:
        return (part["lat"], part["lon"]) if "lat" in part else None
    return part.get(name)


def fold(collection: str, subject: Document, old: Document | None, said: Stated, version: Version) -> Document:
    """The profile of ``subject`` (its id, tenant and own id) after an event of ``version`` that stated ``said``:
    ``old`` itself if the event has no effect."""
    entries = _entries(old) if old is not None else []
    won = dict(said)
    if entries and entries[-1][0] >= version:  # else it outranks all that is known
        known = {field: stated for stated, entry in entries for field in entry["fields"] if field in said}
        won = {f: value for f, value in said.items() if _wins(old, known.get(f), f, value, version)}
    if won:
        entries = _replaced(entries, won, version)
        for field in _beyond(entries):
            entries = _without(entries, {field})
            won[field] = None
            said = {name: value for name, value in said.items() if name != field}
    if old is not None and said.keys().isdisjoint(won):
        return old  # every stated field is older, or beyond the limit
    return _document(collection, subject, old or {}, won, entries)


def canonical(collection: str, profile: Document) -> Document:
    """A stored profile in today's form. A profile stored before fields had their own versions has another form."""
    if not isinstance(profile.get("versions"), Mapping):
        return profile
    subject = {name: value for name, value in profile.items() if name not in (*PARTS[collection], "versions")}
    return _document(collection, subject, profile, {}, _entries(profile))


def _replaced(entries: Sequence[_Entry], fields: Collection[str], version: Version) -> list[_Entry]:
    """The entries after ``version`` has stated ``fields``."""
    left = _without(entries, fields)
    if not left or left[-1][0] < version:
        left.append((version, _entry(version, fields)))
        return left
    place = bisect_left(left, version, key=itemgetter(0))
    if place < len(left) and left[place][0] == version:
        left[place] = (version, _entry(version, [*left[place][1]["fields"], *fields]))
    else:
        left.insert(place, (version, _entry(version, fields)))
    return left


def _without(entries: Sequence[_Entry], fields: Collection[str]) -> list[_Entry]:
    found = []
    for version, entry in entries:
        left = [field for field in entry["fields"] if field not in fields]
        if len(left) == len(entry["fields"]):
            found.append((version, entry))
        elif left:
            found.append((version, {**entry, "fields": left}))
    return found


def _wins(old: Document | None, known: _Plain | None, field: str, value: Any, version: Version) -> bool:
    if known is None or old is None or version > known:
        return True
    return version == known and _outranks(value, value_of(old, field))


def _outranks(value: Any, other: Any) -> bool:
    """Whether ``value`` counts and not ``other``, which has the same version: of a duplicate both are the same, of
    a faulty upstream they may differ. By bytes, because 1, 1.0 and True are equal in Python."""
    if (kind := type(value)) is type(other) and kind in _SAME_IF_EQUAL and value == other:
        return False  # as the bytes would say
    return orjson.dumps(value) > orjson.dumps(other)


def _beyond(entries: Sequence[_Entry]) -> list[str]:
    """The registers of a group beyond its limit, lowest versions first."""
    total = 0
    for _, entry in entries:
        total += len(entry["fields"])
    if total <= min(LIMITS.values()):
        return []
    beyond: list[str] = []
    for group, most in LIMITS.items():
        fields = [field for _, entry in entries for field in entry["fields"] if field.startswith(f"{group}.")]
        beyond += fields[: max(0, len(fields) - most)]
    return beyond


def _document(
    collection: str, subject: Document, old: Document, changed: Stated, entries: Sequence[_Entry]
) -> Document:
    document = dict(subject)
    moved: dict[str, dict[str, Any]] = {}
    for field in sorted(changed):
        part, name = _split(field)
        if part in moved:
            moved[part][name] = changed[field]
        else:
            moved[part] = {name: changed[field]}
    # Profiles of an earlier version of Kith keep the order of their event.
    ordered = not isinstance(old.get("versions"), Mapping)
    for part in PARTS[collection]:
        value = old.get(part)
        if part in moved:
            value = _part(part, value, moved[part], ordered)
        elif not (ordered or value is None):
            value = _part(part, value, {}, ordered)
        if value is not None:
            document[part] = value
    document["versions"] = [entry for _, entry in entries]
    return document


@lru_cache(4_096)
def _split(field: str) -> tuple[str, str]:
    """A field's part, and its name in it."""
    part, _, name = field.partition(".")
    return part, name


def _part(part: str, old: Any, changed: Stated, ordered: bool) -> Any:
    """A field or a group after ``changed``, in one order, whichever came first, and without what has been removed;
    None when nothing is left. The names in ``changed`` have that order, and those in ``old`` where ``ordered``."""
    if part not in _GROUPS:
        return changed.get("", old)
    if part == "location":
        values = {**old, **changed} if old else dict(changed)
        if _POINT_NAME in changed:
            values["lat"], values["lon"] = changed[_POINT_NAME] or (None, None)
        return {name: value for name in _PLACE if (value := values.get(name)) is not None} or None
    if not old:
        return {name: value for name, value in changed.items() if value is not None} or None
    values = {**old, **changed}
    if ordered and len(values) == len(old) and None not in changed.values():
        return values
    return {name: value for name in sorted(values) if (value := values[name]) is not None} or None
