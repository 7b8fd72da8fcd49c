"""The events that upstream systems send: the only schema, as a discriminated union of frozen models. Pure.

The wire form is a CloudEvent 1.0 in JSON structured mode with the extension attributes ``tenant``, ``dataversion``
and ``sequence``. ``(source, id)`` identifies an event, ``time`` is when it happened, ``sequence`` orders events
with the same time.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared.contracts.rfc3339 import Rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9000, 1, 1, tzinfo=UTC)
_SPAN = (END - EPOCH) // timedelta(milliseconds=1)

# No control, format (bidi, zero width) or line separator characters, and no space at either end. Others that
# nobody sees are refused where events come in (unseen.py).
VISIBLE = r"^[^\p{Cc}\p{Cf}\p{Z}](?:[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*[^\p{Cc}\p{Cf}\p{Z}])?$"
# Free text may contain tabs, newlines and joiners, but neither NUL and other control characters nor bidi
# overrides.
TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]*$"

#: Pydantic's names of the two forms of a personal value, in errors where neither fits.
SEALED, PLAIN = "(sealed)", "(plain)"

Tenant = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
MAX_ID = 200
Id = Annotated[str, StringConstraints(max_length=MAX_ID, pattern=VISIBLE)]
# Printable ASCII, which every client orders alike.
Sequence = Annotated[str, StringConstraints(max_length=100, pattern=r"^[!-~](?:[ -~]*[!-~])?$")]
_MOST_INTEGER = 2**63 - 1
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
# Names become MongoDB field names, so "$" and "." are excluded.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=TEXT)]
ShortText = Annotated[str, StringConstraints(max_length=1_000, pattern=TEXT)]
# Replaces a personal value in Kafka and MongoDB (shared.vault.tokens). The door rejects it in incoming events.
_SEALED = Annotated[str, StringConstraints(pattern=r"^kith1\.[A-Za-z0-9_-]{39,}$", max_length=60_000), Tag(SEALED)]
_MODE = Field(union_mode="left_to_right")
PersonalText = Annotated[_SEALED | Annotated[Text, Tag(PLAIN)], _MODE]
PersonalShortText = Annotated[_SEALED | Annotated[ShortText, Tag(PLAIN)], _MODE]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# Fail fast: a value that fits none of a union's types is a fault for each of them, so that an event of 19 KB had
# 30,000, of which only the first is shown.
# A JSON value fits at most one of the strict types, except an integer, which also fits float, the last one. So the
# first that fits is the best, and pydantic need not try the others.
Scalar = Annotated[ShortText | bool | Int64 | Finite | None, _MODE]
_Trait = Annotated[
    ShortText | bool | Int64 | Finite | Annotated[list[Scalar], Field(max_length=100, fail_fast=True)] | None,
    _MODE,
]
Traits = Annotated[dict[Name, _Trait], Field(max_length=100, fail_fast=True)]
# Bounded so that the sum of nine million of the largest amounts fits into 64 bits.
Amount = Annotated[int, Field(ge=-(10**12), le=10**12)]
Rating = Annotated[int, Field(ge=0, le=100)]
Time = Annotated[datetime, Rfc3339(ge=EPOCH, lt=END), Field(description="RFC 3339, with offset.")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Location(_Strict):
    """A place: any of region, city and country by name, and a point in degrees (WGS 84)."""

    country: ShortText | None = None
    region: ShortText | None = None
    city: ShortText | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None

    @model_validator(mode="after")
    def _whole_point(self) -> "Location":
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon come together or not at all")
        return self


class ConsumerLocation(_Strict):
    """Where a consumer is: a Location, of which everything finer than a region is personal."""

    country: ShortText | None = None
    region: ShortText | None = None
    city: PersonalShortText | None = None
    lat: Annotated[_SEALED | Annotated[Latitude, Tag(PLAIN)], _MODE] | None = None
    lon: Annotated[_SEALED | Annotated[Longitude, Tag(PLAIN)], _MODE] | None = None

    @model_validator(mode="after")
    def _whole_point(self) -> "ConsumerLocation":
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon come together or not at all")
        return self


class ConsumerData(_Strict):
    """The profile of a consumer. Each field (``personal.email``, ``consent.sms``, lat and lon together …) is
    independent: a missing field keeps its value, and null removes it."""

    consumer_id: Id
    personal: Annotated[dict[Name, PersonalShortText | None], Field(max_length=50, fail_fast=True)] | None = Field(
        None,
        description="name, email, phone, address …: identifies a person. Sealed before it reaches Kafka.",
    )
    location: ConsumerLocation | None = None
    traits: Traits | None = None
    consent: Annotated[dict[Name, bool | None], Field(max_length=50, fail_fast=True)] | None = Field(
        None, description="Purpose → whether consent is granted."
    )


class ErasedData(_Strict):
    """Erases a consumer: ``anonymise`` keeps the facts under the pseudonym, ``delete`` retracts them."""

    consumer_id: Id
    mode: Literal["anonymise", "delete"]


class SubjectErasedData(_Strict):
    """The consumer is erased. Published to the partition of their facts, so that it erases them."""

    consumer_id: Id
    mode: Literal["anonymise", "delete"]


class ProviderData(_Strict):
    """The profile of a provider. Each field (``name``, ``categories`` as a whole, ``traits.seats`` …) is
    independent: a missing field keeps its value, and null removes it."""

    provider_id: Id
    name: ShortText | None = None
    categories: Annotated[list[ShortText], Field(max_length=50, fail_fast=True)] | None = None
    location: Location | None = None
    traits: Traits | None = None


class ClosedData(_Strict):
    """The provider is no longer in business; a later ``provider.upserted`` reopens it."""

    provider_id: Id


class RelationData(_Strict):
    """One fact between a consumer and a provider. A later event with the same ``relation_id`` amends it."""

    relation_id: Id
    kind: Kind = Field(description="purchase, review, view, contact, subscribe … an open set.")
    consumer_id: Id
    provider_id: Id
    occurred_at: Time | None = Field(
        None, description="When the relation happened, if that is not the event's time, as in an amendment."
    )
    amount: Amount | None = Field(None, description="Money in minor units (cents); needs a currency.")
    currency: Currency | None = Field(None, description="ISO 4217.")
    rating: Rating | None = Field(None, description="On the upstream's own scale, 0 to 100, whole numbers.")
    text: PersonalText | None = None
    traits: Traits | None = None

    @model_validator(mode="after")
    def _amount_has_currency(self) -> "RelationData":
        if (self.amount is None) != (self.currency is None):
            raise ValueError("amount and currency come together or not at all")
        return self


class RetractedData(_Strict):
    """The fact is removed as if it had never been recorded, unless a later event records it again."""

    relation_id: Id
    consumer_id: Id
    provider_id: Id | None = None
    reason: PersonalShortText | None = None


class Version(NamedTuple):
    """Decides which event about a fact or a field wins: the highest version. ``time`` is in microseconds since
    1970. ``sequence`` is empty for an event without one, which orders it below every event with one."""

    time: int
    sequence: str
    source: str
    id: str

    @classmethod
    def stored(cls, version: Mapping[str, Any]) -> "Version":
        """The version in the form of documents. Older documents have no sequence."""
        return cls(version["time"], version.get("sequence", ""), version["source"], version["id"])

    def document(self) -> dict[str, Any]:
        """The version in the form of documents."""
        stated = {"sequence": self.sequence} if self.sequence else {}
        return {"time": self.time, **stated, "source": self.source, "id": self.id}


if TYPE_CHECKING:
    from functools import cached_property as _once
else:

    class _once:
        """functools.cached_property without the lock of Python 3.11, which costs more than the cached
        computation."""

        def __init__(self, function: Any) -> None:
            self._function, self._name = function, function.__name__

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._function(instance)
            return value


class _Envelope(BaseModel):
    # CloudEvents allows additional attributes from producers, so unknown ones are accepted here.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", ignored_types=(_once,))

    specversion: Literal["1.0"]
    id: Id
    source: Id
    time: Time
    subject: ShortText | None = None
    tenant: Tenant = "default"
    dataversion: Literal[1] = 1
    sequencetype: Literal["Integer"] | None = Field(
        None, description="Integer: `sequence` is a whole number from 0 to 2^63 − 1. Default: it is text."
    )
    sequence: Sequence | None = Field(
        None,
        description="Orders events of one time: by code point, or by number where `sequencetype` is Integer. "
        "An event without one comes before every event with one.",
    )

    @field_validator("sequence")
    @classmethod
    def _number(cls, sequence: str | None, info: ValidationInfo) -> str | None:
        if sequence is None or info.data.get("sequencetype") != "Integer":
            return sequence
        if not sequence.isdigit() or int(sequence) > _MOST_INTEGER:
            raise ValueError("must be a whole number from 0 to 2^63 - 1: its sequencetype is Integer")
        return sequence

    @_once
    def version(self) -> Version:
        sequence = self.sequence or ""
        if self.sequencetype is not None and sequence:
            # Padded to the digits of the largest number, text has the order of numbers.
            sequence = f"{int(sequence):019d}"
        return Version(microseconds(self.time), sequence, self.source, self.id)


class ConsumerUpserted(_Envelope):
    type: Literal["consumer.upserted"]
    data: ConsumerData


class ConsumerErased(_Envelope):
    type: Literal["consumer.erased"]
    data: ErasedData


class ProviderUpserted(_Envelope):
    type: Literal["provider.upserted"]
    data: ProviderData


class ProviderClosed(_Envelope):
    type: Literal["provider.closed"]
    data: ClosedData


class RelationRecorded(_Envelope):
    type: Literal["relation.recorded"]
    data: RelationData


class RelationRetracted(_Envelope):
    type: Literal["relation.retracted"]
    data: RetractedData


class SubjectErased(_Envelope):
    """Kith's own event, which the relations service sends to itself. The door does not accept it."""

    type: Literal["relation.subject_erased"]
    data: SubjectErasedData


