"""The command ``kith demo``."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, NoReturn, Protocol

import typer

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.services import CORE, SERVICES
from shared.local.invocation import path_hint

if TYPE_CHECKING:
    from shared.settings import Settings


DATA = typer.Option(help="Folder that keeps the data. Without it, everything is gone at the end.")
_PORTS = len(CORE) + 3
PORT_BASE = typer.Option(
    min=1,
    max=65_536 - len(SERVICES) - 3,
    help=f"First of {_PORTS} ports: the services, then Kafka (two) and MongoDB. All must be free.",
)


CONTEXT = typer.Option(
    "--context",
    metavar="NAME|FILE",
    help="The name by which other commands find this stack. Default: the data folder's, else the command's.",
    show_default=False,
)


class Place(NamedTuple):
    """The data folder, the first port and the context name of a stack; None if not given."""

    data: Path | None
    port_base: int | None
    context: str | None


class Stack(Protocol):
    """Running servers and services."""

    @property
    def addresses(self) -> dict[str, str]: ...

    @property
    def settings(self) -> "Settings": ...

    def headers(self, tenant: str = "default") -> dict[str, str]:
        """The headers of a request on behalf of a tenant."""

    def wait(self) -> NoReturn:
        """Wait until a process fails, and raise its failure."""


def demo_command(open_stack: Callable[[Place], AbstractContextManager[Stack]]) -> Callable[..., None]:
    """The command, on the servers and services that ``open_stack`` starts and stops. SIGTERM becomes
    KeyboardInterrupt, like Ctrl-C, so that nothing is left running."""

    def command(
        events: Annotated[int, typer.Option(min=1, help="How many events to send.")] = 30_000,
        seed: Annotated[int, typer.Option(help="The same seed makes the same market, on the same day.")] = 1,
        rate: Annotated[
            float | None,
            typer.Option(min=1, help="Events per second. Default: 1,500; with --json, as fast as possible."),
        ] = None,
        exit: Annotated[
            bool, typer.Option("--exit", help="Exit after the verdict, instead of running until Ctrl-C.")
        ] = False,
        data: Annotated[Path | None, DATA] = None,
        port_base: Annotated[int | None, PORT_BASE] = None,
        json_line: Annotated[
            bool, typer.Option("--json", help="Print the result as one line of JSON, last on stdout.")
        ] = False,
        context: Annotated[str | None, CONTEXT] = None,
    ) -> None:
        """Start everything, let a simulated market send events, and check that what is stored is exact.

        Exit status 0: every stored document equals an independent fold of the events sent, and every webhook that
        an application was owed has arrived.
        """
        from rich.console import Console

        from services.demo.run import demo  # whose HTTP client only the extra "demo" brings

        errors = Console(stderr=True)
        exact = None
        try:
            errors.print("Starting … (the first time on a machine, Kafka is downloaded: 45 MB)", style="dim")
            with open_stack(Place(data, port_base, context)) as stack, ExitStack() as lasting:
                if rate is None and not json_line:
                    rate = 1_500.0
                exact = demo(
                    stack.addresses, stack.settings, stack.headers, lasting, events, seed, rate, json_line
                ).exact
                if not exit:
                    errors.print("\nEverything stays up until Ctrl-C.", style="bold", end=" ")
                    errors.print("In other terminals every kith command finds it.")
                    if hint := path_hint():
                        errors.print(hint, markup=False, highlight=False, soft_wrap=True)
                    stack.wait()
        except KeyboardInterrupt:
            if exact is None:
                raise typer.Exit(130) from None
        except (ConfigurationError, Unavailable) as error:
            errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None
        raise typer.Exit(0 if exact else 1)

    return command
