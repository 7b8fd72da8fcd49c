"""``kith import --init``: drafts a mapping from the content of a file, for the user to correct."""

import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from services.importer import encoding, guess
from services.importer.csv_rows import Cells, Dialect, read_csv
from services.importer.files import ENDINGS
from services.importer.mapping import MappingError, parse
from services.importer.row import NotAWorkbook
from services.importer.sampled import Table
from services.importer.text_rows import read_sample
from shared.observability.terminal import printable

_DELIMITERS = ",;\t|"
_UNSURE = "  # ?"


def write_draft(path: Path) -> Path:
    """Write a mapping of the file at ``path`` beside it. Raises MappingError if there is one already, or if the
    file cannot be read."""
    target = path.with_name(f"{_stem(path)}.toml")
    if target.exists():
        raise MappingError(f"{target}: exists already. Move it away first, or correct it by hand.")
    text = draft(path)
    parse(text, target)  # every draft must be a valid mapping; a test checks that for any file
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MappingError(f"{target}: cannot be written: {error.strerror}") from None
    return target


def draft(path: Path) -> str:
    """The mapping as text."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending not in ENDINGS:
        raise MappingError(f'{path}: the ending "{ending}" is unknown; known ones are {", ".join(ENDINGS)}')
    if not path.is_file():
        raise MappingError(f"{path}: there is no such file")
    format = ENDINGS[ending]
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise MappingError(f"{path}: its name is not text in UTF-8, and a mapping could not name it") from None
    # A ~ in front would be somebody's home.
    options: dict[str, Any] = {"path": f"./{path.name}" if path.name.startswith("~") else path.name}
    if format in ("csv", "jsonl"):
        options |= _text_options(path, format)
    parts = _parts(path, format, options)
    tables = [Table.read(path, part) for part in parts]
    used: set[str] = set()
    sources = [source for table in tables for source in _sources(path, table, used)]
    cells = [cell for table in tables for row in table.rows for cell in row.values()]
    missing = ", ".join(_quoted(word) for word in guess.missing(cells))
    name = printable(path.name)
    return (
        f"# A first mapping of {name}, made from what was seen in it. Lines with # ? are guesses.\n"
        f"# Then: kith import {printable(quote(_stem(path) + '.toml'))} --dry-run\n\n"
        f'[defaults]\ntimezone = "UTC"{_UNSURE} of times without an offset, and of days\nmissing = [{missing}]\n\n'
        + "\n".join(sources)
    )


def _text_options(path: Path, format: Literal["csv", "jsonl", "sqlite", "xlsx"]) -> dict[str, Any]:
    sample = read_sample(path)
    found = encoding.likely(sample)
    options: dict[str, Any] = {} if found == "utf-8" else {"encoding": found}
    if format == "csv":
        text = sample.decode("utf-8-sig" if found == "utf-8" else found, "replace")
        options["delimiter"] = _delimiter(text)
    return options


def _delimiter(text: str) -> str:
    """The delimiter: the character that gives the same number of cells, more than one, in the most rows."""
    if stated := re.match(r'"?sep=(.)"?', text):
        return stated[1]
    best, found = (0, 0), ","
    for delimiter in _DELIMITERS:
        rows = islice(read_csv(StringIO(text, newline=""), Dialect(delimiter, '"')), 50)
        widths = Counter(len(row.cells) for row in rows if isinstance(row, Cells) and len(row.cells) > 1)
        if widths and (score := (widths.most_common(1)[0][1], max(widths))) > best:
            best, found = score, delimiter
    return found


def _parts(path: Path, format: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of each table in the file."""
    if format == "sqlite":
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            ) as connection:
                names = connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                )
                tables = [str(name) for (name,) in names]
        except sqlite3.Error as error:
            raise MappingError(f"{path}: cannot be read: {error}") from None
        if not tables:
            raise MappingError(f"{path}: has no tables")
        return [options | {"table": name} for name in tables]
    if format == "xlsx":
        from services.importer.workbook import sheets  # openpyxl takes 0.2 s to import

        try:
            return [options | {"sheet": name} for name in sheets(path)]
        except NotAWorkbook as error:
            raise MappingError(f"{path}: {error}") from None
    return [options]


