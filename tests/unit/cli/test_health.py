"""Which services answer: asked over HTTP, and said as it is."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from services.cli.health import as_json, look
from shared.contracts.services import CORE, SERVICES
from shared.local.processes import free_ports
from shared.settings import Settings


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/health/ready"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def states(**ports: int) -> dict[str, tuple[str, str]]:
    settings = Settings.model_validate({**{f"{service}_port": 0 for service in SERVICES}, **ports})
    return {one.service: (one.state, one.detail) for one in look(settings)}


@pytest.mark.parametrize(
    ("status", "body", "state", "detail"),
    [
        (200, b'{"status": "ready"}', "up", ""),
        (503, b'{"detail": "Kafka is unavailable"}', "not ready", "Kafka is unavailable"),
        (200, b"<html>", "no answer", "it is another program"),
        (404, b"", "no answer", "it is another program"),
        (503, b"[]", "no answer", "it is another program"),
    ],
)
def test_what_answers(status: int, body: bytes, state: str, detail: str) -> None:
    with answering(status, body) as port:
        found = states(privacy_port=port)
    assert found.pop("privacy") == (state, detail)
    assert set(found.values()) == {("unknown", "its port is any free one")}


def test_what_does_not_answer() -> None:
    [port] = free_ports(1)
    assert states(ingest_port=port)["ingest"] == ("no answer", "Connection refused")


def test_a_service_of_which_nobody_has_said_where_it_is_may_be_on_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a cluster, or beside other containers: no false alarm."""
    [port] = free_ports(1)
    settings = Settings()
    monkeypatch.setitem(settings.__dict__, "exports_port", port)
    [found] = [each for each in look(settings) if each.service == "exports"]
    assert found.state == "unknown"


def test_an_address_is_one_that_this_machine_reaches() -> None:
    [port] = free_ports(1)
    found: list[dict[str, Any]] = json.loads(json.dumps(as_json(look(Settings(host="0.0.0.0", ingest_port=port)))))
    assert found[0]["address"] == f"http://127.0.0.1:{port}"
    assert [one["service"] for one in found] == list(CORE)


def test_with_tls_it_asks_by_tls(tmp_path: Path) -> None:
    [port] = free_ports(1)
    settings = Settings(tls_cert_file=str(tmp_path / "x"), tls_key_file=str(tmp_path / "y"), ingest_port=port)
    assert look(settings)[0].address == f"https://127.0.0.1:{port}"
