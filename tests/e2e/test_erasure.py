"""Erasing a consumer for good, on running services and real servers: neither a replay, a rebuild, a replayed dead
letter nor a restored dump brings anybody back, and nothing that is left opens what they wrote."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from services.cli.up import Stack, environment
from shared.contracts.topics import INPUTS, OUTPUTS, Topics
from shared.erasure.records import erasure_id, hashed
from shared.kafka.clients import open_publisher
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.open import vault_in
from shared.vault.protocols import Destroyed
from shared.vault.tokens import DataKey, Unreadable, unseal
from tests.conftest import Addresses, own_settings
from tests.support.end_to_end import (
    fetch,
    fields,
    get,
    message,
    post,
    run_kith,
    running,
    values,
    wait_until_drained,
)
from tests.support.plain_http import request
from tests.support.waiting import PATIENCE_SECONDS, wait_for

EMAIL, NAME, TEXT, PAST = "planted-email@example.org", "Planted Name", "planted text", "planted past the door"
FIELDS = ("personal.email", "personal.name", "text", "reason", "location.city")
TOKEN = re.compile(rb"kith1\.[A-Za-z0-9_-]+")


def upserted(consumer: str, id: str) -> dict[str, Any]:
    personal = {"email": EMAIL, "name": NAME}
    return fields("consumer.upserted", id, "2026-05-01T08:00:00Z", {"consumer_id": consumer, "personal": personal})


def sale(consumer: str, n: int, id: str = "", **data: Any) -> dict[str, Any]:
    place = {"relation_id": f"{consumer}-sale-{n}", "consumer_id": consumer, "provider_id": f"p{n % 2}"}
    facts = {**place, "kind": "purchase", "amount": 100 + n, "currency": "EUR", "text": TEXT, **data}
    return fields("relation.recorded", id or f"{consumer}-{n}", f"2026-05-02T08:{n:02}:00Z", facts)


def without_personal(consumer: str, n: int) -> dict[str, Any]:
    event = sale(consumer, n, f"late-{consumer}-{n}")
    del event["data"]["text"]
    return event


@pytest.fixture
def settings(servers: Addresses) -> Iterator[Settings]:
    with own_settings(servers) as settings:
        yield settings


def stored(database: Database[Document]) -> bytes:
    """Every document, as MongoDB keeps it once uncompressed."""
    return b"".join(
        bson.encode(document) for name in database.list_collection_names() for document in database[name].find()
    )


def published(settings: Settings) -> bytes:
    """Every key and value in every topic."""
    topics = Topics(settings.topic_prefix)
    return b"".join(
        (key or b"") + (value or b"")
        for short in (*INPUTS, *OUTPUTS)
        for _, key, value in values(settings, topics.name(short))
    )


def opened(found: bytes, database: Database[Document], vault: Vault, consumers: tuple[str, ...]) -> set[str]:
    """What can be read of all sealed values, by every key that is left, whosever they may be."""
    ids = {each["_id"] for each in database["data_keys"].find({"destroyed": {"$ne": True}})}
    names = [id.partition(":")[2] for id in ids]
    keys = [key for key in vault.keys("default", names, create=False).values() if isinstance(key, DataKey)]
    plain = set()
    for token in {match.decode() for match in TOKEN.findall(found)}:
        for key in keys:
            for consumer in consumers:
                for field in FIELDS:
                    try:
                        plain.add(f"{consumer}: {unseal(key, 'default', consumer, field, token)}")
                    except Unreadable:
                        continue
    return plain


def dump(database: Database[Document]) -> dict[str, list[Document]]:
    return {name: list(database[name].find()) for name in database.list_collection_names()}


def restore(database: Database[Document], dumped: dict[str, list[Document]]) -> None:
    for name in database.list_collection_names():
        database[name].delete_many({})
    for name, documents in dumped.items():
        if documents:
            database[name].insert_many(documents)


def erase(stack: Stack, consumer: str, mode: str) -> Document:
    """Ask for it, and wait for the receipt."""
    url = stack.addresses["privacy"]
    asked = request(
        "DELETE",
        f"{url}/v1/consumers/{consumer}",
        params={"mode": mode},
        headers=stack.headers(),
    )
    assert asked.status_code == 202, asked.text
    place = asked.headers["Location"]
    wait_for("the receipt", lambda: get(f"{url}{place}")["done"])
    found: Document = get(f"{url}{place}")
    assert found["receipt"]
    return found


def nobody_is_back(stack: Stack, database: Database[Document]) -> None:
    """Of ann there is nothing, and of bob nothing that is called bob."""
    url = stack.addresses["relations"]
    vault = vault_in(stack.settings, database)
    assert vault is not None
    for consumer, mode in (("ann", "delete"), ("bob", "anonymise")):
        profile = get(f"{url}/v1/consumers/{consumer}")
        assert (profile["erased"], profile.get("personal")) == (mode, None)
        assert get(f"{url}/v1/relations", consumer_id=consumer)["items"] == []
        assert get(f"{url}/v1/relationships", consumer_id=consumer)["items"] == []
    name = vault.pseudonym("default", "bob")
    assert name != hashed("default", "bob")
    theirs = get(f"{url}/v1/relations", consumer_id=name)["items"]
    assert len(theirs) == 3
    assert not [item for item in theirs if "text" in item or "bob" in item["relation_id"]]
    assert get(f"{url}/v1/relations", consumer_id="cyd")["items"][0]["text"] == TEXT
    destroyed = vault.keys("default", ["ann", "bob"], create=False)
    assert all(isinstance(key, Destroyed) for key in destroyed.values())
    assert len(destroyed) == 2


def nobody_counts(stack: Stack) -> None:
    """Neither ann nor bob: in the sums are cyd, and bob under the pseudonym."""
    sums = get(f"{stack.addresses['analytics']}/v1/aggregates", by="consumer", bucket="day")["items"]
    counts = {item["key"]: item["count"] for item in sums}
    assert counts.keys().isdisjoint({"ann", "bob"})
    assert sorted(counts.values()) == [3, 3]
    total = get(f"{stack.addresses['analytics']}/v1/aggregates", by="total", bucket="day")["items"]
    assert [item["count"] for item in total] == [6]


def test_an_erased_consumer_never_comes_back(settings: Settings, tmp_path: Path) -> None:
    assert settings.mongo is not None
    topics = Topics(settings.topic_prefix)
    with connect(settings.mongo) as client:
        database = client[settings.database]
        with running(settings, tmp_path) as stack:
            people = ("ann", "bob", "cyd")
            events = [
                event for c in people for event in (upserted(c, f"crm-{c}"), *(sale(c, n) for n in range(3)))
            ]
            answer = post(f"{stack.addresses['ingest']}/v1/events", json=events)
            assert answer.json() == {"accepted": len(events), "rejected": []}
            # Past the door, one good event and one that becomes a dead letter.
            bad = message(sale("ann", 9, "bad", text=PAST), topics)
            broken = bad._replace(value=bad.value.replace(b'"amount":109', b'"amount":"x"'))
            publisher = open_publisher(stack.settings)
            publisher.send([broken]).result(PATIENCE_SECONDS)
            publisher.close()
            wait_until_drained(stack.settings, database)
            before = dump(database)
            vault = vault_in(stack.settings, database)
            assert vault is not None

            # The search can find: before the erasure, what is sealed opens.
            found = opened(published(stack.settings) + stored(database), database, vault, people)
            assert {f"ann: {EMAIL}", f"bob: {TEXT}", f"cyd: {NAME}"} <= found
            assert NAME.encode() not in published(stack.settings) + stored(database)
            # What came past the door lies in its own topic in plain text, and nowhere else.
            assert PAST.encode() not in stored(database)

            assert erase(stack, "ann", "delete")["erasure"] == erasure_id("default", "ann")
            erase(stack, "bob", "anonymise")
            nobody_is_back(stack, database)
            late = [upserted("ann", "again"), without_personal("ann", 5), without_personal("bob", 5)]
            url = f"{stack.addresses['ingest']}/v1/events"
            wait_for("the door", lambda: post(url, json=late).json().get("accepted") == 0)
            verdicts = post(url, json=late).json()["rejected"]
            assert [verdict["reason"] for verdict in verdicts] == ["suppressed"] * 3
            # Past the door they come, and are suppressed by the fold.
            publisher = open_publisher(stack.settings)
            again = [*events[:8], without_personal("ann", 6)]
            publisher.send([message(event, topics) for event in again]).result(PATIENCE_SECONDS)
            publisher.close()
            run_kith("dead-letters", "replay", "--reason", "invalid", **environment(stack.settings))
            wait_until_drained(stack.settings, database)
            nobody_is_back(stack, database)
            assert not [one for one in (EMAIL, NAME, TEXT, PAST) if one.encode() in stored(database)]

            run_kith("rebuild", "relations", "--once", **environment(stack.settings))
            run_kith("rebuild", "switch", "relations", **environment(stack.settings))
            nobody_is_back(stack, database)
            vault = vault_in(stack.settings, database)  # without what it remembers
            assert vault is not None
            found = opened(published(stack.settings) + stored(database), database, vault, people)
            assert {one for one in found if not one.startswith("cyd: ")} == set()
            assert f"cyd: {EMAIL}" in found

        restore(database, before)
        assert not database["data_keys"].find_one({"destroyed": True})
        with running(settings, tmp_path) as stack:
            # The stack is up only once every service is ready, so the very first answers count. The fold is fast
            # enough to catch up by itself here; that the gate stood before it, the log says.
            nobody_counts(stack)
            nobody_is_back(stack, database)
            assert (
                "2 erasures are missing in the database and are published again"
                in (tmp_path / "log" / "relations.log").read_text()
            )
            wait_until_drained(stack.settings, database)
            nobody_is_back(stack, database)
            nobody_counts(stack)
            answer = fetch(f"{stack.addresses['privacy']}/v1/erasures/{erasure_id('default', 'ann')}")
            assert answer.json()["mode"] == "delete"
