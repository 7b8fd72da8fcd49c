"""A request's body and headers to one verdict per event. Pure.

What is forwarded is each event's own bytes, and exactly these were validated. Where an attribute has to be
added it is added first, so that what lies in Kafka always decodes to what was judged here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.ingest.binary import id_of, structured
from services.ingest.items import is_array, not_json, split
from services.ingest.modes import TENANT_HEADER, Header, Mode, mode_of, tenant_of
from shared import codec
from shared.errors import InvalidEvent
from shared.events import event_key, microseconds
from shared.protocols import Message
from shared.topics import Topics

#: What plain JSON may leave out, as JSON.
PLAIN_DEFAULTS: Mapping[str, bytes] = {"specversion": b'"1.0"', "source": b'"http"'}
MAX_ID = 200


@dataclass(frozen=True, slots=True)
class Accepted:
    message: Message


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
    """Judges requests. An event dated more than ``max_future_seconds`` ahead of its arrival is rejected."""

    def __init__(self, topics: Topics, max_future_seconds: int) -> None:
        self._topics = topics
        self._max_future_seconds = max_future_seconds

    def judge(self, body: bytes, headers: Sequence[Header], arrived: datetime) -> list[Verdict]:
        """One verdict per event, in order.

        Raises Refused (400, 413, 415), and nothing else, when the request as a whole is not understood.
        """
        tenant = tenant_of(headers)
        mode = mode_of(headers)
        if mode is Mode.BATCHED or (mode is Mode.PLAIN and is_array(body)):
            events = split(body)
        elif mode is Mode.BINARY:
            try:
                events = [structured(headers, body)]
            except InvalidEvent as error:
                return [_rejected(0, id_of(headers), error)]
        else:
            events = [body]
        added = dict(PLAIN_DEFAULTS) if mode is Mode.PLAIN else {}
        if tenant not in (None, "default"):
            added["tenant"] = json.dumps(tenant).encode()
        moment = microseconds(arrived)
        return [self._judge(index, raw, added, tenant, moment) for index, raw in enumerate(events)]

    def _judge(
        self, index: int, raw: bytes, added: Mapping[str, bytes], tenant: str | None, arrived: int
    ) -> Verdict:
        try:
            raw = _completed(raw, added)
            event = codec.decode(raw)
            if tenant is not None and event.tenant != tenant:
                detail = f"is not the tenant that the header {TENANT_HEADER} states"
                raise InvalidEvent("wrong_tenant", detail, "tenant")
            codec.check_clock(event, arrived, self._max_future_seconds)
        except InvalidEvent as error:
            return _rejected(index, _id_in(raw), error)
        return Accepted(Message(self._topics.of(event), event_key(event), raw))


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
    """``raw`` with the attributes of ``added`` that it lacks. Raises InvalidEvent when it is not JSON."""
    try:
        stated = _stated.decode(raw)
    except msgspec.ValidationError:
        return raw  # not an object, which the codec says better
    except (ValueError, RecursionError) as error:
        raise not_json(error) from None
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


def _rejected(index: int, id: str | None, error: InvalidEvent) -> Rejected:
    shown = id if id is not None and len(id) <= MAX_ID else None
    return Rejected(index, shown, error.reason, error.field, error.detail)


def _id_in(raw: bytes) -> str | None:
    try:
        return _named.decode(raw).id
    except (ValueError, RecursionError):
        return None
