"""Describes the topics: an AsyncAPI 3.0 document, made from the models. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field
from pydantic.json_schema import models_json_schema

from shared.contracts.changes import Cause, Origin, RelationChange
from shared.contracts.events import EVENT_MODELS, EVENT_TYPES
from shared.contracts.topics import INPUTS, OUTPUTS, Topics

Json = dict[str, Any]

CLOUDEVENT = "application/cloudevents+json"

_MODELS: Mapping[str, type[BaseModel]] = dict(zip(EVENT_TYPES, EVENT_MODELS, strict=True))

#: Per event type: its meaning, and the id and data of an example.
_EVENTS: Mapping[str, tuple[str, str, Json]] = {
    "consumer.upserted": (
        "The profile of a consumer.",
        "customer-7-revision-2",
        {
            "consumer_id": "customer-7",
            "personal": {"name": "Ada Lind", "email": "ada@example.org"},
            "location": {"country": "SE", "city": "Uppsala"},
            "traits": {"plan": "gold"},
            "consent": {"newsletter": True},
        },
    ),
    "consumer.erased": (
        "A request to erase a consumer.",
        "erasure-31",
        {"consumer_id": "customer-7", "mode": "anonymise"},
    ),
    "provider.upserted": (
        "The profile of a provider.",
        "store-3-revision-5",
        {
            "provider_id": "store-3",
            "name": "Blue Door Coffee",
            "categories": ["coffee"],
            "location": {"city": "Uppsala", "lat": 59.8586, "lon": 17.6389},
        },
    ),
    "provider.closed": ("A provider is no longer in business.", "store-3-closed", {"provider_id": "store-3"}),
    "relation.recorded": (
        "A fact between a consumer and a provider, or its amendment.",
        "order-1042",
        {
            "relation_id": "order-1042",
            "kind": "purchase",
            "consumer_id": "customer-7",
            "provider_id": "store-3",
            "amount": 4900,
            "currency": "SEK",
        },
    ),
    "relation.retracted": (
        "A fact is retracted.",
        "refund-88",
        {"relation_id": "order-1042", "consumer_id": "customer-7", "reason": "refunded"},
    ),
}


class ConsumerChangeData(BaseModel):
    consumer_id: str
    erased: bool
    applications: list[str] | None = Field(
        None,
        description="Applications of third parties whose purpose the consumer grants now, or granted until the "
        "erasure; left out without one.",
    )
    cause: Cause
    origin: Origin


class ProviderChangeData(BaseModel):
    provider_id: str
    closed: bool
    cause: Cause
    origin: Origin


class _Change(BaseModel):
    specversion: Literal["1.0"]
    id: str
    source: str
    time: AwareDatetime
    tenant: str


class ConsumerChange(_Change):
    """A consumer changed. The message does not contain personal data."""

    type: Literal["consumer.changed"]
    data: ConsumerChangeData


class ProviderChange(_Change):
    """A provider changed. The message does not contain the new profile."""

    type: Literal["provider.changed"]
    data: ProviderChangeData


_CHANGES: Mapping[str, type[BaseModel]] = {
    "consumer-changes": ConsumerChange,
    "provider-changes": ProviderChange,
    "relation-changes": RelationChange,
}

_DESCRIPTIONS: Mapping[str, str] = {
    "consumers": "Events about consumers. All of one consumer lie in one partition.",
    "providers": "Events about providers. All of one provider lie in one partition.",
    "relations": "Facts between consumers and providers. All of one consumer lie in one partition.",
    "consumer-changes": "One message per event that changed what is stored of a consumer.",
    "provider-changes": "One message per event that changed what is stored of a provider.",
    "relation-changes": "One message per event that changed a fact: the fact before and after.",
    "dead-letters": "Input messages that can never be accepted, byte for byte (to 1 MiB), with the reason.",
    "erasures": "Erased consumers: the latest record of each, kept for ever.",
    "audit": "Reads of personal data and administrative acts: a copy of the audit, chained by hashes.",
}

_NO_SPACE_AROUND = r"^\S(.*\S)?$"

_TWICE = (
    " A message may be delivered twice. After a failure of a broker it may arrive before an earlier one that is"
    " published again. The header kith-number counts them per kith-origin without a gap: accept number n + 1"
    " after n and drop all others; every change then counts exactly once."
)


def event_examples() -> dict[str, Json]:
    """An example of every event, by the name of its model."""
    envelope = {"specversion": "1.0", "source": "shop/eu", "time": "2026-03-01T12:30:00Z"}
    return {
        _MODELS[type].__name__: {**envelope, "id": id, "type": type, "data": data}
        for type, (_, id, data) in _EVENTS.items()
    }


def schemas(models: Iterable[type[BaseModel]]) -> dict[str, Json]:
    """JSON Schemas of ``models`` and of the models in their fields, by name, for ``#/components/schemas``."""
    wanted = [(model, "validation") for model in models]
    _, document = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {name: _portable(schema) for name, schema in document["$defs"].items()}


