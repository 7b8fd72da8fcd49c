"""Turns a request's body and headers into one verdict per event. Pure.

Each event is published with its own bytes, exactly those that were validated. A missing attribute is added before
validation, so the bytes in Kafka always decode to the event that was judged here. Ids that are not in NFC are
replaced by their NFC. Personal values are replaced by sealed ones before publishing (``services.ingest.sealing``).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

import msgspec

from services.ingest.binary import attributes, id_of, structured
from services.ingest.certain import certain_fact
from services.ingest.items import is_array, split_loosely, split_sound
from services.ingest.limits import Refused
from services.ingest.modes import TENANT_HEADER, Header, Mode, mode_of, states_attributes, tenant_of
from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import (
    ConsumerErased,
    ConsumerUpserted,
    Event,
    ProviderClosed,
    ProviderUpserted,
    event_key,
    key_of,
)
from shared.contracts.revision import FIRST, REVISION, needed
from shared.contracts.spelling import bytes_in_nfc
from shared.contracts.topics import Topics
from shared.contracts.unseen import check_seen
from shared.contracts.wire import BOM, check_headers, normal
from shared.runtime.protocols import Message
from shared.vault.fields import first_plaintext_path, first_token_path

#: The attributes that plain JSON may leave out, with their defaults as JSON.
PLAIN_DEFAULTS: Mapping[str, bytes] = {"specversion": b'"1.0"', "source": b'"http"'}
MAX_ID = 200
#: What is judged at a time: so many bytes of events that are certainly valid, which take a millisecond, or of
#: others. An event costs as much as some bytes, even an empty one.
QUICK_BYTES, _OTHER_BYTES, _EVENT_BYTES = 64 * 1024, 16 * 1024, 250
NOT_SUPPRESSED = (ConsumerErased, ProviderUpserted, ProviderClosed)


class NotYetUnderstood(Exception):
    """A worker of an older version is running that does not know the schema ``revision`` of an event."""

    def __init__(self, revision: int, known: int) -> None:
        super().__init__(f"an event needs schema revision {revision}; a running worker knows {known}")
        self.revision, self.known = revision, known


@dataclass(slots=True)  # not frozen: that doubles the time to make one, and one is made for every event
class Accepted:
    """``event`` is set while its personal values are still to be sealed, ``erasure`` if the event is one."""

    message: Message
    index: int
    event: Event | None = None
    erasure: ConsumerErased | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """``index`` counts the events of the request from 0; ``id`` is the event's id if it can be read."""

    index: int
    id: str | None
    reason: str
    field: str | None
    detail: str


Verdict = Accepted | Rejected


class Slice(NamedTuple):
    """Some verdicts of a request; ``last`` if they are the last."""

    verdicts: Sequence[Verdict]
    last: bool


class Door:
    """Judges requests. An event dated more than ``max_future_seconds`` ahead of its arrival is rejected.
    ``sealing``: personal values are to be sealed. ``erased`` returns whether a tenant's consumer is erased."""

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
        self._topics, self._facts = topics, topics.name("relations")
        self._most_ahead = timedelta(seconds=max_future_seconds)
        self._sealing = sealing

    def judge(
        self,
        body: bytes,
        headers: Sequence[Header],
        arrived: datetime,
        bound: str | None = None,
        *,
        grants: bool = True,
    ) -> list[Verdict]:
        """All verdicts of ``slices``, in the order of the events."""
        slices = self.slices(body, headers, arrived, bound, grants=grants)
        return sorted((verdict for slice in slices for verdict in slice.verdicts), key=BY_INDEX)

    def slices(
        self,
        body: bytes,
        headers: Sequence[Header],
        arrived: datetime,
        bound: str | None = None,
        *,
        grants: bool = True,
    ) -> Iterator[Slice]:
        """One verdict per event, some at a time: first those on the events that are certainly valid. A slice takes
        some milliseconds, the first one takes one or two. ``bound`` is the tenant of the sender's credential.
        Without one, the tenant is the one in the header; without that, each event's own. ``grants``: whether the
        sender may state that a consumer grants a purpose, and erase.

        Raises only Refused (400, 413, 415), if the request as a whole is malformed, and NotYetUnderstood, if a
        running worker of an older version could not fold one of its events.
        """
        body = body.removeprefix(BOM)
        tenant = bound or tenant_of(headers)
        mode = mode_of(headers)
        headed = mode is not Mode.BINARY and states_attributes(headers)
        if headed and mode is Mode.BATCHED:
            raise Refused(400, "a batch takes no headers ce-…: each of its events states its own attributes")
        events: Sequence[bytes]
        sound: list[bytes] | None = None
        if mode is Mode.BATCHED or (mode is Mode.PLAIN and is_array(body)):
            if (sound := split_sound(body)) is None:
                for found_so_far in split_loosely(body):
                    events = found_so_far
                    yield Slice([], last=False)  # because it takes long
            else:
                events = sound
        elif mode is Mode.BINARY:
            if len(body) > _OTHER_BYTES:
                yield Slice([], last=False)  # for the same reason: data that is no JSON is read by the slow parser
            try:
                events = [structured(headers, body)]
            except InvalidEvent as error:
                yield Slice([rejected(0, id_of(headers), error)], last=True)
                return
        else:
            events = [body]
        added = dict(PLAIN_DEFAULTS) if mode is Mode.PLAIN else {}
        if tenant not in (None, "default"):
            added["tenant"] = json.dumps(tenant).encode()
        others = []
        for piece, last in _pieces(enumerate(events), QUICK_BYTES):
            found = []
            for index, raw in piece:
                verdict = None if headed else self._accept(index, raw, added, tenant, arrived)
                if verdict is None:
                    others.append((index, raw))
                else:
                    found.append(verdict)
            yield Slice(found, last and not others)
        to_add = added if added or sound is None else None
        also = headers if headed else ()
        for piece, last in _pieces(others, _OTHER_BYTES):
            yield Slice(
                [self._judge(index, raw, to_add, tenant, arrived, also, grants) for index, raw in piece], last
            )

    def judge_one(self, event: bytes, arrived: datetime, bound: str | None) -> Verdict:
        """The verdict on one event in structured mode, as ``judge`` gives it to a request of that content type."""
        added = {} if bound in (None, "default") else {"tenant": json.dumps(bound).encode()}
        event = event.removeprefix(BOM)
        accepted = self._accept(0, event, added, bound, arrived)
        return accepted or self._judge(0, event, added, bound, arrived, (), grants=True)

    def _accept(
        self, index: int, raw: bytes, added: Mapping[str, bytes], tenant: str | None, arrived: datetime
    ) -> Accepted | None:
        """What ``_judge`` returns for nearly all events, in a third of the time. None for the others."""
        fact = certain_fact(raw, arrived, self._most_ahead)
        if fact is None and "source" in added:
            raw = _completed(raw, added)
            fact = certain_fact(raw, arrived, self._most_ahead)
        if fact is None:
            return None
        if (own := fact.tenant) is None:
            own = tenant or "default"
            if "tenant" in added:
                raw = _with_members(raw, [_member("tenant", added["tenant"])])
        consumer_id = fact.data.consumer_id
        if (
            own != (tenant or own)
            or len(raw) > codec.MAX_EVENT_BYTES
            or (self._sealing and fact.data.text is not None)
            or self._erased(own, consumer_id)
        ):
            return None
        return Accepted(Message(self._facts, key_of(own, consumer_id), raw), index)

    def _judge(
        self,
        index: int,
        raw: bytes,
        added: Mapping[str, bytes] | None,
        tenant: str | None,
        arrived: datetime,
        headers: Sequence[Header],
        grants: bool,
    ) -> Verdict:
        """``added`` is None if ``raw`` is certainly JSON and no attribute is to be added. ``headers``, if any,
        state attributes, too."""
        try:
            raw = normal(raw)
            if added is not None:
                raw = _completed(raw, added)
            if headers:
                check_headers(attributes(headers), raw)
            event = codec.decode(raw)
            if tenant is not None and event.tenant != tenant:
                detail = f"is not the tenant of the credential or of the header {TENANT_HEADER}"
                raise InvalidEvent("wrong_tenant", detail, "tenant")
            if not grants:
                _check_bound(event)
            codec.check_clock(event, arrived, self._most_ahead)
            check_seen(event)
            # A repeated erasure is accepted: "delete" outranks an earlier "anonymise".
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
    """The attributes that an event states itself, of those that can be added."""

    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    source: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tenant: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Named(msgspec.Struct):
    id: str | None = None


