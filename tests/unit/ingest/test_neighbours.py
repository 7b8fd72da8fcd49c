"""The door with two tenants: the second one is answered while the first does its worst."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.ingest import door as judging
from services.ingest.api import create_app
from services.ingest.congestion import TenantRate
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.chain import Entry
from shared.access.event_days import EventDays
from shared.access.guard import Access, Credentials
from shared.access.quota import Quotas, Rates
from shared.contracts.limits import Most, Owner
from shared.contracts.topics import Topics
from shared.http.caller import SCOPES, Caller
from shared.http.fair_pool import FairPool
from shared.http.limits import Limits
from shared.http.problems.client import SHARE_USED_UP
from shared.settings import Settings
from tests.unit.access.test_event_days import MemoryCounts
from tests.unit.ingest.test_api import RecordingPublisher
from tests.unit.ingest.test_door import NOW, fields

PATIENCE = 60


class Keys:
    """A key is tenant and number, as in kith_a-1."""

    async def caller(self, text: str) -> Caller:
        return Caller(text.removeprefix("kith_").partition("-")[0], frozenset(SCOPES), key=text)


class GatedLog(MemoryAuditLog):
    """Blocks a tenant's writes until they are let go, and notes whose they were."""

    def __init__(self, tenant: str) -> None:
        super().__init__()
        self.tenant, self.began, self.go_on = tenant, threading.Event(), threading.Event()
        self.order: list[tuple[str, int]] = []

    def append(self, entries: Sequence[Entry]) -> int:
        tenant = entries[0]["tenant"]
        self.order.append((tenant, len(entries)))
        if tenant == self.tenant:
            self.began.set()
            assert self.go_on.wait(PATIENCE)
        return super().append(entries)


def erasures(number: int) -> list[dict[str, Any]]:
    return [
        fields(id=f"e{each}", type="consumer.erased", data={"consumer_id": f"c{each}", "mode": "delete"})
        for each in range(number)
    ]


class Daily(Keys):
    """Each may send a hundred events in a day."""

    async def caller(self, text: str) -> Caller:
        return replace(await super().caller(text), events_a_day=100)


