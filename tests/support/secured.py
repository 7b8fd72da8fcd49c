"""The servers of deploy/compose.production.yml, which ask who comes, by TLS, with a user of the least rights for
each service; and the services on them, told what that file tells them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
from pymongo import MongoClient

from services.cli.grants import apply, user_of
from services.cli.privileges import BACKUP, OPERATOR
from shared.access.keys import ApiKeys
from shared.access.keys_mongo import MongoKeys
from shared.contracts.services import CORE, SERVICES
from shared.contracts.topics import Topics
from shared.http.caller import SCOPES
from shared.kafka.topics_admin import ensure_topics
from shared.local.mongo import MongoServer
from shared.local.processes import free_ports
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.support.measures_world import NOW
from tests.support.production import ProductionKafka, ProductionMongo, make_secrets, settings_of
from tests.support.waiting import PATIENCE_SECONDS, Deadline

ROOT = Path(__file__).parents[2]
ADMIN = ("admin", "the-password-of-an-administrator")
USERS = (*SERVICES, OPERATOR, BACKUP)
TOPICS = Topics("kith")
Login = tuple[str, str]


def login_of(service: str) -> Login:
    return user_of(service), f"the-password-of-{service}"


class Secured:
    """Both servers with a user for each service, and the services with these users."""

    def __init__(self, kafka: ProductionKafka, mongo: ProductionMongo, folder: Path, stop: ExitStack) -> None:
        self.kafka, self.mongo, self._folder = kafka, mongo, folder
        self.addresses: dict[str, str] = {}
        self._ports = dict(zip(CORE, free_ports(len(CORE)), strict=True))
        with mock.patch.dict(os.environ, self.environment("setup")):
            #: An administrator's.
            self.settings = Settings()
        ensure_topics(self.settings)
        # As `kith privileges --apply`.
        assert set(apply(self.settings, folder / "secrets")) == {login_of(user)[0] for user in USERS}
        for service in CORE:
            self._start(service, stop)

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
        """The settings of a service, of an operator's command, or of the administrator's job."""
        container = "kith" if user == OPERATOR else user
        more = {"KITH_PARTITIONS": "1", "KITH_SESSION_TIMEOUT_MS": "6000"}
        return {**settings_of(container, self._folder / "secrets", self.kafka), **more}

    def log(self, service: str) -> str:
        return (self._folder / f"{service}.log").read_text()

    def database_of(self, login: Login, stop: ExitStack) -> Any:
        return stop.enter_context(connect(self.mongo.uri_for(login)))[self.settings.database]


@contextmanager
def running(folder: Path) -> Iterator[Secured]:
    kafka_port, admin_port, controller_port, mongo_port = free_ports(4)
    secrets = folder / "secrets"
    secrets.mkdir()
    # Of the users whom the tests name; the script makes everything else.
    for user, password in (*(login_of(user) for user in USERS), ADMIN):
        (secrets / f"{user.removeprefix('kith-')}.password").write_text(f"{password}\n")
    make_secrets(secrets, mongo_port)
    kafka = ProductionKafka(
        folder / "kafka", (kafka_port, admin_port, controller_port), folder / "kafka.log", secrets, ADMIN
    )
    with ExitStack() as stop:
        kafka.launch()
        stop.callback(kafka.stop)
        make_administrator(folder, mongo_port)
        mongo = ProductionMongo(folder / "mongo", mongo_port, folder / "mongo.log", secrets, ADMIN)
        mongo.start()
        stop.callback(mongo.stop)
        kafka.wait_ready()
        yield Secured(kafka, mongo, folder, stop)


def make_administrator(folder: Path, port: int) -> None:
    """As the image of MongoDB does in an empty volume, on a server that asks nobody yet."""
    mongo = MongoServer(folder / "mongo", port, folder / "mongo-first.log", (), 0.25)
    mongo.start()
    try:
        with MongoClient[Document](mongo.uri) as client:
            client.admin.command("createUser", ADMIN[0], pwd=ADMIN[1], roles=["root"])
    finally:
        mongo.stop()


def wait_for(what: str, condition: Callable[[], object], logs: Callable[[], str]) -> None:
    deadline = Deadline()
    while not condition():
        deadline.check(f"{what} did not come: {logs()[-3000:]}")
        assert "not authorized" not in logs(), logs()[-3000:]
        time.sleep(0.1)


class Clients:
    """Requests with a key of every scope; ``masked`` is one without personal:read."""

    def __init__(self, secured: Secured, stop: ExitStack) -> None:
        self._secured = secured
        keys = ApiKeys(MongoKeys(secured.database_of(ADMIN, stop)), lambda: NOW)
        self._client = stop.enter_context(httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS))
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
