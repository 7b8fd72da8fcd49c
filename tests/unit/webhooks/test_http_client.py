"""Requests to endpoints, to a server on this machine."""

import asyncio
from contextlib import suppress

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


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies are waited for as long as a slow machine needs."""
    monkeypatch.setattr("services.webhooks.delivery.http_client._BODY_SECONDS", PATIENCE_SECONDS)


def answered(*parts: bytes, times: int = 1, broken: bool = False) -> tuple[list[Answer], int]:
    """The answers of a server that sends its own in ``parts``, of which an empty one never comes, and then waits
    for another request unless it is ``broken``; and how many connections it took."""

    async def story() -> tuple[list[Answer], int]:
        serving, ended = [], asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.append(asyncio.current_task())
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await reader.readuntil(b"\r\n\r\n"):
                    for part in parts:
                        if not part:
                            await ended.wait()
                        writer.write(part)
                        await writer.drain()
                        for _ in range(20):
                            await asyncio.sleep(0)
                    if broken:
                        break
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = HttpClient(networks(["127.0.0.0/8"]))
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = [await client.post(url, {}, b"") for _ in range(times)]
        ended.set()
        await client.close()
        server.close()
        await asyncio.gather(*(task for task in serving if task is not None))
        return found, len(serving)

    return asyncio.run(story())


@pytest.mark.usefixtures("patient")
def test_an_answer_that_comes_in_parts_is_kept_whole_and_its_connection_used_again() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
    found, connections = answered(head, b"a" * 300, b"b" * 300, b"c" * 300, times=3)
    assert {(each.status, each.text) for each in found} == {(200, "a" * 300 + "b" * 300 + "c" * 300)}
    assert connections == 1


@pytest.mark.usefixtures("patient")
def test_of_a_large_answer_the_first_kibibyte_is_kept_and_the_rest_not_read() -> None:
    head = b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n"
    found, connections = answered(head + b"a" * 1_000, b"b" * 100, b"", times=2)
    assert {(each.status, each.text) for each in found} == {(500, "a" * 1_000 + "b" * 24)}
    assert connections == 2


@pytest.mark.usefixtures("patient")
def test_of_a_body_that_breaks_off_what_came_is_kept() -> None:
    found, connections = answered(
        b"HTTP/1.1 500 Oh\r\nContent-Length: 900\r\n\r\n", b"begun", times=2, broken=True
    )
    assert {(each.status, each.text, each.error) for each in found} == {(500, "begun", None)}
    assert connections == 2


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.webhooks.delivery.http_client._BODY_SECONDS", 0.01)
    [found], _ = answered(b"HTTP/1.1 204 Yes\r\n\r\n")
    assert (found.status, found.text, found.error) == (204, "", None)
    [found], _ = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"begun", b"")
    assert (found.status, found.error) == (200, None)
    assert "begun".startswith(found.text)
