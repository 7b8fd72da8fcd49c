"""`kith up` and `kith demo`: their options."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.demo.command import demo_command as demo_on

if TYPE_CHECKING:
    from services.cli.up import Stack


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
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")] = False,
) -> None:
    """Start Kafka, MongoDB and all services on this machine.

    Ctrl-C ends them. Servers that KITH_KAFKA and KITH_MONGO name are used instead of starting own ones.
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


@contextmanager
def _stack() -> Iterator["Stack"]:
    from services.cli.signals import signals_interrupt
    from services.cli.up import Stack

    # An orderly end by SIGTERM, too: everything that the stack has started is stopped.
    with signals_interrupt(), Stack() as stack:
        yield stack


demo_command = demo_on(_stack)
