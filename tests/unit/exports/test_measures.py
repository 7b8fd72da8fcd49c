"""Measures as files: which service is asked, with what, and what becomes of its refusals."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import pytest

from services.exports.api import create_app
from services.exports.measures import MeasureServices, Refused
from shared.contracts.errors import Unavailable
from shared.local.processes import free_ports
from tests.support.analytics_driver import get
from tests.support.builders import OPEN

ANSWER = {"unit": "month", "items": [{"bucket": "2026-10-01", "gross": {"EUR": 5}}]}


def described(measures: set[str]) -> dict[str, Any]:
    """An OpenAPI document of a service with measures that answer so."""
    text, whole = {"type": "string"}, {"type": "integer"}
    item = {"bucket": {**text, "format": "date"}, "gross": {"type": "object", "additionalProperties": whole}}
    items = {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
    answer = {"$ref": "#/components/schemas/Answer"}
    route = {"get": {"responses": {"200": {"content": {"application/json": {"schema": answer}}}}}}
    schemas = {"Item": {"properties": item}, "Answer": {"properties": {"unit": text, "items": items}}}
    paths = {f"/v1/measures/{name}": route for name in measures}
    return {"paths": paths, "components": {"schemas": schemas}}


class Services:
    """Two services behind real ports. ``known``: the measures that each has."""

    def __init__(self, known: Mapping[str, set[str]]) -> None:
        self.asked: list[tuple[str, dict[str, str], str | None]] = []
        self.known = known
        self._servers = {name: self._server(name) for name in ("analytics", "relations")}
        analytics, relations = (f"http://127.0.0.1:{s.server_address[1]}" for s in self._servers.values())
        self.client = MeasureServices(analytics, relations, 120)

    def _server(self, name: str) -> ThreadingHTTPServer:
        services = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = dict(parse_qsl(parts.query))
                services.asked.append((name, asked, self.headers["Authorization"]))
                status, body = 200, json.dumps(ANSWER)
                if parts.path == "/openapi.json":
                    services.asked.pop()
                    body = json.dumps(described(services.known[name]))
                elif parts.path.rpartition("/")[2] not in services.known[name]:
                    status, body = 404, json.dumps({"detail": "there is nothing at this path"})
                elif asked.get("unit") == "year":
                    status, body = 422, json.dumps({"detail": "unit: should be day, week or month"})
                elif asked.get("unit") == "odd":
                    status, body = 500, "no JSON"
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                """Nothing on the terminal."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return server

    def close(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()


@pytest.fixture
def services() -> Iterator[Services]:
    found = Services({"analytics": {"activity", "rising"}, "relations": {"activity", "revenue"}})
    yield found
    found.close()


@pytest.mark.parametrize(
    ("name", "asked", "ways"),
    [
        ("activity", {}, ["analytics"]),
        ("activity", {"kind": "view"}, ["relations"]),
        ("revenue", {}, ["analytics", "relations"]),
        ("rising", {"category": "café"}, ["relations", "analytics"]),
    ],
)
def test_the_service_that_has_it_is_asked(
    services: Services, name: str, asked: dict[str, str], ways: list[str]
) -> None:
    assert services.client.answer(name, asked, {"Authorization": "Bearer k"}) == ANSWER
    assert services.asked == [(way, asked, "Bearer k") for way in ways]


def test_a_refusal_is_the_services_own(services: Services) -> None:
    with pytest.raises(Refused, match="day, week or month") as refused:
        services.client.answer("activity", {"unit": "year"}, {})
    assert refused.value.status == 422
    with pytest.raises(Refused) as refused:
        services.client.answer("nothing", {}, {})
    assert refused.value.status == 404
    with pytest.raises(Refused, match="refuses") as refused:
        services.client.answer("activity", {"unit": "odd"}, {})
    assert refused.value.status == 500


def test_a_service_that_is_away_is_unavailable() -> None:
    [one, other] = free_ports(2)
    with pytest.raises(Unavailable):
        MeasureServices(f"http://127.0.0.1:{one}", f"http://127.0.0.1:{other}", 120).answer("activity", {}, {})


def test_the_route_gives_its_items_as_a_file(services: Services) -> None:
    app = create_app(cast(Any, None), list, services.client, access=OPEN)
    headers = {"Authorization": "Bearer k", "Kith-Tenant": "acme"}
    answer = get(app, "/v1/export/measures/revenue", {"unit": "month", "format": "csv"}, headers)
    assert answer.text == 'bucket,gross\r\n2026-10-01,"{""EUR"":5}"\r\n'
    assert services.asked[-1] == ("relations", {"unit": "month"}, "Bearer k")
    refused = get(app, "/v1/export/measures/activity", {"unit": "year"}, headers)
    assert (refused.status_code, refused.json()["detail"]) == (422, "unit: should be day, week or month")
    assert get(app, "/v1/export/measures/Wrong!", {}, headers).status_code == 422
    twice = get(app, "/v1/export/measures/revenue?unit=month&unit=week", None, headers)
    assert (twice.status_code, twice.json()["detail"]) == (422, "unit: is given twice, and takes one value")


def test_what_is_beside_the_items_is_a_header(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"unit": "month", "period": {"first": "2026-10-01"}, "left_out": 2, "others": ["USD"]}
    monkeypatch.setitem(globals(), "ANSWER", {**about, "items": ANSWER["items"]})
    app = create_app(cast(Any, None), list, services.client, access=OPEN)
    answer = get(app, "/v1/export/measures/revenue", {}, {"Kith-Tenant": "acme"})
    assert json.loads(answer.headers["Kith-Measure"]) == {k: v for k, v in about.items() if k != "others"}


def test_columns_are_read_anew_where_a_service_was_replaced(services: Services) -> None:
    assert "gross" in services.client.schema("revenue", ANSWER)["$defs"]["Item"]["properties"]
    with pytest.raises(Unavailable, match="revenue"):
        services.client.schema("revenue", {"items": [{"bucket": "2026-10-01", "newer": 1}]})
    with pytest.raises(Unavailable, match="nothing"):
        services.client.schema("nothing", ANSWER)
