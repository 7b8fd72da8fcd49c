"""`kith settings`."""

import json
from typing import Annotated

import typer

from shared.service.launch import read_settings


def settings_command(
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")] = False,
) -> None:
    """Show every setting: its environment variable, its value now, what it means."""
    from rich.console import Console

    from services.cli.settings import rows, settings_table

    settings = read_settings()
    if json_line:
        typer.echo(json.dumps({name: {"value": value, "meaning": text} for name, value, text in rows(settings)}))
    else:
        Console().print(settings_table(settings))
