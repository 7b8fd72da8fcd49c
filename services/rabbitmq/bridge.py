"""The event loop of the bridge, on a thread of its own."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence

from pydantic import SecretStr

from services.rabbitmq.address import check_address
from services.rabbitmq.inflow import Inflow
from services.rabbitmq.outflow import Outflow
from services.rabbitmq.protocols import Connect, Link, Topology
from services.rabbitmq.undeliverable import Undeliverable
from shared.contracts.errors import ConfigurationError

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0


def connecting(uri: SecretStr, topology: Topology, *, declare: bool) -> Connect:
    """Opens connections to a RabbitMQ that has what the bridge needs: declared, or only looked for. It raises
    ConfigurationError and Unavailable. Raises ConfigurationError when ``uri`` is no address."""
    check_address(uri.get_secret_value())

    async def connected() -> Link:
        # Imported here, so that other commands do without the extra.
        from services.rabbitmq.client import connect

        link = await connect(uri.get_secret_value())
        try:
            await (link.declare if declare else link.check)(topology)
        except BaseException:
            await link.close()
            raise
        return link

    return connected


class Bridge:
    """Runs the inflows, and lends its loop to the outflow. An error that no retry can mend stops the process, with
    SIGTERM to itself; ``stop`` then raises it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._inflows: list[Inflow] = []
        self._outflow: Outflow | None = None
        self._undeliverable: Undeliverable | None = None
        self._failure: BaseException | None = None
        self._stopping: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._work, name="rabbitmq")

    def add(
        self, inflows: Sequence[Inflow], outflow: Outflow | None, undeliverable: Undeliverable | None = None
    ) -> None:
        """Before the start."""
        self._inflows, self._outflow, self._undeliverable = list(inflows), outflow, undeliverable

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the consumers. What is not acknowledged is delivered again. Raises the error that stopped it."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self.loop.call_soon_threadsafe(self._cancel)
        self._thread.join(_STOP_SECONDS)
        if self._failure is not None:
            raise self._failure

    def problems(self) -> list[str]:
        """Why some queue is not consumed now; empty when all are."""
        if self._failure is not None:
            return [f"stopped by {type(self._failure).__name__}: {self._failure}"]
        return [f"{inflow.queue}: {inflow.problem}" for inflow in self._inflows if inflow.problem is not None]

    def _cancel(self) -> None:
        self._stopping()

    def _work(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self._run())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._stopping = task.cancel
        try:
            async with asyncio.TaskGroup() as group:
                for inflow in self._inflows:
                    group.create_task(inflow.run())
                if self._undeliverable is not None:
                    group.create_task(self._undeliverable.run())
                # Without queues the loop is there for the outflow alone.
                group.create_task(asyncio.Event().wait())
        except BaseExceptionGroup as several:
            self._failure = several.exceptions[0]
            explained = isinstance(self._failure, ConfigurationError)
            log.critical("the bridge stops: %s", self._failure, exc_info=None if explained else self._failure)
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            if self._outflow is not None:
                await self._outflow.close()
