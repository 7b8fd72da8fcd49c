"""`kith up` and `kith demo`: their options."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.completion import among
from services.cli.completion import workers as workers_offered
from services.cli.context import asked_for
from services.cli.options import Json
from services.demo.command import CONTEXT, DATA, PORT_BASE, Place
from services.demo.command import demo_command as demo_on
from shared.contracts.services import CONNECTORS

if TYPE_CHECKING:
    from services.cli.up import Stack


def with_connectors(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with an option for each connector of the table of services. It gets the names of those that are
    given as ``connectors``."""
    names = tuple(CONNECTORS)

    @wraps(command)
    def wrapped(**options: Any) -> None:
        chosen = [(name, options.pop(name)) for name in names]
        command(**options, connectors=frozenset(name for name, wanted in chosen if wanted))

    own = signature(command, eval_str=True)
    parameters = {name: each for name, each in own.parameters.items() if name != "connectors"}
    for name, spec in CONNECTORS.items():
        text = f"{spec.summary} Where KITH_{spec.needs.upper()} is not set, it starts a server of its own."
        flag = typer.Option(f"--{name}", help=text)
        parameters[name] = Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, flag])
    wrapped.__signature__ = own.replace(parameters=[*parameters.values()])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    return wrapped


@with_connectors
def up_command(
    data: Annotated[Path | None, DATA] = None,
    port_base: Annotated[int | None, PORT_BASE] = None,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            help="Processes of a service, as in relations=4. May be repeated.",
            autocompletion=among(workers_offered),
        ),
    ] = None,
    docker: Annotated[bool, typer.Option("--docker", help="Run Kafka and MongoDB as containers.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready; `kith down` stops it.")
    ] = False,
    json_line: Json = False,
    context: Annotated[str | None, CONTEXT] = None,
    connectors: frozenset[str] = frozenset(),
) -> None:
    """Start Kafka, MongoDB and all services on this machine.

    Ctrl-C stops them. Servers named by KITH_KAFKA and KITH_MONGO are used instead of own ones.

    Other commands find the stack by themselves, in any terminal of this user. The services listen on ports 8701 to
    8708, or those of their settings. A default port in use is replaced by a free one, which is reported.
    """
    counts = _workers(workers or [])
    from services.cli.detach import up_detached
    from services.cli.session import Options
    from services.cli.up_run import up

    options = Options(data, port_base, counts, docker, asked_for(context), connectors)
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

    # The demo's own receiver of webhooks is on this machine.
    options = Options(
        place.data, place.port_base, context=asked_for(place.context), webhook_allow=("127.0.0.0/8",)
    )
    # SIGTERM, too, stops every process that the stack has started.
    with signals_interrupt(), stack_session("demo", options, to_stderr, to_stderr) as (stack, _):
        yield stack


demo_command = demo_on(_stack)
