"""The Kafka side described: an AsyncAPI 3.0 document, made from the models. Pure."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel
from pydantic.json_schema import models_json_schema

from shared.changes import Cause, Origin, RelationChange
from shared.events import EVENT_MODELS
from shared.topics import INPUTS, OUTPUTS, Topics

Json = dict[str, Any]

CLOUDEVENT = "application/cloudevents+json"
VERSION = version("kith")

SUMMARIES = {
    "consumer.upserted": "What is known of a consumer.",
    "consumer.erased": "A consumer is to be forgotten.",
    "provider.upserted": "What is known of a provider.",
    "provider.closed": "A provider is no longer in business.",
    "relation.recorded": "A fact between a consumer and a provider, or its amendment.",
    "relation.retracted": "A fact is void.",
    "consumer.changed": "What is stored of a consumer changed. Personal data is not repeated.",
    "provider.changed": "What is stored of a provider changed.",
    "relation.changed": "A fact before and after an event.",
}

_ENVELOPE = {"specversion": "1.0", "source": "shop/eu", "time": "2026-03-01T12:30:00Z"}

#: An example of every event type.
EXAMPLES: Mapping[str, Json] = {
    type: {**_ENVELOPE, "id": id, "type": type, "data": data}
    for type, id, data in (
        (
            "consumer.upserted",
            "customer-7-rev-2",
            {
                "consumer_id": "customer-7",
                "personal": {"name": "Ada Lind", "email": "ada@example.org"},
                "location": {"country": "SE", "city": "Uppsala"},
                "traits": {"plan": "gold"},
                "consent": {"newsletter": True},
            },
        ),
        ("consumer.erased", "erasure-31", {"consumer_id": "customer-7", "mode": "anonymise"}),
        (
            "provider.upserted",
            "store-3-rev-5",
            {
                "provider_id": "store-3",
                "name": "Blue Door Coffee",
                "categories": ["coffee"],
                "location": {"city": "Uppsala", "lat": 59.8586, "lon": 17.6389},
            },
        ),
        ("provider.closed", "store-3-closed", {"provider_id": "store-3"}),
        (
            "relation.recorded",
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
        (
            "relation.retracted",
            "refund-88",
            {"relation_id": "order-1042", "consumer_id": "customer-7", "reason": "refunded"},
        ),
    )
}


class ConsumerChangeData(BaseModel):
    consumer_id: str
    erased: bool
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
    """A CloudEvent of type ``consumer.changed``: that a consumer changed, not to what."""

    type: Literal["consumer.changed"]
    data: ConsumerChangeData


class ProviderChange(_Change):
    """A CloudEvent of type ``provider.changed``: that a provider changed, not to what."""

    type: Literal["provider.changed"]
    data: ProviderChangeData


_CHANGE_MODELS: Mapping[str, type[BaseModel]] = {
    "consumer-changes": ConsumerChange,
    "provider-changes": ProviderChange,
    "relation-changes": RelationChange,
}