def _sources(path: Path, table: Table, used: set[str]) -> list[str]:
    consumer, provider, personal = (
        table.column("consumer"),
        table.column("provider"),
        [column for role in guess.PERSONAL for column in table.roles.get(role, [])],
    )
    happens = table.plausible("time") or table.money() or table.plausible("rating")
    label = _label(path, table.options, used)
    if (consumer and (provider or happens)) or (provider and happens):
        sources = [_source(path, table, label, "relation.recorded", _relation(table, path))]
        if consumer and personal:
            label = _label(path, table.options, used, "-consumers")
            profile = _profile(table, "consumer", personal)
            sources.append(_source(path, table, label, "consumer.upserted", profile))
        return sources
    if provider and not consumer:
        return [_source(path, table, label, "provider.upserted", _profile(table, "provider", []))]
    if consumer or personal:
        return [_source(path, table, label, "consumer.upserted", _profile(table, "consumer", personal))]
    return [_source(path, table, label, "relation.recorded", _relation(table, path))]


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


def _plain(text: str) -> str:
    """A name that may be part of an id."""
    return re.sub(r"[^\w-]+", "-", text, flags=re.ASCII).strip("-")[:80] or "rows"


def _label(path: Path, options: dict[str, Any], used: set[str], ending: str = "") -> str:
    plain = _plain(str(options.get("table") or options.get("sheet") or _stem(path)))
    label, number = plain + ending, 2
    while label in used:
        label, number = f"{plain}{ending}-{number}", number + 1
    used.add(label)
    return label


def _source(path: Path, table: Table, label: str, type: str, body: tuple[list[str], list[str]]) -> str:
    options = [
        f"{key} = {_quoted(value)}" + (_encoding_doubt(value) if key == "encoding" else "")
        for key, value in table.options.items()
    ]
    if (plain := _plain(_stem(path))) != _stem(path):
        # The default is made of the mapping's own name, which may be none that events can have.
        options.append(f"source = {_quoted(f'{plain}/{label}')}")
    above, fields = body
    lines = ["[[source]]", f"name = {_quoted(label)}", *options, f'type = "{type}"{_UNSURE}', *above]
    return "\n".join([*lines, "", "[source.fields]", *fields, ""])


def _encoding_doubt(encoding: str) -> str:
    others = "cp1250 (Central Europe), cp1254 (Turkish)" if encoding == "cp1252" else "cp1252 (Western)"
    return "" if encoding.startswith("utf") else f"{_UNSURE} or {others}"


def _relation(table: Table, path: Path) -> tuple[list[str], list[str]]:
    used: set[str | None] = set()
    above = _times(table, path, used)
    fields: list[str] = []
    if order := table.column("relation"):
        used.add(order)
        fields.append(f"relation_id = {_quoted(order)}")
    rated, paid = table.plausible("rating"), table.money()
    unread = None if paid else next(filter(table.has, table.roles.get("amount", [])), None)
    kind = "purchase" if paid or unread else "review" if rated else "visit"
    fields.append(f'kind = {{ const = "{kind}" }}{_UNSURE}')
    for target, role in (("consumer_id", "consumer"), ("provider_id", "provider")):
        column = table.column(role)
        used.add(column)
        named = f"{{ const = {_quoted(_plain(_stem(path)))} }}{_UNSURE} no column seems to name it"
        fields.append(f"{target} = {_quoted(column) if column else named}")
    if paid:
        used.update({paid[0], table.column("currency")})
        fields += _amount(*paid, table)
    elif unread:
        fields.append(
            f"# amount = {_quoted(unread)}{_UNSURE} most of its values are in no notation of numbers that is known"
        )
    if rated and (number := guess.number_form(table.values(rated))) and number.whole:
        used.add(rated)
        fields.append(f"rating = {_quoted(rated)}")
    if said := table.column("text"):
        used.add(said)
        fields.append(f"text = {_quoted(said)}")
    used.update(column for role in guess.PERSONAL for column in table.roles.get(role, []))
    return above, [*fields, *_traits(table, used)]


