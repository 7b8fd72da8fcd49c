"""Relations and profiles from CSV files, for `kith evaluate` and `kith learn`."""

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from services.intelligence.evaluation.relations import Relation, Relations
from services.intelligence.learning.profiles import Place, Profiles
from shared.contracts.errors import ConfigurationError

_RELATIONS = ("consumer", "provider", "time", "kind", "rating")
_PROFILES = ("side", "id", "latitude", "longitude", "categories")


def read_relations(path: Path) -> Relations:
    """A CSV file with the columns consumer, provider and, if they are known, time and kind. A rating is read by
    nobody: measured, it does not improve a ranking. Raises ConfigurationError with the line."""
    rows = [
        Relation(
            _filled(row, "consumer", place),
            _filled(row, "provider", place),
            _time(row["time"], place) if row.get("time") else None,
            row.get("kind") or "relation",
        )
        for place, row in _rows(path, _RELATIONS, ("consumer", "provider"))
    ]
    if not rows:
        raise ConfigurationError(f"{path} has no row below its header")
    try:
        return Relations.of(rows)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_profiles(path: Path) -> Profiles:
    """A CSV file with the columns side (consumer or provider), id, latitude, longitude, and categories,
    separated by a vertical bar. Raises ConfigurationError with the line."""
    places: dict[str, dict[str, Place]] = {"consumer": {}, "provider": {}}
    categories = {}
    for place, row in _rows(path, _PROFILES, ("side", "id")):
        side, id = row["side"], _filled(row, "id", place)
        if side not in places:
            raise ConfigurationError(f"{place}: side is {side!r}; it must be consumer or provider")
        if row.get("latitude") or row.get("longitude"):
            places[side][id] = _place(row.get("latitude", ""), row.get("longitude", ""), place)
        if named := frozenset(name for each in row.get("categories", "").split("|") if (name := each.strip())):
            if side == "consumer":
                raise ConfigurationError(f"{place}: a consumer has no categories")
            categories[id] = named
    return Profiles(places["consumer"], places["provider"], categories)


def _rows(
    path: Path, columns: tuple[str, ...], needed: tuple[str, ...]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each row, and where it stands."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            if missing := [name for name in needed if name not in names]:
                raise ConfigurationError(
                    f"{path} has no column {' and no column '.join(missing)}; its first line must name "
                    f"the columns: {', '.join(columns)}, separated by commas"
                )
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise ConfigurationError(f"{place} has not as many values as the header")
                yield place, {name: row[name].strip() for name in columns if name in names}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} is not CSV in UTF-8: {error}") from None


def _filled(row: Mapping[str, str], name: str, place: str) -> str:
    if not row[name]:
        raise ConfigurationError(f"{place}: {name} is empty")
    return row[name]


def _time(text: str, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{place}: time must be like 2026-03-02 or 2026-03-02T10:00:00Z") from None
    try:
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ConfigurationError(f"{place}: time is out of range") from None


def _place(latitude: str, longitude: str, place: str) -> Place:
    try:
        found = Place(float(latitude), float(longitude))
    except ValueError:
        raise ConfigurationError(f"{place}: latitude and longitude must both be numbers") from None
    if not (-90 <= found.latitude <= 90 and -180 <= found.longitude <= 180):
        raise ConfigurationError(f"{place}: latitude must be from -90 to 90, longitude from -180 to 180")
    return found
