"""`kith ingest` and so on: one service in this process. A command for each service of the table."""

import runpy
from collections.abc import Callable

from shared.contracts.services import SERVICES


def __getattr__(name: str) -> Callable[[], None]:
    """The command of a service, by its name."""
    if name not in SERVICES:
        raise AttributeError(name)

    def command() -> None:
        runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)

    # The context of a command knows a service by its name.
    command.__name__ = command.__qualname__ = name
    command.__doc__ = SERVICES[name].summary
    return command
