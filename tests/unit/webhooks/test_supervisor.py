"""Which leases a process asks for."""

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Any
from unittest.mock import Mock

from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.queue import Queue
from services.webhooks.delivery.sender import Sender, SenderContext
from services.webhooks.delivery.supervisor import Supervisor
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.metrics import SenderMetrics
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document
from tests.support.deliveries import ENDPOINT, at_once


def test_one_request_finds_what_other_processes_have_enqueued_for_any_number_of_idle_endpoints() -> None:
    async def woken(number: int) -> tuple[int, list[str]]:
        found, queue = list[str](), Mock(spec=Queue)
        queue.filled.side_effect = lambda ids: {id for id in ids if id.endswith("1")}
        anything: Any = Mock()
        made = Supervisor(
            queue, Mock(), Mock(), Mock(), Mock(), anything, "one", (), ready=list, served=list[Document]
        )
        for each in range(number):
            sender = Mock(spec=Sender, idle=each != 11)
            sender.seen.side_effect = partial(found.append, str(each))
            made._running[f"acme:{each}"] = Mock(sender=sender)
        await made._search()
        return len(queue.method_calls), sorted(found)

    assert asyncio.run(woken(0)) == (0, [])
    assert asyncio.run(woken(2)) == (1, ["1"])
    assert asyncio.run(woken(22)) == (1, ["1", "21"])


def test_as_many_requests_find_a_free_lease_among_any_number_of_others() -> None:
    """While it is searched for, none is renewed."""

    async def requests(number: int) -> tuple[int, set[str]]:
        ids = [f"acme:{each:04d}" for each in range(number)]
        leases, free = Mock(spec=Leases), ids[-1]
        # As many processes, so that this one has room for one endpoint.
        leases.owners.return_value = {str(each) for each in range(number)}
        leases.others.return_value = {*ids} - {free}

        def take(wanted: Collection[str]) -> set[str]:
            return {id for id in wanted if id == free or not id.startswith("acme")}

        leases.take.side_effect = take
        metrics = SenderMetrics(new_registry())
        anything: Any = Mock()
        made = Supervisor(
            anything, leases, Mock(), Mock(), Mock(), metrics, "one", (), ready=list, served=list[Document]
        )
        context = SenderContext(anything, Mock(), anything, metrics, at_once, TenantSemaphore(1))
        await made._lease([{**ENDPOINT, "_id": id} for id in ids], context)
        running = {*made._running}
        await made._end([*running])
        return len(leases.method_calls), running

    few, many = asyncio.run(requests(2)), asyncio.run(requests(1_000))
    assert few == (many[0], {"acme:0001"})
    assert many[1] == {"acme:0999"}
