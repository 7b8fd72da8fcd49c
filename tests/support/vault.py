"""Vaults for tests: keys in memory, and keys that are the same in every world."""

from hashlib import sha256

from shared.testing.memory import MemoryStore
from shared.vault.keys import Found, Vault
from shared.vault.master import EnvironmentKeys, new_master_key
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.protocols import DESTROYED
from shared.vault.schema import DATA_KEYS
from shared.vault.tokens import DataKey

MASTER_KEY = new_master_key()
MASTERS = EnvironmentKeys(MASTER_KEY)


def memory_vault(store: MemoryKeyStore | None = None) -> Vault:
    """A vault of its own that waits for nothing, and keeps what it knows: its clock stands."""
    return Vault(store or MemoryKeyStore(), MASTERS, clock=lambda: 0.0, sleep=lambda _: None)


class SameKeys(Vault):
    """Keys that follow from tenant and id, so that two worlds can be compared; which are destroyed, the documents
    of ``store`` say, as the projection has written them."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(MemoryKeyStore(), MASTERS, life_seconds=0.0)
        self._documents = store.collections[DATA_KEYS]

    def _load(self, ids: list[str], create: bool) -> Found:  # noqa: ARG002 - every key is there
        return {
            id: DESTROYED
            if self._documents.get(id, {}).get("destroyed")
            else DataKey(sha256(id.encode()).digest())
            for id in ids
        }
