"""The tables of docs/why/speed.md and docs/how-to/limits.md, as the benchmark writes them."""

import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from services.bench.contenders import ALL_SCENARIOS
from services.bench.measure import Run
from services.bench.ratios import Ratio

HEADS = {"first": "new facts", "replay": "replay", "amended": "amended"}


def speed(runs: Sequence[Run], ratios: Sequence[Ratio], titles: Mapping[str, str]) -> str:
    """Two Markdown tables: events/s and CPU by contender, and every ratio with its target."""
    lines = [
        f"| Events/s | {' | '.join(map(HEADS.__getitem__, ALL_SCENARIOS))} | CPU µs/event: own, mongod, broker |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(run.contender for run in runs):
        own = [run for run in runs if run.contender == name]
        rates = [_rate([run.rate for run in own if run.scenario == scenario]) for scenario in ALL_SCENARIOS]
        first = [run for run in own if run.scenario == "first"]
        costs = ", ".join(
            f"{median(getattr(run, column) for run in first):.0f}" if first else "–"
            for column in ("client_us", "mongod_us", "broker_us")
        )
        lines.append(f"| {titles.get(name, name)} | {' | '.join(rates)} | {costs} |")
    lines += ["", "| Ratio | Topic | Measured | Aim |", "|---|---|---|---|"]
    lines += [
        f"| {row.name} | {HEADS[row.scenario]} | {row.ratio:.2f} | {row.target:.2f}{', missed' * (not row.met)} |"
        for row in ratios
    ]
    return "\n".join(lines)


def neighbours(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of ``services.bench.neighbours.row_of``: what is told the first tenant, milliseconds of the
    second."""
    lines = [
        "| One tenant sends | and is told | Another one's | idle p50, p99 | beside it p50, p99 | within |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        told = row["its answers"] or "nothing"
        times = (f"{row[f'{name}_p50']:,.0f}, {row[f'{name}_p99']:,.0f}" for name in ("idle", "beside"))
        met = "yes" if row["met"] else "**no**"
        lines.append(f"| {row['first tenant']} | {told} | {row['second']} | {' | '.join(times)} | {met} |")
    return "\n".join(lines)


def _rate(rates: Sequence[float]) -> str:
    return f"{median(rates):,.0f}" if rates else "–"


def put(text: str, name: str, table: str) -> str:
    """``text`` with the part between the markers of ``name`` replaced. Raises ValueError without markers."""
    pattern = re.compile(
        rf"(<!-- {re.escape(name)}[^\n]*-->\n).*?(\n<!-- end of {re.escape(name)} -->)", re.DOTALL
    )
    replaced, count = pattern.subn(lambda found: found[1] + table + found[2], text)
    if count != 1:
        raise ValueError(f"there are no markers of {name}")
    return replaced
