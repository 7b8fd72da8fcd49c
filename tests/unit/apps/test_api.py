"""The apps service over HTTP: forms and errors of OAuth 2.0, registrations, decisions, and a client not ours."""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from joserfc import jwt
from joserfc.jwk import KeySet

from services.apps.api import create_app
from services.apps.portal.pages import PACKAGE, add_portal
from shared.access.apps import compliance
from shared.access.apps.credentials import BearerTokens
from shared.access.apps.model import SCOPES_OF_APPS
from shared.access.apps.tokens import AppTokens
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.fresh import FRESH_SECONDS
from shared.access.guard import Access
from shared.access.keys import ApiKeys
from shared.access.keys_memory import MemoryKeys
from shared.access.lookup import KeyLookup
from shared.access.masks import MASK
from shared.access.quota import Quotas
from shared.http.caller import Denied
from shared.http.page_files import load
from tests.support.apps import ISSUER, Platform

#: What the developer portal asks.
OF_PORTAL = (("GET", "/usage"), ("POST", "/token"))
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
Json = dict[str, Any]


class CountsConsent:
    def consented(self, tenant: str, purpose: str) -> int:
        return len(tenant + purpose)

    def events(self, tenant: str, _: str, day: str) -> int:
        return {"acme 2026-11-29": 412, "acme 2026-11-30": 10_100}[f"{tenant} {day}"]


class KeepsReceipts:
    def __init__(self) -> None:
        self.stored: list[Json] = []

    def page(self, tenant: str, app: str, state: str | None, limit: int, after: Any) -> list[Json]:
        own = [each for each in self.stored if (each["tenant"], each["app"]) == (tenant, app)]
        own = [each for each in own if state in (None, each["state"])]
        latest = sorted(own, key=lambda each: (each["at"], each["_id"]), reverse=True)
        return [each for each in latest if after is None or (each["at"], each["_id"]) < after][:limit]


