"""Requests to endpoints, to a server on this machine."""

import asyncio

import pytest

from services.webhooks.delivery.addresses import networks
from services.webhooks.delivery.http_client import Answer, HttpClient
from services.webhooks.delivery.supervisor import MOST_UNDER_WAY
from tests.support.waiting import PATIENCE_SECONDS


def test_endpoints_that_keep_a_host_waiting_hold_up_no_other_ones_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMEOUT_SECONDS", "CONNECT_SECONDS"):
        monkeypatch.setattr(f"services.webhooks.delivery.http_client.{name}", 2 * PATIENCE_SECONDS)
    kept = MOST_UNDER_WAY // 2  # as many as one tenant has places

    async def story() -> Answer:
        waiting, ended = 0, asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal waiting
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/kept" in head:
                waiting += 1
                await ended.wait()
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2 * kept)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = HttpClient(networks(["127.0.0.0/8"]))
        requests = [asyncio.create_task(client.post(f"{url}/kept", {}, b"")) for _ in range(kept)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while waiting < kept:
                await asyncio.sleep(0.01)
            found = await client.post(f"{url}/other", {}, b"")
        ended.set()
        await asyncio.gather(*requests)
        await client.close()
        server.close()
        return found

    assert asyncio.run(story()).status == 204
