"""The outside systems of connectors, as processes of this machine: RabbitMQ, Cassandra, Postgres.

`shared.local.NAME` of a connector NAME has ``server(folder, log)``, which starts its system over a data folder.
It is imported when it is asked for, since its client is an extra.
"""

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

from shared.contracts.errors import ConfigurationError
from shared.local.processes import Process


class OutsideServer(Protocol):
    """A running server: its processes, and its address as the connector's setting takes it."""

    @property
    def processes(self) -> Sequence[Process]: ...

    @property
    def address(self) -> Any: ...


def server(connector: str, folder: Path, log: Path) -> AbstractContextManager[OutsideServer]:
    """The outside system of ``connector``, with its data in a folder of ``folder``. Raises ConfigurationError
    where it is not installed, and ProcessFailed."""
    try:
        module = importlib.import_module(f"shared.local.{connector}")
    except ImportError as error:
        raise ConfigurationError(f"--{connector}: install Kith's extra {connector} ({error})") from error
    return cast("AbstractContextManager[OutsideServer]", module.server(folder / connector, log))
