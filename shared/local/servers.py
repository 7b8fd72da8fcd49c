"""Kafka and MongoDB side by side, over one data folder."""

import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.local.kafka import KafkaServer
from shared.local.kafka_security import PLAIN
from shared.local.mongo import OWNER, MongoServer
from shared.local.ports import require_free
from shared.local.private import private_folder
from shared.local.processes import Process, replace_taken
from shared.local.temporary import temporary_folder

BOTH = frozenset({"kafka", "mongo"})


def server_ports(base: int, only: Collection[str]) -> dict[str, int]:
    """The ports from ``base`` upwards, by what listens on them."""
    ports = {"Kafka": base, "Kafka's controller": base + 1} if "kafka" in only else {}
    return {**ports, "MongoDB": base + 2} if "mongo" in only else ports


class Servers:
    """Context manager: real servers, embedded.

    ``data`` None is a temporary folder. With ``port_base`` N, Kafka listens on N, its controller on N + 1 and
    MongoDB on N + 2 (ConfigurationError says what holds one of them); without it, on free ones. ``only`` leaves
    one of the two out. With ``secured`` both ask for a password, which this start makes: another user of the
    machine gets nowhere.
    """

    def __init__(
        self,
        data: Path | None = None,
        port_base: int | None = None,
        only: Collection[str] = BOTH,
        secured: bool = False,
    ) -> None:
        self._data = data
        self._secured = secured
        self._port_base = port_base
        self._only = only
        self._exit = ExitStack()
        self.kafka: KafkaServer
        self.mongo: MongoServer

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            data = undo.enter_context(data_folder(self._data))
            base = self._port_base
            if base is not None:
                require_free(server_ports(base, self._only))
            kafka_port, controller_port, mongo_port = replace_taken(
                [0, 0, 0] if base is None else [base, base + 1, base + 2]
            )
            log = data / "log"
            login = (OWNER, secrets.token_urlsafe()) if self._secured else None
            self.kafka = KafkaServer(
                data / "kafka", kafka_port, controller_port, log / "kafka.log", login=login, mechanism=PLAIN
            )
            self.mongo = MongoServer(data / "mongo", mongo_port, log / "mongo.log", secured=self._secured)
            undo.callback(self._stop)
            # Both boot at the same time; nothing here needs a thread.
            started = [server for name, server in self._servers if name in self._only]
            for server in started:
                server.launch()
            for server in started:
                server.wait_ready()
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, traceback)

    @property
    def processes(self) -> list[Process]:
        """The running processes, for whoever watches that none ends."""
        return [server.process for name, server in self._servers if name in self._only]

    @property
    def _servers(self) -> tuple[tuple[str, MongoServer | KafkaServer], ...]:
        # Kafka's Java starts while mongod's file is checked.
        return ("kafka", self.kafka), ("mongo", self.mongo)

    def _stop(self) -> None:
        for process in self.processes:
            process.ask_to_stop()
        for process in self.processes:
            process.stop()


@contextmanager
def data_folder(data: Path | None, say: Callable[[str], None] = lambda _: None) -> Iterator[Path]:
    """``data``, created when missing; or a temporary folder, of which only the logs stay after an error. Only the
    owner can enter it: ``say`` receives that it was open to others. Raises ConfigurationError when it is another
    user's."""
    if data is not None:
        yield private_folder(data, say).absolute()
        return
    with temporary_folder() as folder:
        yield folder