class World(Platform):
    """The service over memory, with a developer's key and one of the tenant's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        keys = MemoryKeys()
        self.keys = made = ApiKeys(keys, self.clock)
        self.log = MemoryAuditLog()
        self.audit = Recorder(self.log, self.clock)
        tokens = AppTokens(
            self.store, self.pairs.published, self.clock.elapsed, lambda: self.clock.now.timestamp()
        )
        lookup = KeyLookup(keys, self.clock.elapsed, self.clock)
        quotas = Quotas("none", clock=self.clock.elapsed)
        self.access = access = Access(lookup, BearerTokens(tokens, None), quotas, audit=self.audit)
        self.outcomes: list[str] = []
        self.receipts = KeepsReceipts()
        self.app = create_app(
            self.registry,
            self.signer,
            CountsConsent(),  # type: ignore[arg-type]
            self.receipts,
            list,
            self.outcomes.append,
            access=access,
            issuer=ISSUER,
        )
        self.developer = made.create("acme", "dev", ["apps:register"])[1]
        self.tenant = made.create("acme", "ann", ["apps:manage"])[1]
        self.stranger = made.create("other", "eve", ["apps:manage", "apps:register"])[1]

    async def ask(self, method: str, path: str, bearer: str | None = None, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as client:
            return await client.request(method, path, headers=headers, **options)

    async def made(self, **metadata: Any) -> Json:
        body = {"client_name": "Bonus", "scope": "consumers:read relations:read", **metadata}
        answer = await self.ask("POST", "/register", self.developer, json=body)
        assert answer.status_code == 201, answer.text
        found: Json = answer.json()
        return found

    async def allowed(self, **granted: Any) -> Json:
        made = await self.made()
        granted = {"revision": made["revision"], **granted}
        answer = await self.ask("POST", f"/v1/apps/{made['client_id']}/approve", self.tenant, json=granted)
        assert answer.status_code == 200, answer.text
        return {**made, **answer.json()}

    async def ask_token(self, made: Json, **form: str) -> httpx.Response:
        parts = {"grant_type": "client_credentials", "client_id": made["client_id"], **form}
        return await self.ask("POST", "/oauth/token", data={"client_secret": made["client_secret"], **parts})

    def acts(self) -> list[tuple[str, str]]:
        return [(entry["action"], entry["who"]) for entry in self.log.chains.get("acme", [])]


def told(story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World()
        try:
            await story(world)
        finally:
            world.audit.close()

    asyncio.run(run())


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_a_token_and_revokes_it(method: str) -> None:
    async def story(world: World) -> None:
        made = await world.allowed()
        async with AsyncOAuth2Client(
            made["client_id"],
            made["client_secret"],
            token_endpoint_auth_method=method,
            transport=httpx2.ASGITransport(world.app),
        ) as client:
            token = await client.fetch_token(f"{ISSUER}/oauth/token", grant_type="client_credentials")
            assert (token["token_type"], token["expires_in"]) == ("Bearer", 600)
            assert token["scope"] == "consumers:read relations:read"
            keys = KeySet.import_key_set((await client.get(f"{ISSUER}/.well-known/jwks.json")).json())
            claims = jwt.decode(token["access_token"], keys, ["ES256"]).claims
            assert (claims["client_id"], claims["tenant"]) == (made["client_id"], "acme")
            with pytest.raises(OAuthError, match="invalid_scope"):
                await client.fetch_token(f"{ISSUER}/oauth/token", grant_type="client_credentials", scope="admin")
            # A token is a credential that lacks the scopes of this service.
            answer = await world.ask("GET", "/v1/apps", token["access_token"])
            assert answer.status_code == 403
            done = await client.revoke_token(f"{ISSUER}/oauth/revoke", token["access_token"])
            assert done.status_code == 200
        world.clock.turn(FRESH_SECONDS)
        assert (await world.ask("GET", "/v1/apps", token["access_token"])).status_code == 401

    told(story)


def test_the_metadata_lead_to_routes_that_there_are() -> None:
    async def story(world: World) -> None:
        found = (await world.ask("GET", "/.well-known/oauth-authorization-server")).json()
        assert found["issuer"] == ISSUER
        paths = world.app.openapi()["paths"]
        for name, value in found.items():
            if name.endswith(("_endpoint", "_uri")):
                assert value.removeprefix(ISSUER) in paths, name
        assert found["scopes_supported"] == list(SCOPES_OF_APPS)
        words = (await world.ask("GET", "/v1/apps/scopes")).json()["items"]
        assert {each["scope"] for each in words} == set(SCOPES_OF_APPS)

    told(story)


def basic(id: str, secret: str) -> Json:
    return {"Authorization": "Basic " + base64.b64encode(f"{id}:{secret}".encode()).decode()}


GRANT = {"grant_type": "client_credentials"}


@pytest.mark.parametrize(
    ("form", "headers", "status", "error"),
    [
        (GRANT, {}, 401, "invalid_client"),
        (GRANT, basic("ID", "wrong"), 401, "invalid_client"),
        (GRANT, basic("app_" + "a" * 16, "SECRET"), 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic !!!"}, 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic " + base64.b64encode(b"\xff:x").decode()}, 401, "invalid_client"),
        (GRANT, {"Authorization": "Bearer x"}, 401, "invalid_client"),
        ({**GRANT, "client_id": "ID", "client_secret": "SECRET"}, basic("ID", "SECRET"), 400, "invalid_request"),
        ({**GRANT, "client_id": "other"}, basic("ID", "SECRET"), 400, "invalid_request"),
        ({}, basic("ID", "SECRET"), 400, "invalid_request"),
        ({"grant_type": "password"}, basic("ID", "SECRET"), 400, "unsupported_grant_type"),
        ({**GRANT, "scope": "relations:read admin"}, basic("ID", "SECRET"), 400, "invalid_scope"),
        ("grant_type=a&grant_type=b", basic("ID", "SECRET"), 400, "invalid_request"),
        ("grant_type=%ff", basic("ID", "SECRET"), 400, "invalid_request"),
        ("&".join(f"p{n}=1" for n in range(200)), basic("ID", "SECRET"), 400, "invalid_request"),
        (b'{"grant_type": "client_credentials"}', {"Content-Type": "application/json"}, 400, "invalid_request"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_errors_are_those_of_the_specification(form: Any, headers: Json, status: int, error: str) -> None:
    async def story(world: World) -> None:
        made = await world.allowed()
        real = {"ID": made["client_id"], "SECRET": made["client_secret"]}
        told = {name: real.get(value, value) for name, value in form.items()} if isinstance(form, dict) else form
        sent = {**FORM, **headers}
        if headers.get("Authorization", "").startswith("Basic ") and "!" not in headers["Authorization"]:
            id, _, secret = base64.b64decode(headers["Authorization"][6:]).decode("latin-1").partition(":")
            if id == "ID" or secret == "SECRET":
                sent |= basic(real.get(id, id), real.get(secret, secret))
        content = urlencode(told) if isinstance(told, dict) else told
        answer = await world.ask("POST", "/oauth/token", content=content, headers=sent)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers.get("www-authenticate", "").startswith("Basic ") == (status == 401)
        assert made["client_secret"] not in answer.text
        assert world.outcomes == [error]

    told(story)


def test_only_an_approved_application_gets_tokens() -> None:
    async def story(world: World) -> None:
        made = await world.made()
        waiting = await world.ask_token(made)
        assert (waiting.status_code, waiting.json()["error"]) == (400, "unauthorized_client")
        path = f"/v1/apps/{made['client_id']}"
        await world.ask("POST", f"{path}/approve", world.tenant, json={"scopes": ["relations:read"]})
        given = await world.ask_token(made)
        assert (given.status_code, given.json()["scope"]) == (200, "relations:read")
        await world.ask("POST", f"{path}/suspend", world.tenant, json={"reason": "it asked too often"})
        assert "suspended" in (await world.ask_token(made)).json()["error_description"]
        read = await world.ask("GET", f"/register/{made['client_id']}", made["registration_access_token"])
        assert (read.json()["state"], read.json()["reason"]) == ("suspended", "it asked too often")
        assert (await world.ask("DELETE", path, world.tenant)).status_code == 204
        assert (await world.ask_token(made)).status_code == 401
        assert [act for act, _ in world.acts()] == [
            *("app.register", "app.approve", "app.token", "app.suspend", "app.delete")
        ]
        assert dict(world.acts())["app.token"] == "Bonus"

    told(story)


def test_a_registration_has_the_names_of_the_specification_and_secrets_once() -> None:
    async def story(world: World) -> None:
        made = await world.made(client_uri="https://bonus.example", unknown_member=1, redirect_uris=[])
        assert made["client_uri"] == "https://bonus.example"
        assert "unknown_member" not in made
        assert made["client_secret_expires_at"] > made["client_id_issued_at"] == int(world.clock.now.timestamp())
        once = ("client_secret", "registration_access_token")
        assert all(made[name] for name in once)
        token, path = made["registration_access_token"], f"/register/{made['client_id']}"
        assert made["registration_client_uri"] == ISSUER + path
        read = (await world.ask("GET", path, token)).json()
        assert not any(name in read for name in once)
        listed = (await world.ask("GET", "/v1/apps?state=pending", world.tenant)).json()["items"]
        assert listed == [read]
        assert (await world.ask("GET", "/v1/apps?state=approved", world.tenant)).json()["items"] == []

    told(story)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "client_name"),
        ({"client_name": "x"}, "scope"),
        ({"client_name": "x", "scope": "admin"}, "cannot have admin"),
        ({"client_name": "x\n", "scope": "relations:read"}, "client_name"),
        ({"client_name": " ", "scope": "relations:read"}, "client_name"),
        ({"client_name": "x", "scope": "relations:read", "client_uri": "http://bonus.example"}, "https"),
        ({"client_name": "x", "scope": "relations:read", "logo_uri": "javascript:alert(1)"}, "https"),
        ({"client_name": "x", "scope": "relations:read", "client_uri": "https://["}, "client_uri"),
        ({"client_name": "x", "scope": "relations:read", "grant_types": ["password"]}, "client_credentials"),
        ({"client_name": "x", "scope": "relations:read", "token_endpoint_auth_method": "none"}, "auth_method"),
        ({"client_name": "x", "scope": "relations:read", "response_types": ["code"]}, "response_types"),
        ({"client_name": 7, "scope": "relations:read"}, "client_name"),
    ],
)
def test_metadata_that_make_no_sense_are_refused_with_the_reason(body: Json, said: str) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("POST", "/register", world.developer, json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
        assert said in answer.json()["error_description"]
        assert world.registry.all("acme") == []

    told(story)


def test_a_registration_token_is_for_one_application_and_changes_only_that() -> None:
    async def story(world: World) -> None:
        one, other = await world.made(), await world.made()
        path, token = f"/register/{one['client_id']}", one["registration_access_token"]
        for bearer in (other["registration_access_token"], world.tenant, world.developer, world.stranger):
            for method, tail in (
                ("GET", ""),
                ("DELETE", ""),
                ("GET", "/figures"),
                ("DELETE", "/secrets/x"),
                *OF_PORTAL,
            ):
                assert (await world.ask(method, path + tail, bearer)).status_code in (403, 404)
        right = {"client_id": one["client_id"], "client_name": "Bonus 2", "scope": "relations:read"}
        for wrong, said in (
            ({**right, "client_id": other["client_id"]}, "client_id"),
            ({**right, "registration_access_token": token}, "set by Kith"),
            ({**right, "client_secret": "guess"}, "client_secret"),
        ):
            answer = await world.ask("PUT", path, token, json=wrong)
            assert answer.status_code == 400
            assert said in answer.json()["error_description"]
        answer = await world.ask("PUT", path, token, json={**right, "client_secret": one["client_secret"]})
        assert (answer.status_code, answer.json()["client_name"]) == (200, "Bonus 2")
        assert "contacts" in answer.json()
        figures = await world.ask("GET", f"{path}/figures", token)
        assert figures.json() == {"consented": len("acme" + one["client_id"]), "purpose": one["client_id"]}
        assert (await world.ask("DELETE", path, token)).status_code == 204
        assert (await world.ask("GET", path, other["registration_access_token"])).status_code == 404

    told(story)


def test_a_secret_is_replaced_without_downtime() -> None:
    async def story(world: World) -> None:
        made = await world.allowed()
        path, token = f"/register/{made['client_id']}/secrets", made["registration_access_token"]
        added = await world.ask("POST", path, token, json={"others_end_in_hours": 1})
        assert added.status_code == 201
        both = (made, {**made, "client_secret": added.json()["client_secret"]})
        assert [(await world.ask_token(each)).status_code for each in both] == [200, 200]
        third = await world.ask("POST", path, token, json={})
        assert third.status_code == 409
        assert "2 valid secrets" in third.json()["detail"]
        world.clock.turn(timedelta(hours=1).total_seconds())
        assert [(await world.ask_token(each)).status_code for each in both] == [401, 200]
        gone = await world.ask("DELETE", f"{path}/{added.json()['secret']}", token)
        assert gone.status_code == 204
        assert (await world.ask_token(both[1])).status_code == 401
        by_tenant = await world.ask(
            "POST", f"/v1/apps/{made['client_id']}/secrets", world.tenant, json={"days": 1}
        )
        assert (
            await world.ask_token({**made, "client_secret": by_tenant.json()["client_secret"]})
        ).status_code == 200

    told(story)


def test_the_portal_gets_a_token_by_the_registration_token_which_ends_with_the_secret() -> None:
    async def story(world: World) -> None:
        made = await world.made()
        path, owner = f"/register/{made['client_id']}", made["registration_access_token"]

        async def asked(**body: str) -> httpx.Response:
            return await world.ask("POST", f"{path}/token", owner, json=body)

        answer = await asked()
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "the tenant has not approved the application yet",
        )
        granted = {"scopes": ["relations:read"]}
        await world.ask("POST", f"/v1/apps/{made['client_id']}/approve", world.tenant, json=granted)
        beyond = await asked(scope="webhooks:manage")
        assert (beyond.status_code, "is not granted" in beyond.json()["detail"]) == (409, True)
        answer = await asked(scope="relations:read")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["scope"] == "relations:read"
        token = answer.json()["access_token"]
        lookup = AppTokens(
            world.store, world.pairs.published, world.clock.elapsed, lambda: world.clock.now.timestamp()
        )
        caller = await lookup.caller(token)
        assert (caller.purpose, sorted(caller.scopes)) == (made["client_id"], ["relations:read"])
        assert ("app.token", "Bonus") in world.acts()
        [secret] = (await world.ask("GET", path, owner)).json()["secrets"]
        await world.ask("DELETE", f"{path}/secrets/{secret['secret']}", owner)
        world.clock.turn(FRESH_SECONDS)
        with pytest.raises(Denied, match="the secret that the token was issued for was removed"):
            await lookup.caller(token)
        assert "no valid secret" in (await asked()).json()["detail"]

    told(story)


def test_what_an_application_has_used_today_is_at_most_its_quota() -> None:
    async def story(world: World) -> None:
        made = await world.made()
        path, owner = f"/register/{made['client_id']}/usage", made["registration_access_token"]
        today = {"day": "2026-11-29", "events_today": 412, "events_a_day": 10_000}
        assert (await world.ask("GET", path, owner)).json() == today
        of_tenant = f"/v1/apps/{made['client_id']}/usage"
        assert (await world.ask("GET", of_tenant, world.tenant)).json() == today
        world.clock.turn(days=1)
        tomorrow = {"day": "2026-11-30", "events_today": 10_000, "events_a_day": 10_000}
        assert (await world.ask("GET", path, owner)).json() == tomorrow

    told(story)


def test_the_portal_is_a_page_of_its_own_files_that_asks_webhooks() -> None:
    async def story(world: World) -> None:
        add_portal(world.app, ISSUER, {"relations": "https://r.example/api/", "webhooks": "https://w.example/x/"})
        assert (await world.ask("GET", "/portal")).headers["location"] == "/portal/"
        page = await world.ask("GET", "/portal/")
        policy = page.headers["content-security-policy"]
        assert "connect-src 'self' https://w.example;" in policy
        assert "default-src 'none'; script-src 'self'" in policy
        assert (await world.ask("GET", "/portal/config.json")).json() == {
            "apps": ISSUER,
            "relations": "https://r.example/api",
            "webhooks": "https://w.example/x",
        }
        for path in ("../pages.py", "..%2Fpages.py", "code", "nothing.js"):
            assert (await world.ask("GET", f"/portal/{path}")).status_code == 404
        files = load(PACKAGE)
        named = re.findall(
            r"""(?:from |href=|src=)["'](?:\./)?([\w/.]+)["']""", files["index.html"].content.decode()
        )
        assert {"main.js", "portal.css", "style.css"} <= {*named} <= {*files}
        for name, file in files.items():
            if not name.startswith("code/"):
                text = file.content.decode().replace("http://www.w3.org/2000/svg", "")
                assert "://" not in text, name
                assert not re.search(r"<script(?![^>]*src=)|<style| style=|innerHTML|\beval\b", text), name

    told(story)


