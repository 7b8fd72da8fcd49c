"""Relations and profiles from CSV files, for `kith evaluate` and `kith learn`."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from services.importer.csv_rows import Dialect, Refused, read_csv, stated_delimiter
from services.importer.csv_widths import Misfit, Widths, whole_rows
from services.importer.numbers import to_decimal
from services.importer.row import clean
from services.importer.times import to_time
from services.importer.values import BadValue, to_id, unwrapped
from services.intelligence.evaluation.relations import Relation, Relations
from services.intelligence.learning.profiles import Place, Profiles
from shared.contracts.errors import ConfigurationError
from shared.contracts.spelling import nfc


class _Columns(NamedTuple):
    """``optional`` are read where the file has them. Others are not read: a rating, measured, does not improve a
    ranking."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]


_RELATIONS = _Columns(("consumer", "provider"), ("time", "kind"))
_PROFILES = _Columns(("side", "id"), ("latitude", "longitude", "categories"))


def read_relations(path: Path) -> Relations:
    """A CSV file with the columns consumer, provider and, if they are known, time and kind. Raises
    ConfigurationError with the line."""
    rows = [
        Relation(
            _id(row, "consumer", place),
            _id(row, "provider", place),
            _time(row["time"], place) if row.get("time") else None,
            row.get("kind") or "relation",
        )
        for place, row in _rows(path, _RELATIONS)
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
    first: dict[tuple[str, str], str] = {}
    for place, row in _rows(path, _PROFILES):
        side, id = row["side"], _id(row, "id", place)
        if side not in places:
            raise ConfigurationError(f"{place}: side is {side!r}; it must be consumer or provider")
        if (other := first.setdefault((side, id), place)) != place:
            raise ConfigurationError(f"{place}: the {side} has a row already ({other})")
        if row.get("latitude") or row.get("longitude"):
            places[side][id] = _place(row.get("latitude", ""), row.get("longitude", ""), place)
        if named := frozenset(name for each in row.get("categories", "").split("|") if (name := each.strip())):
            if side == "consumer":
                raise ConfigurationError(f"{place}: a consumer has no categories")
            categories[id] = named
    return Profiles(places["consumer"], places["provider"], categories)


def _rows(path: Path, columns: _Columns) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each row, and where it stands. Rows are as those of `kith import`: a stray mark joins none."""
    try:
        # Undecodable bytes become surrogates, so that the line can be named.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            first = next(file, "")
            delimiter = stated_delimiter(first)
            lines, start = (chain([first], file), 1) if delimiter is None else (file, 2)
            records = read_csv(lines, Dialect(delimiter or ",", '"'), start)
            header = next(records, None)
            if isinstance(header, Refused):
                raise ConfigurationError(f"{path}, line {header.number}, the header, {header.detail}")
            names = [] if header is None else [unwrapped(name.strip()) for name in header.cells]
            _check(path, names, columns)
            widths = Widths(names, frozenset(columns.needed), remedy="write all its cells, empty ones too")
            for row in whole_rows(records, widths):
                place = f"{path}, line {row.number if isinstance(row, Refused) else row.record.number}"
                if isinstance(row, Refused | Misfit):
                    raise ConfigurationError(f"{place} {row.detail}")
                if not clean(*row.record.cells):
                    raise ConfigurationError(f"{place} is not CSV in UTF-8")
                found = dict(zip(names, row.cells, strict=True))
                yield place, {name: nfc(unwrapped(cell.strip()).strip()) for name, cell in found.items() if name}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def _check(path: Path, names: list[str], columns: _Columns) -> None:
    """Raises ConfigurationError for a header without a needed column, or with one of the columns twice."""
    if not clean(*names):
        raise ConfigurationError(f"{path}: its header is not CSV in UTF-8")
    known = (*columns.needed, *columns.optional)
    if missing := [name for name in columns.needed if name not in names]:
        raise ConfigurationError(
            f"{path} has no column {' and no column '.join(missing)}; its first line must name "
            f"the columns: {', '.join(known)}, separated by commas"
        )
    if twice := [name for name in known if names.count(name) > 1]:
        raise ConfigurationError(f"{path} has two columns {twice[0]}")


def _id(row: Mapping[str, str], name: str, place: str) -> str:
    if not row[name]:
        raise ConfigurationError(f"{place}: {name} is empty")
    try:
        return to_id(row[name])
    except BadValue as error:
        raise ConfigurationError(f"{place}: {name} {error}") from None


def _time(text: str, place: str) -> datetime:
    try:
        return datetime.fromisoformat(to_time(text, zone=UTC))
    except BadValue:
        raise ConfigurationError(
            f"{place}: time must be a day such as 2026-11-21 or a time such as 2026-11-21T07:00:00+01:00; without "
            "an offset it is UTC"
        ) from None


def _place(latitude: str, longitude: str, place: str) -> Place:
    try:
        found = Place(float(to_decimal(latitude)), float(to_decimal(longitude)))
    except BadValue:
        raise ConfigurationError(f"{place}: latitude and longitude must both be numbers") from None
    if not (-90 <= found.latitude <= 90 and -180 <= found.longitude <= 180):
        raise ConfigurationError(f"{place}: latitude must be from -90 to 90, longitude from -180 to 180")
    return found
