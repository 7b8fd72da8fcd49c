"""The AsyncAPI document: complete, and true to the models and topics."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.contracts import asyncapi, codec
from shared.contracts.events import EVENT_MODELS, EVENT_TYPES, event_key
from shared.contracts.topics import INPUTS, OUTPUTS, Topics

TOPICS = Topics("acme")
DOCUMENT = asyncapi.document(TOPICS, "1.2.3")


def references(part: Any) -> Iterator[str]:
    """Every $ref, at any depth."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def resolve(document: dict[str, Any], reference: str) -> Any:
    start, *names = reference.split("/")
    assert start == "#"
    part: Any = document
    for name in names:
        part = part[name]
    return part


def test_it_is_json_and_says_what_it_is() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert {"#/channels/relations", "#/components/schemas/Fact"} <= found
    for reference in found:
        assert resolve(DOCUMENT, reference) is not None
    assert "$defs" not in json.dumps(DOCUMENT)


def test_there_is_a_channel_per_topic_under_its_full_name() -> None:
    addresses = {short: channel["address"] for short, channel in DOCUMENT["channels"].items()}
    assert addresses == {short: TOPICS.name(short) for short in (*INPUTS, *OUTPUTS)}


def test_kith_receives_events_and_sends_the_rest() -> None:
    actions = {
        operation["channel"]["$ref"].split("/")[-1]: operation["action"]
        for operation in DOCUMENT["operations"].values()
    }
    assert actions == {**dict.fromkeys(INPUTS, "receive"), **dict.fromkeys(OUTPUTS, "send")}
    for operation in DOCUMENT["operations"].values():
        # The standard wants them to be messages of the operation's own channel.
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")


@pytest.mark.parametrize("model", EVENT_MODELS)
def test_every_event_has_its_channel_its_schema_and_an_example_that_decodes(model: Any) -> None:
    message = DOCUMENT["components"]["messages"][model.__name__]
    (example,) = message["examples"]
    event = codec.decode(json.dumps(example["payload"]).encode())
    assert isinstance(event, model)
    assert message["name"] == event.type
    channels = [c for c in DOCUMENT["channels"].values() if model.__name__ in c["messages"]]
    assert [channel["address"] for channel in channels] == [TOPICS.of(event)]
    key = message["bindings"]["kafka"]["key"]["description"].removeprefix("tenant:")
    assert event_key(event).decode() == f"default:{example['payload']['data'][key]}"
    schema = resolve(DOCUMENT, message["payload"]["$ref"])
    assert schema["properties"]["type"]["const"] == event.type
    assert set(schema["required"]) == {"specversion", "id", "source", "type", "time", "data"}


def test_no_event_type_is_left_out() -> None:
    assert {example["type"] for example in asyncapi.event_examples().values()} == set(EVENT_TYPES)


@pytest.mark.parametrize("subject", ["consumer", "provider", "relation"])
def test_every_change_has_its_schema(subject: str) -> None:
    channel = DOCUMENT["channels"][f"{subject}-changes"]
    ((name, reference),) = channel["messages"].items()
    message = resolve(DOCUMENT, reference["$ref"])
    assert message["name"] == f"{subject}.changed"
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["properties"]["type"]["const"] == f"{subject}.changed"
    data = resolve(DOCUMENT, schema["properties"]["data"]["$ref"])
    assert {f"{subject}_id", "cause", "origin"} <= set(data["required"])


def test_patterns_compile_without_unicode_classes() -> None:
    text = json.dumps(DOCUMENT)
    assert '"pattern"' in text
    assert r"\p{" not in text