def test_one_tenant_decides_nothing_about_the_applications_of_another() -> None:
    async def story(world: World) -> None:
        path = f"/v1/apps/{(await world.allowed())['client_id']}"
        assert (await world.ask("GET", "/v1/apps", world.stranger)).json() == {"items": []}
        for method, tail in (
            *(("GET", ""), ("DELETE", ""), ("GET", "/figures"), ("GET", "/usage"), ("DELETE", "/secrets/x")),
            *(("POST", "/approve"), ("POST", "/suspend"), ("POST", "/secrets")),
        ):
            answer = await world.ask(method, path + tail, world.stranger, json={} if method == "POST" else None)
            assert answer.status_code == 404, (method, tail)
        assert (await world.ask("GET", path, world.tenant)).json()["state"] == "approved"

    told(story)


def test_an_approval_grants_what_was_seen_and_not_what_was_added_since() -> None:
    async def story(world: World) -> None:
        made = await world.made()
        path, token = f"/v1/apps/{made['client_id']}", made["registration_access_token"]
        more = {"client_id": made["client_id"], "client_name": "Bonus", "scope": "personal:read relations:read"}
        await world.ask("PUT", f"/register/{made['client_id']}", token, json=more)
        for granted, status in (({}, 422), ({"requests": "1/second"}, 422), ({"revision": made["revision"]}, 409)):
            answer = await world.ask("POST", f"{path}/approve", world.tenant, json=granted)
            assert answer.status_code == status, granted
        seen = (await world.ask("GET", path, world.tenant)).json()
        assert (seen["state"], seen["granted"], seen["revision"]) == ("pending", [], made["revision"] + 1)
        answer = await world.ask("POST", f"{path}/approve", world.tenant, json={"revision": seen["revision"]})
        assert answer.json()["granted"] == ["personal:read", "relations:read"]
        # What is granted already stays without being seen again: a developer can only reduce it.
        answer = await world.ask("POST", f"{path}/approve", world.tenant, json={"requests": "1/second"})
        assert answer.json()["granted"] == ["personal:read", "relations:read"]

    told(story)