ConsumerEvent = ConsumerUpserted | ConsumerErased
ProviderEvent = ProviderUpserted | ProviderClosed
RelationEvent = RelationRecorded | RelationRetracted
#: The events in the partition of a consumer's facts.
FactEvent = RelationEvent | SubjectErased
Event = Annotated[ConsumerEvent | ProviderEvent | RelationEvent, Field(discriminator="type")]

EVENT_MODELS: tuple[type[_Envelope], ...] = (
    ConsumerUpserted,
    ConsumerErased,
    ProviderUpserted,
    ProviderClosed,
    RelationRecorded,
    RelationRetracted,
)
EVENT_TYPES: tuple[str, ...] = tuple(get_args(model.model_fields["type"].annotation)[0] for model in EVENT_MODELS)


def microseconds(time: datetime) -> int:
    """Whole microseconds since 1970 of a timezone-aware time, exactly."""
    since = time - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def arrival_milliseconds(timestamp: int) -> int | None:
    """A record's timestamp in milliseconds since 1970. A producer may write any number there. Seconds, micro- and
    nanoseconds (of the years from 1973 to 5138) are recognised by their magnitude. None for a number that is no
    arrival time, such as 0, -1 and their neighbours."""
    if 10**11 <= timestamp < 10**14:
        return timestamp
    if 10**8 <= timestamp < 10**11:
        return timestamp * 1000
    if 10**14 <= timestamp < 10**17:
        return timestamp // 1000
    return timestamp // 10**6 if 10**17 <= timestamp < 10**20 else None


