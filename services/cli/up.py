"""Kafka, MongoDB and every service as processes of this machine, started and stopped in order."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from pydantic import SecretStr

from services.cli import outside
from services.cli.data_lock import holding
from services.cli.stack_keys import StackKeys
from shared.contracts.errors import ConfigurationError
from shared.contracts.services import CONNECTORS, CORE
from shared.local.kafka import KafkaServer
from shared.local.ports import require_free, taken
from shared.local.private import private_file
from shared.local.processes import Process, replace_taken
from shared.local.servers import Servers, data_folder, server_ports
from shared.local.temporary import remove_abandoned, removed_notice
from shared.service.launch import read_settings
from shared.settings import Settings
from shared.vault.master import add_to_file

#: As long as a server may take: the processes of all services start at once.
READY_SECONDS = 120.0


class Stack:
    """Context manager: the servers that no setting names, the topics, and every service, ready.

    ``workers`` is the number of processes of a service (default 1): the first on the service's port, further ones
    on free ports. ``connectors`` run besides the core services, each with the outside system that it needs
    (``services.cli.outside``) where no setting names one. With ``port_base`` N the services listen on N and the
    following ports, then Kafka, its controller and MongoDB. An explicit port (by base or setting) that is in use
    raises ConfigurationError; a default port is replaced by a free one. ``say`` is told of that, and of what
    is waited for. ``opened`` is called with the folder of this stack before any process starts.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        data: Path | None = None,
        port_base: int | None = None,
        workers: Mapping[str, int] | None = None,
        docker: bool = False,
        connectors: Collection[str] = (),
        say: Callable[[str], None] = lambda _: None,
        opened: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self._given = read_settings() if settings is None else settings
        self._data = data
        self._port_base = port_base
        self._workers = dict(workers or {})
        self._docker = docker
        #: The services of this stack, in starting order.
        self._chosen = (*CORE, *(name for name in CONNECTORS if name in connectors))
        self._say = say
        self._opened = opened
        self._exit = ExitStack()
        self._servers: list[Process] = []
        #: By name: ``relations``, and ``relations-2`` for its second worker.
        self.services: dict[str, Process] = {}
        self.addresses: dict[str, str] = {}
        #: The settings that the services got, with the addresses of the servers.
        self.settings = self._given
        #: With every scope, for the tenant ``default``; None where KITH_ACCESS is open.
        self.api_key: str | None = None
        self._keys: StackKeys

    def headers(self, tenant: str = "default") -> dict[str, str]:
        """The headers of a request on behalf of a tenant."""
        return self._keys.headers(tenant)

    def __enter__(self) -> Self:
        if unknown := set(self._workers) - set(self._chosen):
            raise ConfigurationError(f"this stack has no service {', '.join(sorted(unknown))}")
        if self._given.tls_cert_file is not None:
            raise ConfigurationError("`kith up` starts local servers without TLS: unset KITH_TLS_*")
        if abandoned := remove_abandoned():
            self._say(removed_notice(abandoned))
        with ExitStack() as undo:
            folder = undo.enter_context(data_folder(self._data, self._say))
            lock = undo.enter_context(holding(folder))
            self._opened(folder)
            ports = self._ports()
            self._keep_master_key(folder)
            self._start_servers(undo, folder)
            self._start_outside(undo, folder)
            from shared.kafka.topics_admin import ensure_topics

            ensure_topics(self.settings)
            self._keys = StackKeys(self.settings, folder, keep=self._data is not None)
            undo.callback(self._keys.revoke)
            self.api_key = self._keys.of("default")
            undo.callback(self._stop_services)
            urls = self._start_services(folder / "log", ports)
            lock.say(self.addresses)
            self._wait_ready(urls)
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, traceback)

    def check(self) -> None:
        """Raise ProcessFailed, with the end of its log, when a process has ended by itself."""
        for process in (*self._servers, *self.services.values()):
            process.check()

    def wait(self) -> NoReturn:
        """Watch the processes until one ends by itself: then ProcessFailed."""
        while True:
            self.check()
            time.sleep(0.2)

    def _keep_master_key(self, folder: Path) -> None:
        """Keep a master key beside the data that it encrypts, unless the settings contain one."""
        given = self._given
        if given.encryption == "off" or given.master_key is not None or given.master_key_file is not None:
            return
        if given.mongo is not None and self._data is None:
            raise ConfigurationError(
                "KITH_MONGO names a database that is kept, but its master key would be deleted "
                "at the end: set --data, KITH_MASTER_KEY_FILE or KITH_MASTER_KEY"
            )
        if not (path := folder.absolute() / "master.key").exists():
            add_to_file(path)
        os.close(private_file(path, os.O_RDONLY, self._say))
        self._given = given.model_copy(update={"master_key_file": str(path)})

    def _ports(self) -> dict[str, int]:
        """The port of each process of a service."""
        base, given = self._port_base, self._given
        wanted: dict[str, int] = {service: getattr(given, f"{service}_port") for service in self._chosen}
        if base is not None:
            wanted = {service: base + index for index, service in enumerate(self._chosen)}
            own = {name for name in ("kafka", "mongo") if getattr(given, name) is None}
            require_free({**wanted, **server_ports(base + len(self._chosen), own)})
        require_free({s: port for s, port in wanted.items() if f"{s}_port" in given.model_fields_set})
        busy = taken(wanted)
        for service in self._chosen:
            wanted |= {f"{service}-{n}": 0 for n in range(2, self._workers.get(service, 1) + 1)}
        ports = dict(zip(wanted, replace_taken([*wanted.values()]), strict=True))
        for service, holder in busy.items():
            self._say(
                f"Port {wanted[service]} is taken by {holder}: {service} listens on {ports[service]} instead."
            )
        return ports

    def _start_servers(self, undo: ExitStack, folder: Path) -> None:
        given = {"kafka": self._given.kafka, "mongo": self._given.mongo}
        missing = {name for name, address in given.items() if address is None}
        login: dict[str, Any] = {}
        if missing:
            names = [text for name, text in (("kafka", "Kafka"), ("mongo", "MongoDB")) if name in missing]
            self._say(f"Waiting for {' and '.join(names)} … (logs: {folder / 'log'})")
            base = None if self._port_base is None else self._port_base + len(self._chosen)
            if self._docker:
                try:
                    from shared.local.containers import Containers
                except ImportError as error:
                    raise ConfigurationError("Docker is used through testcontainers: install it") from error
                servers: Servers | Containers = Containers(base, missing)
            else:
                servers = Servers(folder, base, missing, secured=True)
            undo.enter_context(servers)
            self._servers = servers.processes
            given["kafka"] = given["kafka"] or servers.kafka.bootstrap
            given["mongo"] = given["mongo"] or servers.mongo.uri
            if isinstance(servers, Servers) and "kafka" in missing:
                login = _login(servers.kafka)
        self.settings = self._given.model_copy(update={**given, **login, "host": self._given.host})
        self.addresses = {name: address for name, address in given.items() if address is not None}

    def _start_outside(self, undo: ExitStack, folder: Path) -> None:
        """The outside systems of the connectors, where no setting names one."""
        for name in self._chosen:
            if name not in CONNECTORS:
                continue
            setting = CONNECTORS[name].needs
            if (address := getattr(self._given, setting)) is None:
                system = undo.enter_context(outside.server(name, folder, folder / "log" / f"{name}-server.log"))
                self._servers = [*self._servers, *system.processes]
                address = system.address
                self.settings = self.settings.model_copy(update={setting: address})
            # By the setting, unless the service that it is for has the same name.
            self.addresses[f"{setting} server" if setting in self._chosen else setting] = (
                address.get_secret_value() if isinstance(address, SecretStr) else str(address)
            )

    def _start_services(self, log: Path, ports: dict[str, int]) -> dict[str, str]:
        chosen = self._given
        self.settings = self.settings.model_copy(
            update={f"{service}_port": ports[service] for service in self._chosen}
        )
        urls = {name: f"http://{reachable(chosen.host)}:{port}" for name, port in ports.items()}
        # The dashboard, which analytics serves, asks other APIs from the browser.
        pages = (*chosen.dashboard_origins, urls["analytics"], f"http://localhost:{ports['analytics']}")
        self.settings = self.settings.model_copy(update={"dashboard_origins": pages})
        for name, port in ports.items():
            service = name.partition("-")[0]
            own = self.settings.model_copy(update={f"{service}_port": port})
            argv = [sys.executable, "-m", f"services.{service}"]
            process = Process(name, argv, log / f"{name}.log", {**os.environ, **environment(own)})
            self.services[name] = process  # before it starts, so that every running process is stopped
            process.start()
        self.addresses = {**{service: urls[service] for service in self._chosen}, **self.addresses}
        return urls

    def _wait_ready(self, urls: dict[str, str]) -> None:
        self._say(f"Waiting for the services: {', '.join(self._chosen)} …")
        deadline = time.monotonic() + READY_SECONDS
        for name, url in urls.items():
            while not _is_ready(url):
                self.check()
                if time.monotonic() > deadline:
                    raise self.services[name].failure(f"was not ready after {READY_SECONDS:.0f} s")
                time.sleep(0.05)

    def _stop_services(self) -> None:
        for process in self.services.values():
            process.ask_to_stop()
        for process in self.services.values():
            process.stop()


def _login(kafka: KafkaServer) -> dict[str, Any]:
    """The settings by which a client comes to Kafka as its user."""
    assert kafka.login is not None
    name, password = kafka.login
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": kafka.mechanism,
        "kafka_username": name,
        "kafka_password": SecretStr(password),
    }


def environment(settings: Settings) -> dict[str, str]:
    """The explicit settings, as the environment of a process with the same settings."""
    variables = {"PYTHONUNBUFFERED": "1"}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            variables[f"KITH_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
    return variables


def _is_ready(url: str) -> bool:
    # No proxy, even if the environment sets one: the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (OSError, http.client.HTTPException):
        return False


def reachable(host: str) -> str:
    """The address at which this machine reaches a server that listens on ``host``."""
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
