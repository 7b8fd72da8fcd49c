"""The section ``webhooks`` of the service's OpenAPI document: what an endpoint gets, by type."""

from typing import Annotated, Any

from fastapi import FastAPI, Header

from services.webhooks.fanout.subscription import DISABLED, TEST, TYPES
from services.webhooks.messages.body import (
    DisabledBody,
    ErasedBody,
    ExportedBody,
    TestBody,
    UninstalledBody,
    WebhookBody,
)
from shared.access.apps.compliance import ERASED, EXPORTED, UNINSTALLED

_Id = Annotated[str, Header(alias="webhook-id", description="The same for every attempt of a delivery.")]
_Timestamp = Annotated[int, Header(alias="webhook-timestamp", description="Of this attempt, in Unix seconds.")]
_Signature = Annotated[
    str, Header(alias="webhook-signature", description="Signatures of `id.timestamp.body`, apart by spaces.")
]
_Origin = Annotated[
    str | None,
    Header(alias="kith-origin", description="What the change was numbered by; with kith-number its id."),
]
_Number = Annotated[
    int | None, Header(alias="kith-number", description="n + 1 follows n of the same origin; drop all others.")
]


def publish(app: FastAPI) -> None:
    """Describe each type of delivery, as OpenAPI 3.1 does for requests that a service makes."""
    for type in TYPES:
        app.webhooks.post(type, summary=f"A delivery of the type {type}")(_change)
    for topic, receive in ((ERASED, _erased), (EXPORTED, _exported), (UNINSTALLED, _uninstalled)):
        app.webhooks.post(topic, summary=f"Every application is told: {topic}")(receive)
    app.webhooks.post(DISABLED, summary="Another endpoint was disabled")(_disabled)
    app.webhooks.post(TEST, summary="A test")(_test)


def _change(
    body: WebhookBody, id: _Id, at: _Timestamp, signature: _Signature, origin: _Origin, number: _Number
) -> Any:
    """Answer 2xx within 15 s. Anything else is tried again, 410 disables the endpoint."""


def _disabled(body: DisabledBody, id: _Id, at: _Timestamp, signature: _Signature) -> Any:
    """Answer 2xx within 15 s."""


def _erased(body: ErasedBody, id: _Id, at: _Timestamp, signature: _Signature) -> Any:
    """Answer 2xx within 15 s, and only once the deletion is certain to happen."""


def _exported(body: ExportedBody, id: _Id, at: _Timestamp, signature: _Signature) -> Any:
    """Answer 2xx within 15 s."""


def _uninstalled(body: UninstalledBody, id: _Id, at: _Timestamp, signature: _Signature) -> Any:
    """Answer 2xx within 15 s, and only once the deletion is certain to happen."""


def _test(body: TestBody, id: _Id, at: _Timestamp, signature: _Signature) -> Any:
    """Answer 2xx within 15 s."""
