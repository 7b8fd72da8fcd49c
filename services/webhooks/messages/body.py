"""The bodies of deliveries, made when they are sent, with the endpoint's masks applied. Pure."""

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field

from services.webhooks.fanout.expressions import BadExpression
from services.webhooks.fanout.subscription import rendered
from shared.access.lineage import DerivedFrom, Label
from shared.access.masks import masked
from shared.runtime.protocols import Document

#: Bytes of a body that are sent at most.
MOST_BYTES = 200_000


class CauseOfChange(BaseModel):
    source: Annotated[str, DerivedFrom("event.source")]
    id: Annotated[str, DerivedFrom("event.id")]


class OriginOfChange(BaseModel):
    topic: Label
    partition: Annotated[int, DerivedFrom()]
    offset: Annotated[int, DerivedFrom()]
    index: Annotated[int, DerivedFrom()] = 0


class State(BaseModel):
    """A relation as it counts."""

    provider_id: str
    kind: str
    time: datetime
    amount: int | None = Field(None, description="Minor units.")
    currency: str | None = None
    rating: int | None = None
    traits: dict[str, Any] | None = None


class ChangeData(BaseModel):
    """What has changed. Of a relation, `before` is null when it is new, `after` when it is retracted. Of a
    consumer or provider only the id, and whether it is erased or closed: the profile is at the API."""

    relation_id: str | None = None
    consumer_id: str | None = None
    provider_id: str | None = None
    before: State | None = None
    after: State | None = None
    erased: bool | None = Field(None, description="The consumer has been erased; before and after are left out.")
    closed: bool | None = None
    cause: CauseOfChange | None = None
    origin: OriginOfChange | None = None


class WebhookBody(BaseModel):
    """The body of a delivery, unless the endpoint has a template (Standard Webhooks 1.0.0)."""

    type: Label
    timestamp: Annotated[datetime, DerivedFrom("time")] = Field(
        description="The time of the event that caused it."
    )
    data: ChangeData
    masked: list[Label] | None = None


class DisabledEndpoint(BaseModel):
    endpoint: str
    url: str
    reason: str


class DisabledBody(BaseModel):
    """Another endpoint of the tenant was disabled, because it did not answer or answered 410."""

    type: Literal["webhook.disabled"]
    timestamp: datetime
    data: DisabledEndpoint


class TestMessage(BaseModel):
    message: str


class TestBody(BaseModel):
    """A test of the endpoint, which somebody asked for."""

    type: Literal["webhook.test"]
    timestamp: datetime
    data: TestMessage


class ErasedData(BaseModel):
    app: str = Field(description="The application that is told.")
    consumer_id: str
    receipt: str = Field(description="The id of the receipt, which the tenant sees, too.")


class ErasedBody(BaseModel):
    """A consumer was erased who had agreed to the application at some time: it must delete what it has of them.
    Every application gets this without subscribing."""

    type: Literal["consumer.erased"]
    timestamp: datetime
    data: ErasedData


class ExportedBody(BaseModel):
    """A copy of a consumer's data was made, who had agreed to the application at some time: what the application
    has of them belongs to it. Every application gets this without subscribing, once a day and consumer at most."""

    type: Literal["consumer.exported"]
    timestamp: datetime
    data: ErasedData


class UninstalledData(BaseModel):
    app: str
    receipt: str


class UninstalledBody(BaseModel):
    """The application was deleted: it must delete what it has of all consumers. Its endpoints are deleted after
    this, and it is told of nothing any more."""

    type: Literal["app.uninstalled"]
    timestamp: datetime
    data: UninstalledData


def told(change: Document) -> Document:
    """The body of what an application is told without subscribing to it."""
    return {"type": change["type"], "timestamp": change["time"], "data": change["data"]}


def body_of(change: Document, masks: list[str], *, erased: bool = False) -> Document:
    """The body that an endpoint with these ``masks`` may get of a change. ``erased``: its consumer has been erased
    since, so that only ids are left."""
    # Which applications a consumer has agreed to is no receiver's business.
    data = {name: value for name, value in change["data"].items() if name != "applications"}
    if erased:
        kept = ("relation_id", "consumer_id", "origin")
        data = {**{name: data[name] for name in kept if name in data}, "erased": True}
    body = {"type": change["type"], "timestamp": change["time"], "data": data}
    return masked(body, WebhookBody, masks) if masks else body


def encoded(body: Document, template: str | None) -> bytes:
    """The bytes that are signed and sent. Raises BadExpression, and ValueError for a body that is too large."""
    try:
        raw = orjson.dumps(rendered(template, body), option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError as error:
        # Of an expression itself (&name), of half a character, of a number beyond 64 bits.
        raise BadExpression(f"the template makes what JSON cannot contain: {error}") from None
    if len(raw) > MOST_BYTES:
        raise ValueError(f"the body has {len(raw)} bytes, more than {MOST_BYTES}")
    return raw
