"""Documents that decide about credentials, read anew where an earlier read would refuse."""

import asyncio
import threading

import pytest

from shared.access.fresh import FreshReads


@pytest.mark.parametrize("known", [True, False])
def test_only_a_read_that_begins_after_the_question_refuses(known: bool) -> None:
    stored, started, go_on = {"a": "old"}, threading.Event(), threading.Event()

    def find(id: str) -> str | None:
        found = stored.get(id)
        started.set()
        assert go_on.wait(60)
        return found

    async def story() -> None:
        reads = FreshReads(find, "the documents", "test", lambda: 0.0)
        if known:
            go_on.set()
            assert await reads.get("a") == "old"
            started.clear()
            go_on.clear()
        early = asyncio.create_task(reads.get("a", lambda found: found == "new"))
        assert await asyncio.to_thread(started.wait, 60)
        # It has read the old document, and is not back yet.
        stored["a"] = "new"
        late = asyncio.create_task(reads.get("a", lambda found: found == "new"))
        await asyncio.sleep(0)
        go_on.set()
        assert await early == "old"
        assert await late == "new"

    asyncio.run(story())


def test_many_who_are_refused_share_reads() -> None:
    count = 0

    def find(_: str) -> str:
        nonlocal count
        count += 1
        return "old"

    async def story() -> None:
        reads = FreshReads(find, "the documents", "test", lambda: 0.0)
        await reads.get("a")
        found = await asyncio.gather(*(reads.get("a", lambda found: found == "new") for _ in range(50)))
        assert found == ["old"] * 50

    asyncio.run(story())
    assert count == 2
