"""Key rotation in operation: data keys under a new wrapping key, wrapping keys under the new master key."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.vault.keys import WRAPPING_SECONDS, new_wrapping, unwrapped, wrap
from shared.vault.protocols import KeyStore, MasterKeys, Wrapped
from shared.vault.tokens import DataKey

_BATCH = 1_000
#: Other processes learn of a new wrapping key within WRAPPING_SECONDS. Until then they may use the previous one.
SETTLE_SECONDS = 2 * WRAPPING_SECONDS


@dataclass(frozen=True, slots=True)
class Rotated:
    """The result: ``keys`` were rewrapped, under the wrapping key ``number`` and the master key ``master``."""

    keys: int
    number: int
    master: str


def rotate(
    store: KeyStore,
    masters: MasterKeys,
    progress: Callable[[int, int], None] = lambda _done, _left: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Rotated:
    """Rewrap all keys. ``progress`` is called with the number of keys done and the number at the start.

    Running services continue. They unwrap a key with whichever wrapping key it has, and a second pass finds keys
    that they wrapped with the previous one in the meantime. An interrupted rotation can be run again. Afterwards
    no key needs an older master key. Raises Unavailable.
    """
    before = store.wrappings()
    opened = {each.number: unwrapped(each, masters) for each in before}
    number = max(opened, default=0) + 1
    while not store.add_wrapping(fresh := new_wrapping(number, masters)):
        number += 1  # another rotation at the same time
    opened |= {each.number: unwrapped(each, masters) for each in store.wrappings()}
    whole = sum(store.count_under(each.number) for each in before)
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(done, max(done, whole))

    _sweep(store, masters, opened, number, report)
    sleep(SETTLE_SECONDS)
    while _sweep(store, masters, opened, number, report):
        pass
    for old in store.wrappings():
        if old.number != fresh.number and old.master != masters.current:
            # Only older copies of the database still need it.
            secret = opened.get(old.number) or unwrapped(old, masters)
            store.replace_wrapping(old, wrap(old.number, secret.secret, masters))
    return Rotated(done, number, fresh.master)


def _sweep(
    store: KeyStore, masters: MasterKeys, opened: dict[int, DataKey], number: int, report: Callable[[int], None]
) -> int:
    """One pass over all keys that have another wrapping key. Returns how many were found."""
    after, seen = "", 0
    while found := store.not_under(number, after, _BATCH):
        changes = []
        if any(key.wrapping not in opened for _, key in found):
            opened |= {each.number: unwrapped(each, masters) for each in store.wrappings()}
        for id, key in found:
            secret = opened[key.wrapping].open(key.wrapped, id.encode())
            changes.append((id, key, Wrapped(opened[number].seal(secret, id.encode()), number)))
        report(store.rewrap(changes))
        after = found[-1][0]
        seen += len(found)
    return seen
