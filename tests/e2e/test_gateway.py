"""Two processes of a service behind the real gateway are upgraded one after the other, and no client notices: from
the last released version to this one, on the same Kafka and MongoDB."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.http.problems.lookup import TYPES
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process
from shared.vault.master import add_to_file
from tests.conftest import Addresses, own_settings
from tests.support.end_to_end import ROOT, fields
from tests.support.gateway import gateway, problem_of
from tests.support.released import export
from tests.support.waiting import PATIENCE_SECONDS, wait_equal, wait_for

#: Two processes of each: containers have addresses of their own, and here these of this machine.
ADDRESSES = {"ingest": ("127.41.0.1", "127.41.0.2"), "relations": ("127.41.1.1", "127.41.1.2")}


def of(code: Path) -> dict[str, str]:
    """The environment of a process that runs the packages in ``code``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    return {**clean, "PYTHONPATH": str(code)}


class Behind:
    """The processes behind the gateway, at first of the code in ``before``, and a client in front of it."""

    def __init__(self, environment: dict[str, str], ports: Any, folder: Path, before: Path) -> None:
        self._environment, self._ports, self._folder = environment, ports, folder
        self.client = httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS)
        self.processes = {
            (service, address): self._process(service, address, before)
            for service, addresses in ADDRESSES.items()
            for address in addresses
        }

    def _process(self, service: str, address: str, code: Path) -> Process:
        given = {"KITH_HOST": address, f"KITH_{service.upper()}_PORT": str(self._ports[service])}
        # -P: not the code of the folder in which the tests run.
        argv = [sys.executable, "-P", "-m", f"services.{service}"]
        log = self._folder / f"{service}-{address}.log"
        return Process(f"{service}-{address}", argv, log, {**of(code), **self._environment, **given})

    def start(self, service: str, address: str) -> None:
        """A process of this version."""
        process = self._process(service, address, ROOT)
        self.processes[service, address] = process
        process.start()
        self.wait_ready(service, address)

    def wait_ready(self, service: str, address: str) -> None:
        url = f"http://{address}:{self._ports[service]}/health/ready"

        def missing() -> str | None:
            try:
                answer = httpx.get(url, trust_env=False, timeout=5)
            except httpx.TransportError as error:
                return str(error)
            return None if answer.status_code == 200 else answer.text

        self.processes[service, address].wait_until(missing, PATIENCE_SECONDS)

    def stop(self, service: str, address: str) -> None:
        process = self.processes[service, address]
        process.ask_to_stop()
        wait_for(f"the end of {process.name}", lambda: not process.running)
        assert process.returncode == 0, process.failure("did not end well")

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.stop()

    def ask(self, service: str, method: str, path: str, **options: Any) -> httpx.Response:
        return self.client.request(method, f"http://127.0.0.1:{self._ports[service]}{path}", **options)

    def state(self, number: int) -> httpx.Response:
        data = {"relation_id": f"r{number}", "kind": "view", "consumer_id": "ann", "provider_id": "shop"}
        event = fields("relation.recorded", f"e{number}", "2026-03-01T10:00:00Z", data)
        return self.ask("ingest", "POST", "/v1/events", json=[event])

    def stored(self) -> int:
        answer = self.ask("relations", "GET", "/v1/relationships/ann/shop")
        return int(answer.json()["count"]) if answer.status_code == 200 else 0


@pytest.fixture(scope="module")
def behind(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder, before = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("released")
    export(before)
    ran = [sys.executable, "-P", "-c", "import shared; print(*shared.__path__)"]
    assert subprocess.check_output(ran, env=of(before), text=True).strip() == str(before / "shared")
    key = folder / "master.key"
    add_to_file(key)
    with own_settings(servers, master_key_file=str(key), access="open") as settings, ExitStack() as stop:
        ensure_topics(settings)
        ports = stop.enter_context(gateway(folder, ADDRESSES))
        given = {f"KITH_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
        behind = Behind(given, ports, folder, before)
        stop.callback(behind.client.close)
        stop.callback(behind.stop_all)
        for process in behind.processes.values():
            process.start()
        for place in behind.processes:
            behind.wait_ready(*place)
        yield behind


class Load:
    """Clients that ask without a pause, each in a thread of its own."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self._stop = threading.Event()
        #: (service, status, content type) of every answer.
        self.answers: Counter[tuple[str, int, str]] = Counter()
        self.bad: list[str] = []
        self.sent = 0
        self._threads = [threading.Thread(target=self._state), threading.Thread(target=self._read)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _state(self) -> None:
        while not self._stop.is_set():
            self.sent += 1
            self._note("ingest", self._behind.state(self.sent))

    def _read(self) -> None:
        while not self._stop.is_set():
            self._note("relations", self._behind.ask("relations", "GET", "/v1/relations?consumer_id=ann&limit=2"))

    def _note(self, service: str, answer: httpx.Response) -> None:
        self.answers[service, answer.status_code, answer.headers["Content-Type"]] += 1
        if answer.status_code >= 400:
            self.bad.append(answer.text)


def test_an_upgrade_one_by_one_fails_no_request_and_loses_nothing(behind: Behind) -> None:
    stated = {"consumer_id": "ann", "personal": {"name": "Ann"}}
    profile = fields("consumer.upserted", "p1", "2026-03-01T10:00:00Z", stated)
    assert behind.ask("ingest", "POST", "/v1/events", json=[profile]).status_code == 202
    with Load(behind) as load:
        # Readers before writers: docs/how-to/upgrade.md.
        for place in sorted(behind.processes, reverse=True):
            before = sum(load.answers.values())
            behind.stop(*place)
            # The other one alone answers.
            wait_for("requests", lambda before=before: sum(load.answers.values()) > before + 50)  # type: ignore[misc]
            behind.start(*place)
    assert load.bad == []
    assert {(status, kind) for _, status, kind in load.answers} == {
        (202, "application/json"),
        (200, "application/json"),
    }
    assert load.sent > 100
    # Some were sent twice, and each counts once.
    wait_equal(behind.stored, load.sent)
    # The old version has encrypted it.
    assert behind.ask("relations", "GET", "/v1/consumers/ann").json()["personal"] == {"name": "Ann"}


def test_where_no_process_is_left_the_answer_is_a_problem_that_says_when_to_retry(behind: Behind) -> None:
    for address in ADDRESSES["ingest"]:
        behind.stop("ingest", address)
    began = time.monotonic()
    # A service of which there is no container has no name either.
    for answer in (behind.state(0), behind.ask("privacy", "DELETE", "/v1/consumers/ann")):
        assert (answer.status_code, problem_of(answer)) == (503, "no-process")
        assert answer.json()["title"] == TYPES["no-process"].title
        assert answer.headers["Retry-After"] == "5"
    assert time.monotonic() - began < 10, "a client waits for what is known"
    assert behind.ask("relations", "GET", "/v1/relationships/ann/shop").status_code == 200
    behind.start("ingest", ADDRESSES["ingest"][0])
    assert behind.state(0).status_code == 202
