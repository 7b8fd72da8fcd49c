"""Processes of several services and versions behind the real gateway, and clients in front of it."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from shared.local.processes import Process
from tests.support.end_to_end import fields
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS, wait_for


def environment_of(code: Path) -> dict[str, str]:
    """The environment of a process that runs the packages in ``code``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    return {**clean, "PYTHONPATH": str(code)}


class Behind:
    """The processes behind the gateway, each a service at an address of its own, and a client in front of it."""

    def __init__(self, environment: dict[str, str], ports: Mapping[str, int], folder: Path) -> None:
        self._environment, self._ports, self._folder = environment, ports, folder
        self.client = httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS)
        #: By service and address.
        self.processes: dict[tuple[str, str], Process] = {}

    def launch(self, places: Mapping[str, str], code: Path = ROOT) -> None:
        """Start processes of the version in ``code`` at once, by service the address, and wait until each is
        ready."""
        for service, address in places.items():
            given = {"KITH_HOST": address, f"KITH_{service.upper()}_PORT": str(self._ports[service])}
            # -P: not the code of the folder in which the tests run.
            argv = [sys.executable, "-P", "-m", f"services.{service}"]
            log = self._folder / f"{service}-{address}.log"
            environment = {**environment_of(code), **self._environment, **given}
            process = Process(f"{service}-{address}", argv, log, environment)
            self.processes[service, address] = process
            process.start()
        for service, address in places.items():
            self._wait_ready(service, address)

    def _wait_ready(self, service: str, address: str) -> None:
        url = f"http://{address}:{self._ports[service]}/health/ready"

        def missing() -> str | None:
            try:
                answer = self.client.get(url, timeout=5)
            except httpx.TransportError as error:
                return str(error)
            return None if answer.status_code == 200 else answer.text

        self.processes[service, address].wait_until(missing, PATIENCE_SECONDS)

    def stop(self, service: str, address: str) -> None:
        process = self.processes.pop((service, address))
        process.ask_to_stop()
        wait_for(f"the end of {process.name}", lambda: not process.running)
        assert process.returncode == 0, process.failure("did not end well")

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.ask_to_stop()
        for process in self.processes.values():
            process.stop()

    def ask(self, service: str, method: str, path: str, **options: Any) -> httpx.Response:
        return self.client.request(method, f"http://127.0.0.1:{self._ports[service]}{path}", **options)

    def get(self, service: str, path: str) -> Any:
        """The JSON of an answer 200."""
        answer = self.ask(service, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, service: str, path: str, **options: Any) -> Any:
        """The JSON of an answer 2xx."""
        answer = self.ask(service, "POST", path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def state(self, type: str, id: str, **data: Any) -> httpx.Response:
        return self.ask("ingest", "POST", "/v1/events", json=[fields(type, id, "2026-03-01T10:00:00Z", data)])


class Load:
    """Clients that ask without a pause: one states events, the other reads from one service after the other."""

    def __init__(self, behind: Behind, state: Callable[[int], httpx.Response], reads: Mapping[str, str]) -> None:
        self._behind, self._state, self._reads = behind, state, reads
        self._stop = threading.Event()
        #: How many answers there were, by service.
        self.answers: Counter[str] = Counter()
        #: The answers, and failures of a connection, that a client should not see.
        self.bad: list[str] = []
        self.sent = 0
        self._threads = [threading.Thread(target=work) for work in (self._write, self._read)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_more(self, service: str, more: int = 5) -> None:
        """Until the service has answered so often again."""
        wanted = self.answers[service] + more
        wait_for(f"answers of {service}", lambda: self.answers[service] >= wanted)

    def _write(self) -> None:
        while not self._stop.is_set():
            self.sent += 1
            self._note("ingest", lambda: self._state(self.sent), 202)

    def _read(self) -> None:
        while not self._stop.is_set():
            for service, path in self._reads.items():
                self._note(service, lambda service=service, path=path: self._behind.ask(service, "GET", path), 200)  # type: ignore[misc]

    def _note(self, service: str, ask: Callable[[], httpx.Response], expected: int) -> None:
        try:
            answer = ask()
        except httpx.TransportError as error:
            self.bad.append(f"{service}: {error!r}")
            return
        self.answers[service] += 1
        if answer.status_code != expected:
            self.bad.append(f"{service}: {answer.status_code} {answer.text}")