_stated = msgspec.json.Decoder(_Stated)
_named = msgspec.json.Decoder(_Named)
#: Puts verdicts in the order of the events.
BY_INDEX = attrgetter("index")


def _pieces(events: Iterable[tuple[int, bytes]], most: int) -> Iterator[tuple[list[tuple[int, bytes]], bool]]:
    """The events in pieces of about ``most`` bytes, and whether a piece is the last. There is one at least."""
    piece: list[tuple[int, bytes]] = []
    size = 0
    for event in events:
        if size >= most:
            yield piece, False
            piece, size = [], 0
        piece.append(event)
        size += len(event[1]) + _EVENT_BYTES
    yield piece, True


def _completed(raw: bytes, added: Mapping[str, bytes]) -> bytes:
    """``raw`` with the attributes of ``added`` that it lacks. What is no JSON object stays as it is: the codec
    rejects it."""
    try:
        stated = _stated.decode(raw)
    except (ValueError, RecursionError):
        return raw
    missing = [_member(name, value) for name, value in added.items() if getattr(stated, name) is msgspec.UNSET]
    return _with_members(raw, missing) if missing else raw


def _member(name: str, value: bytes) -> bytes:
    return b'"%b":%b' % (name.encode(), value)


def _with_members(raw: bytes, members: Sequence[bytes]) -> bytes:
    start = raw.index(b"{") + 1
    rest = raw[start:].lstrip()
    # In front: if two parsers differ on which names are present, the event's own value comes last and wins.
    return raw[:start] + b",".join(members) + (b"" if rest.startswith(b"}") else b",") + rest


def _check_bound(event: Event) -> None:
    """Raises InvalidEvent. Whose sight depends on consents could see whom it likes by stating them, and erase whom
    it may not even see."""
    if isinstance(event, ConsumerErased):
        detail = "erases a consumer, which a credential that is bound to a purpose does at the privacy API"
        raise InvalidEvent("not_granted", detail, "type")
    if not isinstance(event, ConsumerUpserted):
        return
    for purpose, granted in (event.data.consent or {}).items():
        if granted:
            detail = "is granted, which a credential that is bound to a purpose may not state"
            raise InvalidEvent("not_granted", detail, f"data.consent.{purpose}")


def suppressed() -> InvalidEvent:
    """The error of an event of an erased consumer."""
    return InvalidEvent("suppressed", "is erased; its events are not accepted any more", "data.consumer_id")


def rejected(index: int, id: str | None, error: InvalidEvent) -> Rejected:
    shown = id if id is not None and len(id) <= MAX_ID else None
    return Rejected(index, shown, error.reason, error.field, error.detail)


def _id_in(raw: bytes) -> str | None:
    try:
        return _named.decode(raw).id
    except (ValueError, RecursionError):
        return None
