"""`kith up` and `kith demo`: their options."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.context import asked_for
from services.cli.options import Json
from services.demo.command import CONTEXT, DATA, PORT_BASE, Place
from services.demo.command import demo_command as demo_on

if TYPE_CHECKING:
    from services.cli.up import Stack


def up_command(
    data: Annotated[Path | None, DATA] = None,
    port_base: Annotated[int | None, PORT_BASE] = None,
    workers: Annotated[
        list[str] | None, typer.Option(help="Processes of a service, as in relations=4. May be repeated.")
    ] = None,
    docker: Annotated[bool, typer.Option("--docker", help="Run Kafka and MongoDB as containers.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready; `kith down` stops it.")
    ] = False,
    json_line: Json = False,
    context: Annotated[str | None, CONTEXT] = None,
) -> None:
    """Start Kafka, MongoDB and all services on this machine.

    Ctrl-C stops them. Servers named by KITH_KAFKA and KITH_MONGO are used instead of own ones.

    Other commands find the stack by themselves, in any terminal of this user. The services listen on ports 8701 to
    8706, or those of their settings. A default port in use is replaced by a free one, which is reported.
    """
    counts = _workers(workers or [])
    from services.cli.detach import up_detached
    from services.cli.session import Options
    from services.cli.up_run import up

    options = Options(data, port_base, counts, docker, asked_for(context))
    raise typer.Exit((up_detached if detach else up)(options, json_line))


def _workers(given: list[str]) -> dict[str, int]:
    counts = {}
    for item in given:
        service, _, count = item.partition("=")
        if not count.isdigit() or not int(count):
            raise typer.BadParameter(f"{item!r} is not like relations=4", param_hint="--workers")
        counts[service] = int(count)
    return counts


@contextmanager
def _stack(place: Place) -> Iterator["Stack"]:
    from services.cli.session import Options, stack_session
    from services.cli.signals import signals_interrupt
    from services.cli.up_run import to_stderr

    options = Options(place.data, place.port_base, context=asked_for(place.context))
    # SIGTERM, too, stops every process that the stack has started.
    with signals_interrupt(), stack_session("demo", options, to_stderr, to_stderr) as (stack, _):
        yield stack


demo_command = demo_on(_stack)
