"""The changes that the relations service publishes: a fact before and after an event. Pure.

Each effective event yields one change. A duplicate, an outdated event and an event without new content yield none.
A change may be delivered twice. The number in its message's headers (``shared.runtime.sequence_numbers``)
identifies a duplicate, and its ``id`` is the same each time.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.contracts.codec import explain
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import END, EPOCH, Amount, Currency, Id, Kind, Rating, Tenant, Time

_Whole = Annotated[int, Field(ge=0, le=2**63 - 1)]


class _Open(BaseModel):
    # Readers must accept fields that a newer relations service adds. The fields that they know have the same
    # bounds as in events.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Fact(_Open):
    """A relation as it counts. ``before`` is absent when it is new, ``after`` when it is retracted."""

    provider_id: Id
    kind: Kind
    time: Time
    amount: Amount | None = None
    currency: Currency | None = None
    rating: Rating | None = None
    traits: dict[str, object] | None = None

    @model_validator(mode="after")
    def _amount_has_currency(self) -> "Fact":
        if (self.amount is None) != (self.currency is None):
            raise ValueError("amount and currency come together or not at all")
        return self


class Cause(_Open):
    """The event that caused the change."""

    source: Id
    id: Id


class Origin(_Open):
    """The position of that event in the log, and the index of the change among those of the same event."""

    topic: str
    partition: _Whole
    offset: _Whole
    index: _Whole = 0


class RelationChangeData(_Open):
    relation_id: Id
    consumer_id: Id
    before: Fact | None
    after: Fact | None
    cause: Cause
    origin: Origin


class RelationChange(_Open):
    """A CloudEvent of type ``relation.changed``. Its id is derived from the origin, so it is always the same."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: Literal["relation.changed"]
    time: Time
    tenant: Tenant
    data: RelationChangeData


def decode_change(raw: bytes | None) -> RelationChange:
    """Parse the change in ``raw`` (JSON), the value of a message. Raises InvalidEvent."""
    try:
        return RelationChange.model_validate_json(value_of(raw))
    except ValidationError as error:
        raise explain(error) from None


def read_change(raw: bytes | None) -> dict[str, Any]:
    """The change in ``raw``, of any change topic: a CloudEvent, in JSON, as it is. Raises InvalidEvent."""
    try:
        change = orjson.loads(value_of(raw))
    except orjson.JSONDecodeError:
        raise InvalidEvent("not_json", "is not JSON") from None
    if not isinstance(change, dict) or not isinstance(change.get("data"), dict):
        raise InvalidEvent("invalid", "is not a change")
    for name in ("id", "type", "time", "tenant"):
        if not isinstance(change.get(name), str):
            raise InvalidEvent("invalid", "is missing or no text", name)
    if not _is_time(change["time"]):
        raise InvalidEvent("invalid", "is not a time with an offset, from 1970 on", "time")
    return change


def value_of(raw: bytes | None) -> bytes:
    """The value of a message that must have one. Raises InvalidEvent."""
    if raw is None:
        raise InvalidEvent("not_json", "the message has no value")
    return raw


def _is_time(text: str) -> bool:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    return time.tzinfo is not None and EPOCH <= time < END
