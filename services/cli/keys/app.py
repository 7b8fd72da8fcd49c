"""The group `kith keys`."""

import typer

from services.cli.keys.api import api_app
from services.cli.keys.master import master_app, publish_command, rotate_command

keys_app = typer.Typer(help="The keys of callers, and of the data.", no_args_is_help=True)
keys_app.add_typer(api_app, name="api")
keys_app.add_typer(master_app, name="master")
keys_app.command("rotate")(rotate_command)
keys_app.command("publish")(publish_command)
