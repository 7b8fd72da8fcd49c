"""Changes → deliveries of the endpoints that subscribe to them. Pure.

A change is enqueued exactly once: the deliveries are written in the transaction that moves the position. Per
endpoint and partition there is a *lane*. While the lane is live, its changes are enqueued here. While the endpoint
is disabled, its queue is full, or the filters of its tenant have too much work, there is a gap: the lane records
where the gap began (``start``) and how far it reaches (``end``), and a feed (``services.webhooks.feed``) enqueues
the changes within it later. The lane is live again once the feed has reached its end. So each offset is enqueued
by one of the two, whatever crashes.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from services.webhooks.applications import application_of, masks_in, narrowed
from services.webhooks.body import body_of
from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, FEEDS, LANES, delivery, lane_id
from services.webhooks.expressions import Meter
from services.webhooks.knowing import remembered
from services.webhooks.subscription import TYPES, matches
from shared.access.apps.schema import APPS
from shared.contracts.changes import read_change
from shared.contracts.topics import Topics
from shared.runtime.protocols import Answer, Ask, Document, Get, GetByPrefix, Outcome, Record, Write

#: Endpoints of one tenant.
MOST_ENDPOINTS = 100
#: Endpoints of one tenant that are read. A version that did not count them exactly may have left more than there
#: may be, and one that was not read would get nothing, unseen.
_MOST_READ = 10 * MOST_ENDPOINTS
#: Work of the filters of one tenant in a slice, some 0.1 s, of which each of its endpoints with one has an equal
#: part. An endpoint whose filter takes more gets a gap: what it costs is its own feed's, and no other tenant's
#: webhooks wait. An ordinary filter takes 40.
FILTER_WORK = 200_000


class WebhooksProjection:
    """Folds the three change topics into deliveries and lanes."""

    name = "webhooks"
    version = 1
    numbered = True

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.topics: tuple[str, ...] = tuple(topics.name(short) for short in TYPES.values())

    def weight(self, record: Record) -> int:  # noqa: ARG002
        return 1

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
            outcome.writes += yield from remembered([change for _, change in items])
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
            filtered = sum("filter" in each and each["_id"] in ids for each in of_tenant)
            left, share = FILTER_WORK, FILTER_WORK // max(1, filtered)
            for endpoint in of_tenant:
                if (id := ids.get(endpoint["_id"])) is not None:
                    if (app := apps.get(owners.get(endpoint["_id"], ""))) is not None:
                        endpoint = narrowed(endpoint, masks_in(app))
                    meter = Meter(min(share, left))
                    given = meter.left
                    outcome.writes.extend(_enqueue(id, endpoint, lanes.get(id), feeds.get(id), own, meter))
                    left -= given - meter.left
        return outcome


def _enqueue(
    id: str,
    endpoint: Document,
    lane: Document | None,
    feed: Document | None,
    items: Sequence[tuple[Record, Document]],
    meter: Meter,
) -> Iterator[Write]:
    first, last = items[0][0].offset, items[-1][0].offset
    lane = lane or _new_lane(id, endpoint, first)
    before = None if "new" in lane else lane
    lane.pop("new", None)
    after: Document = {**lane}
    wanted = None
    if is_open(endpoint) and ("start" not in lane or _has_reached_end(lane, feed)):
        wanted = _wanted(endpoint, items, meter)
    if wanted is not None:
        after["at"] = at = max(lane["at"], feed["at"] if feed is not None else 0)
        after.pop("start", None)
        after.pop("end", None)
        for record, change in wanted:
            after["at"] = at = max(at, record.timestamp)
            queued = delivery(id, record, change, endpoint, at)
            yield Write(DELIVERIES, queued["_id"], None, queued)
    else:
        after.setdefault("start", first)
        after["end"] = last + 1
    if after != before:
        yield Write(LANES, id, before, after)


def _wanted(
    endpoint: Document, items: Sequence[tuple[Record, Document]], meter: Meter
) -> list[tuple[Record, Document]] | None:
    """What an endpoint subscribes to; None where it would take more work than the meter has left."""
    found = []
    for record, change in items:
        if "filter" in endpoint and meter.left <= 0:
            return None
        # Only a filter sees the body.
        body = body_of(change, endpoint["masks"]) if "filter" in endpoint else {}
        if matches(endpoint, change, body, meter):
            found.append((record, change))
    return found


def _new_lane(id: str, endpoint: Document, first: int) -> dict[str, Any]:
    return {"_id": id, "endpoint": endpoint["_id"], "since": first, "at": 0, "new": True}


def is_open(endpoint: Document) -> bool:
    """Whether changes are enqueued for an endpoint at present."""
    return endpoint["state"] == "enabled" and not endpoint.get("full", False)


def _has_reached_end(lane: Document, feed: Document | None) -> bool:
    """Whether the feed has enqueued the whole gap. A feed of an earlier gap says nothing about this one."""
    return feed is not None and feed["start"] == lane["start"] and feed["next"] >= lane["end"]
