"""Which leases a process asks for."""

import asyncio
from collections.abc import Collection
from typing import Any
from unittest.mock import Mock

from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.sender import SenderContext
from services.webhooks.delivery.supervisor import Supervisor
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.metrics import SenderMetrics
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document
from tests.support.deliveries import ENDPOINT, at_once


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
