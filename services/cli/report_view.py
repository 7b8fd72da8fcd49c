"""Answers of measures for people, and as CSV."""

from collections.abc import Iterator, Mapping, Sequence

import typer
from pydantic import BaseModel

from services.cli.report_table import Column, pairs, table, wrapped
from services.cli.report_values import columns_of, facts_of, shown
from shared.measures.answer import Answer, MoneyAnswer
from shared.measures.csv_cells import csv_rows, guarded, guarded_cell
from shared.measures.currencies import DIGITS, named
from shared.measures.rows import model_names, names_of, rows_of
from shared.measures.scale import Scale
from shared.measures.units import model_of

#: The width for files, and for terminals that do not report their size.
WIDTH = 80
_ABOUT = frozenset({"period", "currency", "other_currencies", "left_out", "scale"})
_FILTERS = ("kind", "category", "provider_id", "segment", "measure", "by", "side", "level", "direction")


def as_csv(found: BaseModel) -> str:
    """An answer as CSV, flat: see ``rows_of``. Texts that a spreadsheet would run as a formula are escaped as in
    exports."""
    rows = rows_of(found.model_dump(mode="json"))
    names = names_of(rows) or model_names(type(found))
    # A name can contain data, too: a currency or a kind.
    head = [guarded(name) for name in names]
    return csv_rows([head, *([guarded_cell(row.get(name)) for name in names] for row in rows)], "\n")


def show(question: str, found: Answer, asked: Mapping[str, str] | None = None, width: int = WIDTH) -> None:
    """Print an answer together with the parameters of its request."""
    for line in told(question, found, asked or {}, width):
        typer.echo(line)


def told(question: str, found: Answer, asked: Mapping[str, str], width: int) -> Iterator[str]:
    """The lines of an answer: its parameters, its single values, its lists as tables."""
    currency = getattr(found, "currency", None)
    yield from wrapped(question, width)
    yield ""
    yield from pairs([*about(found, asked), *facts_of(found, _ABOUT, currency)], width)
    for note in getattr(found, "notes", ()):
        yield from wrapped(note, width)
    if grid := getattr(found, "grid", None):
        yield ""
        yield from _grid(grid, width)
    if totals := getattr(found, "totals", None):
        yield ""
        yield "In all"
        yield from table(columns_of(type(totals[0]), totals, currency), width)
    if "items" not in type(found).model_fields:
        return
    items: Sequence[BaseModel] = dict(found)["items"]
    model = model_of(type(found).model_fields["items"])
    assert model is not None
    yield ""
    if not items:
        yield "Nothing was found."
        return
    if totals:
        yield f"By {getattr(found, 'unit', 'bucket')}"
    columns = columns_of(model, items, currency)
    if average := getattr(found, "average", None):
        columns = _with_average(columns, average)
    yield from table(columns, width)
    yield from _more(found, items, width)


def about(found: Answer, asked: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """The parameters of an answer: period, zone, filters, currency, scale."""
    first, last = found.period.first, found.period.last
    time = f"{first} to {last}" if first else f"all time to {last}"
    rows = [("Period", f"{time} (days in {found.period.zone})", False)]
    if only := ", ".join(f"{name.replace('_', ' ')} {asked[name]}" for name in _FILTERS if name in asked):
        rows.append(("Asked for", only, False))
    if isinstance(found, MoneyAnswer):
        rows += _money(found, asked)
    elif found.money is not None:
        rows.append(("Currency", named(asked["currency"]) if "currency" in asked else found.money, False))
    if "scale" in type(found).model_fields:
        rows.append(("Scale", _scale(dict(found)["scale"]), False))
    return rows


def _money(found: MoneyAnswer, asked: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    if found.currency is None:
        if asked.get("measure") == "amount" or (
            "measure" not in asked and "total_count" not in type(found).model_fields
        ):
            yield "Currency", "none: no order has an amount", False
        return
    text = named(found.currency)
    if found.currency not in DIGITS:
        text = f"{found.currency}, in minor units: ISO 4217 does not list it, so its decimals are not known"
    if found.other_currencies:
        others = ", ".join(f"{each.currency} ({each.orders:,})" for each in found.other_currencies)
        text += f", which most orders are in. Others, with their orders: {others}. Choose one with --currency."
    yield "Currency", text, False
    if found.left_out:
        who = "consumers" if "consumers" in type(found).model_fields else "providers"
        yield "Left out", f"{found.left_out:,} {who} with money in other currencies only", False


def _scale(scale: Scale | None) -> str:
    if scale is None:
        return "not known: there are no ratings"
    sources = {
        "asked": "as asked for",
        "setting": "as KITH_RATING_SCALES says",
        "data": "as in the data; --lowest and --highest state another",
    }
    return f"{scale.lowest} (worst) to {scale.highest} (best), {sources[scale.source]}"


def _grid(grid: Sequence[Sequence[int]], width: int) -> Iterator[str]:
    """RFM: the most recent on top."""
    yield from wrapped(
        "Consumers by recency R (5: came last) and frequency F (1: one order, 5: most orders)", width
    )
    scores = range(len(grid), 0, -1)
    rows = [grid[score - 1] for score in scores]
    columns = [Column("", [f"R{score}" for score in scores], key=True)]
    columns += [Column(f"F{at + 1}", [shown(row[at]) for row in rows], number=True) for at in range(len(grid[0]))]
    yield from table(columns, width)


def _with_average(columns: Sequence[Column], average: Sequence[float | None]) -> list[Column]:
    """A last row: the average of the cohorts, over buckets that have ended."""
    found, at = [], 0
    for column in columns:
        cell = ""
        if column.label.startswith("+"):
            cell, at = shown(average[at] if at < len(average) else None, "fraction"), at + 1
        found.append(
            Column(column.label, [*column.cells, "Average" if column.key else cell], column.number, column.key)
        )
    return found


def _more(found: Answer, items: Sequence[BaseModel], width: int) -> Iterator[str]:
    consumers = getattr(found, "consumers", None)
    if consumers is not None and hasattr(items[0], "consumer_id") and len(items) < consumers:
        yield ""
        yield from wrapped(f"{len(items):,} of {consumers:,} consumers; --limit lists more.", width)
