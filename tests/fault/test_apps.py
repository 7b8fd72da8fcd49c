"""``kill -9`` of the apps service and of what tells applications, at every step: an application is stored whole or
not at all, no secret works that was ended, and a deletion is told once, under one id."""

from typing import Any

import httpx
import orjson
import pytest

from shared.access.apps.schema import NOTICES, RECEIPTS
from shared.local.processes import Process, free_ports
from tests.fault.system import System
from tests.fault.test_webhooks import endpoints_of
from tests.support.plain_http import request
from tests.support.receiver import receiver

Json = dict[str, Any]
WANTED = {"client_name": "Bonus", "scope": "relations:read webhooks:manage"}


class Service:
    """The apps service on a port of its own. Whatever kills it, the next ``start`` goes on."""

    def __init__(self, system: System) -> None:
        self._system = system
        [self._port] = free_ports(1)
        self.base = f"http://127.0.0.1:{self._port}"
        self.process: Process | None = None

    def start(self, **fault: str) -> None:
        """``fault``: where it is killed."""
        if self.process is not None and self.process in self._system.workers:
            self.process.kill()
            self._system.forget(self.process)
        self.process = self._system.start("apps", apps_port=str(self._port), **fault)
        self._system.wait("a ready apps service", self._is_ready)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return request(method, self.base + path, **options)

    def killed(self, method: str, path: str, **options: Any) -> None:
        """Ask what kills it."""
        with pytest.raises(httpx.TransportError):
            self.ask(method, path, **options)
        assert self.process is not None
        self._system.wait_killed(self.process)

    def token(self, made: Json) -> int:
        form = {"grant_type": "client_credentials", "client_id": made["client_id"]}
        return self.ask("POST", "/oauth/token", data={**form, "client_secret": made["client_secret"]}).status_code

    def approved(self) -> Json:
        made: Json = self.ask("POST", "/register", json=WANTED).json()
        answer = self.ask("POST", f"/v1/apps/{made['client_id']}/approve", json={"revision": made["revision"]})
        assert answer.status_code == 200, answer.text
        return made

    def all(self) -> list[Json]:
        found: list[Json] = self.ask("GET", "/v1/apps").json()["items"]
        return found

    def _is_ready(self) -> bool:
        try:
            return self.ask("GET", "/health/ready").status_code == 200
        except httpx.TransportError:
            return False


@pytest.mark.fast
def test_a_deletion_is_told_once_wherever_whoever_is_killed(system: System) -> None:
    endpoints, service = endpoints_of(system), Service(system)
    # Its registration is the first commit.
    service.start(fault="before-commit:kill:2")
    made = service.approved()
    id, path = made["client_id"], f"/v1/apps/{made['client_id']}"
    with receiver() as there:
        stated = {"url": there.url, "types": ["relation.changed"], "purpose": id, "bound": True}
        endpoints.create("default", stated, "hmac", [], id)
        service.killed("DELETE", path)
        service.start(fault="after-commit:kill:1")
        assert service.token(made) == 200, "not deleted, and not told so"
        assert system.database[NOTICES].count_documents({}) == 0
        service.killed("DELETE", path)
        service.start()
        assert (service.token(made), service.ask("DELETE", path).status_code) == (401, 404)
        assert [each["apps"] for each in system.database[NOTICES].find()] == [[id]]
        for step in ("after-receipts", "before-settle"):
            system.wait_killed(system.start("webhooks", fault=f"{step}:kill:1"))
        system.start("webhooks")
        system.wait("the end of its endpoints", lambda: endpoints.all("default") == [])
        [receipt] = system.database[RECEIPTS].find()
        assert (receipt["topic"], receipt["state"]) == ("app.uninstalled", "delivered")
        # What was under way when a sender was killed is repeated, under the same id.
        assert {orjson.loads(each.body)["data"]["app"] for each in there.received} == {id}
        assert len(set(there.ids)) == 1
    assert system.database[NOTICES].count_documents({}) == 0


@pytest.mark.parametrize("step", ["before-app", "after-app"])
def test_an_application_is_stored_whole_or_not_at_all(system: System, step: str) -> None:
    service = Service(system)
    service.start(fault=f"{step}:kill:1")
    service.killed("POST", "/register", json=WANTED)
    service.start(fault=f"{step}:kill:3")
    # One whose answer was lost waits for an approval; its secret is known to nobody.
    assert [each["state"] for each in service.all()] == ["pending"] * (step == "after-app")
    made = service.approved()
    path = f"/v1/apps/{made['client_id']}"
    service.killed("POST", f"{path}/secrets", json={"others_end_in_hours": 1})
    service.start(fault=f"{step}:kill:2")
    assert service.token(made) == 200, "a secret that nobody was told has not replaced the former one"
    [found] = [each for each in service.all() if each["client_id"] == made["client_id"]]
    valid = [each["secret"] for each in found["secrets"] if each["valid"]]
    assert len(valid) == 1 + (step == "after-app")
    # Whichever it is, the tenant can end the one that was never answered, and add another.
    unknown = [each for each in valid if each not in made["client_secret"]]
    for secret in unknown:
        assert service.ask("DELETE", f"{path}/secrets/{secret}").status_code == 204
    if not unknown:
        assert service.ask("POST", f"{path}/suspend", json={}).status_code == 200
    [own] = [each for each in valid if each in made["client_secret"]]
    service.killed("DELETE", f"{path}/secrets/{own}")
    service.start()
    assert service.token(made) == (401 if step == "after-app" else 400), "ended with its write, or not at all"
