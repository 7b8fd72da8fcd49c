"""What the demo says of intelligence's answers."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import orjson
import pytest

from services.demo.advice import Json, advice, called, recommended

Answers = dict[str, tuple[int, Json]]
VIA = {"provider_id": "bar-2", "name": "Bar", "shared_consumers": 17}
RECOMMENDED: Json = {
    "items": [
        {
            "provider_id": "cafe-1",
            "name": "Café",
            "because": [{"term": "popularity"}, {"term": "walk", "via": [VIA]}],
        }
    ],
    "candidates": 1234,
}
CALL = {"consumer_id": "c-2", "risk": 0.714, "last_month": "2026-08", "expected_months": 2.26}
CALLED: Json = {"items": [CALL], "repeaters": 30, "horizon_months": 12}


@pytest.fixture
def serving() -> Iterator[Callable[[Answers], str]]:
    """Starts a service that has these answers, by path, and nothing but 503 for other requests."""
    servers: list[ThreadingHTTPServer] = []

    def serve(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path, (503, {"detail": "not ready"}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(orjson.dumps(body))

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_asks_for_the_pair_and_tells_both_answers(serving: Callable[[Answers], str]) -> None:
    address = serving(
        {
            "/v1/recommendations?consumer_id=c%201&limit=1": (200, RECOMMENDED),
            "/v1/next?provider_id=p-1&limit=1": (200, CALLED),
        }
    )
    assert advice(address, {}, "c 1", "p-1") == [
        "c 1 may go to Café next, the best of 1,234, because of Bar: 17 of its consumers go to both.",
        "Of 30 consumers who came back, p-1 calls c-2 first: last there in 2026-08, gone for good with a "
        "probability of 71%; 2.3 months with a visit are expected in the next 12.",
    ]


def test_a_service_that_cannot_answer_is_said_to(serving: Callable[[Answers], str]) -> None:
    first, second = advice(serving({}), {}, "c", "p")
    assert "/v1/recommendations?consumer_id=c with 503" in first
    assert "not ready" in second


def test_no_answer_has_its_reason() -> None:
    nobody: Json = {"items": [], "reason": "nobody else shares them"}
    assert recommended(nobody, "c") == "c has no recommendation: nobody else shares them."
    assert called(nobody, "p") == "p has nobody to call: nobody else shares them."
