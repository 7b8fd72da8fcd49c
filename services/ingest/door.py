"""A request's body and headers to one verdict per event. Pure.

What is forwarded is each event's own bytes, and exactly these were validated. Where an attribute has to be
added it is added first, so that what lies in Kafka always decodes to what was judged here. Ids that are not in
NFC are replaced by what they are decoded to. Of an event with personal values, these are replaced by sealed ones
before it is forwarded (``services.ingest.sealing``).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from services.ingest.binary import id_of, structured
from services.ingest.items import is_array, split
from services.ingest.modes import TENANT_HEADER, Header, Mode, mode_of, tenant_of
from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerErased, Event, ProviderClosed, ProviderUpserted, event_key
from shared.contracts.revision import FIRST, REVISION, needed
from shared.contracts.spelling import bytes_in_nfc
from shared.contracts.topics import Topics
from shared.contracts.wire import BOM, normal
from shared.runtime.protocols import Message
from shared.vault.fields import first_plaintext_path, first_token_path

#: What plain JSON may leave out, as JSON.
PLAIN_DEFAULTS: Mapping[str, bytes] = {"specversion": b'"1.0"', "source": b'"http"'}
MAX_ID = 200
NOT_SUPPRESSED = (ConsumerErased, ProviderUpserted, ProviderClosed)


class NotYetUnderstood(Exception):
    """A worker of an older version is running, which does not know the schema ``revision`` of an event."""

    def __init__(self, revision: int, known: int) -> None:
        super().__init__(f"an event needs schema revision {revision}; a running worker knows {known}")
        self.revision, self.known = revision, known


@dataclass(slots=True)  # not frozen, which would take as long again to make, and one is made for every event
class Accepted:
    """``event`` is there while its personal values are still to be sealed, ``erasure`` where it is one."""

    message: Message
    index: int
    event: Event | None = None
    erasure: ConsumerErased | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """``index`` counts the events of the request from 0; ``id`` is the event's own where it can be read."""

    index: int
    id: str | None
    reason: str
    field: str | None
    detail: str


Verdict = Accepted | Rejected


class Door:
    """Judges requests. An event dated more than ``max_future_seconds`` ahead of its arrival is rejected. Whether
    personal values are to be sealed, ``sealing`` says; whether a tenant's consumer is erased, ``erased``."""

    def __init__(
        self,
        topics: Topics,
        max_future_seconds: int,
        *,
        sealing: bool = False,
        erased: Callable[[str, str], object] = lambda _tenant, _consumer: None,
        understood: Callable[[], int] = lambda: REVISION,
    ) -> None:
        """``understood`` gives the schema revision that every running worker understands."""
        self._understood = understood
        self._erased = erased
        self._topics = topics
        self._most_ahead = timedelta(seconds=max_future_seconds)
        self._sealing = sealing

    def judge(
        self, body: bytes, headers: Sequence[Header], arrived: datetime, bound: str | None = None
    ) -> list[Verdict]:
        """One verdict per event, in order. ``bound`` is the sender's tenant where the credential says it; without,
        the tenant is whichever the header states, and without that each event's own.

        Raises Refused (400, 413, 415) when the request as a whole is not understood, NotYetUnderstood when a
        worker of an older version is running that could not fold one of its events, and nothing else.
        """
        body = body.removeprefix(BOM)
        tenant = bound or tenant_of(headers)
        mode = mode_of(headers)
        sound = False
        if mode is Mode.BATCHED or (mode is Mode.PLAIN and is_array(body)):
            events, sound = split(body)
        elif mode is Mode.BINARY:
            try:
                events = [structured(headers, body)]
            except InvalidEvent as error:
                return [rejected(0, id_of(headers), error)]
        else:
            events = [body]
        added = dict(PLAIN_DEFAULTS) if mode is Mode.PLAIN else {}
        if tenant not in (None, "default"):
            added["tenant"] = json.dumps(tenant).encode()
        to_add = added if added or not sound else None
        return [self._judge(index, raw, to_add, tenant, arrived) for index, raw in enumerate(events)]

    def _judge(
        self,
        index: int,
        raw: bytes,
        added: Mapping[str, bytes] | None,
        tenant: str | None,
        arrived: datetime,
    ) -> Verdict:
        """``added`` is None where ``raw`` is JSON for certain, and nothing is to be added."""
        try:
            if added is not None:
                raw = _completed(raw, added)
            event = codec.decode(raw := normal(raw))
            if tenant is not None and event.tenant != tenant:
                detail = f"is not the tenant of the credential, or that the header {TENANT_HEADER} states"
                raise InvalidEvent("wrong_tenant", detail, "tenant")
            codec.check_clock(event, arrived, self._most_ahead)
            # An erasure itself is taken again: one with "delete" outranks one with "anonymise".
            if not isinstance(event, NOT_SUPPRESSED) and self._erased(event.tenant, event.data.consumer_id):
                raise suppressed()
            if (path := first_token_path(event)) is not None:
                raise InvalidEvent("sealed", "has the form of a value that Kith has sealed", f"data.{path}")
            to_seal = self._sealing and first_plaintext_path(event) is not None
        except InvalidEvent as error:
            return rejected(index, _id_in(raw), error)
        if (revision := needed(event)) > FIRST and revision > (known := self._understood()):
            raise NotYetUnderstood(revision, known)
        message = Message(self._topics.of(event), event_key(event), bytes_in_nfc(raw))
        erasure = event if isinstance(event, ConsumerErased) else None
        return Accepted(message, index, event if to_seal else None, erasure)


class _Stated(msgspec.Struct):
    """Which of the attributes that can be added an event states itself."""

    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    source: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tenant: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Named(msgspec.Struct):
    id: str | None = None


_stated = msgspec.json.Decoder(_Stated)
_named = msgspec.json.Decoder(_Named)


def _completed(raw: bytes, added: Mapping[str, bytes]) -> bytes:
    """``raw`` with the attributes of ``added`` that it lacks; as it is when it is no JSON object, which the codec
    says as it does in Kafka."""
    try:
        stated = _stated.decode(raw)
    except (ValueError, RecursionError):
        return raw
    missing = [
        b'"%b":%b' % (name.encode(), value)
        for name, value in added.items()
        if getattr(stated, name) is msgspec.UNSET
    ]
    if not missing:
        return raw
    start = raw.index(b"{") + 1
    rest = raw[start:].lstrip()
    # In front: should two parsers ever differ on which names are there, the event's own comes last and wins.
    return raw[:start] + b",".join(missing) + (b"" if rest.startswith(b"}") else b",") + rest


def suppressed() -> InvalidEvent:
    """Why an event of an erased consumer is not taken."""
    return InvalidEvent("suppressed", "is erased, and nothing is taken any more", "data.consumer_id")


def rejected(index: int, id: str | None, error: InvalidEvent) -> Rejected:
    shown = id if id is not None and len(id) <= MAX_ID else None
    return Rejected(index, shown, error.reason, error.field, error.detail)


def _id_in(raw: bytes) -> str | None:
    try:
        return _named.decode(raw).id
    except (ValueError, RecursionError):
        return None
