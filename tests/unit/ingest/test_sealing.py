"""The door with a vault: nothing personal is published in plain text, and nothing of who is erased."""

from typing import Any

import pytest

from services.ingest.api import create_app
from shared.contracts.codec import decode
from shared.contracts.topics import Topics
from shared.settings import Settings
from shared.vault.fields import reveal, values
from shared.vault.keys import Vault
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.tokens import is_token, seal
from tests.support.builders import OPEN
from tests.support.vault import memory_vault
from tests.unit.ingest.test_api import RecordingPublisher, check_problem, post
from tests.unit.ingest.test_door import BATCHED, NOW, fields

PERSONAL = {"name": "MARKER Ada", "email": "MARKER@example.org"}
PLACE = {"country": "FR", "city": "MARKER Lyon", "lat": 45.123456, "lon": 4.654321}


def consumer(consumer_id: str = "c1", **changes: Any) -> dict[str, Any]:
    data = {"consumer_id": consumer_id, "personal": PERSONAL, "location": PLACE}
    return fields(type="consumer.upserted", data=data, **changes)


def relation(consumer_id: str = "c1", **data: Any) -> dict[str, Any]:
    return fields(
        data={"relation_id": "r", "kind": "view", "consumer_id": consumer_id, "provider_id": "p", **data}
    )


class World:
    def __init__(self, vault: Vault | None = None) -> None:
        self.store = MemoryKeyStore()
        self.vault = vault or memory_vault(self.store)
        self.publisher = RecordingPublisher()
        self.app = create_app(
            self.publisher, Topics("kith"), Settings(), lambda: NOW, list, access=OPEN, vault=self.vault
        )

    def post(self, *events: dict[str, Any]) -> Any:
        return post(self.app, list(events)).json()

    @property
    def published(self) -> list[bytes]:
        return [message.value for message in self.publisher.messages]


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_published_holds_tokens_that_only_the_vault_opens(world: World) -> None:
    assert world.post(consumer(), relation(text="MARKER text"))["accepted"] == 2
    assert not any(b"MARKER" in value or b"45.12" in value or b"4.65" in value for value in world.published)
    upserted, review = (decode(value) for value in world.published)
    assert all(is_token(value) for event in (upserted, review) for _, value in values(event))
    key: Any = world.vault.keys("default", ["c1"])["c1"]
    shown, unreadable = reveal(upserted.data.model_dump(exclude_none=True), "default", key)
    assert (shown["personal"], shown["location"], unreadable) == (PERSONAL, PLACE, [])
    assert reveal(review.data.model_dump(), "default", key)[0]["text"] == "MARKER text"


def test_the_same_event_twice_is_the_same_bytes(world: World) -> None:
    world.post(consumer(), consumer())
    world.post(consumer())
    assert len(world.published) == 3
    assert len(set(world.published)) == 1


def test_the_bytes_of_an_event_without_personal_data_are_its_own(world: World) -> None:
    raw = b'{ "specversion":"1.0", "id":"1","source":"s","time":"2026-01-01T00:00:00Z", "x":1.50,' + (
        b'"type":"relation.recorded","data":{"relation_id":"r","kind":"view","consumer_id":"c","provider_id":"p"}}'
    )
    assert post(world.app, b"[" + raw + b"]").status_code == 202
    assert world.published == [raw]
    assert world.store.finds == 0, "the vault is not even asked"


def test_a_value_behind_a_second_member_of_the_name_does_not_pass(world: World) -> None:
    head = b'[{"specversion":"1.0","id":"1","source":"s","time":"2026-01-01T00:00:00Z","type":"relation.recorded",'
    data = b'"data":{"relation_id":"r","kind":"view","consumer_id":"c","provider_id":"p",%b}}]'
    for hidden in (
        b'"text":"MARKER","text":null',
        b'"te\\u0078t":"MARKER","text":null',
        b'"text":"MARKER","text":"open"',
    ):
        answer = post(world.app, head + data % hidden)
        assert (answer.status_code, answer.json()["rejected"][0]["reason"]) == (400, "duplicate_member")
        assert "MARKER" not in answer.text
    assert world.published == []


def test_keys_of_a_request_are_asked_for_at_once(world: World) -> None:
    world.post(*(consumer(f"c{n}") for n in range(200)), *(relation(f"c{n}", text="x") for n in range(200)))
    assert len(world.published) == 400
    assert world.store.finds == 1


def test_a_sender_cannot_bring_tokens(world: World) -> None:
    key: Any = world.vault.keys("default", ["c1"])["c1"]
    token = seal(key, "default", "c1", "text", "anything")
    forged = "kith1." + "A" * 60
    answer = world.post(relation(text=token), relation(text=forged), relation(text="kith1. is fine"))
    assert answer["accepted"] == 1
    assert [(one["reason"], one["field"]) for one in answer["rejected"]] == [("sealed", "data.text")] * 2
    assert token not in str(answer)
    place = {**PLACE, "lat": forged, "lon": 1.0}
    [rejected] = world.post({**consumer(), "data": {"consumer_id": "c1", "location": place}})["rejected"]
    assert (rejected["reason"], rejected["field"]) == ("sealed", "data.location.lat")


def test_events_of_who_is_erased_are_suppressed(world: World) -> None:
    world.vault.destroy("default", "gone")
    answer = world.post(consumer("gone", id="e7"), consumer("c1"), relation("gone", text="MARKER"))
    assert answer["accepted"] == 1
    assert [(one["index"], one["id"], one["reason"], one["field"]) for one in answer["rejected"]] == [
        (0, "e7", "suppressed", "data.consumer_id"),
        (2, fields()["id"], "suppressed", "data.consumer_id"),
    ]
    assert len(world.published) == 1


def test_while_the_keys_are_away_only_personal_data_waits(world: World) -> None:
    world.store.available = False
    detail = check_problem(post(world.app, [relation(), consumer()]), 503)
    assert "keys" in detail
    assert world.published == []
    assert world.post(relation())["accepted"] == 1
    world.store.available = True
    assert world.post(consumer())["accepted"] == 1
    world.store.available = False
    assert world.post(consumer())["accepted"] == 1, "the key is remembered"


def test_tenants_have_keys_of_their_own(world: World) -> None:
    world.post(relation(text="same"), {**relation(text="same"), "tenant": "acme"})
    one, other = (decode(value) for value in world.published)
    assert list(values(one)) != list(values(other))


def test_answers_and_logs_quote_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.vault.destroy("default", "gone")
    world.store.available = False
    texts = [post(world.app, [consumer()]).text]
    world.store.available = True
    texts += [str(world.post(consumer("gone"), {**consumer(), "type": "nope"}, consumer("x" * 201)))]
    assert "MARKER" not in "".join(texts)
    assert "MARKER" not in caplog.text


def test_the_content_type_does_not_matter(world: World) -> None:
    event = consumer()
    assert post(world.app, event, "application/cloudevents+json").status_code == 202
    assert post(world.app, event, "application/json").status_code == 202
    binary = {f"ce_{name}": str(value) for name, value in event.items() if name != "data"}
    assert post(world.app, event["data"], "application/json", **binary).status_code == 202
    assert post(world.app, [event], BATCHED).status_code == 202
    assert len(world.published) == 4
    assert not any(b"MARKER" in value for value in world.published)
