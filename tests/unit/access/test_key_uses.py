"""The last use of a key: known to the minute, by one write a minute, and no reason to refuse anything."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.access.key_uses import EXACT_SECONDS, UseRecorder
from shared.access.keys import ApiKeys
from shared.access.keys_memory import MemoryKeys
from shared.access.lookup import KeyLookup
from shared.contracts.errors import Unavailable

BEGIN = datetime(2026, 11, 22, tzinfo=UTC)


class Uses:
    """KeyUses in memory."""

    def __init__(self) -> None:
        self.known: dict[str, datetime] = {}
        self.writes = 0
        self.away = False

    def write(self, prefix: str, at: datetime) -> None:
        self.writes += 1
        if self.away:
            raise Unavailable("it is unavailable")
        self.known[prefix] = max(at, self.known.get(prefix, at))

    def all(self) -> dict[str, datetime]:
        return self.known


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 200)), max_size=60))
def test_what_is_known_is_exact_within_a_minute_and_costs_a_write_a_minute(steps: list[tuple[str, float]]) -> None:
    now, uses = 0.0, Uses()
    recorder = UseRecorder(uses, lambda: BEGIN + timedelta(seconds=now), lambda: now)
    last: dict[str, float] = {}
    for prefix, later in steps:
        now += later
        if recorder.due(prefix):
            recorder.write(prefix)
        last[prefix] = now
        for each, used in last.items():
            known = (uses.all()[each] - BEGIN).total_seconds()
            assert used - EXACT_SECONDS <= known + 1e-3
            assert known <= used + 1e-3
    assert uses.writes <= 2 * (1 + now / EXACT_SECONDS)


def test_a_lookup_notes_the_use_of_a_good_key_and_of_no_other() -> None:
    store, uses, now = MemoryKeys(), Uses(), 0.0
    keys = ApiKeys(store, lambda: BEGIN)
    key, text = keys.create("acme", "till", ["events:write"])
    revoked, ended = keys.create("acme", "old", ["events:write"])
    keys.revoke(revoked.prefix)

    async def ask(*texts: str) -> None:
        lookup = KeyLookup(store, uses=UseRecorder(uses, lambda: BEGIN, lambda: now))
        for each in texts:
            await asyncio.gather(lookup.caller(each), return_exceptions=True)
        while any(not task.done() for task in asyncio.all_tasks() - {asyncio.current_task()}):
            await asyncio.sleep(0.001)

    asyncio.run(ask(text, text, ended, f"kith_{key.prefix}_{'x' * 43}", "kith_none1234_" + "x" * 43))
    assert (uses.all(), uses.writes) == ({key.prefix: BEGIN}, 1)
    uses.away = True

    async def still() -> None:
        lookup = KeyLookup(store, uses=UseRecorder(uses, lambda: BEGIN, lambda: now))
        assert (await lookup.caller(text)).name == "till"
        await asyncio.sleep(0.05)

    asyncio.run(still())