def test_a_token_of_another_application_is_not_revoked() -> None:
    async def story(world: World) -> None:
        one, other = await world.allowed(), await world.allowed()
        text = (await world.ask_token(one)).json()["access_token"]

        async def revoke(made: Json, token: str | None) -> httpx.Response:
            form = {"client_id": made["client_id"], "client_secret": made["client_secret"]}
            return await world.ask(
                "POST", "/oauth/revoke", data=form if token is None else {**form, "token": token}
            )

        answer = await revoke(other, text)
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
        for nothing in ("x", "a.b.c", text[:-3]):
            assert (await revoke(one, nothing)).status_code == 200
        assert (await revoke(one, None)).json()["error"] == "invalid_request"
        assert (await world.ask("GET", "/v1/apps", text)).status_code == 403, "it is still valid"
        assert (await revoke(one, text)).status_code == 200
        world.clock.turn(FRESH_SECONDS)
        assert (await world.ask("GET", "/v1/apps", text)).status_code == 401
        assert ("app.token.revoke", "Bonus") in world.acts()

    told(story)


def test_what_cannot_be_put_on_record_is_not_done() -> None:
    async def story(world: World) -> None:
        made = await world.allowed()
        world.log.away = True
        assert (await world.ask_token(made)).status_code == 503
        answer = await world.ask("POST", f"/v1/apps/{made['client_id']}/suspend", world.tenant, json={})
        assert answer.status_code == 503
        assert world.registry.all("acme")[0].state == "approved"

    told(story)