def document(topics: Topics, version: str) -> Json:
    """The AsyncAPI 3.0 document of the topics, as seen from Kith: it receives events and publishes changes."""
    messages = {
        **{_MODELS[type].__name__: _event_message(type) for type in _EVENTS},
        **{model.__name__: _change_message(short) for short, model in _CHANGES.items()},
        "DeadLetter": _dead_letter_message(),
        "Erasure": _json_message("erasure", "erasures", "tenant:consumer_id"),
        "AuditEntry": _json_message("audit-entry", "audit", "tenant"),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kith",
            "version": version,
            "description": "Events in, relationships kept, changes out. Values are CloudEvents 1.0 in JSON.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CLOUDEVENT,
        "channels": {short: _channel(short, topics) for short in (*INPUTS, *OUTPUTS)},
        "operations": {
            **{_camel("receive", short): _operation("receive", short) for short in INPUTS},
            **{_camel("send", short): _operation("send", short) for short in OUTPUTS},
        },
        "components": {"messages": messages, "schemas": schemas([*EVENT_MODELS, *_CHANGES.values()])},
    }


def _channel(short: str, topics: Topics) -> Json:
    return {
        "address": topics.name(short),
        "description": _DESCRIPTIONS[short] + (_TWICE if short in _CHANGES else ""),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages_of(short)},
    }


def _operation(action: str, short: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{short}"},
        "summary": _DESCRIPTIONS[short],
        "messages": [{"$ref": f"#/channels/{short}/messages/{name}"} for name in _messages_of(short)],
    }


def _messages_of(short: str) -> list[str]:
    if short in INPUTS:
        return [_MODELS[type].__name__ for type in _EVENTS if type.startswith(f"{short[:-1]}.")]
    others = {"dead-letters": "DeadLetter", "erasures": "Erasure", "audit": "AuditEntry"}
    return [_CHANGES[short].__name__ if short in _CHANGES else others[short]]


def _event_message(type: str) -> Json:
    model = _MODELS[type].__name__
    return {
        "name": type,
        "summary": _EVENTS[type][0],
        "contentType": CLOUDEVENT,
        "payload": {"$ref": f"#/components/schemas/{model}"},
        "bindings": _key(type.partition(".")[0]),
        "examples": [{"name": model, "payload": event_examples()[model]}],
    }


def _change_message(short: str) -> Json:
    subject = short.removesuffix("-changes")
    return {
        "name": f"{subject}.changed",
        "summary": _DESCRIPTIONS[short],
        "contentType": CLOUDEVENT,
        "payload": {"$ref": f"#/components/schemas/{_CHANGES[short].__name__}"},
        "bindings": _key(subject),
    }


def _json_message(name: str, short: str, key: str) -> Json:
    return {
        "name": name,
        "summary": _DESCRIPTIONS[short],
        "contentType": "application/json",
        "payload": {"type": "object"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}},
    }


def _dead_letter_message() -> Json:
    names = {
        "kith-reason": "A short stable code, as in the door's rejections.",
        "kith-detail": "A sentence for a person.",
        "kith-field": "The field at fault, when it is one.",
        "kith-origin-record": "The place of the original message: topic/partition/offset.",
        "kith-value-bytes": "Only of a message above 1 MiB, which is truncated: the original length of its value.",
        "kith-value-sha256": "The SHA-256 of that value in hexadecimal, unless personal data is encrypted.",
    }
    return {
        "name": "dead-letter",
        "summary": "The original key and value, 4 KiB of each above 1 MiB; the value may be anything.",
        "contentType": "application/octet-stream",
        "payload": {},
        "headers": {
            "type": "object",
            "properties": {name: {"type": "string", "description": text} for name, text in names.items()},
            "required": ["kith-reason", "kith-detail", "kith-origin-record"],
        },
    }


def _key(subject: str) -> Json:
    id = "provider_id" if subject == "provider" else "consumer_id"
    return {"kafka": {"key": {"type": "string", "description": f"tenant:{id}"}, "bindingVersion": "0.5.0"}}


def _portable(schema: Any) -> Any:
    """``schema`` without Unicode classes in its patterns, which many validators cannot compile. The replacements
    accept slightly more; the door's verdict is decisive."""
    if isinstance(schema, dict):
        return {
            name: _NO_SPACE_AROUND if name == "pattern" and r"\p{" in part else _portable(part)
            for name, part in schema.items()
        }
    return [_portable(part) for part in schema] if isinstance(schema, list) else schema


def _camel(action: str, short: str) -> str:
    return action + "".join(part.capitalize() for part in short.split("-"))
