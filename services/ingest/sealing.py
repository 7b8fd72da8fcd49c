"""Seals accepted events: personal values never leave the door in plain text."""

import asyncio
from collections.abc import Sequence

from services.ingest.door import Accepted, Verdict, rejected, suppressed
from shared.contracts.errors import InvalidEvent, Unavailable, WrongMasterKey
from shared.vault.fields import seal_bytes
from shared.vault.keys import Vault
from shared.vault.protocols import Destroyed
from shared.vault.sealing import Keys, cached_keys_for, consumer_of, keys_for

#: Most events sealed on the event loop. Sealing takes some 20 µs for each event.
_FEW = 100


class NoKeys(Unavailable):
    """The keys of personal data are unavailable: nothing was published."""


async def seal(vault: Vault, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with every personal value sealed. An event of a consumer whose key is destroyed is rejected as
    ``suppressed``. Reads all keys at once, off the event loop. Raises NoKeys."""
    events = [verdict.event for verdict in verdicts if isinstance(verdict, Accepted) and verdict.event]
    if not events:
        return list(verdicts)
    try:
        if (keys := cached_keys_for(vault, events)) is None:
            keys = await asyncio.to_thread(keys_for, vault, events)
    except WrongMasterKey:
        raise
    except Unavailable as error:
        raise NoKeys(str(error)) from error
    if len(events) > _FEW:
        return await asyncio.to_thread(_sealed, verdicts, keys)
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