def test_whoever_tries_secrets_is_answered_later_and_later_and_nobody_else_is() -> None:
    async def story(world: World) -> None:
        made, waits = await world.allowed(), list[str]()

        async def noted(owner: Any, _: Any = None) -> None:
            waits.append(owner.key)

        world.access.denials.wait = noted  # type: ignore[assignment, method-assign]
        assert (await world.ask_token({**made, "client_secret": "guess"})).status_code == 401
        assert (await world.ask_token({**made, "client_id": "app_" + "a" * 16})).status_code == 401
        assert len(waits) == 2, "by address, as any other credential that is wrong"
        form = {"client_id": made["client_id"], "client_secret": "guess", "token": "x"}
        assert (await world.ask("POST", "/oauth/revoke", data=form)).status_code == 401
        assert (await world.ask_token(made)).status_code == 200
        assert (await world.ask_token(made, scope="admin")).status_code == 400
        assert len(waits) == 3

    told(story)


def test_receipts_are_for_the_tenant_and_the_application_and_outlive_it() -> None:
    async def story(world: World) -> None:
        made, other = await world.allowed(), await world.allowed()
        id = made["client_id"]
        for number in range(3):
            notice = compliance.erased("acme", f"c{number}", [id], world.clock.now + timedelta(seconds=number))
            world.receipts.stored.append(compliance.receipt(notice, id))
        own = (f"/register/{id}/receipts", made["registration_access_token"])
        for path, bearer in (own, (f"/v1/apps/{id}/receipts", world.tenant)):
            first = (await world.ask("GET", f"{path}?limit=2", bearer)).json()
            rest = (await world.ask("GET", f"{path}?limit=2&cursor={first['next']}", bearer)).json()
            found = [*first["items"], *rest["items"]]
            assert [each["consumer_id"] for each in found] == ["c2", "c1", "c0"]
            assert {(each["topic"], each["state"], each["attempts"]) for each in found} == {
                ("consumer.erased", "waiting", 0)
            }
            assert rest["next"] is None
            assert (await world.ask("GET", f"{path}?state=failed", bearer)).json()["items"] == []
        for bearer in (other["registration_access_token"], world.developer, world.stranger):
            for path in (own[0], f"/v1/apps/{id}/receipts"):
                assert (await world.ask("GET", path, bearer)).status_code in (403, 404)
        assert (await world.ask("DELETE", f"/v1/apps/{id}", world.tenant)).status_code == 204
        assert [each["topic"] for each in world.store.notices] == ["app.uninstalled"]  # type: ignore[attr-defined]
        shown = await world.ask("GET", f"/v1/apps/{id}/receipts", world.tenant)
        assert len(shown.json()["items"]) == 3
        unknown = await world.ask("GET", f"/v1/apps/app_{'z' * 16}/receipts", world.tenant)
        assert unknown.status_code == 404

    told(story)


