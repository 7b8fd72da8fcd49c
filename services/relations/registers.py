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

#: Maps a field to its value; None removes it.
Stated = Mapping[str, Any]
#: The version of an event that counts, and its entry in ``versions``.
_Entry = tuple[Version, Document]


def stated(event: ConsumerUpserted | ProviderUpserted | ProviderClosed) -> Stated:
    """The profile fields that an event states. A group that is null or empty states nothing."""
    if isinstance(event, ProviderClosed):
        return {"closed": True}
    data: Any = event.data
    found: dict[str, Any] = {}
    if isinstance(event, ProviderUpserted):
        found |= {name: getattr(data, name) for name in ("name", "categories") if name in data.model_fields_set}
        found["closed"] = False
    else:
        for group in ("personal", "consent"):
            for name, value in (getattr(data, group) or {}).items():
                found[f"{group}.{name}"] = value
    for name, value in (data.traits or {}).items():
        found[f"traits.{name}"] = value
    if (location := data.location) is not None:
        given = location.model_fields_set
        found |= {f"location.{name}": getattr(location, name) for name in _PLACES if name in given}
        if not given.isdisjoint(_COORDINATES):
            found[_POINT] = None if location.lat is None else (location.lat, location.lon)
    return found


def versions_of(profile: Document) -> dict[str, Version]:
    """The version of each field of a stored profile, removed ones included."""
    return {field: version for version, entry in _entries(profile) for field in entry["fields"]}


def _entries(profile: Document) -> list[_Entry]:
    """``versions``, in their order."""
    kept = profile.get("versions", ())
    if not isinstance(kept, Mapping):
        return [(Version.stored(entry), entry) for entry in kept]
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
    known = {field: stated for stated, entry in entries for field in entry["fields"] if field in said}
    won = {field: value for field, value in said.items() if _wins(old, known.get(field), field, value, version)}
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


def _wins(old: Document | None, known: Version | None, field: str, value: Any, version: Version) -> bool:
    if known is None or old is None or version > known:
        return True
    return version == known and _rank(value) > _rank(value_of(old, field))


def _rank(value: Any) -> bytes:
    """An order between two values that share one version, which a faulty upstream may send. By bytes, because 1,
    1.0 and True are equal in Python."""
    return orjson.dumps(value)


def _beyond(entries: Sequence[_Entry]) -> list[str]:
    """The registers of a group beyond its limit, lowest versions first."""
    if sum(len(entry["fields"]) for _, entry in entries) <= min(LIMITS.values()):
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
    moved: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for field, value in changed.items():
        part, _, name = field.partition(".")
        moved[part][name] = value
    # Profiles of an earlier version of Kith keep the order of their event.
    ordered = not isinstance(old.get("versions"), Mapping)
    for part in PARTS[collection]:
        value = old.get(part)
        if part in moved or not (ordered or value is None):
            value = _part(part, value, moved[part])
        if value is not None:
            document[part] = value
    document["versions"] = [entry for _, entry in entries]
    return document


def _part(part: str, old: Any, changed: Stated) -> Any:
    """A field or a group after ``changed``, sorted, and without removed values; None when nothing is left."""
    if part not in _GROUPS:
        return changed.get("", old)
    values = {**(old or {}), **changed}
    if part != "location":
        return {name: value for name in sorted(values) if (value := values[name]) is not None} or None
    if _POINT_NAME in changed:
        values["lat"], values["lon"] = changed[_POINT_NAME] or (None, None)
    return {name: value for name in _PLACE if (value := values.get(name)) is not None} or None
