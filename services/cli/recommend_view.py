"""Answers of `kith recommend`, `similar`, `next` and `affinity` for people."""

import shutil
from typing import Any

import typer
from rich.console import Console

from services.cli.report_table import pairs
from services.cli.tables import Column, Row, fitted
from shared.measures.currencies import major, named
from shared.observability.terminal import printable


def show(found: dict[str, Any], far: str) -> None:
    """Recommendations, or similar ones; ``far`` is the side of the answers."""
    console = Console()
    if "reason" in found:
        console.print(f"No answer: {found['reason']}.", highlight=False)
    rows = found["items"] or found.get("popular", [])
    if not rows:
        return
    if not found["items"]:
        console.print("These are the most popular ones instead:")
    columns = [
        Column(far),
        Column("name", rank=2),
        Column("score" if found["items"] else "relationships", right=True),
        Column("because", wrap=True, rank=1),
    ]
    shown = [
        Row(
            [
                each[f"{far}_id"],
                each.get("name") or "",
                # The score of a popular one is their number, and 0 where there are few.
                f"{each['score']:.4g}" if found["items"] else str(each["relationships"]),
                _because(each, len(found["items"])),
            ]
        )
        for each in rows
    ]
    console.print(fitted("", columns, shown, console))
    if found.get("left_out"):
        console.print("Consumers who have not granted the purpose are left out.")


def _because(answer: dict[str, Any], walked: int) -> str:
    if not walked:
        return "popular"
    if answer.get("shared") is not None:
        return f"shares {answer['shared']}"
    parts = [
        f"{via.get('name') or via['provider_id']} (shares {via['shared_consumers']})"
        for reason in answer.get("because", ())
        for via in reason.get("via", ())
    ]
    terms = [each["term"] for each in answer.get("because", ()) if each["term"] != "walk"][:2]
    return ", ".join([*parts, *terms])


def _risk(probability: float) -> str:
    """Two digits: small ones differ, too."""
    return f"{float(f'{probability * 100:.2g}'):g}%"


def show_pair(found: dict[str, Any]) -> None:
    """A consumer and a provider."""
    named = f" ({found['name']})" if found.get("name") else ""
    strength, score = found["strength"], found["score"]
    of = f"{found['rank']:,} of {found['candidates']:,}" if found["rank"] is not None else ""
    shown = [
        ("consumer", found["consumer_id"], True),
        ("provider", f"{found['provider_id']}{named}", True),
        ("strength", "no relationship" if strength is None else f"{strength:.3g}", True),
        ("score", f"none: {found['reason']}" if score is None else f"{score:.4g}", score is not None),
        *([("rank", of, True)] if of else []),
        *([("because", _because(found, 1), False)] if found.get("because") else []),
    ]
    width = shutil.get_terminal_size((80, 24)).columns
    for line in pairs([(label, printable(value), whole) for label, value, whole in shown], width):
        typer.echo(line)


def show_calls(found: dict[str, Any]) -> None:
    """Whom a provider should call."""
    console = Console()
    if "reason" in found:
        console.print(f"No answer: {found['reason']}.", highlight=False)
    currency = found.get("currency")
    rows = [
        Row(
            [
                each["consumer_id"],
                _risk(each["risk"]),
                f"{each['expected_weight']:.3g}"
                if currency is None
                else major(each["expected_value_minor"], currency),
                f"{each['affinity']:.3g}",
                f"{each['months']}",
                each["last_month"],
                _because(each, len(found["items"])),
            ]
        )
        for each in found["items"]
    ]
    if not rows:
        return
    columns = [
        Column("consumer"),
        Column("risk", right=True),
        Column("value" if currency is None else f"value, {named(currency)}", right=True),
        *(Column(name, right=True, rank=3) for name in ("affinity", "months")),
        Column("last month", rank=4),
        Column("affinity because", wrap=True, rank=1),
    ]
    console.print(fitted("", columns, rows, console))
    if not found["churn_model"]["reliable"]:
        console.print("The fit found no clear optimum, so the risks are unreliable.")
    if found.get("left_out"):
        console.print("Consumers who have not granted the purpose are left out.")