def test_what_is_hidden_from_an_application_is_hidden_from_its_registration_token() -> None:
    async def story(world: World) -> None:
        made = await world.allowed(masks=["consumer_id"])
        id, token = made["client_id"], made["registration_access_token"]
        for consumer in ("ada", "bob"):
            notice = compliance.erased("acme", consumer, [id], world.clock.now)
            world.receipts.stored.append(compliance.receipt(notice, id))
        shown = await world.ask("GET", f"/register/{id}/receipts?limit=1", token)
        [item] = shown.json()["items"]
        assert (item["consumer_id"], item["receipt"], item["state"]) == (MASK, MASK, "waiting")
        assert "ada" not in shown.text
        assert "bob" not in shown.text
        for stored in world.receipts.stored:
            assert stored["_id"] not in shown.text
        # Its own registration has nothing that could be hidden.
        assert (await world.ask("GET", f"/register/{id}", token)).json()["client_id"] == id
        assert (await world.ask("POST", f"/register/{id}/token", token, json={})).status_code == 200
        assert (await world.ask("POST", f"/register/{id}/secrets", token, json={})).status_code == 201
        found = (await world.ask("GET", f"/v1/apps/{id}/receipts", world.tenant)).json()["items"]
        assert {each["consumer_id"] for each in found} == {"ada", "bob"}

    told(story)


