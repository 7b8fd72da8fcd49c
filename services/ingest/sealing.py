"""Seals accepted events: personal values never leave the door in plain text."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.ingest.door import Accepted, Verdict, rejected, suppressed
from shared.contracts.errors import InvalidEvent, Unavailable, WrongMasterKey
from shared.vault.fields import seal_bytes
from shared.vault.keys import Vault
from shared.vault.protocols import Destroyed
from shared.vault.sealing import Keys, cached_keys_for, consumer_of, keys_for

#: Most events sealed on the event loop. Sealing takes some 20 µs for each event.
_FEW = 25
#: Events that are sealed at a time otherwise.
_SLICE = 250


class NoKeys(Unavailable):
    """The keys of personal data are unavailable: nothing was published."""


#: Calls a function with arguments off the event loop.
Elsewhere = Callable[..., Awaitable[Any]]


async def seal(
    vault: Vault, verdicts: Sequence[Verdict], reading: Elsewhere, computing: Elsewhere
) -> list[Verdict]:
    """The verdicts with every personal value sealed. An event of a consumer whose key is destroyed is rejected as
    ``suppressed``. ``reading`` reads all keys at once; ``computing`` seals many events. Raises NoKeys."""
    events = [verdict.event for verdict in verdicts if isinstance(verdict, Accepted) and verdict.event]
    if not events:
        return list(verdicts)
    try:
        if (keys := cached_keys_for(vault, events)) is None:
            keys = await reading(keys_for, vault, events)
    except WrongMasterKey:
        raise
    except Unavailable as error:
        raise NoKeys(str(error)) from error
    if len(events) > _FEW:
        sealed: list[Verdict] = []
        for start in range(0, len(verdicts), _SLICE):
            sealed += await computing(_sealed, verdicts[start : start + _SLICE], keys)
        return sealed
    return _sealed(verdicts, keys)


def _sealed(verdicts: Sequence[Verdict], keys: Keys) -> list[Verdict]:
    return [_seal(each, keys) if isinstance(each, Accepted) and each.event else each for each in verdicts]


def _seal(verdict: Accepted, keys: Keys) -> Verdict:
    event = verdict.event
    assert event is not None
    try:
        if isinstance(key := keys[consumer_of(event)], Destroyed):
            raise suppressed()
        value = seal_bytes(verdict.message.value, event, key)
    except InvalidEvent as error:
        return rejected(verdict.index, event.id, error)
    return Accepted(verdict.message._replace(value=value), verdict.index)
