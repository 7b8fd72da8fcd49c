"""The command ``kith``."""

import errno
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from services.cli.commands import Kith
from services.cli.context import OPTION, asking_for
from services.cli.lazy import MARKUP
from services.cli.signals import ends_as_interrupted
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.services import SERVICES

#: What a machine refuses to write, and what to do about it.
_REFUSED = {
    errno.ENOSPC: "make room on the disk, or name a folder on another one",
    errno.EDQUOT: "make room, or name a folder where more is allowed",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name a place that you may use",
    errno.EPERM: "name a place that you may use",
}

app = typer.Typer(
    name="kith",
    cls=Kith,
    help="Kith turns the events of consumers and providers into living, exact relationships: "
    "Kafka in, MongoDB out. Start with `kith up`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"kith {version('kith')}, Python {sys.version.partition(' ')[0]}")
        raise typer.Exit


@app.callback()
def _kith(
    ctx: typer.Context,
    context: Annotated[str | None, OPTION] = None,
    _wanted: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """The options of the command itself."""
    ctx.with_resource(asking_for(context))
    if ctx.invoked_subcommand not in SERVICES:  # a service ends by what it serves with
        ctx.with_resource(ends_as_interrupted())


def main() -> None:
    """Run the command. An error that the user can fix is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has not all letters gets \\u2026 for what it lacks, not a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (ConfigurationError, Unavailable) as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        what = error.filename or "what was to be written"
        sys.exit(_complain(f"{what}: {error.strerror}; {_REFUSED[error.errno]}"))


def _complain(message: str) -> int:
    from shared.observability.terminal import printable_lines

    # It may quote what a server or a file contains.
    print(f"kith: {printable_lines(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