@lru_cache(4_096)
def known_arrival(timestamp: int) -> datetime | None:
    """The arrival time in a record's timestamp; None if it has none."""
    milliseconds = arrival_milliseconds(timestamp)
    return None if milliseconds is None else EPOCH + timedelta(milliseconds=milliseconds)


def time_of_record(timestamp: int) -> datetime:
    """The same for display: an invalid timestamp becomes the nearest valid time."""
    return known_arrival(timestamp) or EPOCH + timedelta(milliseconds=min(max(timestamp, 0), _SPAN))


def subject_id(event: Event | SubjectErased) -> str:
    """The id of the consumer (or, in provider events, of the provider) that keys an event."""
    data = event.data
    return data.provider_id if isinstance(data, (ProviderData, ClosedData)) else data.consumer_id


def event_key(event: Event | SubjectErased) -> bytes:
    """The Kafka key: all events of one consumer (or provider) of a tenant are in one partition."""
    return key_of(event.tenant, subject_id(event))


def key_of(tenant: str, id: str) -> bytes:
    """The Kafka key of the events of a consumer or a provider."""
    return f"{tenant}:{id}".encode()


def document_id(tenant: str, *parts: str) -> str:
    """A MongoDB ``_id`` of tenant and ids, joined by ``:``. Ids may contain ``:`` themselves, so it is escaped."""
    id = tenant
    for part in parts:
        if "%" in part or ":" in part:
            part = part.replace("%", "%25").replace(":", "%3A")
        id = f"{id}:{part}"
    return id
