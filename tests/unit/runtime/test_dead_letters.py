"""Whose a dead letter is: of no tenant where two readers could believe two."""

import json
from typing import Any

import pytest

from services.analytics.dashboard.message import tenant_of
from services.rabbitmq.judging import ANY_TENANT, Bad
from services.rabbitmq.letters import letters_of
from services.rabbitmq.protocols import Properties
from shared.contracts.errors import InvalidEvent
from shared.runtime.dead_letters import document
from shared.runtime.forms import readable
from shared.runtime.protocols import Partition, Record
from shared.vault.dead_letters import owner_of

DATA = '{"consumer_id":"ada"}'
ATTRIBUTES = {"specversion": "1.0", "id": "e1", "source": "s", "type": "relation.recorded"}
EVENT = json.dumps({**ATTRIBUTES, "data": {"consumer_id": "ada"}})[:-1]
BINARY = tuple((f"ce_{name}", value.encode()) for name, value in ATTRIBUTES.items())
BESIDE = (("content-type", b"application/cloudevents+json"),)
FAULT = InvalidEvent("duplicate_member", "is there twice", "tenant")


def record(value: str, *headers: tuple[str, bytes], key: bytes | None = b"key:ada") -> Record:
    return Record(Partition("kith.relations", 0), 0, 1_800_000_000_000, key, value.encode(), headers)


def filed(of: Record) -> Any:
    letter = document(of, FAULT, "relations")
    assert (letter["type"], letter["event_id"]) == ("relation.recorded", "e1")
    return letter.get("tenant")


@pytest.mark.parametrize(
    "of",
    [
        record(EVENT + ',"tenant":"a","tenant":"b"}'),
        record(EVENT + ',"tenant":"a","t\\u0065nant":"b","x":"\\ud83d"}'),
        record(EVENT + ',"tenant":null,"tenant":"b"}'),
        record(EVENT + ',"tenant":"a","Tenant":"b"}'),
        record(EVENT + ',"Tenant":"b"}'),
        record(EVENT + ',"tenant":"a"}', ("ce_tenant", b"b"), *BESIDE),
        record(EVENT + "}", ("CE_Tenant", b"b"), *BESIDE),
        record(DATA, *BINARY, ("ce_tenant", b"a"), ("ce_tenant", b"b")),
        record(DATA, *BINARY, ("ce_tenant", b"a"), ("CE_TENANT", b"b")),
        record(DATA, *BINARY, ("ce_tenant", b"\xff")),
    ],
)
def test_who_states_two_tenants_states_none(of: Record) -> None:
    assert filed(of) is None
    # By the message's key, under which alone it can be erased, but the dashboard shows it to no tenant.
    assert owner_of(readable(of)) == ("key", "ada")
    assert owner_of(readable(of._replace(key=None))) == ("default", "")
    for fault in (FAULT, InvalidEvent("invalid", "is required", "time"), InvalidEvent("invalid", "no attribute")):
        assert tenant_of(document(of, fault, "relations")) is None


@pytest.mark.parametrize(
    ("of", "tenant"),
    [
        (record(EVENT + "}"), "default"),
        (record(EVENT + ',"tenant":"a","tenant":"a"}'), "a"),
        (record(EVENT + ',"tenant":"a","x":{"tenant":"b"}}'), "a"),
        (record(EVENT + ',"tenant":"a"}', ("ce_tenant", b"a"), *BESIDE), "a"),
        (record(DATA, *BINARY), "default"),
        # What is wrong is another header, or the data.
        (record(DATA, *BINARY, ("ce_tenant", b"a"), ("ce_x_y", b"1")), "a"),
        (record("{", *BINARY, ("ce_tenant", b"a")), "a"),
    ],
)
def test_whose_a_letter_is_does_not_depend_on_what_else_is_wrong(of: Record, tenant: str) -> None:
    assert filed(of) == tenant


@pytest.mark.parametrize(("queue", "tenant"), [(ANY_TENANT, None), ("acme", "acme")])
def test_a_message_of_a_queue_of_all_tenants_too(queue: str, tenant: str | None) -> None:
    body = (EVENT + ',"tenant":"a","tenant":"b"}').encode()
    bad = Bad(body, Properties(content_type="application/cloudevents+json"), FAULT)
    [write] = letters_of("q", queue, [bad], 0, "kith.dead-letters", None).writes
    assert write.after is not None
    assert write.after.get("tenant") == tenant
