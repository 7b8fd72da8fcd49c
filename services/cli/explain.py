"""The command `kith explain`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from services.cli.options import Json
from services.cli.times import time_option
from shared.service.launch import read_settings


def explain_command(
    event_id: Annotated[str, typer.Argument(help="The event's id, as its sender set it.", show_default=False)],
    source: Annotated[str | None, typer.Option(help="Its source, if several use the same ids.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Its tenant, if several use the same ids.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Search only messages since then, by Kafka's timestamp: 2026-11-21T10:00:00Z, or a duration "
            "ago: 90m, 24h, 7d, 2w."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Search only messages before then.")] = None,
    json_line: Json = False,
) -> None:
    """Trace an event: its places in Kafka, what it changed, and why it changed nothing if so.

    Shows the door's verdict, every place of the event in Kafka, the documents before and after it, the changes it
    published, the aggregates these changed, and the events that have replaced it since. The services' own code
    computes all of it again from the log and compares it with the stored documents. Nothing is written. The output
    may contain personal data.

    Kafka has no index, so the command reads a topic: about 100,000 messages a second. An event that a stored
    document or a dead letter names takes one pass over one topic. Any other event takes a pass over all three
    input topics, which --since and --until limit, and another one over its own topic.

    Exit status 0: the event was found; 1: it was not.
    """
    from rich.console import Console

    from services.explain.answer import opened
    from services.explain.find import Asked
    from services.explain.view import report_json, report_view
    from shared.contracts.spelling import nfc
    from shared.settings import require

    settings = read_settings()
    require(settings, "kafka", "mongo", "master_key")
    bounds = time_option("--since", since), time_option("--until", until)
    with _watched() as (progress, stage), opened(settings, progress, stage) as explainer:
        report = explainer.explain(Asked(nfc(event_id), source and nfc(source), tenant), *bounds)
    if json_line:
        typer.echo(report_json(report))
    else:
        Console().print(report_view(report))
    raise typer.Exit(0 if report.found else 1)


@contextmanager
def _watched() -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """A progress bar on stderr if that is a terminal: one function advances it, the other sets its label."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield (
            lambda done, whole: bar.update(task, completed=done, total=whole),
            lambda text: bar.reset(task, description=text, total=None),
        )
