"""Requests for keys: a projection yields them like requests for documents, and a Store answers both."""

from collections.abc import Generator, Sequence
from typing import Any

from shared.runtime.protocols import (
    Answer,
    Ask,
    Claim,
    GetKeys,
    OutboxBatch,
    Outcome,
    Progress,
    Projection,
    Record,
    Slice,
    Store,
)
from shared.vault.keys import Vault


class VaultStore:
    """``store``, extended by the keys of ``vault``."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store, self._vault = store, vault

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        return self._store.claim(position, owner)

    def unpublished(self, position: str) -> list[OutboxBatch]:
        return self._store.unpublished(position)

    def read(self, ask: Ask) -> Answer:
        if isinstance(ask, GetKeys):
            return answered(ask, self._vault)
        return self._store.read(ask)

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        return self._store.commit(slice)

    def clear(self, unpublished: Sequence[str]) -> None:
        self._store.clear(unpublished)


class Answered:
    """``projection`` with its requests for keys answered at once, for folds over a store without keys. Its other
    requests are passed on."""

    def __init__(self, projection: Projection[Any], vault: Vault) -> None:
        self._projection, self._vault = projection, vault
        self.name, self.version, self.topics = projection.name, projection.version, projection.topics
        self.numbered, self.weight = projection.numbered, projection.weight

    def decode(self, record: Record) -> Any:
        return self._projection.decode(record)

    def project(self, items: Sequence[tuple[Record, Any]]) -> Generator[Ask, Answer, Outcome]:
        fold = self._projection.project(items)
        answer: Answer = None
        while True:
            try:
                ask = fold.send(answer)
            except StopIteration as done:
                outcome: Outcome = done.value
                return outcome
            answer = answered(ask, self._vault) if isinstance(ask, GetKeys) else (yield ask)


def answered(ask: GetKeys, vault: Vault) -> Answer:
    return {(tenant, id): key for tenant, ids in ask.of.items() for id, key in vault.keys(tenant, ids).items()}
