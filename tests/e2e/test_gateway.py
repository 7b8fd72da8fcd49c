"""The processes behind the real gateway are replaced one by one, and no client notices: from the last released
version to this one, on the same Kafka and MongoDB. What the old version has stored holds."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from services.cli.receipt import verified
from shared.http.problems.lookup import TYPES
from shared.kafka.topics_admin import ensure_topics
from shared.vault.master import add_to_file
from tests.conftest import Addresses, own_settings
from tests.support.gateway import gateway, problem_of
from tests.support.receiver import Receiver, receiver
from tests.support.released import export
from tests.support.rolling import Behind, Load, environment_of
from tests.support.waiting import wait_equal, wait_for

SERVICES = ("ingest", "relations", "analytics", "webhooks", "exports", "privacy", "apps")
#: Of the old version and of the new one: containers have addresses of their own, and here these of this machine.
OLD = {name: f"127.41.{number}.1" for number, name in enumerate(SERVICES)}
NEW = {name: f"127.41.{number}.2" for number, name in enumerate(SERVICES)}
#: docs/how-to/upgrade.md: readers before writers.
ORDER = (("analytics", "webhooks"), ("relations",), ("exports", "privacy"), ("ingest",), ("apps",))
READS = {
    "relations": "/v1/relations?consumer_id=ann&limit=2",
    "analytics": "/v1/aggregates?limit=2",
    "exports": "/v1/export/consumers?personal=true",
    "privacy": "/v1/consumers/bea/export",
    "webhooks": "/v1/webhooks/endpoints",
    "apps": "/v1/apps",
}
#: One event in so many is a purchase, of which the webhook tells.
PURCHASES = 10


@dataclass
class World:
    """The system, and what clients of the old version keep of its answers."""

    behind: Behind
    receiver: Receiver
    kept: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def world(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, before = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("released")
    export(before)
    ran = [sys.executable, "-P", "-c", "import shared; print(*shared.__path__)"]
    found = subprocess.check_output(ran, env=environment_of(before), text=True).strip()
    assert found == str(before / "shared")
    key = folder / "master.key"
    add_to_file(key)
    with own_settings(servers, master_key_file=str(key), access="open") as settings, ExitStack() as stop:
        ensure_topics(settings)
        there = stop.enter_context(receiver())
        ports = stop.enter_context(gateway(folder, {name: (OLD[name], NEW[name]) for name in SERVICES}))
        given = {f"KITH_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
        # A machine that is busy with other things may not be taken for an outage.
        more = {
            "KITH_APPS_URL": f"http://127.0.0.1:{ports['apps']}",
            "KITH_PUBLISH_TIMEOUT_MS": "60000",
            "KITH_WEBHOOK_ALLOW": '["127.0.0.0/8"]',
        }
        behind = Behind({**given, **more}, ports, folder)
        stop.callback(behind.client.close)
        stop.callback(behind.stop_all)
        behind.launch(OLD, before)
        yield World(behind, there)


def purchased(number: int) -> bool:
    return number % PURCHASES == 0


def counted(behind: Behind) -> tuple[int, int]:
    """How many of the load's facts relations and analytics have."""
    answer = behind.ask("relations", "GET", "/v1/relationships/ann/shop")
    items = behind.get("analytics", "/v1/aggregates?by=consumer&key=ann")["items"]
    return int(answer.json()["count"]) if answer.status_code == 200 else 0, sum(each["count"] for each in items)


def erased(behind: Behind, consumer: str) -> Any:
    """The state of an erasure that is asked for now, once it is done."""
    erasure = asked(behind, consumer)
    wait_for(f"the erasure of {consumer}", lambda: behind.get("privacy", erasure)["done"])
    return behind.get("privacy", erasure)


def asked(behind: Behind, consumer: str) -> str:
    answer = behind.ask("privacy", "DELETE", f"/v1/consumers/{consumer}?mode=delete")
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def prepare(world: World) -> None:
    """What the clients of the old version do."""
    behind, kept = world.behind, world.kept
    for name in ("ann", "bea", "cid"):
        personal = {"name": name.title()}
        assert behind.state("consumer.upserted", f"p-{name}", consumer_id=name, personal=personal).is_success
    for name in ("bea", "cid"):
        wait_equal(lambda name=name: behind.ask("relations", "GET", f"/v1/consumers/{name}").status_code, 200)  # type: ignore[misc]
    wanted = {"url": world.receiver.url, "types": ["relation.changed"], "kinds": ["purchase"]}
    kept["endpoint"] = behind.post("webhooks", "/v1/webhooks/endpoints", json=wanted)["endpoint"]
    app = behind.post("apps", "/register", json={"client_name": "Bonus", "scope": "relations:read"})
    kept["app"] = app
    behind.post("apps", f"/v1/apps/{app['client_id']}/approve", json={"scopes": ["relations:read"]})
    kept["token"] = token(world)
    kept["receipt"] = erased(behind, "cid")["receipt"]
    assert kept["receipt"] is not None