class Door:
    def __init__(
        self,
        log: MemoryAuditLog | None = None,
        quotas: Quotas | None = None,
        publisher: RecordingPublisher | None = None,
        event_days: EventDays | None = None,
        keys: Credentials | None = None,
        rate: TenantRate | None = None,
        **limits: Any,
    ) -> None:
        self.publisher = publisher or RecordingPublisher()
        self.recorder = Recorder(log or MemoryAuditLog(), lambda: NOW)
        allowed = replace(Limits.usual(), **limits)
        access = Access(keys or Keys(), quotas=quotas, audit=self.recorder, limits=allowed, event_days=event_days)
        self.app: FastAPI = create_app(
            self.publisher, Topics("kith"), Settings(), lambda: NOW, list, access=access, rate=rate
        )

    async def post(self, key: str, events: list[dict[str, Any]]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door", timeout=None) as client:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            return await client.post("/v1/events", json=events, headers=headers)


def test_who_sends_much_is_told_so_and_nobody_else() -> None:
    async def story() -> None:
        now = 0.0
        rate = TenantRate(0.2, lambda: now)
        door = Door(rate=rate)
        some = [fields(id=f"e{number}") for number in range(300)]
        assert (await door.post("kith_b-1", some[:1])).status_code == 202
        for _ in range(4):
            now += 1.0
            assert (await door.post("kith_a-1", some[:100])).status_code == 202
        # What comes at once is published evenly: a hundred now, the others later.
        now += 1.0
        waiting = [asyncio.create_task(door.post("kith_a-1", some)) for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            while len(door.publisher.messages) < 501:
                await asyncio.sleep(0.001)
        waiting.append(asyncio.create_task(door.post("kith_a-1", some)))
        await asyncio.sleep(0.01)
        refused = await door.post("kith_a-2", some)
        assert (refused.status_code, refused.json()["type"]) == (429, SHARE_USED_UP.uri)
        assert "1,000 events a second at present" in refused.json()["detail"]
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await door.post("kith_b-1", some[:1])).status_code == 202
        assert len(door.publisher.messages) == 502
        async with asyncio.timeout(PATIENCE):
            while not all(each.done() for each in waiting):
                now += 0.01
                await asyncio.sleep(0.001)
        assert [(await each).json()["accepted"] for each in waiting] == [300] * 4
        assert len(door.publisher.messages) == 402 + 4 * 300
        now += int(refused.headers["Retry-After"])
        assert (await door.post("kith_a-2", some)).status_code == 202
        door.recorder.close()

    asyncio.run(story())


def test_batches_of_erasures_delay_nobody_elses_event_and_nobody_elses_key() -> None:
    log = GatedLog("a")

    async def story() -> None:
        door = Door(log)
        # As many as would fill every pool of threads there is, if each waited in one.
        batches = [asyncio.create_task(door.post("kith_a-1", erasures(2_500))) for _ in range(2)]
        assert await asyncio.get_running_loop().run_in_executor(None, log.began.wait, PATIENCE)
        answer = await door.post("kith_b-1", [fields()])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
        assert not any(each.done() for each in batches)
        log.go_on.set()
        assert [(await each).json()["accepted"] for each in batches] == [2_500, 2_500]
        door.recorder.close()

    asyncio.run(story())
    assert len(log.chains["a"]) == 5_000, "each is on record"


def test_an_erasure_of_another_tenant_is_recorded_after_one_write_and_not_after_thousands() -> None:
    log = GatedLog("a")

    async def story() -> None:
        door = Door(log)
        batch = asyncio.create_task(door.post("kith_a-1", erasures(2_500)))
        assert await asyncio.get_running_loop().run_in_executor(None, log.began.wait, PATIENCE)
        other = asyncio.create_task(door.post("kith_b-1", erasures(1)))
        while "b" not in door.recorder._waiting:
            await asyncio.sleep(0.001)
        log.go_on.set()
        assert (await other).json()["accepted"] == 1
        assert (await batch).json()["accepted"] == 2_500
        door.recorder.close()

    asyncio.run(story())
    assert log.order == [("a", 500), ("b", 1), *[("a", 500)] * 4]


def test_an_audit_that_fails_midway_fails_the_batch_and_not_the_next() -> None:
    class Failing(MemoryAuditLog):
        def append(self, entries: Sequence[Entry]) -> int:
            added = super().append(entries)
            self.away = self.writes == 2
            return added

    log = Failing()

    async def story() -> None:
        door = Door(log)
        assert (await door.post("kith_a-1", erasures(2_500))).status_code == 503
        assert door.publisher.messages == []
        log.away = False
        assert (await door.post("kith_a-1", erasures(10))).status_code == 202
        door.recorder.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("what", "rates"), [("events", (Rates("100/hour"), None)), ("erasures", (None, Rates("100/hour")))]
)
def test_quotas_count_events_and_erasures_and_not_requests(
    what: str, rates: tuple[Rates | None, Rates | None]
) -> None:
    async def story() -> None:
        door = Door(quotas=Quotas("none", *rates))
        events = erasures(150)
        assert (await door.post("kith_a-1", events)).status_code == 202
        refused = await door.post("kith_a-1", events[:1])
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/rate-limited")
        assert f"100 {what}" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert len(door.publisher.messages) == 150
        assert (await door.post("kith_b-1", events)).status_code == 202
        door.recorder.close()

    asyncio.run(story())


def test_who_publishes_too_much_at_a_time_is_told_and_the_other_is_not() -> None:
    async def story() -> None:
        publisher = RecordingPublisher(hold=True)
        door = Door(publisher=publisher, publishing=Most(1, 2, 4))
        first = asyncio.create_task(door.post("kith_a-1", [fields()]))
        while not publisher.held:
            await asyncio.sleep(0.001)
        refused = await door.post("kith_a-1", [fields()])
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/share-used-up")
        assert "Sending the same events again is safe" in refused.json()["detail"]
        second = asyncio.create_task(door.post("kith_b-1", [fields()]))
        while len(publisher.held) < 2:
            await asyncio.sleep(0.001)
        for each in publisher.held:
            each.set_result(None)
        assert [(await each).status_code for each in (first, second)] == [202, 202]
        door.recorder.close()

    asyncio.run(story())


