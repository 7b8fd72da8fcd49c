"""Receipts of what applications were told without subscribing, as the API shows them. Pure."""

from datetime import datetime
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, Field

from shared.access.apps.compliance import Place, State, Topic
from shared.access.lineage import ContainedIn, Count, DerivedFrom, Label, OrderedBy
from shared.runtime.protocols import Document


class Receipts(Protocol):
    """Methods raise Unavailable."""

    def page(self, tenant: str, app: str, state: State | None, limit: int, after: Place | None) -> list[Document]:
        """The receipts of an application, latest first, after a place."""


class Receipt(BaseModel):
    receipt: Annotated[str, DerivedFrom("consumer_id")] = Field(description="Its id, which the message has, too.")
    topic: Annotated[Topic, DerivedFrom()]
    consumer_id: str | None = Field(None, description="Left out of the application's own deletion.")
    at: Annotated[datetime, DerivedFrom("time")] = Field(description="When it happened.")
    state: Annotated[State, DerivedFrom()] = Field(
        description="`waiting`: it can be sent nowhere at present. `queued`: it is sent until it is answered with "
        "2xx. `failed`: it was given up."
    )
    reason: Label | None = Field(None, description="Why it waits, or what the last attempt met with.")
    endpoint: Label | None = None
    enqueued: Annotated[datetime | None, DerivedFrom()] = None
    settled: Annotated[datetime | None, DerivedFrom()] = Field(
        None, description="When it was delivered, or failed."
    )
    attempts: Count


class ReceiptPage(BaseModel):
    items: Annotated[list[Receipt], OrderedBy("time")] = Field(description="Latest first.")
    next: Annotated[str | None, ContainedIn("consumer_id", "time")] = Field(
        description="The cursor of the next page; null on the last one."
    )


def shown_receipt(stored: Document) -> dict[str, Any]:
    kept = ("topic", "consumer_id", "at", "state", "reason", "enqueued", "settled", "attempts")
    shown = {"receipt": stored["_id"], **{name: stored[name] for name in kept if name in stored}}
    if "endpoint" in stored:
        shown["endpoint"] = stored["endpoint"].partition(":")[2]
    return shown
