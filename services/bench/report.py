"""The printed tables, at most 100 columns wide. Pure but for the printing."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from services.bench.measure import Run
from services.bench.ratios import Ratio

SCENARIOS = {
    "first": "Into empty collections",
    "replay": "A replay into the filled collections: every event a duplicate",
    "amended": "30 % amendments and retractions, into empty collections",
}


def console(stderr: bool) -> Console:
    """A console that is wide enough for the tables when its output is redirected to a file."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=100)


def runs_table(scenario: str, runs: Sequence[Run], titles: Mapping[str, str]) -> Table:
    """A row per contender: the medians of its repetitions, and the lowest and highest rate."""
    caption = "client, mongod and broker: µs of CPU per event; MB: most memory of the client"
    table = Table(title=SCENARIOS[scenario], title_justify="left", caption=caption, width=100)
    table.add_column("contender", no_wrap=True, ratio=1)
    columns = ("events/s", "low–high", "client", "mongod", "broker", "MB")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name in dict.fromkeys(run.contender for run in runs):
        own = [run for run in runs if run.contender == name]
        rates = [run.rate for run in own]
        table.add_row(
            titles.get(name, name),
            f"{median(rates):,.0f}",
            f"{min(rates) / 1000:.1f}–{max(rates) / 1000:.1f}k",
            *(f"{median(getattr(run, column) for run in own):.0f}" for column in _COSTS),
        )
    return table


_COSTS = ("client_us", "mongod_us", "broker_us", "memory_mb")


def ratios_table(found: Sequence[Ratio]) -> Table:
    """A row per target."""
    table = Table(title="Ratios: the median of the repetitions' own", title_justify="left", width=100)
    table.add_column("ratio", ratio=1)
    for column in ("topic", "measured", "low–high", "target", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found:
        table.add_row(
            row.name,
            row.scenario,
            f"{row.ratio:.2f}",
            f"{row.low:.2f}–{row.high:.2f}",
            f"{row.target:.2f}",
            "[green]met[/]" if row.met else "[red]missed[/]",
        )
    return table


def plain_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows with their names as columns; a row may lack some."""
    table = Table(title=title, title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for number, name in enumerate(names):
        table.add_column(name.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_shown(row.get(name, "")) for name in names))
    return table


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
