"""`kith status`."""

from typing import Annotated

import typer

from shared.service.launch import read_settings


def status_command(
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C; with --json, as lines.")
    ] = False,
) -> None:
    """Show how far each service has come, who works on it, what is stored and what was not accepted."""
    from services.cli.signals import signals_interrupt
    from services.cli.status_view import show_status
    from shared.mongo.store import connect
    from shared.observability.status import StatusReader
    from shared.settings import servers_of

    settings = read_settings()
    _, mongo = servers_of(settings)
    with (
        signals_interrupt(),
        connect(mongo) as client,
        StatusReader(settings, client[settings.database]) as reader,
    ):
        show_status(reader.read, as_json=json_line, watch=watch)
