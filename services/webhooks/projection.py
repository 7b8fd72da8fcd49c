"""Changes → deliveries of the endpoints that subscribe to them. Pure.

A change is enqueued exactly once: the deliveries are written in the transaction that moves the position. Per
endpoint and partition there is a *lane*. While the lane is live, its changes are enqueued here. While the endpoint
is disabled, its queue is full, or its tenant has too many deliveries or too much work of filters, there is a gap:
the lane records where the gap began (``start``) and how far it reaches (``end``), and a feed (``feed.py``)
enqueues the changes within it later. The lane is live again once the feed has reached its end. So each offset is
enqueued by one of the two, whatever crashes.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from services.webhooks.applications import application_of, masks_in, narrowed
from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, FEEDS, LANES, delivery, lane_id
from services.webhooks.fanout.expressions import Meter
from services.webhooks.fanout.subscription import TYPES, matches
from services.webhooks.messages.body import body_of
from services.webhooks.receipts.consent_register import register_writes
from shared.access.apps.schema import APPS
from shared.contracts.changes import read_change
from shared.contracts.topics import Topics
from shared.runtime.protocols import Answer, Ask, Document, Get, GetByPrefix, Outcome, Record, Write
from shared.runtime.relation_changes import ReadsChanges

#: Endpoints of one tenant.
MOST_ENDPOINTS = 100
#: Endpoints of one tenant that are read. A version that did not count them exactly may have left more than there
#: may be, and one that was not read would get nothing, unseen.
_MOST_READ = 10 * MOST_ENDPOINTS
#: Work of the filters of one tenant in a slice, some 0.08 s, of which each of its endpoints with one has an equal
#: part, and of what the others leave. An endpoint whose filter takes more gets a gap: what it costs is its own
#: feed's, and no other tenant's webhooks wait. An ordinary filter takes 26 per change.
FILTER_WORK = 100_000
#: Deliveries that a slice enqueues for one tenant; all for a tenant with one endpoint, if no other tenant's are in
#: the slice. A hundred endpoints that get everything would make a transaction of 100,000 documents, for which all
#: wait. So they are live while little comes, and beyond that their feeds go on at the tenant's own expense.
MOST_DELIVERIES = 300


class WebhooksProjection(ReadsChanges):
    """Folds the three change topics into deliveries and lanes."""

    name = "webhooks"
    version = 1

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.topics: tuple[str, ...] = tuple(topics.name(short) for short in TYPES.values())

    def decode(self, record: Record) -> Document:
        """The change in a record. Raises InvalidEvent."""
        return read_change(record.value)

    def project(self, items: Sequence[tuple[Record, Document]]) -> Generator[Ask, Answer, Outcome]:
        """Fold a slice of one partition."""
        tenants = sorted({change["tenant"] for _, change in items})
        if not tenants:
            return Outcome()
        outcome = Outcome()
        topic, partition = items[0][0].partition
        short = self._topics.short(topic)
        if short == TYPES["consumer.changed"]:
            outcome.writes += yield from register_writes([change for _, change in items])
        answer = yield GetByPrefix(ENDPOINTS, [f"{tenant}:" for tenant in tenants], _MOST_READ)
        if any(len(found) >= _MOST_READ for found in answer):
            raise RuntimeError(f"a tenant has {_MOST_READ:,} webhook endpoints or more; delete those beyond 100")
        endpoints = {tenant: found for tenant, found in zip(tenants, answer, strict=True) if found}
        if not endpoints:
            return outcome
        ids = {
            endpoint["_id"]: lane_id(endpoint["_id"], short, partition)
            for found in endpoints.values()
            for endpoint in found
            if any(TYPES.get(type) == short for type in endpoint["types"])
        }
        if not ids:
            return outcome
        owners = {each["_id"]: app for own in endpoints.values() for each in own if (app := application_of(each))}
        wanted = {LANES: list(ids.values()), FEEDS: list(ids.values())}
        found = yield Get(wanted | ({APPS: {*owners.values()}} if owners else {}))
        lanes, feeds, apps = found.get(LANES, {}), found.get(FEEDS, {}), found.get(APPS, {})
        for tenant, of_tenant in endpoints.items():
            own = [item for item in items if item[1]["tenant"] == tenant]
            own_lanes = []
            for endpoint in of_tenant:
                if (id := ids.get(endpoint["_id"])) is not None:
                    if (app := apps.get(owners.get(endpoint["_id"], ""))) is not None:
                        endpoint = narrowed(endpoint, masks_in(app))
                    own_lanes.append(_Lane(id, endpoint, lanes.get(id), feeds.get(id), own))
            live = [each for each in own_lanes if each.is_live()]
            _filter(live)
            if len(live) > 1 or len(endpoints) > 1:
                _bound(live)
            for each in own_lanes:
                outcome.writes.extend(each.writes())
        return outcome


class _Lane:
    """A lane over the ``items`` of a slice, and what its endpoint subscribes to of them, as far as that is
    known."""

    def __init__(
        self,
        id: str,
        endpoint: Document,
        lane: Document | None,
        feed: Document | None,
        items: Sequence[tuple[Record, Document]],
    ) -> None:
        self.filtered = "filter" in endpoint
        self._id, self._endpoint, self._stored, self._feed, self._items = id, endpoint, lane, feed, items
        self._lane = lane or _new_lane(endpoint, id, items[0][0].offset)
        self._wanted: list[tuple[Record, Document]] = []
        self._done = 0

    def is_live(self) -> bool:
        """Whether its changes are enqueued here, as far as there is work to filter them."""
        return is_open(self._endpoint) and ("start" not in self._lane or has_reached_end(self._lane, self._feed))

    def is_done(self) -> bool:
        return self._done == len(self._items)

    def go_on(self, work: int) -> int:
        """Filter until it is done or has taken ``work``, and return what it has taken."""
        meter = Meter(work)
        while not self.is_done() and (meter.left > 0 or not self.filtered):
            record, change = self._items[self._done]
            # Only a filter sees the body.
            body = body_of(change, self._endpoint["masks"]) if self.filtered else {}
            if matches(self._endpoint, change, body, meter):
                self._wanted.append((record, change))
            self._done += 1
        return work - meter.left

    def deliveries(self) -> int:
        return len(self._wanted) if self.is_done() else 0

    def give_up(self) -> None:
        """Leave the slice to the feed of the endpoint."""
        self._done, self._wanted = 0, []

    def writes(self) -> Iterator[Write]:
        """The deliveries if it is done, otherwise the gap."""
        lane, feed = self._lane, self._feed
        after: Document = {**lane}
        if self.is_done():
            after["at"] = at = max(lane["at"], feed["at"] if feed is not None else 0)
            after.pop("start", None)
            after.pop("end", None)
            for record, change in self._wanted:
                after["at"] = at = max(at, record.timestamp)
                queued = delivery(self._id, record, change, self._endpoint, at)
                yield Write(DELIVERIES, queued["_id"], None, queued)
        else:
            after.setdefault("start", self._items[0][0].offset)
            after["end"] = self._items[-1][0].offset + 1
        if after != self._stored:
            yield Write(LANES, self._id, self._stored, after)


def _filter(live: Sequence[_Lane]) -> None:
    """Filter for the endpoints of a tenant: each has an equal part of the work, and of what the others leave."""
    left = FILTER_WORK
    for each in live:
        if not each.filtered:
            each.go_on(0)
    waiting = [each for each in live if each.filtered]
    while waiting and left > 0:
        part = max(1, left // len(waiting))
        for each in waiting:
            left -= each.go_on(min(part, left))
        waiting = [each for each in waiting if not each.is_done()]


def _bound(live: Sequence[_Lane]) -> None:
    """Leave to their feeds what is beyond the deliveries of one tenant."""
    count = 0
    for each in live:
        if (more := each.deliveries()) and count + more > MOST_DELIVERIES:
            each.give_up()
        else:
            count += more


def _new_lane(endpoint: Document, id: str, first: int) -> dict[str, Any]:
    return {"_id": id, "endpoint": endpoint["_id"], "since": first, "at": 0}


def is_open(endpoint: Document) -> bool:
    """Whether changes are enqueued for an endpoint at present."""
    return endpoint["state"] == "enabled" and not endpoint.get("full", False)


def has_reached_end(lane: Document, feed: Document | None) -> bool:
    """Whether the feed has enqueued the whole gap. A feed of an earlier gap says nothing about this one."""
    return feed is not None and feed["start"] == lane["start"] and feed["next"] >= lane["end"]
