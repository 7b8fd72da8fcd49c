"""The fields of a drafted mapping, guessed from the columns of a table."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from services.importer import guess
from services.importer.as_of import modified
from services.importer.sampled import Table

#: The end of a line that the user has to check.
UNSURE = "  # ?"


def stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


def plain(text: str) -> str:
    """A name that may be part of an id."""
    return re.sub(r"[^\w-]+", "-", text, flags=re.ASCII).strip("-")[:80] or "rows"


def relation(table: Table, path: Path) -> tuple[list[str], list[str]]:
    used: set[str | None] = set()
    above = _times(table, path, used)
    fields: list[str] = []
    if order := table.column("relation"):
        used.add(order)
        fields.append(f"relation_id = {quoted(order)}")
    rated, paid = table.plausible("rating"), table.money()
    unread = None if paid else next(filter(table.has, table.roles.get("amount", [])), None)
    kind = "purchase" if paid or unread else "review" if rated else "visit"
    fields.append(f'kind = {{ const = "{kind}" }}{UNSURE}')
    for target, role in (("consumer_id", "consumer"), ("provider_id", "provider")):
        column = table.column(role)
        used.add(column)
        named = f"{{ const = {quoted(plain(stem(path)))} }}{UNSURE} no column seems to name it"
        fields.append(f"{target} = {quoted(column) if column else named}")
    if paid:
        used.update({paid[0], table.column("currency")})
        fields += _amount(*paid, table)
    elif unread:
        fields.append(
            f"# amount = {quoted(unread)}{UNSURE} most of its values are in no notation of numbers that is known"
        )
    if rated and (number := guess.number_form(table.values(rated))) and number.whole:
        used.add(rated)
        fields.append(f"rating = {quoted(rated)}")
    if said := table.column("text"):
        used.add(said)
        fields.append(f"text = {quoted(said)}")
    used.update(column for role in guess.PERSONAL for column in table.roles.get(role, []))
    return above, [*fields, *_traits(table, used)]


def _times(table: Table, path: Path, used: set[str | None]) -> list[str]:
    day = modified(path).strftime("%Y-%m-%dT00:00:00Z")
    named = table.roles.get("time", [])
    if time := _stated(table, "time", used):
        return time + _stated(table, "changed", used)
    if named and not any(map(table.has, named)):
        used.add(named[0])
        return [f"time = {quoted(named[0])}{UNSURE} no row has a value", *_stated(table, "changed", used)]
    why = f"{quoted(named[0])} has times in no known form" if named else "no column seems to say when it happened"
    return [f"time = {day}{UNSURE} {why}", *_stated(table, "changed", used)]


def _stated(table: Table, role: str, used: set[str | None]) -> list[str]:
    """The line of the likeliest column of times of a role; none without one."""
    for column in table.roles.get(role, []):
        if (found := guess.time_form(table.values(column))) is not None:
            form, others = found
            used.add(column)
            options = [] if form is None else [f"format = {quoted(form)}"]
            if days := guess.are_midnights(table.values(column), form):
                options.append("day = true")
            named = quoted(column)
            if options:
                named = f"{{ column = {named}, {', '.join(options)} }}"
            doubts = ["all of them are midnight"] if days else []
            doubts += [f"or {' or '.join(others[:2])}"] if others else []
            return [f"{role} = {named}" + (f"{UNSURE} {'; '.join(doubts)}" if doubts else "")]
    return []


def _amount(column: str, number: guess.Number, table: Table) -> list[str]:
    style = number.style
    options = [f"column = {quoted(column)}", 'scale = "currency"']
    options += [f"decimal = {quoted(style.point)}"] if style.point != "." else []
    options += [f"thousands = {quoted(style.thousands)}"] if style.thousands else []
    options += ['groups = "indian"'] if style.indian else []
    options += [f"strip = {quoted(number.strip)}"] if number.strip else []
    if forms := guess.negatives(table.values(column)):
        options.append(f"negative = [{', '.join(map(quoted, forms))}]")
    doubts = ["scale = 1 if these are cents"] if number.whole else []
    if other := number.other:
        thousands = f", thousands = {quoted(other.thousands)}" if other.thousands else ""
        doubts.append(f"or decimal = {quoted(other.point)}{thousands}")
    doubt = f"{UNSURE} {'; '.join(doubts)}" if doubts else ""
    if code := table.column("currency"):
        case = ', case = "upper"' if any(code != code.upper() for code in table.codes()) else ""
        currency = f"{{ column = {quoted(code)}{case}, when = {quoted(column)} }}"
    else:
        stated = number.currency or guess.code_of(column) or "EUR"
        currency = f'{{ const = "{stated}", when = {quoted(column)} }}{UNSURE}'
    return [f"amount = {{ {', '.join(options)} }}{doubt}", f"currency = {currency}"]


def profile(table: Table, role: str, personal: list[str]) -> tuple[list[str], list[str]]:
    id = table.column(role) or table.column("relation") or table.columns[0]
    used: set[str | None] = {id}
    above = _stated(table, "changed", used)
    fields = [f"{role}_id = {quoted(id)}" + ("" if table.column(role) else UNSURE)]
    if role == "provider" and (name := table.column("name")):
        used.add(name)
        fields.append(f"name = {quoted(name)}")
    for name, column in _distinct(column for column in personal if column != id):
        used.add(column)
        fields.append(f"personal.{name} = {quoted(column)}")
    fields += [
        f"location.{part} = {quoted(at)}" for part in ("city", "region", "country") if (at := table.column(part))
    ]
    if (lat := table.column("lat")) and (lon := table.column("lon")):
        fields += [f"location.lat = {quoted(lat)}", f"location.lon = {quoted(lon)}"]
        used.update({lat, lon})
    used.update(table.column(part) for part in ("city", "region", "country"))
    return above, [*fields, *_traits(table, used)]


def _traits(table: Table, used: set[str | None]) -> list[str]:
    """The other columns, for the user to choose from: a column that identifies a person must not become a
    trait."""
    rest = [column for column in table.columns if column not in used]
    return [f"# traits.{name} = {quoted(column)}" for name, column in _distinct(iter(rest))]


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


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
