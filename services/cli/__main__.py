"""The command ``kith``."""

import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from services.cli.audit import audit_app
from services.cli.dead_letters import dead_letters_app
from services.cli.explain.command import explain_command
from services.cli.export import export_command
from services.cli.keys.app import keys_app
from services.cli.privileges import privileges_command
from services.cli.rebuild.app import rebuild_app
from services.cli.report import report_app
from services.demo.command import demo_command
from services.importer.command import import_command
from shared.errors import ConfigurationError, Unavailable
from shared.launch import read_settings

if TYPE_CHECKING:
    from services.cli.up import Stack

app = typer.Typer(
    name="kith",
    help="Kith turns the events of consumers and providers into living, exact relationships: "
    "Kafka in, MongoDB out. Start with `kith up`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
topics_app = typer.Typer(help="The Kafka topics that Kith uses.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")

Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")]


@app.command("up")
def up_command(
    data: Annotated[
        Path | None, typer.Option(help="Folder that keeps the data. Without it, everything goes at the end.")
    ] = None,
    port_base: Annotated[
        int | None, typer.Option(min=1, max=65000, help="First of six ports; those in use are replaced.")
    ] = None,
    workers: Annotated[
        list[str] | None, typer.Option(help="Processes of a service, as in relations=4. May be repeated.")
    ] = None,
    docker: Annotated[bool, typer.Option("--docker", help="Run Kafka and MongoDB as containers.")] = False,
    json_line: Json = False,
) -> None:
    """Start Kafka, MongoDB and all services on this machine; Ctrl-C ends them.

    Servers that KITH_KAFKA and KITH_MONGO name are used instead of starting own ones.
    """
    from services.cli.up import up

    raise typer.Exit(up(data, port_base, json_line, _workers(workers or []), docker))


def _workers(given: list[str]) -> dict[str, int]:
    counts = {}
    for item in given:
        service, _, count = item.partition("=")
        if not count.isdigit() or not int(count):
            raise typer.BadParameter(f"{item!r} is not like relations=4", param_hint="--workers")
        counts[service] = int(count)
    return counts


def _service(name: str) -> None:
    runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)


@app.command()
def ingest() -> None:
    """Run the ingest service: events over HTTP into Kafka. Needs KITH_KAFKA."""
    _service("ingest")


@app.command()
def relations() -> None:
    """Run a relations worker and its query API. Needs KITH_KAFKA and KITH_MONGO."""
    _service("relations")


@app.command()
def analytics() -> None:
    """Run an analytics worker and its report API. Needs KITH_KAFKA and KITH_MONGO."""
    _service("analytics")


@app.command()
def privacy() -> None:
    """Run the privacy API: erasing, correcting and exporting consumers. Needs KITH_KAFKA and KITH_MONGO."""
    _service("privacy")


@app.command()
def exports() -> None:
    """Run the exports service: files and the OData feed. Needs KITH_MONGO, and KITH_KAFKA for the ledger."""
    _service("exports")


@topics_app.command("create")
def topics_create() -> None:
    """Create the topics that are missing, and add partitions where KITH_PARTITIONS says more."""
    from shared.topics_admin import ensure_topics

    for line in ensure_topics(read_settings()) or ["all topics are there"]:
        typer.echo(line)


@app.command()
def status(
    json_line: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C; with --json, as lines.")
    ] = False,
) -> None:
    """Show how far each service has come, who works on it, what is stored and what was not accepted."""
    from services.cli.status_view import show_status
    from services.cli.up import signals_interrupt
    from shared.mongo_io import connect
    from shared.settings import mongo_of
    from shared.status import StatusReader

    settings = read_settings()
    mongo = mongo_of(settings)
    with (
        signals_interrupt(),
        connect(mongo) as client,
        StatusReader(settings, client[settings.database]) as reader,
    ):
        show_status(reader.read, as_json=json_line, watch=watch)


@app.command("settings")
def settings_command(json_line: Json = False) -> None:
    """Show every setting: its environment variable, its value now, what it means."""
    from services.cli.settings import rows, settings_table

    settings = read_settings()
    if json_line:
        typer.echo(json.dumps({name: {"value": value, "meaning": text} for name, value, text in rows(settings)}))
    else:
        Console().print(settings_table(settings))


@contextmanager
def _stack() -> Iterator["Stack"]:
    from services.cli.up import Stack, signals_interrupt

    # An orderly end by SIGTERM, too: whatever the stack has started is stopped.
    with signals_interrupt(), Stack() as stack:
        yield stack


app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(rebuild_app, name="rebuild")
app.add_typer(report_app, name="report")
app.add_typer(audit_app, name="audit")
app.add_typer(keys_app, name="keys")
app.command("explain")(explain_command)
app.command("export")(export_command)
app.command("import")(import_command)
app.command("privileges")(privileges_command)
app.command("demo")(demo_command(_stack))


def main() -> None:
    """Run the command; errors that a person can mend are one line on stderr."""
    try:
        app()
    except (ConfigurationError, Unavailable) as error:
        sys.exit(_complain(str(error)))


def _complain(message: str) -> int:
    print(f"kith: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