def test_a_quota_of_a_day_refuses_a_batch_as_a_whole_and_says_when_nothing_can_be_counted() -> None:
    async def story() -> None:
        counts = MemoryCounts()
        door = Door(event_days=EventDays(counts, lambda: NOW), keys=Daily())
        answers = [
            await door.post("kith_a-1", [fields(id=f"e{n}") for n in range(size)]) for size in (40, 70, 60, 1)
        ]
        assert [answer.status_code for answer in answers] == [202, 429, 202, 429]
        # Also of what is accepted: a sender sees the end of the day's quota coming.
        assert [answer.headers["RateLimit-Limit"] for answer in answers] == ["100"] * 4
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["60", "60", "0", "0"]
        assert int(answers[1].headers["Retry-After"]) > 0
        counts.away = True
        assert (await door.post("kith_b-1", [fields()])).status_code == 503
        assert len(door.publisher.messages) == 100
        door.recorder.close()

    asyncio.run(story())


@pytest.mark.parametrize(("function", "more"), [("_accept", {}), ("_judge", {"sequence": "1"})])
def test_a_batch_is_judged_in_slices_and_another_tenants_batch_comes_in_between(
    function: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread judges all large batches. The second tenant's is judged beside the first's."""
    order: list[str] = []
    began, go_on = threading.Event(), threading.Event()
    judge = getattr(judging.Door, function)

    def noted(self: judging.Door, index: int, raw: bytes, added: Any, tenant: Any, *rest: Any) -> Any:
        order.append(tenant)
        if tenant == "a" and not began.is_set():
            began.set()
            assert go_on.wait(PATIENCE)
        return judge(self, index, raw, added, tenant, *rest)

    submit, submitted = FairPool.submit, list[str]()

    def watched(self: FairPool, owner: Owner, *arguments: Any) -> Any:
        found = submit(self, owner, *arguments)
        submitted.append(owner.tenant)
        return found

    monkeypatch.setattr(judging.Door, function, noted)
    monkeypatch.setattr(FairPool, "submit", watched)

    async def story() -> None:
        door = Door()
        large = [fields(id=f"e{each}", **more) for each in range(2_500)]
        first = asyncio.create_task(door.post("kith_a-1", large))
        assert await asyncio.get_running_loop().run_in_executor(None, began.wait, PATIENCE)
        second = asyncio.create_task(door.post("kith_b-1", large[:500]))
        while "b" not in submitted:
            await asyncio.sleep(0.001)
        go_on.set()
        assert (await second).json()["accepted"] == 500
        assert (await first).json()["accepted"] == 2_500

    asyncio.run(story())
    assert (order.count("a"), order.count("b")) == (2_500, 500)
    last = len(order) - 1 - order[::-1].index("b")
    assert order[:last].count("a") <= 1_000, "a slice of the first for each of the second, and one before"


def test_facts_that_are_certainly_valid_do_not_wait_for_the_thread_that_judges_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[str] = []
    began, go_on = threading.Event(), threading.Event()
    judge = judging.Door._judge

    def noted(self: judging.Door, *arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        if threads[-1].startswith("compute"):
            began.set()
            assert go_on.wait(PATIENCE)
        return judge(self, *arguments)

    monkeypatch.setattr(judging.Door, "_judge", noted)

    async def story() -> None:
        door = Door()
        # A small body of events that take long: each is told what is wrong with it.
        first = asyncio.create_task(door.post("kith_a-1", [{}] * 2_500))
        assert await asyncio.get_running_loop().run_in_executor(None, began.wait, PATIENCE)
        facts = [fields(id=f"e{each}") for each in range(150)]
        assert (await door.post("kith_b-1", facts)).json()["accepted"] == 150
        go_on.set()
        assert len((await first).json()["rejected"]) == 2_500

    asyncio.run(story())
    assert len(threads) == 2_500
    assert sum(not name.startswith("compute") for name in threads) <= 100, "the event loop is free soon"