def test_nobody_sees_by_an_application_what_is_hidden_from_them() -> None:
    async def story(world: World) -> None:
        narrow = world.keys.create("acme", "eve", ["apps:manage", "apps:register"], ["amount", "rating"])[1]
        body = {"client_name": "Bonus", "scope": "relations:read"}
        own = (await world.ask("POST", "/register", narrow, json=body)).json()
        place = f"/v1/apps/{own['client_id']}"
        grants: list[Json] = [{"revision": 1}, {"masks": []}, {"masks": ["kind"]}]
        for granted in grants:
            approved = await world.ask("POST", f"{place}/approve", narrow, json=granted)
            assert set(approved.json()["masks"]) >= {"amount", "rating"}, approved.text
        # The application sees no more than its secret's holder, who may have as many as there can be.
        assert (await world.ask("POST", f"{place}/secrets", narrow, json={})).status_code == 201
        assert (await world.ask("POST", f"{place}/registration-token", narrow)).status_code == 201
        # That of somebody who sees everything sees more.
        wide = await world.allowed(masks=["amount"])
        for path in ("secrets", "registration-token"):
            refused = await world.ask("POST", f"/v1/apps/{wide['client_id']}/{path}", narrow, json={})
            assert (refused.status_code, refused.json()["type"]) == (403, "/problems/hidden-field")
            assert "rating" in refused.json()["detail"]
        stored = world.store.find(wide["client_id"])
        assert stored is not None
        assert (len(stored.secrets), stored.masks) == (1, ("amount",))

    told(story)


def test_a_credential_with_a_purpose_gets_no_application_with_another_one() -> None:
    async def story(world: World) -> None:
        made, other = await world.made(), await world.allowed()
        bound = world.keys.create("acme", "eve", ["apps:manage"], purpose=made["client_id"])[1]
        statuses = {}
        for each in (made, other):
            place = f"/v1/apps/{each['client_id']}"
            asked = [
                await world.ask("POST", f"{place}/approve", bound, json={"scopes": ["relations:read"]}),
                await world.ask("POST", f"{place}/secrets", bound, json={}),
                await world.ask("POST", f"{place}/registration-token", bound),
            ]
            statuses[each["client_id"]] = [answer.status_code for answer in asked]
        assert statuses == {made["client_id"]: [200, 201, 201], other["client_id"]: [403, 403, 403]}

    told(story)


