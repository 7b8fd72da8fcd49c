"""Which entries of the topic continue a restored chain."""

from datetime import UTC, datetime

import pytest

from services.backup.audit import Recovered, following, revoked_since
from shared.access.chain import FIRST, Act, Entry, entry_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KEY = b"k" * 32


def chain(count: int, key: bytes | None = None) -> dict[int, Entry]:
    entries: dict[int, Entry] = {}
    for number in range(1, count + 1):
        act = Act("acme", "ann", "k", "keys.revoke", {"key": f"key{number}"})
        previous = entries[number - 1]["hash"] if number > 1 else FIRST
        entries[number] = entry_of(act, NOW, number, previous, key)
    return entries


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("here", range(5))
def test_all_that_follow_are_taken(key: bytes | None, here: int) -> None:
    entries = chain(4, key)
    head = (here, entries[here]["hash"]) if here else (0, FIRST)
    assert following(head, entries, key) == [entries[number] for number in range(here + 1, 5)]


def test_none_is_taken_beyond_a_gap_a_change_or_a_fork() -> None:
    entries = chain(4)
    assert following((0, FIRST), {number: entries[number] for number in (1, 2, 4)}, None) == [
        entries[1],
        entries[2],
    ]
    changed = {**entries, 3: {**entries[3], "who": "bob"}}
    assert following((0, FIRST), changed, None) == [entries[1], entries[2]]
    assert following((2, "another hash"), entries, None) == []
    # With a key a hash cannot be made up; without the key it cannot be checked, but still has to follow.
    keyed = chain(3, KEY)
    assert following((0, FIRST), {**keyed, 2: {**keyed[2], "who": "bob"}}, KEY) == [keyed[1]]
    assert len(following((0, FIRST), keyed, None)) == 3


def test_keys_that_were_revoked_since_are_known() -> None:
    entries = list(chain(2).values())
    other = entry_of(Act("acme", "ann", "k", "keys.create", {"key": "new"}), NOW, 3, entries[1]["hash"], None)
    assert revoked_since(Recovered({"acme": [*entries, other]})) == ["key1", "key2"]
