"""What the ingest service shares with the other HTTP services, and its process: start, stop, log, fail."""

import asyncio
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.client import HTTPConnection

import httpx
import pytest
from fastapi import FastAPI

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.http import server as http
from shared.http.serving import serve as serve_app
from shared.observability.logs import Logfmt
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS, wait_for

SERVER = """
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from services.ingest.api import create_app
from shared.access.guard import Access
from shared.http.serving import serve
from shared.observability.logs import configure
from shared.settings import Settings
from shared.contracts.topics import Topics

class SlowPublisher:
    def send(self, messages):
        print("sending", flush=True)
        time.sleep(0.5)
        future = Future()
        future.set_result(None)
        return future
    def close(self):
        print("closed", flush=True)

configure("info")
publisher = SlowPublisher()
app = create_app(publisher, Topics(), Settings(), lambda: datetime.now(UTC), list, access=Access(open=True))
serve(app, "127.0.0.1", 0, publisher.close)
"""

EVENT = {
    "id": "e1",
    "time": "2026-01-01T00:00:00Z",
    "type": "provider.closed",
    "data": {"provider_id": "p1"},
}


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**clean, **environment},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_under_way_end_and_the_process_end_well(number: signal.Signals) -> None:
    with start("-W", "error", "-c", SERVER) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = re.search(r"url=(\S+)", process.stderr.readline())
        assert found is not None
        answers: list[tuple[int, object]] = []

        def post() -> None:
            request = urllib.request.Request(
                f"{found[1]}/v1/events", json.dumps(EVENT).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
                answers.append((response.status, json.load(response)))

        sender = threading.Thread(target=post)
        sender.start()
        assert process.stdout.readline() == "sending\n"
        process.send_signal(number)
        sender.join(PATIENCE_SECONDS)
        output, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert answers == [(202, {"accepted": 1, "rejected": []})]
    assert (process.returncode, output) == (0, "closed\n")
    assert "Traceback" not in log


def listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def test_a_request_is_answered_whose_connection_was_open_at_the_signal() -> None:
    """A gateway has connected before the process stops to listen, and sends only then."""
    with start("-W", "error", "-c", SERVER) as process:
        assert process.stderr is not None
        found = re.search(r"url=http://([\d.]+):(\d+)", process.stderr.readline())
        assert found is not None
        address = (found[1], int(found[2]))
        with socket.create_connection(address, timeout=PATIENCE_SECONDS) as early:
            # The server has it: it answers a later connection.
            late = HTTPConnection(*address, timeout=PATIENCE_SECONDS)
            late.request("GET", "/health/live")
            late.getresponse().read()
            late.close()
            process.terminate()
            wait_for("the end of listening", lambda: not listens(address))
            early.sendall(b"GET /health/live HTTP/1.1\r\nHost: kith\r\nConnection: close\r\n\r\n")
            assert early.makefile("rb").readline().startswith(b"HTTP/1.1 200 ")
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0


def test_answers_on_a_connection_that_is_kept_do_not_wait_for_acknowledgements() -> None:
    with start("-c", SERVER) as process:
        assert process.stderr is not None
        found = re.search(r"url=http://(\S+)", process.stderr.readline())
        assert found is not None
        connection = HTTPConnection(found[1], timeout=PATIENCE_SECONDS)
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            connection.request("GET", "/health/live")
            assert connection.getresponse().read() == b'{"status":"live"}'
            seconds.append(time.perf_counter() - began)
        connection.close()
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)
    # Each of them takes 40 ms when Nagle's algorithm meets a delayed acknowledgement.
    assert min(seconds) < 0.03


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [({}, "KITH_KAFKA"), ({"KITH_KAFKA": "x:1", "KITH_INGEST_PORT": "many"}, "KITH_INGEST_PORT")],
)
def test_a_wrong_setting_is_named_in_one_line(environment: dict[str, str], complaint: str) -> None:
    with start("-m", "services.ingest", **environment) as process:
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("kith ingest: ")
    assert complaint in errors
    assert errors.count("\n") == 1


def test_a_port_that_is_taken_is_a_configuration_error_and_still_closes() -> None:
    closed: list[bool] = []
    # In a thread, where serve leaves the signal handlers of the tests alone.
    failures: list[Exception] = []

    def serve(port: int) -> None:
        try:
            serve_app(FastAPI(), "127.0.0.1", port, lambda: closed.append(True))
        except ConfigurationError as error:
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = threading.Thread(target=serve, args=(taken.getsockname()[1],))
        thread.start()
        thread.join(PATIENCE_SECONDS)
    assert closed == [True]
    (failure,) = failures
    assert "cannot listen on 127.0.0.1" in str(failure)


def demo_app() -> FastAPI:
    app = FastAPI()
    http.add_problem_handlers(app)

    @app.get("/items")
    async def items(limit: int, after: int = 0) -> list[int]:
        if limit == 0:
            raise Unavailable("mongodb://secret")
        return [limit, after]

    return app


def get(path: str) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(demo_app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
            return await client.get(path)

    return asyncio.run(once())


def test_bad_parameters_are_a_problem_that_names_them_and_not_their_values() -> None:
    response = get("/items?limit=secret&after=secret")
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in response.json()["errors"]] == ["limit", "after"]
    assert "secret" not in response.text


def test_unavailable_is_a_503_wherever_it_is_raised() -> None:
    response = get("/items?limit=0")
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    assert "retry-after" in response.headers
    assert "secret" not in response.text


def logged(message: str, *arguments: object, **extra: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Logfmt())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.info(message, *arguments, extra=extra)
    return stream.getvalue()


def test_a_log_line_is_one_line_of_pairs() -> None:
    line = logged("took %s\nlevel=error", "them", events=3, note='a "b"', empty="")
    assert line.count("\n") == 1
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info logger=test .*\n", line)
    assert r'message="took them\nlevel=error" events=3 note="a \"b\"" empty=""' in line


def test_a_traceback_stays_on_its_line() -> None:
    error = ValueError("no\nmore")
    record = logging.makeLogRecord({"msg": "failed", "exc_info": (ValueError, error, None)})
    line = Logfmt().format(record)
    assert "\n" not in line
    assert r'traceback="ValueError: no\nmore"' in line
