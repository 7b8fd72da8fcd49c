"""A queue of a receiver that is full holds changes up, and fills the queues of others with few repetitions."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.outflow import Outflow
from services.rabbitmq.protocols import ExchangeSpec, Outgoing, Properties, QueueSpec, Refused, Topology
from shared.contracts.errors import Unavailable
from shared.observability.metrics import new_registry
from tests.support.rabbitmq import MemoryRabbit

LANE = "rabbitmq@1/kith.relation-changes/0"


async def declared(most: int) -> tuple[MemoryRabbit, Outflow]:
    """Two queues, of which the one with the name ``full`` holds so many messages."""
    rabbit = MemoryRabbit()
    queues = (QueueSpec("full", {"x-max-length": most}, "kith"), QueueSpec("other", {}, "kith"))
    await (await rabbit.connect()).declare(Topology((ExchangeSpec("kith", "fanout"),), queues))
    return rabbit, Outflow("kith", rabbit.connect, asyncio.get_running_loop(), BridgeMetrics(new_registry()))


def changes(count: int, first: int = 0) -> list[Outgoing]:
    return [Outgoing("a.b.c", b"%d" % n, Properties(message_id=str(n))) for n in range(first, first + count)]


def bodies(rabbit: MemoryRabbit, queue: str) -> list[int]:
    return [int(body) for body, _, _ in rabbit.queues[queue].messages]


@given(
    st.integers(1, 60),
    st.integers(0, 10),
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 70), st.sampled_from(["", "", "", "break"])), max_size=20
    ),
)
@example(60, 1, [(1, 70, ""), (1, 1, "")] * 6)
def test_everything_arrives_in_order_and_others_get_few_repetitions(
    count: int, most: int, attempts: list[tuple[int, int, str]]
) -> None:
    """Between two attempts the receiver takes some; a slice may be cut otherwise, and the connection may break."""

    async def work() -> None:
        rabbit, outflow = await declared(most)
        sent = changes(count)
        taken: list[int] = []
        done, tries, breaks = 0, 0, 0
        for take, length, event in [*attempts, *([(9, 70, "")] * 200)]:
            if done == count:
                break
            tries += 1
            part = sent[done : done + length]
            try:
                await outflow._publish(LANE, part)
            except Unavailable:
                pass
            else:
                done += len(part)
            for _ in range(min(take, len(rabbit.queues["full"].messages))):
                taken.append(int(rabbit.queues["full"].messages.popleft()[0]))
            if event:
                breaks += 1
                rabbit.end_connections()
        if most == 0:
            assert (done, set(bodies(rabbit, "full"))) == (0, set())
            return
        assert done == count
        taken += bodies(rabbit, "full")
        assert list(dict.fromkeys(taken)) == list(range(count))
        others = bodies(rabbit, "other")
        assert sorted(set(others)) == list(range(count))
        assert len(others) <= 70 + 3 * count + tries + breaks * 2 * count

    asyncio.run(work())


def test_while_it_is_full_only_the_message_that_is_refused_is_repeated() -> None:
    async def work() -> None:
        rabbit, outflow = await declared(3)
        for _ in range(20):
            with pytest.raises(Refused, match="refuses messages"):
                await outflow._publish(LANE, changes(50))
        assert bodies(rabbit, "full") == [0, 1, 2]
        # Once all of them, and then the fourth in each attempt.
        assert bodies(rabbit, "other") == [*range(50), *([3] * 19)]
        assert len(rabbit.links) == 2, "the connection stays"
        # Another partition is not concerned, unless it has something for that queue.
        rabbit.bindings = [each for each in rabbit.bindings if each[2] == "other"]
        await outflow._publish("another", changes(5, 100))
        assert bodies(rabbit, "other")[-5:] == [100, 101, 102, 103, 104]

    asyncio.run(work())
