"""The OpenAPI document of the door, and that it serves the AsyncAPI one."""

import json
from typing import Any

from shared.contracts import asyncapi, codec
from shared.contracts.topics import Topics
from tests.unit.contracts.test_asyncapi import references, resolve
from tests.unit.ingest.test_api import RecordingPublisher, app_with, call, post

DOCUMENT: dict[str, Any] = call(app_with(RecordingPublisher()), "GET", "/openapi.json").json()
POST = DOCUMENT["paths"]["/v1/events"]["post"]


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert {"#/components/schemas/Event", "#/components/schemas/Problem"} <= found
    for reference in found:
        assert resolve(DOCUMENT, reference)


def test_every_mapping_of_a_discriminator_leads_to_its_type() -> None:
    for name in ("Event", "PlainEvent"):
        mapping = DOCUMENT["components"]["schemas"][name]["discriminator"]["mapping"]
        assert len(mapping) == 6
        for type, reference in mapping.items():
            assert resolve(DOCUMENT, reference)["properties"]["type"]["const"] == type


def test_every_example_of_a_body_is_accepted() -> None:
    content = POST["requestBody"]["content"]
    assert set(content) == {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/json",
    }
    for content_type, body in content.items():
        for name, example in body["examples"].items():
            if name != "binary":
                response = post(app_with(RecordingPublisher()), example["value"], content_type)
                assert (response.status_code, response.json()["rejected"]) == (202, [])


def test_the_binary_example_is_accepted_with_the_documented_headers() -> None:
    event = asyncapi.event_examples()["RelationRecorded"]
    documented = {parameter["name"] for parameter in POST["parameters"]}
    headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
    assert set(headers) <= documented
    content = json.dumps(POST["requestBody"]["content"]["application/json"]["examples"]["binary"]["value"])
    publisher = RecordingPublisher()
    sent = {"Content-Type": "application/json", **headers}
    response = call(app_with(publisher), "POST", "/v1/events", content=content, headers=sent)
    assert response.status_code == 202
    assert codec.decode(publisher.messages[0].value) == codec.decode_fields(event)


def test_every_status_is_documented_with_its_content_type() -> None:
    types = {status: set(response["content"]) for status, response in POST["responses"].items()}
    problem = "application/problem+json"
    assert types == {
        "202": {"application/json"},
        "400": {"application/json", problem},
        "401": {problem},
        "403": {problem},
        "408": {problem},
        "413": {problem},
        "415": {problem},
        "429": {problem},
        "503": {problem},
    }


def test_plain_events_need_less_than_cloudevents() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    strict, plain = schemas["RelationRecorded"], schemas["PlainRelationRecorded"]
    assert set(strict["required"]) - set(plain["required"]) == {"specversion", "source"}


def test_asyncapi_is_served() -> None:
    served = call(app_with(RecordingPublisher()), "GET", "/asyncapi.json").json()
    assert served == asyncapi.document(Topics("kith"), served["info"]["version"])
