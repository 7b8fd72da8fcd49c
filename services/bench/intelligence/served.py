"""The service's application over HTTP, on a synthetic graph in a process of its own."""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, cast
from urllib.parse import quote

from services.bench.http import Connection
from services.bench.intelligence.data import zipf
from services.intelligence.api import create_app
from services.intelligence.engine import Graph
from services.intelligence.parameters import Defaults
from services.intelligence.questions import Questions
from services.intelligence.state import State, Still
from shared.access.guard import Access
from shared.http.serving import serve
from shared.local.processes import free_ports

_READY_SECONDS = 300.0
_ROUNDS = 3


def http_times(relationships: int, consumers: Sequence[str]) -> list[float]:
    """Milliseconds, for each consumer, until their recommendations with reasons are read: by the clock, the least
    of three requests on one connection."""
    paths = [f"/v1/recommendations?record=false&consumer_id={quote(id, safe='')}" for id in consumers]
    best = [float("inf")] * len(paths)
    with _served(relationships) as connection:
        for _ in range(_ROUNDS):
            for at, path in enumerate(paths):
                began = perf_counter()
                status, body = connection.get(path)
                best[at] = min(best[at], (perf_counter() - began) * 1e3)
                if status != 200:
                    raise RuntimeError(f"{path} was answered with {status}: {body.decode()}")
    return best


@contextmanager
def _served(relationships: int) -> Iterator[Connection]:
    (port,) = free_ports(1)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(relationships, port), daemon=True)
    process.start()
    try:
        connection = _connected(process, port)
        try:
            yield connection
        finally:
            connection.close()
    finally:
        process.terminate()
        process.join()


def _connected(process: Any, port: int) -> Connection:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            return Connection(port)
        except OSError:
            if not process.is_alive() or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _serve(relationships: int, port: int) -> None:
    state = State({})
    state.tenant("default").graph = Graph.build(zipf(relationships))
    none = cast(Any, None)  # no purpose is asked for, nothing is recorded, and no model is live
    questions = Questions(Still(state), none, Defaults({"purchase": 3.0}, 6.0, lambda: datetime.now(UTC)))
    serve(create_app(questions, none, none, none, list, access=Access(open=True)), "127.0.0.1", port)
