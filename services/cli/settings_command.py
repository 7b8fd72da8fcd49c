"""`kith settings`."""

import json

import typer

from services.cli.options import Json
from shared.service.launch import read_settings


def settings_command(
    json_line: Json = False,
) -> None:
    """Show every setting: its environment variable, its value now, what it means."""
    from rich.console import Console

    from services.cli.settings import rows, settings_table

    settings = read_settings()
    if json_line:
        typer.echo(json.dumps({name: {"value": value, "meaning": text} for name, value, text in rows(settings)}))
    else:
        Console().print(settings_table(settings))