def test_a_registration_token_is_replaced_and_the_former_one_is_void() -> None:
    async def story(world: World) -> None:
        made, other = await world.allowed(), await world.allowed()
        path, first = f"/register/{made['client_id']}", made["registration_access_token"]
        assert (await world.ask("GET", path, first)).status_code == 200
        place = f"{path}/registration-token"
        assert (await world.ask("POST", place, other["registration_access_token"])).status_code == 404
        renewed = await world.ask("POST", place, first)
        assert renewed.status_code == 201
        second = renewed.json()["registration_access_token"]
        # The new one at once, also where the application was read a moment before.
        assert (await world.ask("GET", path, second)).status_code == 200
        assert (await world.ask("GET", path, first)).status_code == 401
        by_tenant = await world.ask("POST", f"/v1/apps/{made['client_id']}/registration-token", world.tenant)
        third = by_tenant.json()["registration_access_token"]
        world.clock.turn(FRESH_SECONDS)
        assert [(await world.ask("GET", path, each)).status_code for each in (second, third)] == [401, 200]
        assert (await world.ask_token(made)).status_code == 200, "secrets stay"
        assert world.acts().count(("app.registration.renew", "Bonus")) == 1

    told(story)


def test_an_application_gets_no_more_tokens_than_it_may_send_requests() -> None:
    async def story(world: World) -> None:
        made, other = await world.allowed(requests="2/minute"), await world.allowed()
        answers = [await world.ask_token(made) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["Retry-After"] == "60"
        assert world.acts().count(("app.token", "Bonus")) == 2
        assert (await world.ask_token(other)).status_code == 200
        world.clock.turn(60)
        assert (await world.ask_token(made)).status_code == 200

    told(story)


@pytest.mark.parametrize("act", ["app.token", "app.token.revoke"])
def test_a_token_counts_by_whichever_way_it_comes_or_ends(act: str) -> None:
    async def story(world: World) -> None:
        made = await world.allowed(requests="3/minute")
        text = (await world.ask_token(made)).json()["access_token"]

        async def asked() -> httpx.Response:
            if act == "app.token":
                path, owner = f"/register/{made['client_id']}/token", made["registration_access_token"]
                return await world.ask("POST", path, owner, json={})
            client = {name: made[name] for name in ("client_id", "client_secret")}
            return await world.ask("POST", "/oauth/revoke", data={"token": text, **client})

        before = world.acts().count((act, "Bonus"))
        answers = [await asked() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["Retry-After"] == "60"
        assert world.acts().count((act, "Bonus")) == before + 2

    told(story)


def test_a_whole_secret_in_place_of_its_id_is_neither_recorded_nor_quoted() -> None:
    async def story(world: World) -> None:
        made = await world.allowed()
        id, secret = made["client_id"], made["client_secret"]
        for base, bearer in (("/register", made["registration_access_token"]), ("/v1/apps", world.tenant)):
            answer = await world.ask("DELETE", f"{base}/{id}/secrets/{secret}", bearer)
            assert answer.status_code == 409
            assert secret not in answer.text
        assert secret not in str(world.log.chains)

    told(story)


@pytest.mark.parametrize("scope", ["x" * 10_000, "\\ud800"], ids=["long", "half a character"])
def test_what_an_approval_records_is_bounded_text(scope: str) -> None:
    async def story(world: World) -> None:
        path = f"/v1/apps/{(await world.made())['client_id']}/approve"
        headers = {"Content-Type": "application/json"}
        body = f'{{"scopes": ["{scope}"]}}'.encode()
        assert (await world.ask("POST", path, world.tenant, content=body, headers=headers)).status_code == 422
        assert ("app.approve", "ann") not in world.acts()

    told(story)


def test_a_parameter_without_a_value_is_as_left_out() -> None:
    async def story(world: World) -> None:
        made = await world.allowed()
        basic = base64.b64encode(f"{made['client_id']}:{made['client_secret']}".encode()).decode()
        form = {"grant_type": "client_credentials", "client_id": "", "client_secret": "", "scope": ""}
        headers = {"Authorization": f"Basic {basic}"}
        assert (await world.ask("POST", "/oauth/token", data=form, headers=headers)).status_code == 200

    told(story)