def token(world: World) -> str:
    """An access token for the secret that the old version gave."""
    app = world.kept["app"]
    form = {"grant_type": "client_credentials", **{key: app[key] for key in ("client_id", "client_secret")}}
    return str(world.behind.post("apps", "/oauth/token", data=form)["access_token"])


def upgrade(world: World, load: Load) -> None:
    behind = world.behind
    for services in ORDER:
        behind.launch({name: NEW[name] for name in services})
        for name in services:
            if name == "privacy":
                # The new one goes on with it.
                world.kept["erasure"] = asked(behind, "dot")
            behind.stop(name, OLD[name])
            # The new one alone answers.
            load.wait_more(name)


@pytest.mark.timeout(900)
def test_an_upgrade_one_by_one_fails_no_request_and_loses_nothing(world: World) -> None:
    behind, kept = world.behind, world.kept
    prepare(world)
    assert behind.state("consumer.upserted", "p-dot", consumer_id="dot", personal={"name": "Dot"}).is_success

    def state(number: int) -> httpx.Response:
        data = {"relation_id": f"r{number}", "consumer_id": "ann", "provider_id": "shop"}
        return behind.state(
            "relation.recorded", f"e{number}", kind="purchase" if purchased(number) else "view", **data
        )

    with Load(behind, state, READS) as load:
        upgrade(world, load)
    assert load.bad == []
    assert load.sent > 100
    assert behind.processes.keys() == NEW.items()
    # Some were sent twice, and each counts once.
    wait_equal(lambda: counted(behind), (load.sent, load.sent))
    check_webhooks(world, [number for number in range(1, load.sent + 1) if purchased(number)])
    # What the old version has encrypted, signed and issued holds.
    assert behind.get("relations", "/v1/consumers/ann")["personal"] == {"name": "Ann"}
    assert "Ann" in behind.ask("exports", "GET", READS["exports"]).text
    assert behind.get("privacy", READS["privacy"])["consumer"]["personal"] == {"name": "Bea"}
    key_set = behind.get("privacy", "/v1/erasures/keys")
    assert verified(kept["receipt"], key_set)["consumer_id"] == "cid"
    keys = KeySet.import_key_set(behind.get("apps", "/.well-known/jwks.json"))
    for each in (kept["token"], token(world)):
        assert jwt.decode(each, keys, algorithms=["ES256"]).claims["app"] == kept["app"]["client_id"]
    # Who was erased stays erased, and what was asked of the old version was carried out by the new one.
    wait_for("the erasure of dot", lambda: behind.get("privacy", kept["erasure"])["done"])
    assert verified(behind.get("privacy", kept["erasure"])["receipt"], key_set)["consumer_id"] == "dot"
    for name in ("cid", "dot"):
        profile = behind.get("relations", f"/v1/consumers/{name}")
        assert (profile["erased"], profile.get("personal")) == ("delete", None)


def check_webhooks(world: World, purchases: list[int]) -> None:
    """Each purchase was told of in order; one that was told of again has the same id."""
    [endpoint] = world.behind.get("webhooks", "/v1/webhooks/endpoints")["items"]
    assert (endpoint["endpoint"], endpoint["state"]) == (world.kept["endpoint"], "enabled")
    wait_equal(lambda: len(set(world.receiver.ids)), len(purchases))
    numbers = {each.headers["webhook-id"]: int(each.headers["kith-number"]) for each in world.receiver.received}
    assert len(set(numbers.values())) == len(purchases)
    assert sorted(numbers.values()) == list(numbers.values())


def test_where_no_process_is_left_the_answer_is_a_problem_that_says_when_to_retry(world: World) -> None:
    behind = world.behind

    def state() -> httpx.Response:
        return behind.state("provider.upserted", "s1", provider_id="shop", name="Shop")

    behind.stop("ingest", NEW["ingest"])
    began = time.monotonic()
    # A service of which there is no container has no name either.
    for answer in (state(), behind.ask("intelligence", "POST", "/v1/outcomes")):
        assert (answer.status_code, problem_of(answer)) == (503, "no-process")
        assert answer.json()["title"] == TYPES["no-process"].title
        assert answer.headers["Retry-After"] == "5"
    assert time.monotonic() - began < 10, "a client waits for what is known"
    assert behind.ask("relations", "GET", "/v1/relationships/ann/shop").status_code == 200
    behind.launch({"ingest": OLD["ingest"]})
    assert state().status_code == 202
