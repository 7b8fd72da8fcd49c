"""Access tokens: what the apps service signs, and what every service accepts of it, and for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from joserfc.jws import extract_compact

from services.apps.signing import KEY_AGE, REREAD_SECONDS, VERIFIES_FOR
from shared.access.apps.credentials import BearerTokens
from shared.access.apps.memory import MemoryApps
from shared.access.apps.model import App
from shared.access.apps.store import PublicKey, UnreadableApp
from shared.access.apps.tokens import ALGORITHM, AUDIENCE, TOKEN_SECONDS, TYPE, AppTokens
from shared.access.fresh import FRESH_SECONDS
from shared.contracts.errors import Unavailable
from shared.http.caller import Caller, Denied
from tests.support.apps import ISSUER, Platform

SCOPES = ("consumers:read", "relations:read")


class World(Platform):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.tokens = AppTokens(
            self.store, self.pairs.published, self.clock.elapsed, lambda: self.clock.now.timestamp()
        )

    async def refusal(self, text: str) -> tuple[int, str]:
        with pytest.raises(Denied) as denied:
            await self.tokens.caller(text)
        return denied.value.status, denied.value.detail


def told(story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        await story(World())

    asyncio.run(run())


def test_a_token_is_its_application() -> None:
    async def story(world: World) -> None:
        made = world.approved(*SCOPES)
        text = world.token(made, "relations:read")
        header = extract_compact(text.encode()).headers()
        assert (header["typ"], header["alg"]) == (TYPE, ALGORITHM)
        claims = jwt.decode(text, ECKey.import_key(dict(world.pairs.public()[0].jwk)), ["ES256"]).claims
        assert claims["exp"] - claims["iat"] == TOKEN_SECONDS
        assert (claims["iss"], claims["aud"], claims["tenant"]) == (ISSUER, AUDIENCE, "acme")
        assert world.tokens.accepts(text)
        caller = await world.tokens.caller(text)
        assert (caller.tenant, caller.name, caller.key) == ("acme", "Bonus", made.app.id)
        assert caller.scopes == {"relations:read"}
        limits = made.app.limits
        assert (caller.limit, caller.purpose) == (limits.requests, made.app.id)
        assert (caller.events_a_day, caller.endpoints) == (limits.events_a_day, limits.endpoints)
        for _ in range(3):
            assert await world.tokens.caller(text) == caller
        assert world.tokens.verifications == 1

    told(story)


def test_an_application_that_cannot_be_read_keeps_no_other_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        broken, other = world.approved(*SCOPES), world.approved(*SCOPES)
        for made in (broken, other):
            assert (await world.tokens.caller(world.token(made))).key == made.app.id
        find = world.store.find

        def found(id: str) -> App | None:
            if id == broken.app.id:
                raise UnreadableApp(id)
            return find(id)

        monkeypatch.setattr(world.store, "find", found)
        world.registry.suspend(other.app, None)
        world.clock.turn(FRESH_SECONDS)
        for text in (world.token(broken), broken.registration_token):
            with pytest.raises(UnreadableApp, match=broken.app.id):
                await world.tokens.caller(text)
        # As if the server were away, it would be taken for what it was.
        assert (await world.refusal(world.token(other)))[0] == 403

    told(story)


def test_a_registration_token_may_only_manage() -> None:
    async def story(world: World) -> None:
        made = world.registered()
        caller = await world.tokens.caller(made.registration_token)
        assert caller.scopes == {"apps:own"}
        assert caller.key == made.app.id
        status, _ = await world.refusal(made.registration_token[:-1] + "!")
        assert status == 401
        world.registry.delete(made.app)
        world.clock.turn(FRESH_SECONDS)
        assert (await world.refusal(made.registration_token))[0] == 401

    told(story)


def test_a_token_ends_after_ten_minutes() -> None:
    async def story(world: World) -> None:
        text = world.token(world.approved())
        world.clock.turn(TOKEN_SECONDS - 1)
        await world.tokens.caller(text)
        world.clock.turn(1)
        assert await world.refusal(text) == (401, "the token has ended; get another one")
        assert (await world.refusal(text))[0] == 401

    told(story)


Change = Callable[[World, Any], object]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda world, made: world.registry.suspend(made.app, "no"), 403),
        (lambda world, made: world.registry.delete(made.app), 401),
        (lambda world, made: world.registry.remove_secret(made.app, made.secret.id), 401),
        (lambda w, m: w.registry.revoke_token(m.app, "j1", w.clock.now + timedelta(seconds=TOKEN_SECONDS)), 401),
    ],
    ids=["suspended", "deleted", "secret removed", "token revoked"],
)
def test_what_is_revoked_is_refused_within_seconds(change: Change, status: int) -> None:
    async def story(world: World) -> None:
        made = world.approved()
        text = world.token(made)
        await world.tokens.caller(text)
        change(world, made)
        world.clock.turn(FRESH_SECONDS)
        assert (await world.refusal(text))[0] == status
        assert FRESH_SECONDS < 5

    told(story)


def test_a_new_secret_and_an_approval_hold_at_once() -> None:
    """Also where the application was read a moment before."""

    async def story(world: World) -> None:
        made = world.approved()
        await world.tokens.caller(world.token(made))
        app, secret, _ = world.registry.add_secret(made.app)
        world.registry.remove_secret(app, made.secret.id)
        app = world.registry.suspend(world.store.find(app.id) or app, "a moment")
        text = world.token(replace(made, app=app, secret=secret))
        assert (await world.refusal(text))[0] == 403
        world.registry.approve(app, app.scopes)
        await world.tokens.caller(text)

    told(story)


def test_a_scope_that_the_tenant_takes_back_is_gone_within_seconds() -> None:
    async def story(world: World) -> None:
        made = world.approved(*SCOPES)
        text = world.token(made)
        assert (await world.tokens.caller(text)).scopes == set(SCOPES)
        world.registry.approve(made.app, ["relations:read"])
        world.clock.turn(FRESH_SECONDS)
        assert (await world.tokens.caller(text)).scopes == {"relations:read"}

    told(story)


def test_a_token_of_a_secret_that_has_ended_lives_until_its_own_end() -> None:
    async def story(world: World) -> None:
        made = world.approved()
        app, _, _ = world.registry.add_secret(made.app, others_end=timedelta(seconds=1))
        text = world.token(replace(made, app=app))
        world.clock.turn(TOKEN_SECONDS / 2)
        world.registry.remove_secret(app, app.secrets[1].id)
        world.clock.turn(FRESH_SECONDS)
        await world.tokens.caller(text)

    told(story)


def forged(world: World, header: dict[str, Any], key: Any = None, **claims: Any) -> str:
    """A token that differs from a right one by parts of its header and its claims; None leaves one out."""
    app, public = world.approved().app, world.pairs.public()
    now = int(world.clock.now.timestamp())
    right = {
        "iss": ISSUER,
        "sub": app.id,
        "client_id": app.id,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 60,
        "jti": "j",
        "scope": "relations:read",
        "tenant": "acme",
        "app": app.id,
        "secret": app.secrets[0].id,
    }
    told = {name: value for name, value in {**right, **claims}.items() if value is not None}
    if key is None:
        key = world.signer._key()[1]
        public = world.pairs.public()
    head = {"alg": "ES256", "typ": TYPE, "kid": public[0].kid if public else "kith-apps-1", **header}
    return jwt.encode(head, told, key, algorithms=[head["alg"]])


def test_a_right_token_of_this_form_is_accepted() -> None:
    async def story(world: World) -> None:
        await world.tokens.caller(forged(world, {}))
        await world.tokens.caller(forged(world, {"typ": "application/at+jwt"}, aud=["other", AUDIENCE]))

    told(story)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "JWT"}, {}),
        ({"kid": "kith-apps-99"}, {}),
        ({"kid": "kith-apps-../../etc"}, {}),
        ({}, {"iss": "https://evil.example"}),
        ({}, {"aud": "another"}),
        ({}, {"exp": None}),
        ({}, {"exp": "soon"}),
        ({}, {"iat": 2_000_000_000, "exp": 2_000_000_600}),
        ({}, {"iat": None}),
        ({}, {"jti": None}),
        ({}, {"app": None}),
        ({}, {"sub": "app_" + "b" * 16}),
        ({}, {"tenant": "other"}),
        ({}, {"secret": "zzzzzzzz"}),
        ({}, {"scope": 7}),
    ],
    ids=str,
)
def test_a_token_that_differs_is_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        assert (await world.refusal(forged(world, header, **claims)))[0] == 401

    told(story)


@pytest.mark.parametrize("end", ["1\ud800", "1" * 3_000, "", "x"], ids=ascii)
def test_what_cannot_be_the_name_of_a_key_is_not_looked_up(end: str) -> None:
    async def story(world: World) -> None:
        world.tokens = AppTokens(world.store, Untouched())
        text = forged(world, {"kid": f"kith-apps-{end}"})
        assert world.tokens.accepts(text)
        assert (await world.refusal(text))[0] == 401

    told(story)


class Untouched:
    """MongoDB, which takes no text with half a character."""

    def find(self, kid: str) -> PublicKey | None:
        raise AssertionError(ascii(kid))

    def all(self) -> list[PublicKey]:
        return []


def test_only_the_published_keys_sign() -> None:
    async def story(world: World) -> None:
        world.token(world.approved())
        stranger = ECKey.generate_key("P-256")
        assert (await world.refusal(forged(world, {}, stranger)))[0] == 401
        # Whoever knows the public key must not be able to use it as a shared secret.
        known = OctKey.import_key(str(dict(world.pairs.public()[0].jwk)))
        assert (await world.refusal(forged(world, {"alg": "HS256"}, known)))[0] == 401

    told(story)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "kithr_", "e30.e30.", "." * 100, "é.é.é", "A" * 5_000])
def test_no_text_is_a_crash(text: str) -> None:
    async def story(world: World) -> None:
        assert not world.tokens.accepts(text) or text.startswith("kithr_")
        assert (await world.refusal(text))[0] == 401

    told(story)


def test_a_key_is_replaced_and_the_old_one_verifies_until_its_last_token_has_ended() -> None:
    async def story(world: World) -> None:
        made = world.approved()
        other = world.new_signer()  # of another process
        world.token(made)
        other.token(made.app, made.secret, ["relations:read"], "j")
        assert world.clock.now + KEY_AGE < made.secret.ends
        world.clock.turn(KEY_AGE.total_seconds() - 1)
        other.token(made.app, made.secret, ["relations:read"], "j")
        world.clock.turn(1)
        assert extract_compact(world.token(made).encode()).headers()["kid"] == "kith-apps-2"
        world.clock.turn(REREAD_SECONDS - 2)
        late = other.token(made.app, made.secret, ["relations:read"], "j")
        assert extract_compact(late.encode()).headers()["kid"] == "kith-apps-1"
        world.clock.turn(TOKEN_SECONDS - 1)
        await world.tokens.caller(late)
        assert [key["kid"] for key in world.signer.jwks()["keys"]] == ["kith-apps-1", "kith-apps-2"]
        world.clock.turn(VERIFIES_FOR.total_seconds())
        assert [key["kid"] for key in world.signer.jwks()["keys"]] == ["kith-apps-2"]
        world.token(made)
        assert [key.kid for key in world.pairs.public()] == ["kith-apps-2"]
        assert world.pairs.private("kith-apps-1") is None

    told(story)


def test_a_key_that_an_operator_ends_signs_no_more_and_its_tokens_are_refused() -> None:
    async def story(world: World) -> None:
        made = world.approved()
        text = world.token(made)
        await world.tokens.caller(text)
        world.pairs.end("kith-apps-1", world.clock.now)
        world.clock.turn(REREAD_SECONDS)
        assert (await world.refusal(text))[0] == 401
        again = world.token(made)
        assert extract_compact(again.encode()).headers()["kid"] == "kith-apps-2"
        await world.tokens.caller(again)

    told(story)


def test_an_installation_with_a_new_address_signs_with_a_key_of_its_own() -> None:
    async def story(world: World) -> None:
        made = world.approved()
        world.token(made)
        moved = world.new_signer("https://new.example")
        text = moved.token(made.app, made.secret, ["relations:read"], "j")
        assert extract_compact(text.encode()).headers()["kid"] == "kith-apps-2"
        await world.tokens.caller(text)

    told(story)


def test_while_mongodb_is_away_a_known_application_goes_on_and_an_unknown_one_waits() -> None:
    async def story(world: World) -> None:
        text, other = world.token(world.approved()), world.token(world.approved())
        await world.tokens.caller(text)
        assert isinstance(world.store, MemoryApps)
        world.store.away = True
        world.clock.turn(60)
        await world.tokens.caller(text)
        with pytest.raises(Unavailable):
            await world.tokens.caller(other)

    told(story)


def test_tokens_of_an_identity_provider_go_to_where_they_are_known() -> None:
    class Others:
        async def caller(self, text: str) -> Caller:
            return Caller("acme", frozenset(), name=text)

    async def story(world: World) -> None:
        of_app = world.token(world.approved())
        foreign = forged(world, {"kid": "one"}, ECKey.generate_key("P-256"))
        both = BearerTokens(world.tokens, Others())
        assert (await both.caller(of_app)).name == "Bonus"
        assert (await both.caller(foreign)).name == foreign
        with pytest.raises(Denied, match="not accepted here"):
            await BearerTokens(world.tokens, None).caller(foreign)

    told(story)
