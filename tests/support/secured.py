"""Real servers that ask who comes, with a user of the least rights for each service, and the services on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient

from services.cli.grants import apply, user_of
from services.cli.privileges import OPERATOR
from shared.access.keys import ApiKeys
from shared.access.keys_mongo import MongoKeys
from shared.contracts.services import CORE, SERVICES
from shared.contracts.topics import Topics
from shared.http.caller import SCOPES
from shared.kafka.topics_admin import ensure_topics
from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from shared.local.processes import free_ports
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.vault.master import add_to_file
from tests.support.measures_world import NOW
from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
ADMIN = ("admin", "an administrator's p@ss:word")
USERS = (*SERVICES, OPERATOR)
TOPICS = Topics("kith")
Login = tuple[str, str]


def login_of(service: str) -> Login:
    return user_of(service), f"the password of {service}"


class Secured:
    """Both servers with a user for each service, and the services with these users."""

    def __init__(self, kafka: KafkaServer, mongo: MongoServer, folder: Path, stop: ExitStack) -> None:
        self.kafka, self.mongo, self._folder = kafka, mongo, folder
        self.master_keys = folder / "master.key"
        add_to_file(self.master_keys)
        self.addresses: dict[str, str] = {}
        self._ports = dict(zip(CORE, free_ports(len(CORE)), strict=True))
        self.settings = self.settings_of(ADMIN)
        ensure_topics(self.settings)
        self._allow()
        for service in CORE:
            self._start(service, stop)

    def settings_of(self, login: Login, mongo: Login | None = None, **more: Any) -> Settings:
        return Settings(
            kafka=self.kafka.bootstrap,
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_username=login[0],
            kafka_password=login[1],
            mongo=self.mongo.uri_for(mongo or login),
            master_key_file=str(self.master_keys),
            partitions=1,
            session_timeout_ms=6_000,
            **more,
        )

    def _allow(self) -> None:
        for user in USERS:
            (self._folder / f"{user}.password").write_text(f"{login_of(user)[1]}\n")
        assert set(apply(self.settings, self._folder)) == {login_of(user)[0] for user in USERS}

    def _start(self, service: str, stop: ExitStack) -> None:
        given = {f"KITH_{name.upper()}_PORT": str(port) for name, port in self._ports.items()}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        log = stop.enter_context((self._folder / f"{service}.log").open("wb"))
        process = stop.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                stderr=log,
                cwd=ROOT,
                env={**clean, **given, **self.environment(service)},
            )
        )
        stop.callback(process.kill)
        self.addresses[service] = f"http://127.0.0.1:{self._ports[service]}"

    def environment(self, user: str) -> dict[str, str]:
        """The settings of a command that one of the users runs."""
        settings = self.settings_of(login_of(user))
        given = {f"KITH_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
        return {**given, "KITH_KAFKA_PASSWORD": login_of(user)[1]}

    def log(self, service: str) -> str:
        return (self._folder / f"{service}.log").read_text()

    def database_of(self, login: Login, stop: ExitStack) -> Any:
        return stop.enter_context(connect(self.mongo.uri_for(login)))[self.settings.database]


@contextmanager
def running(folder: Path) -> Iterator[Secured]:
    kafka_port, controller_port, mongo_port = free_ports(3)
    kafka = KafkaServer(
        folder / "kafka", kafka_port, controller_port, folder / "kafka.log", heap="256m", login=ADMIN
    )
    with ExitStack() as stop:
        kafka.launch()
        stop.callback(kafka.stop)
        make_administrator(folder, mongo_port)
        keyfile = folder / "keyfile"
        keyfile.write_text("c2hhcmVkIGJ5IHRoZSBtZW1iZXJz")
        keyfile.chmod(0o600)
        secured = ("--auth", "--keyFile", str(keyfile))
        mongo = MongoServer(folder / "mongo", mongo_port, folder / "mongo.log", secured, 0.25, ADMIN)
        mongo.start()
        stop.callback(mongo.stop)
        kafka.wait_ready()
        yield Secured(kafka, mongo, folder, stop)


def make_administrator(folder: Path, port: int) -> None:
    """On a server that asks nobody yet: the administrator. `kith privileges` makes all others."""
    mongo = MongoServer(folder / "mongo", port, folder / "mongo-first.log", (), 0.25)
    mongo.start()
    try:
        with MongoClient[Document](mongo.uri) as client:
            client.admin.command("createUser", ADMIN[0], pwd=ADMIN[1], roles=["root"])
    finally:
        mongo.stop()


def wait_for(what: str, condition: Callable[[], object], logs: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come: {logs()[-3000:]}"
        assert "not authorized" not in logs(), logs()[-3000:]
        time.sleep(0.1)


class Clients:
    """Requests with a key of every scope; ``masked`` is one without personal:read."""

    def __init__(self, secured: Secured, stop: ExitStack) -> None:
        self._secured = secured
        keys = ApiKeys(MongoKeys(secured.database_of(ADMIN, stop)), lambda: NOW)
        self._client = stop.enter_context(httpx.Client(trust_env=False, timeout=30))
        self._key = keys.create("default", "test", [*SCOPES])[1]
        self._masked = keys.create("default", "masked", [s for s in SCOPES if s != "personal:read"])[1]

    def ask(self, service: str, method: str, path: str, *, masked: bool = False, **options: Any) -> httpx.Response:
        key = self._masked if masked else self._key
        url = self._secured.addresses[service] + path
        return self._client.request(method, url, headers={"Authorization": f"Bearer {key}"}, **options)

    def address(self, service: str) -> str:
        return self._secured.addresses[service]

    def get(self, service: str, path: str, *, masked: bool = False, **params: Any) -> Any:
        answer = self.ask(service, "GET", path, masked=masked, params=params)
        assert answer.status_code == 200, (answer.text, self._secured.log(service)[-2000:])
        return answer.json()

    def status(self, service: str, path: str) -> int:
        try:
            return self.ask(service, "GET", path).status_code
        except httpx.TransportError:
            return 0

    def send(self, *events: dict[str, Any]) -> None:
        answer = self.ask("ingest", "POST", "/v1/events", json=list(events))
        assert answer.json() == {"accepted": len(events), "rejected": []}, answer.text

    def wait(self, service: str, path: str, shown: Callable[[httpx.Response], object]) -> None:
        """Until an answer is as it should be."""
        wait_for(f"{service}{path}", lambda: shown(self.ask(service, "GET", path)), partial(self._log, service))

    def _log(self, service: str) -> str:
        return self._secured.log("relations") + self._secured.log(service)