def _times(table: Table, path: Path, used: set[str | None]) -> list[str]:
    day = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT00:00:00Z")
    time = _stated(table, "time", used) or [f"time = {day}{_UNSURE} no column seems to say when it happened"]
    return time + _stated(table, "changed", used)


def _stated(table: Table, role: str, used: set[str | None]) -> list[str]:
    """The line of the likeliest column of times of a role; none without one."""
    for column in table.roles.get(role, []):
        if (found := guess.time_form(table.values(column))) is not None:
            form, others = found
            used.add(column)
            options = [] if form is None else [f"format = {_quoted(form)}"]
            named = _quoted(column)
            if options:
                named = f"{{ column = {named}, {', '.join(options)} }}"
            return [f"{role} = {named}" + (f"{_UNSURE} or {' or '.join(others[:2])}" if others else "")]
    return []


def _amount(column: str, number: guess.Number, table: Table) -> list[str]:
    style = number.style
    options = [f"column = {_quoted(column)}", 'scale = "currency"']
    options += [f"decimal = {_quoted(style.point)}"] if style.point != "." else []
    options += [f"thousands = {_quoted(style.thousands)}"] if style.thousands else []
    options += ['groups = "indian"'] if style.indian else []
    options += [f"strip = {_quoted(number.strip)}"] if number.strip else []
    if forms := guess.negatives(table.values(column)):
        options.append(f"negative = [{', '.join(map(_quoted, forms))}]")
    doubts = ["scale = 1 if these are cents"] if number.whole else []
    if other := number.other:
        thousands = f", thousands = {_quoted(other.thousands)}" if other.thousands else ""
        doubts.append(f"or decimal = {_quoted(other.point)}{thousands}")
    doubt = f"{_UNSURE} {'; '.join(doubts)}" if doubts else ""
    if code := table.column("currency"):
        case = ', case = "upper"' if any(code != code.upper() for code in table.codes()) else ""
        currency = f"{{ column = {_quoted(code)}{case}, when = {_quoted(column)} }}"
    else:
        currency = f'{{ const = "{number.currency or "EUR"}", when = {_quoted(column)} }}{_UNSURE}'
    return [f"amount = {{ {', '.join(options)} }}{doubt}", f"currency = {currency}"]


def _profile(table: Table, role: str, personal: list[str]) -> tuple[list[str], list[str]]:
    id = table.column(role) or table.column("relation") or table.columns[0]
    used: set[str | None] = {id}
    above = _stated(table, "changed", used)
    fields = [f"{role}_id = {_quoted(id)}" + ("" if table.column(role) else _UNSURE)]
    if role == "provider" and (name := table.column("name")):
        used.add(name)
        fields.append(f"name = {_quoted(name)}")
    for name, column in _distinct(column for column in personal if column != id):
        used.add(column)
        fields.append(f"personal.{name} = {_quoted(column)}")
    fields += [
        f"location.{part} = {_quoted(at)}" for part in ("city", "region", "country") if (at := table.column(part))
    ]
    if (lat := table.column("lat")) and (lon := table.column("lon")):
        fields += [f"location.lat = {_quoted(lat)}", f"location.lon = {_quoted(lon)}"]
        used.update({lat, lon})
    used.update(table.column(part) for part in ("city", "region", "country"))
    return above, [*fields, *_traits(table, used)]


def _traits(table: Table, used: set[str | None]) -> list[str]:
    """The other columns, for the user to choose from: a column that identifies a person must not become a
    trait."""
    rest = [column for column in table.columns if column not in used]
    return [f"# traits.{name} = {_quoted(column)}" for name, column in _distinct(iter(rest))]


def _distinct(columns: Iterator[str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for column in columns:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_-")[:50]
        plain = plain if re.match(r"[A-Za-z_]", plain) else f"column_{plain}".rstrip("_")
        name, number = plain, 2
        while name.casefold() in seen:
            name, number = f"{plain}_{number}", number + 1
        seen.add(name.casefold())
        yield name, column


def _quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
