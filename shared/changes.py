"""The changes that the relations service emits: what a fact was before an event, and what it is after. Pure.

Each effective event yields one change; a duplicate, an outdated event and one that says nothing new yield
none. A change may be delivered twice; ``origin`` rises strictly within a partition of the change topic, so a
reader that drops what is not above its own high-water mark counts every change exactly once.
"""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from shared.codec import explain


class _Open(BaseModel):
    # Readers must survive fields that a newer relations service adds.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Fact(_Open):
    """A relation as it counts. Absent as ``before`` when new, as ``after`` when retracted."""

    provider_id: str
    kind: str
    time: AwareDatetime
    amount: int | None = None
    currency: str | None = None
    rating: int | None = None
    traits: dict[str, object] | None = None


class Cause(_Open):
    """The event that made the change."""

    source: str
    id: str


class Origin(_Open):
    """Where that event lies, and the change's place among several of one event."""

    topic: str
    partition: int
    offset: int
    index: int = 0


class RelationChangeData(_Open):
    relation_id: str
    consumer_id: str
    before: Fact | None
    after: Fact | None
    cause: Cause
    origin: Origin


class RelationChange(_Open):
    """A CloudEvent of type ``relation.changed``; its id is made of the origin, so it is the same each time."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: Literal["relation.changed"]
    time: AwareDatetime
    tenant: str
    data: RelationChangeData


def decode_change(raw: bytes) -> RelationChange:
    """The change in ``raw`` (JSON). Raises InvalidEvent."""
    try:
        return RelationChange.model_validate_json(raw)
    except ValidationError as error:
        raise explain(error) from None
