"""``python -m services.bench``: the comparison, and on request latency, door and growth."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from services.bench.contenders import ALL_SCENARIOS, CONTENDERS
from services.bench.ratios import ratios
from services.bench import report
from services.bench.run import Comparison
from services.bench.servers import running
from shared.mongo_io import connect

QUICK_EVENTS = 20_000


def main() -> None:
    options = parser().parse_args()
    console = report.console(stderr=options.json)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as folder, running(Path(folder)) as servers:
        say = lambda text: console.print(f"[dim]{escape(text)}[/]", soft_wrap=True)  # noqa: E731
        with connect(servers.mongo.uri) as client:
            chosen, missing = available(options.only or list(CONTENDERS))
            comparison = Comparison(servers, client, options.events, say)
            results = comparison.run([CONTENDERS[name] for name in chosen], options.reps, options.scenarios)
    found = ratios(results.runs)
    titles = {name: contender.title for name, contender in CONTENDERS.items()}
    for scenario in options.scenarios:
        if runs := [run for run in results.runs if run.scenario == scenario]:
            console.print(report.runs_table(scenario, runs, titles))
    if found:
        console.print(report.ratios_table(found))
    for name, why in {**missing, **results.failures}.items():
        console.print(f"[yellow]left out:[/] {name}: {escape(why)}", soft_wrap=True)
    if options.json:
        rows += [{"row": "run", **run.row()} for run in results.runs]
        rows += [{"row": "ratio", **ratio.row()} for ratio in found]
        rows += [{"row": "left out", "name": n, "why": w} for n, w in {**missing, **results.failures}.items()]
        print(json.dumps(rows))


def available(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The contenders that can be measured here, and why the others cannot."""
    missing = {name: why for name in names if (why := CONTENDERS[name].missing()) is not None}
    return [name for name in names if name not in missing], missing


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--scenarios", nargs="+", choices=ALL_SCENARIOS, default=list(ALL_SCENARIOS))
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    main()
