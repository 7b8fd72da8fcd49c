"""Seals many events at once: one request for the keys of all consumers of a tenant."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from shared.contracts.events import Event
from shared.runtime.protocols import Document
from shared.vault import fields
from shared.vault.keys import Vault
from shared.vault.protocols import Destroyed
from shared.vault.tokens import DataKey

Keys = Mapping[tuple[str, str], DataKey | Destroyed]


def keys_for(vault: Vault, events: Iterable[Event]) -> Keys:
    """The keys of these events' consumers by (tenant, consumer_id); missing ones are created. Raises
    Unavailable."""
    wanted = _wanted(events)
    return {(tenant, id): key for tenant, ids in wanted.items() for id, key in vault.keys(tenant, ids).items()}


def cached_keys_for(vault: Vault, events: Iterable[Event]) -> Keys | None:
    """The same from the cache, without blocking; None when the store must be read."""
    found: dict[tuple[str, str], DataKey | Destroyed] = {}
    for tenant, ids in _wanted(events).items():
        if (keys := vault.cached(tenant, ids)) is None:
            return None
        found |= {(tenant, id): key for id, key in keys.items()}
    return found


def sealed(events: Iterable[Event], keys: Keys) -> list[Event | None]:
    """The events with their personal values sealed; None for an event whose consumer's key is destroyed."""
    done: list[Event | None] = []
    for event in events:
        key = keys[consumer_of(event)]
        done.append(None if isinstance(key, Destroyed) else fields.seal_event(event, key))
    return done


def consumer_of(event: Event) -> tuple[str, str]:
    """The owner of the key that seals an event's personal values."""
    return event.tenant, getattr(event.data, "consumer_id", "")


def _wanted(events: Iterable[Event]) -> dict[str, set[str]]:
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        tenant, consumer_id = consumer_of(event)
        wanted[tenant].add(consumer_id)
    return wanted


def opener(vault: Vault | None) -> Callable[[str, Iterable[Document]], list[tuple[Document, list[str]]]]:
    """A function of a tenant and documents of consumers or relations. It returns each document with its sealed
    values decrypted, and the paths of those that cannot be, which are left out. It requests all keys at once, and
    creates none."""

    def opened(tenant: str, documents: Iterable[Document]) -> list[tuple[Document, list[str]]]:
        found = list(documents)
        ids = {document["consumer_id"] for document in found if fields.holds_tokens(document)}
        keys = vault.keys(tenant, ids, create=False) if ids and vault is not None else {}
        revealed = []
        for document in found:
            key = keys.get(document["consumer_id"])
            revealed.append(fields.reveal(document, tenant, key if isinstance(key, DataKey) else None))
        return revealed

    return opened
