"""Keys as the services look them up: a revoked one dies within seconds, a good one outlives an outage."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.access.keys import ApiKeys
from shared.access.keys_memory import MemoryKeys
from shared.access.lookup import FRESH_SECONDS, STALE_SECONDS, KeyLookup
from shared.contracts.errors import Unavailable
from shared.http.caller import Caller, Denied

START = datetime(2026, 11, 22, tzinfo=UTC)


class World:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.store = MemoryKeys()
        self.keys = ApiKeys(self.store, self.now)
        self.denied: Denied | None = None
        self.lookup = KeyLookup(self.store, lambda: self.seconds, self.now)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def let_in(self, text: str) -> bool:
        try:
            await self.lookup.caller(text)
        except Denied as denied:
            self.denied = denied
            return False
        return True


def told(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(World()))


def test_a_key_is_its_caller() -> None:
    async def story(world: World) -> None:
        key, text = world.keys.create("acme", "till", ["events:write"], ["amount"], "3/second")
        expected = Caller("acme", frozenset({"events:write"}), ("amount",), "till", key.prefix, "3/second")
        assert await world.lookup.caller(text) == expected

    told(story)


def test_a_wrong_secret_opens_nothing() -> None:
    async def story(world: World) -> None:
        _, text = world.keys.create("acme", "till", ["admin"])
        prefix = text[:14]
        assert not await world.let_in(prefix + "A" * 43)
        assert not await world.let_in(text[:-1])
        assert not await world.let_in(text + "A")
        assert not await world.let_in("kith_" + "z" * 8 + "_" + "A" * 43)
        assert not await world.let_in("kith_nothing")
        assert world.denied is not None
        assert world.denied.status == 401
        assert world.denied.headers["WWW-Authenticate"].startswith("Bearer ")
        assert "nothing" not in world.denied.detail
        assert await world.let_in(text)

    told(story)


def test_a_revoked_key_dies_within_seconds() -> None:
    async def story(world: World) -> None:
        key, text = world.keys.create("acme", "till", ["admin"])
        assert await world.let_in(text)
        world.keys.revoke(key.prefix)
        world.seconds += FRESH_SECONDS
        assert not await world.let_in(text)

    told(story)


def test_a_rotated_key_ends_to_the_moment_without_being_read_again() -> None:
    async def story(world: World) -> None:
        key, old = world.keys.create("acme", "till", ["admin"])
        _, new = world.keys.rotate(key.prefix, timedelta(seconds=FRESH_SECONDS / 2))
        assert await world.let_in(old)
        assert await world.let_in(new)
        finds = world.store.finds
        world.seconds += FRESH_SECONDS / 2
        assert not await world.let_in(old)
        assert await world.let_in(new)
        assert world.store.finds == finds

    told(story)


def test_the_store_is_asked_once_in_a_while_however_many_ask() -> None:
    async def story(world: World) -> None:
        _, text = world.keys.create("acme", "till", ["admin"])
        assert all(await asyncio.gather(*(world.let_in(text) for _ in range(50))))
        assert world.store.finds == 1
        unknown = "kith_" + "z" * 8 + "_" + "A" * 43
        for _ in range(10):
            assert not await world.let_in(unknown)
        assert world.store.finds == 2, "that a key does not exist is remembered as well"
        world.seconds += FRESH_SECONDS
        assert await world.let_in(text)
        assert world.store.finds == 3

    told(story)


def test_a_key_that_is_made_is_known_soon_after_it_was_not() -> None:
    async def story(world: World) -> None:
        key, text = world.keys.create("acme", "till", ["admin"])
        del world.store._keys[key.prefix]
        assert not await world.let_in(text)
        world.store.insert(key)
        world.seconds += FRESH_SECONDS
        assert await world.let_in(text)

    told(story)


def test_while_the_store_is_away_known_keys_go_on_for_a_while_and_others_wait() -> None:
    async def story(world: World) -> None:
        _, text = world.keys.create("acme", "till", ["admin"])
        _, other = world.keys.create("acme", "new", ["admin"])
        assert await world.let_in(text)
        world.store.away = True
        world.seconds += STALE_SECONDS - 1
        assert await world.let_in(text)
        with pytest.raises(Unavailable):
            await world.lookup.caller(other)
        world.seconds += 1
        with pytest.raises(Unavailable):
            await world.lookup.caller(text)
        world.store.away = False
        assert await world.let_in(text)
        assert await world.let_in(other)

    told(story)


def test_a_key_that_was_revoked_before_an_outage_does_not_come_back_in_it() -> None:
    async def story(world: World) -> None:
        key, text = world.keys.create("acme", "till", ["admin"])
        assert await world.let_in(text)
        world.keys.revoke(key.prefix)
        world.seconds += FRESH_SECONDS
        assert not await world.let_in(text)
        world.store.away = True
        world.seconds += FRESH_SECONDS
        assert not await world.let_in(text)

    told(story)


def test_a_key_that_has_gone_from_the_store_is_forgotten() -> None:
    async def story(world: World) -> None:
        key, text = world.keys.create("acme", "till", ["admin"])
        assert await world.let_in(text)
        del world.store._keys[key.prefix]
        world.seconds += FRESH_SECONDS
        assert not await world.let_in(text)
        world.store.away = True
        world.seconds += FRESH_SECONDS
        with pytest.raises(Unavailable):
            await world.lookup.caller(text)

    told(story)
