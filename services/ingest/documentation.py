"""The parts of the door's OpenAPI document that FastAPI cannot derive."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from services.ingest.limits import MAX_EVENTS
from services.ingest.modes import BATCHED, PLAIN, STRUCTURED, TENANT_HEADER
from shared.access.lineage import Count, Label
from shared.contracts.asyncapi import event_examples, schemas
from shared.contracts.codec import MAX_EVENT_BYTES
from shared.contracts.events import EVENT_MODELS, Tenant
from shared.contracts.limits import MAX_BODY_BYTES
from shared.http.server import problems

Json = dict[str, Any]

DESCRIPTION = f"""Accepts events, validates each one and publishes the valid ones to Kafka.

An event has at most {MAX_EVENT_BYTES // 1024} KiB, a request {MAX_BODY_BYTES // 1024} KiB and
{MAX_EVENTS:,} events. Source and id name an event, and it counts once: sending it again is safe.
/asyncapi.json describes the topics."""


class Rejection(BaseModel):
    """Why one event was rejected. The event itself is never quoted."""

    index: Count = Field(description="The event's index in the request, from 0.")
    id: Label | None = Field(description="The event's id; null if it cannot be read.")
    reason: Label = Field(
        description="A short stable code: invalid, not_json, too_large, unknown_type, unknown_version, "
        "duplicate_member, inexact_number, lone_surrogate, wrong_tenant, in_the_future, sealed, suppressed, "
        "not_granted."
    )
    field: Label | None = Field(description="The field at fault, as in data.amount.")
    detail: Label = Field(description="The fault in words.")


class Verdicts(BaseModel):
    """How many events are in Kafka, acknowledged by every replica, and which ones were rejected."""

    accepted: Count
    rejected: list[Rejection]


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_of(prefix: str = "") -> Json:
    mapping = {example["type"]: _ref(prefix + name)["$ref"] for name, example in event_examples().items()}
    return {
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }


def _schemas() -> dict[str, Json]:
    strict = schemas(EVENT_MODELS)
    plain = {f"Plain{model.__name__}": _plain(strict[model.__name__], model.__name__) for model in EVENT_MODELS}
    data = {
        "title": "EventData",
        "anyOf": [strict[model.__name__]["properties"]["data"] for model in EVENT_MODELS],
    }
    return {**strict, **plain, "Event": _one_of(), "PlainEvent": _one_of("Plain"), "EventData": data}


def _plain(schema: Json, name: str) -> Json:
    """The schema of an event in plain JSON, which may leave out two attributes."""
    properties = dict(schema["properties"])
    properties["specversion"] = {**properties["specversion"], "default": "1.0"}
    properties["source"] = {**properties["source"], "default": "http"}
    required = [field for field in schema["required"] if field not in ("specversion", "source")]
    return {**schema, "title": f"Plain{name}", "properties": properties, "required": required}


SCHEMAS: Mapping[str, Json] = _schemas()


def _bodies() -> Json:
    names = event_examples()
    event = names["RelationRecorded"]
    plain = {name: value for name, value in event.items() if name not in ("specversion", "source")}
    some = list(names.values())
    data = event["data"]
    # Binary mode and plain JSON share a content type; the ce- headers distinguish them.
    json_bodies = [
        {**_ref("PlainEvent"), "description": "One event; specversion and source may be left out."},
        {"type": "array", "items": _ref("PlainEvent"), "maxItems": MAX_EVENTS},
        {**_ref("EventData"), "description": "With ce- headers (binary mode): the event's data."},
    ]
    return {
        STRUCTURED: {"schema": _ref("Event"), "examples": {"one": {"value": event}}},
        BATCHED: {
            "schema": {"type": "array", "items": _ref("Event"), "maxItems": MAX_EVENTS},
            "examples": {"several": {"value": some}},
        },
        PLAIN: {
            "schema": {"anyOf": json_bodies},
            "examples": {
                "one": {"value": plain},
                "several": {"value": some},
                "binary": {"summary": "With the attributes in ce- headers.", "value": data},
            },
        },
    }


def _header(name: str, description: str, schema: Json | None = None) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}}


def _headers() -> list[Json]:
    tenant = "Tenant of events that state none. An event that states another tenant is rejected."
    binary = "Binary mode: the event's {}, percent-encoded."
    return [
        _header(TENANT_HEADER, tenant, TypeAdapter(Tenant).json_schema()),
        _header("Content-Encoding", "How the body is compressed.", {"enum": ["gzip", "identity"]}),
        *(_header(f"ce-{name}", binary.format(name)) for name in ("specversion", "id", "source", "type", "time")),
        *(
            _header(f"ce-{name}", binary.format(name))
            for name in ("subject", "tenant", "dataversion", "sequence", "sequencetype")
        ),
    ]


#: The keyword arguments of the route ``POST /v1/events``.
EVENTS_ROUTE: Json = {
    "tags": ["events"],
    "summary": "Send events: one or several, in any CloudEvents HTTP mode or as plain JSON.",
    "operation_id": "postEvents",
    "status_code": 202,
    "response_model": Verdicts,
    "responses": {
        202: {"description": "The brokers have acknowledged the accepted events. Invalid ones are listed."},
        **problems(
            {
                400: "Every event was rejected (verdicts), or the request is malformed (problem).",
                408: "The request did not arrive in time.",
                413: "Too many bytes or events.",
                415: "This content type, charset or content encoding is not accepted.",
                503: "Kafka or the keys of personal data are unavailable, or too many requests are in progress. "
                "Sending the same events again is safe.",
            }
        ),
    },
    "openapi_extra": {"parameters": _headers(), "requestBody": {"required": True, "content": _bodies()}},
}
EVENTS_ROUTE["responses"][400]["content"][PLAIN] = {"schema": _ref("Verdicts")}
EVENTS_ROUTE["responses"][503]["headers"] = {
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
}
