"""`kith status`."""

from typing import Annotated

import typer

from services.cli.options import Json
from shared.service.launch import read_settings


def status_command(
    json_line: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C; with --json, as lines.")
    ] = False,
) -> None:
    """Show each service's progress and workers, the stored documents and the dead letters.

    Problems come first. The readiness of every service is checked at its address in the settings or the context.
    """
    from rich.console import Console

    from services.cli.health import look
    from services.cli.signals import signals_interrupt
    from services.cli.status_show import show_status
    from services.cli.status_view import services_table
    from shared.contracts.errors import Unavailable
    from shared.local.temporary import remove_abandoned, removed_notice
    from shared.mongo.store import connect
    from shared.observability.status import StatusReader
    from shared.settings import servers_of

    if abandoned := remove_abandoned():
        typer.echo(removed_notice(abandoned), err=True)
    settings = read_settings()
    _, mongo = servers_of(settings)
    try:
        with (
            signals_interrupt(),
            connect(mongo) as client,
            StatusReader(settings, client[settings.database]) as reader,
        ):
            show_status(lambda: (reader.read(), look(settings)), json_line=json_line, watch=watch)
    except Unavailable:
        # The services that answer are known even then.
        if not json_line:
            console = Console()
            console.print(services_table(look(settings), console))
        raise
