"""Access control over a small service: who is let in, what is answered, what is told to the audit."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry

from shared.access.app import guarded_app
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.guard import Access, AccessOf, CallerOf, TenantOf
from shared.access.quota import Quotas
from shared.access.routes import secure
from shared.contracts.errors import Unavailable
from shared.http.caller import SCOPES, Caller, unauthorized
from shared.http.cors import allow_origins
from shared.http.gating import add_gate
from shared.http.health import add_health
from shared.http.limits import Limits
from shared.http.metrics import add_metrics
from shared.http.refusals import LONGEST_SECONDS, OF_ADDRESS, OF_STRANGER, Refusals
from shared.http.scopes import needs, public
from shared.http.server import SECURITY_HEADERS, add_problem_handlers
from shared.http.work import CURRENT
from shared.runtime.readiness import ReadinessGate
from tests.unit.ingest.test_door import NOW

ALL = frozenset(SCOPES)


class Known:
    """Credentials by heart."""

    def __init__(self, **callers: Caller) -> None:
        self.callers = callers
        self.away = False

    async def caller(self, text: str) -> Caller:
        if self.away:
            raise Unavailable("the keys cannot be read")
        if text not in self.callers:
            raise unauthorized("not known")
        return self.callers[text]


KEYS = Known(
    kith_all=Caller("acme", ALL, name="all", key="all"),
    kith_none=Caller("acme", frozenset(), name="none", key="none"),
    kith_read=Caller("acme", frozenset({"consumers:read"}), name="read", key="read"),
    kith_masked=Caller("acme", ALL, ("amount", "personal.email"), "masked", "masked"),
    kith_slow=Caller("acme", ALL, name="slow", key="slow", limit="2/hour"),
    kith_free=Caller("acme", ALL, name="free", key="free", limit="none"),
)
TOKENS = Known(token=Caller("other", ALL, name="ann", key="oidc:ann"))


def service(access: Access) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)
    add_problem_handlers(app)
    secure(app, access)
    add_health(app, list)

    @app.get("/read")
    @needs("consumers:read")
    def read(tenant: TenantOf, caller: CallerOf) -> dict[str, Any]:
        return {"tenant": tenant, "name": caller.name, "amount": 5, "personal": {"email": "a", "name": "b"}}

    @app.get("/personal")
    @needs("personal:read")
    def personal(caller: CallerOf, access: AccessOf, number: Annotated[int, Query()] = 1) -> dict[str, int]:
        access.reading(caller, {"consumer_id": "c1"}, ["personal.name"] if number else [])
        return {"number": number}

    @app.get("/forgotten")
    def forgotten() -> dict[str, str]:
        return {}

    @app.get("/public")
    @public
    async def anyone() -> dict[str, str]:
        return {}

    @app.get("/text", response_class=PlainTextResponse)
    @needs("consumers:read")
    def text() -> str:
        return "a@b.c"

    @app.get("/stream")
    @needs("consumers:read", masks_itself=True)
    def stream(caller: CallerOf) -> Response:
        return PlainTextResponse(",".join(caller.masks))

    @app.get("/crash")
    @needs("consumers:read")
    def crash() -> None:
        raise RuntimeError("a fault")

    add_metrics(app, CollectorRegistry())
    return app


def closed(audit_log: MemoryAuditLog | None = None, **options: Any) -> Access:
    audit = None if audit_log is None else Recorder(audit_log, lambda: NOW)
    return Access(KEYS, TOKENS, Quotas("100/second"), audit, **options)


def ask(
    app: FastAPI, path: str, key: str | None = "kith_all", headers: Mapping[str, str] | None = None
) -> httpx.Response:
    return ask_all(app, [path], key, headers)[0]


def ask_all(
    app: FastAPI, paths: Sequence[str], key: str | None, headers: Mapping[str, str] | None = None
) -> list[httpx.Response]:
    said = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **(headers or {})}

    async def answers() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=said) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(answers())


def check(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    found: dict[str, Any] = answer.json()
    return found


def test_whoever_may_is_answered() -> None:
    app = service(closed())
    assert ask(app, "/read").json()["tenant"] == "acme"
    assert ask(app, "/read", "kith_read").json()["name"] == "read"
    assert ask(app, "/read", "token").json()["tenant"] == "other"


@pytest.mark.parametrize("key", [None, "kith_wrong", "wrong", "", "kith_all kith_all"])
def test_whoever_is_nobody_is_told_how_to_be_somebody(key: str | None) -> None:
    answer = ask(service(closed()), "/read", key)
    assert check(answer, 401)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="kith"')
    assert ("error=" in answer.headers["www-authenticate"]) == (key is not None)


@pytest.mark.parametrize("value", ["Basic YTpi", "kith_all", "Bearer", "Bearer  "])
def test_another_scheme_is_not_understood(value: str) -> None:
    check(ask(service(closed()), "/read", None, {"Authorization": value}), 401)


def test_the_missing_scope_is_named() -> None:
    answer = ask(service(closed()), "/read", "kith_none")
    assert "consumers:read" in check(answer, 403)["detail"]
    assert 'scope="consumers:read"' in answer.headers["www-authenticate"]


def test_no_scope_contains_another() -> None:
    only_admin = Known(kith_admin=Caller("acme", frozenset({"admin"})))
    check(ask(service(Access(only_admin)), "/read", "kith_admin"), 403)


def test_a_route_that_says_nothing_is_for_administrators() -> None:
    app = service(closed())
    check(ask(app, "/forgotten", None), 401)
    assert "admin" in check(ask(app, "/forgotten", "kith_read"), 403)["detail"]
    assert ask(app, "/forgotten").status_code == 200


def test_parameters_are_not_looked_at_for_who_may_not() -> None:
    app = service(closed())
    check(ask(app, "/personal?number=x", "kith_read"), 403)
    check(ask(app, "/personal?number=x"), 422)


def test_what_needs_no_credential() -> None:
    app = service(closed())
    for path in ("/public", "/health/live", "/health/ready", "/openapi.json"):
        assert ask(app, path, None).status_code == 200, path
    check(ask(app, "/nowhere", None), 404)


def test_metrics_need_their_own_scope_or_an_open_door() -> None:
    app = service(closed())
    check(ask(app, "/metrics", None), 401)
    check(ask(app, "/metrics", "kith_read"), 403)
    assert ask(app, "/metrics").status_code == 200
    assert ask(service(closed(open_metrics=True)), "/metrics", None).status_code == 200


def test_the_tenant_is_the_credentials() -> None:
    app = service(closed())
    assert ask(app, "/read", headers={"Kith-Tenant": "acme"}).json()["tenant"] == "acme"
    for other in ("other", "", "No Such", "ACME"):
        check(ask(app, "/read", headers={"Kith-Tenant": other}), 403)


def test_open_access_is_as_the_request_says() -> None:
    app = service(Access(open=True, open_metrics=True))
    assert ask(app, "/read", None).json()["tenant"] == "default"
    assert ask(app, "/read", None, {"Kith-Tenant": "x"}).json()["tenant"] == "x"
    check(ask(app, "/read", None, {"Kith-Tenant": "No Such"}), 422)
    for path in ("/forgotten", "/personal", "/metrics"):
        assert ask(app, path, None).status_code == 200


def test_without_keys_nobody_is_let_in() -> None:
    for key in (None, "kith_all", "token"):
        check(ask(service(Access()), "/read", key), 401)


def test_while_keys_cannot_be_read_it_says_to_come_again() -> None:
    away = Known()
    away.away = True
    answer = ask(service(Access(away)), "/read", "kith_all")
    check(answer, 503)
    assert answer.headers["retry-after"].isdecimal()


def test_a_keys_masks_hide_in_every_json_answer() -> None:
    app = service(closed())
    shown = ask(app, "/read", "kith_masked").json()
    assert (shown["amount"], shown["personal"]) == ("•••", {"email": "•••", "name": "b"})
    assert shown["masked"] == ["amount", "personal.email"]
    assert "masked" not in ask(app, "/read").json()


def test_what_cannot_be_masked_is_not_shown() -> None:
    app = service(closed())
    check(ask(app, "/text", "kith_masked"), 403)
    assert ask(app, "/text").text == "a@b.c"
    assert ask(app, "/stream", "kith_masked").text == "amount,personal.email", "it does so itself"


def test_the_quota_is_on_every_answer_and_ends() -> None:
    app = service(closed())
    answers = ask_all(app, ["/read", "/personal?number=x", "/read", "/read"], "kith_slow")
    assert [answer.status_code for answer in answers] == [200, 422, 429, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"2"}
    check(answers[2], 429)
    assert 3500 < int(answers[2].headers["retry-after"]) <= 3601
    assert answers[2].headers["retry-after"] == answers[2].headers["ratelimit-reset"]
    assert ask(app, "/read", "kith_read").status_code == 200, "each key for itself"


def test_a_key_without_a_limit_has_no_quota() -> None:
    answer = ask(service(closed()), "/read", "kith_free")
    assert "ratelimit-limit" not in answer.headers


def test_security_headers_are_on_every_answer() -> None:
    app = service(closed())
    for path, key in (("/read", "kith_all"), ("/read", None), ("/nowhere", None), ("/crash", "kith_all")):
        headers = ask(app, path, key).headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS, path
        assert "strict-transport-security" not in headers


def test_a_read_of_personal_data_is_on_record_before_it_is_answered() -> None:
    memory = MemoryAuditLog()
    app = service(closed(memory))
    assert ask(app, "/personal").status_code == 200
    (entry,) = memory.entries("acme")
    assert (entry["who"], entry["key"], entry["action"]) == ("all", "all", "personal.read")
    assert (entry["subject"], entry["fields"]) == ({"consumer_id": "c1"}, ["personal.name"])
    assert ask(app, "/personal?number=0").status_code == 200
    assert len(list(memory.entries("acme"))) == 1, "nothing personal was shown"


def test_what_cannot_be_put_on_record_is_not_shown() -> None:
    memory = MemoryAuditLog()
    app = service(closed(memory))
    memory.away = True
    check(ask(app, "/personal"), 503)
    check(ask(service(closed()), "/personal"), 503)
    assert ask(app, "/personal?number=0").status_code == 200


def test_the_document_names_schemes_scopes_and_refusals() -> None:
    document = service(closed()).openapi()
    assert set(document["components"]["securitySchemes"]) == {"apiKey", "oidc"}
    read = document["paths"]["/read"]["get"]
    assert read["security"] == [{"apiKey": ["consumers:read"]}, {"oidc": ["consumers:read"]}]
    assert {"401", "403", "429", "503"} <= set(read["responses"])
    assert {"Retry-After", "RateLimit-Remaining"} <= set(read["responses"]["429"]["headers"])
    assert document["paths"]["/public"]["get"]["security"] == []
    assert "401" not in document["paths"]["/public"]["get"]["responses"]
    assert document["paths"]["/forgotten"]["get"]["security"][0] == {"apiKey": ["admin"]}


def flood(
    app: FastAPI,
    requests: Sequence[tuple[str | None, str]],
    access: Access,
    path: str = "/read",
    method: str = "GET",
    stated: Mapping[str, str] | None = None,
) -> list[tuple[int, float]]:
    """The status and the wait of each request: its key, and the client that the proxy names. All come at once, and
    have the headers in ``stated``."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept[-1] = seconds

    access.denials = Refusals(lambda: 100.0, sleep, *OF_ADDRESS)
    access.strangers = Refusals(lambda: 100.0, sleep, *OF_STRANGER)

    async def story() -> list[tuple[int, float]]:
        answers = []
        transport = httpx.ASGITransport(app, client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
            for key, address in requests:
                slept.append(0.0)
                headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {key}"} if key else {})
                answer = await client.request(method, path, headers={**headers, **(stated or {})})
                assert SECURITY_HEADERS.keys() <= {name.title() for name in answer.headers}
                answers.append((answer.status_code, slept[-1]))
        return answers

    return asyncio.run(story())


def test_an_address_that_tries_keys_is_told_so_ever_later_and_nobody_else_is() -> None:
    access = Access(KEYS, limits=replace(Limits.usual(), proxies=("10.0.0.0/8",)))
    wrong = [("kith_wrong", "192.0.2.1")] * 400
    others = [("kith_wrong", "192.0.2.2"), (None, "192.0.2.3"), ("kith_read", "192.0.2.1")]
    found = flood(service(access), [*wrong, *others], access)
    a_second, at_once = OF_ADDRESS
    assert [status for status, _ in found] == [401] * 402 + [200]
    assert [wait for _, wait in found[:at_once]] == [0.0] * at_once
    assert found[at_once][1] == pytest.approx(1 / a_second)
    assert found[399][1] == LONGEST_SECONDS, "so much at most"
    # Not of another address, not of a valid key of the same one.
    assert [wait for _, wait in found[400:]] == [0.0, 0.0, 0.0]


def test_without_a_proxy_an_address_cannot_say_that_it_is_another() -> None:
    access = Access(KEYS)
    found = flood(service(access), [("kith_wrong", f"192.0.2.{number}") for number in range(100)], access)
    assert found[-1][1] > 0.5


@pytest.mark.parametrize(("path", "status"), [("/public", 200), ("/nowhere", 404), ("/openapi.json", 200)])
def test_what_needs_no_credential_is_answered_ever_later_to_an_address_that_asks_without_pause(
    path: str, status: int
) -> None:
    access = Access(KEYS, limits=replace(Limits.usual(), proxies=("10.0.0.0/8",)))
    app = guarded_app("Kith", "", access, list)

    @app.get("/public")
    @public
    async def anyone() -> dict[str, str]:
        return {}

    @app.get("/read")
    @needs("consumers:read")
    async def read() -> dict[str, str]:
        return {}

    a_second, at_once = OF_STRANGER
    found = flood(app, [(None, "192.0.2.1")] * (at_once + 2 * a_second) + [(None, "192.0.2.2")], access, path)
    assert {each for each, _ in found} == {status}
    assert [wait for _, wait in found[:at_once]] == [0.0] * at_once
    assert found[-2][1] == pytest.approx(2.0)
    assert found[-1][1] == 0.0, "another address does not wait"
    [(answered, wait)] = flood(app, [("kith_read", "192.0.2.1")], access)
    assert (answered, wait) == (200, 0.0), "nor does a valid key of the same one"


class Closed(ReadinessGate):
    def look(self) -> list[str]:
        return ["it catches up"]


@pytest.mark.parametrize(("method", "path", "status"), [("OPTIONS", "/v1/read", 200), ("GET", "/v1/read", 503)])
def test_what_is_answered_before_any_route_is_answered_ever_later_as_well(
    method: str, path: str, status: int
) -> None:
    access = Access(KEYS, limits=replace(Limits.usual(), proxies=("10.0.0.0/8",)))
    app = guarded_app("Kith", "", access, list)
    add_gate(app, Closed("it is not known yet"))
    allow_origins(app, ["http://page.example"])
    a_second, at_once = OF_STRANGER
    preflight = {"Origin": "http://page.example", "Access-Control-Request-Method": "GET"}
    asked = [(None, "192.0.2.1")] * (at_once + a_second) + [(None, "192.0.2.2")]
    found = flood(app, asked, access, path, method, preflight)
    assert {each for each, _ in found} == {status}
    assert [wait for _, wait in found[:at_once]] == [0.0] * at_once
    assert found[-2][1] == pytest.approx(1.0)
    assert found[-1][1] == 0.0, "another address does not wait"


def test_the_work_of_who_shows_no_credential_counts_for_the_client_behind_the_proxy() -> None:
    access = Access(KEYS, limits=replace(Limits.usual(), proxies=("10.0.0.0/8",)))
    app, owners = guarded_app("Kith", "", access, list), list[str]()

    @app.get("/public")
    @public
    async def whose() -> dict[str, str]:
        owners.append(CURRENT.get().owner.key)
        return {}

    flood(app, [(None, "192.0.2.1"), (None, "192.0.2.2"), (None, "2001:db8::1")], access, "/public")
    assert owners == ["address 192.0.2.1", "address 192.0.2.2", "address 2001:db8::/64"]
