"""Which entries of the topic continue a restored chain."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from services.backup.audit import RESTORED, Kept, check_audit_key, following, revoked_in
from shared.access.chain import FIRST, Act, Entry, entry_of
from shared.contracts.errors import ConfigurationError

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


@pytest.mark.parametrize("key", [None, KEY])
def test_what_came_after_an_earlier_restore_is_taken_although_it_had_lost_entries(key: bytes | None) -> None:
    """The backup ends at 1. The topic had 3, but never 2; a first restore put its own entry at 4."""
    entries = chain(3, key)
    restored = entry_of(
        Act("acme", "ann", "command", RESTORED, {}, (), {"lost": 2}), NOW, 4, entries[1]["hash"], key
    )
    later = entry_of(Act("acme", "ann", "k", "personal.read"), NOW, 5, restored["hash"], key)
    beyond = {3: entries[3], 4: restored, 5: later}
    head = (1, entries[1]["hash"])
    assert following(head, beyond, key) == [restored, later]
    # The lost one came into the topic after all, too late for the restore.
    assert following(head, {2: entries[2], **beyond}, key) == [restored, later]
    # What says nothing of lost entries leaves no gap.
    jump = entry_of(Act("acme", "ann", "k", "personal.read"), NOW, 4, entries[1]["hash"], key)
    assert following(head, {4: jump}, key) == []
    wrong = entry_of(Act("acme", "ann", "command", RESTORED, {}, (), {"lost": 1}), NOW, 4, entries[1]["hash"], key)
    assert following(head, {4: wrong}, key) == []


def test_what_a_chain_ends_with_says_whether_a_key_is_needed() -> None:
    check_audit_key([*chain(2, KEY).values()], KEY)
    check_audit_key([*chain(2).values()], None)
    with pytest.raises(ConfigurationError, match="KITH_AUDIT_KEY"):
        check_audit_key([*chain(1).values(), *chain(3, KEY).values()], None)
    # Somebody has given the key up: the chain ends without.
    check_audit_key([*chain(1, KEY).values(), chain(2)[2]], None)


def kept(head: tuple[int, str], entries: Iterable[Entry]) -> Kept:
    found = Kept({"acme": head})
    for entry in entries:
        found.take(json.dumps(entry).encode())
    return found


def test_a_key_that_was_introduced_after_the_backup_is_needed_too() -> None:
    """The entry of the restore would come behind entries with a key, or in place of lost ones."""
    entries = chain(2)
    for number in (3, 4):
        act = Act("acme", "ann", "k", "personal.read")
        entries[number] = entry_of(act, NOW, number, entries[number - 1]["hash"], KEY)
    head = (1, entries[1]["hash"])
    later = kept(head, entries.values())
    later.follow(KEY)
    for beyond in (later, kept(head, [entries[4]]), kept((0, ""), [entries[3]])):
        with pytest.raises(ConfigurationError, match="KITH_AUDIT_KEY"):
            beyond.follow(None)
    kept(head, [entries[2]]).follow(None)
    # What the backup has itself is not looked at here.
    kept((4, entries[4]["hash"]), entries.values()).follow(None)
    # Behind a gap the key was given up, but before it are entries that would be added.
    plain = entry_of(Act("acme", "ann", "k", "personal.read"), NOW, 9, "x", None)
    with pytest.raises(ConfigurationError, match="KITH_AUDIT_KEY"):
        kept(head, [*entries.values(), plain]).follow(None)


def test_keys_that_were_revoked_since_are_known_even_beyond_a_lost_entry() -> None:
    entries = chain(3)
    other = entry_of(Act("acme", "ann", "k", "keys.create", {"key": "new"}), NOW, 4, entries[3]["hash"], None)
    assert revoked_in([entries[1], entries[3], other], None) == ["key1", "key3"]
    assert revoked_in([{**entries[1], "subject": {"key": "another"}}], None) == []
    keyed = chain(1, KEY)[1]
    assert revoked_in([keyed], KEY) == revoked_in([keyed], None) == ["key1"]
    assert revoked_in([{**keyed, "subject": {"key": "another"}}], KEY) == []
