"""`kith evaluate --online`."""

import json
from typing import Any

import typer

from shared.service.launch import read_settings


def show_outcomes(tenant: str, as_json: bool) -> None:
    """Print how often a relation followed what was shown. Raises ConfigurationError and Unavailable."""
    from services.intelligence.outcomes.report import OutcomesQuery, report
    from services.intelligence.outcomes.settings import recording_of
    from services.intelligence.outcomes.store import OutcomeStore
    from shared.mongo.store import connect
    from shared.runtime.clock import now
    from shared.settings import mongo_of

    settings = read_settings()
    with connect(mongo_of(settings)) as client:
        # Only lists are read, and no collection of relations.
        store = OutcomeStore(client[settings.database], str)
        found = report(store, recording_of(settings), tenant, OutcomesQuery(), now())
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    from services.cli.tables import Column, Row, fitted

    console = Console()
    for model in found["models"]:
        rows = [
            Row(["all lists", *_cells(model["lists"])]),
            Row(["all places", *_cells(model["items"])]),
            *(Row([f"place {each['rank']}", *_cells(each)]) for each in model["by_rank"]),
        ]
        columns = [Column(""), *(Column(name, right=True) for name in ("shown", "followed", "rate", "95 %"))]
        console.print(fitted(model["model"], columns, rows, console))
    if not found["models"]:
        console.print("No list that was recorded has a window that has ended.")
    console.print(
        f"{found['open']:,} more lists have an open window of {found['window_days']:g} days. "
        f"At present {found['share']:.0%} of lists are recorded (KITH_OUTCOMES_SHARE).",
        highlight=False,
    )


def _cells(counted: dict[str, Any]) -> list[str]:
    rate = "" if counted["rate"] is None else f"{counted['rate']:.1%}"
    bounds = f"{counted['low']:.1%} – {counted['high']:.1%}"
    return [f"{counted['shown']:,}", f"{counted['followed']:,}", rate, bounds]
