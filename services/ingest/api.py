"""The HTTP interface of the door."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from itertools import chain, repeat
from time import thread_time
from typing import Any, Protocol

import msgspec
import orjson
from fastapi import FastAPI, Request, Response

from services.ingest.body import inflate, is_gzip
from services.ingest.congestion import TenantRate
from services.ingest.delivery import TURN, Delivery
from services.ingest.documentation import DESCRIPTION, EVENTS_ROUTE, SCHEMAS
from services.ingest.door import BY_INDEX, QUICK_BYTES, Accepted, Door, Rejected, Slice, Verdict
from services.ingest.failures import NotCounted, add_failures
from services.ingest.late import NotConnected
from services.ingest.sealing import seal
from shared.access.app import guarded_app
from shared.access.audit import Act
from shared.access.guard import Access, AccessOf, CallerOf, held_by, owner_of, room_of
from shared.contracts import asyncapi
from shared.contracts.errors import Unavailable
from shared.contracts.events import ConsumerErased
from shared.contracts.revision import REVISION
from shared.contracts.topics import Topics
from shared.http.caller import EVENTS_WRITE, Caller
from shared.http.fair_pool import FairPool
from shared.http.purposes import WRITES
from shared.http.scopes import needs, public
from shared.http.server import extend_openapi
from shared.http.static_files import answer, file
from shared.http.work import blocking
from shared.observability.tracing import NoTracing, Tracing
from shared.runtime.protocols import Publisher
from shared.settings import Settings
from shared.vault.keys import Vault

_SMALL_BYTES = 16 * 1024


async def _recorded(access: Access, caller: Caller, erasures: Sequence[ConsumerErased]) -> None:
    """Record each erasure and its caller in the audit, before it is published. If this raises Unavailable, the
    erasure must not be published."""
    acts = [
        Act(
            event.tenant,
            caller.name,
            caller.key,
            "consumer.erase",
            {"consumer_id": event.data.consumer_id},
            details={"mode": event.data.mode},
        )
        for event in erasures
    ]
    await access.record_all(acts)


class Ledger(Protocol):
    """The erased consumers, and the reasons why the list may be incomplete."""

    def mode(self, tenant: str, consumer_id: str) -> object: ...

    def problems(self) -> list[str]: ...


def create_app(
    publisher: Publisher,
    topics: Topics,
    settings: Settings,
    clock: Callable[[], datetime],
    ready: Callable[[], Sequence[str]],
    answered: Callable[[int, Sequence[Rejected]], None] = lambda _accepted, _rejected: None,
    tracing: Tracing | None = None,
    *,
    access: Access,
    vault: Vault | None = None,
    ledger: Ledger | None = None,
    understood: Callable[[], int] = lambda: REVISION,
    rate: TenantRate | None = None,
) -> FastAPI:
    """The door as an ASGI application. ``ready`` returns the reasons why events cannot be accepted now;
    ``answered`` receives the verdicts of each answer; ``access`` decides on each request. Without a ``vault``
    personal values are published in plain text. Events of consumers in the ``ledger`` of erasures are
    suppressed. ``understood`` returns the schema revision that every running worker understands. ``rate`` is what
    each tenant may send while there are others."""
    traces = tracing or NoTracing()
    kith_version = version("kith")
    sealing = vault is not None
    erased = {} if ledger is None else {"erased": ledger.mode}
    door = Door(topics, settings.max_future_seconds, sealing=sealing, understood=understood, **erased)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        delivery.close()
        computing.close()

    app = guarded_app("Kith ingest", DESCRIPTION, access, ready, version=kith_version, lifespan=lifespan)
    processor = app.state.processor
    # Twice, because the publisher's own clock starts only once it has the brokers' metadata.
    delivery = Delivery(publisher, 2 * settings.publish_timeout_ms / 1000, access.limits.publishing, processor)
    # One thread, because it computes: several would only take the interpreter from the event loop.
    computing = FairPool("compute", 1, access.limits.waiting, processor=processor)
    extend_openapi(app, SCHEMAS)
    described = file("asyncapi.json", orjson.dumps(asyncapi.document(topics, kith_version)))

    @app.post("/v1/events", **EVENTS_ROUTE)
    @needs(EVENTS_WRITE, purpose=WRITES)
    async def post_events(request: Request, caller: CallerOf, access: AccessOf) -> Response:
        headers, owner = request.headers.raw, owner_of(caller)

        async def compute(function: Callable[..., Any], *arguments: Any) -> Any:
            return await computing.run(owner, function, *arguments)

        def compute_here(function: Callable[..., Any], *arguments: Any) -> Any:
            before = thread_time()
            try:
                return function(*arguments)
            finally:
                processor.spent(owner, thread_time() - before)

        access.check_quota(caller, "events")
        if rate is not None:
            rate.check(caller)
        with traces.request("POST /v1/events", headers) as carried:
            packed = is_gzip(headers)
            body = await request.body()
            if packed:
                body = await compute(inflate, body) if len(body) > _SMALL_BYTES else inflate(body)
                room_of(request).take(len(body))
            held = held_by(request)
            held.enter_context(delivery.places.taken(owner))
            if ledger is not None and (unread := ledger.problems()):
                raise NotConnected("; ".join(unread))
            # The worst large body takes a quarter of a second: not on the event loop, and not in one turn. But a
            # turn on another thread costs as much as some twenty events: what takes little time is done here.
            tenant = caller.tenant if caller.bound else None
            slices = door.slices(body, headers, clock(), tenant, grants=caller.purpose is None)
            verdicts: list[Verdict] = []
            for most_here in chain((QUICK_BYTES, _SMALL_BYTES), repeat(0)):
                here = len(body) <= most_here
                slice: Slice = compute_here(next, slices) if here else await compute(next, slices)
                verdicts += slice.verdicts
                if slice.last:
                    break
            verdicts.sort(key=BY_INDEX)
            access.charge(caller, "events", len(verdicts))
            if rate is not None:
                rate.charge(caller, len(verdicts))
                if verdicts:
                    await rate.turn(caller, min(len(verdicts), TURN))
            try:
                await access.charge_day(request, caller, len(verdicts))
            except Unavailable as error:
                raise NotCounted from error
            if vault is not None:
                verdicts = await seal(vault, verdicts, blocking, compute)
            accepted = [verdict for verdict in verdicts if isinstance(verdict, Accepted)]
            erasures = [each.erasure for each in accepted if each.erasure is not None]
            access.charge(caller, "erasures", len(erasures))
            await _recorded(access, caller, erasures)
            messages = [verdict.message for verdict in accepted]
            if carried:
                messages = [message._replace(headers=carried) for message in messages]
            if messages:
                pace = None if rate is None else partial(rate.wait_seconds, caller)
                await delivery.publish(owner, messages, held, pace)
        rejected = [verdict for verdict in verdicts if isinstance(verdict, Rejected)]
        answered(len(messages), rejected)
        content = msgspec.json.encode({"accepted": len(messages), "rejected": rejected})
        return Response(content, 400 if rejected and not messages else 202, media_type="application/json")

    @app.get(
        "/asyncapi.json",
        tags=["documentation"],
        summary="The Kafka topics, as AsyncAPI 3.0.",
        operation_id="getAsyncapi",
        response_model=dict[str, Any],
    )
    @public
    async def get_asyncapi(request: Request) -> Response:
        return answer(described, request, {})

    add_failures(app)
    return app
