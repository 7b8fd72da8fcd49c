"""What the vault needs of its surroundings: master keys, a key service, and where keys are stored. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol


class MasterKeys(Protocol):
    """The keys above all others. They wrap the wrapping keys, of which there are few."""

    @property
    def current(self) -> str:
        """The id of the key that wraps from now on."""

    def known(self) -> Sequence[str]:
        """All ids, the current one first."""

    def wrap(self, id: str, secret: bytes, context: bytes) -> bytes:
        """``secret`` under the key ``id``, bound to ``context``. Raises Unavailable."""

    def unwrap(self, id: str, wrapped: bytes, context: bytes) -> bytes:
        """The secret. Raises Unavailable, also when the key is not known here, because an operator can mend
        that, and Unreadable when ``wrapped`` is not what that key has made."""


class KeyService(Protocol):
    """What AWS KMS (Encrypt, Decrypt with an encryption context) and Google KMS (encrypt, decrypt with additional
    authenticated data) have in common. Both methods raise what the service's library raises."""

    def encrypt(self, key_id: str, plaintext: bytes, context: bytes) -> bytes: ...

    def decrypt(self, key_id: str, ciphertext: bytes, context: bytes) -> bytes: ...


class Wrapped(NamedTuple):
    """A data key as it is stored: under the wrapping key of that number."""

    wrapped: bytes
    wrapping: int


class Destroyed(NamedTuple):
    """The mark that stays of a data key: it is never made again."""


DESTROYED = Destroyed()


class Wrapping(NamedTuple):
    """A wrapping key as it is stored, under the master key ``master``. The highest number is in use."""

    number: int
    wrapped: bytes
    master: str


class KeyStore(Protocol):
    """Where keys are stored. Ids are ``document_id(tenant, consumer_id)``. Every method raises Unavailable; what
    was stored is durable when a method returns."""

    def find(self, ids: Collection[str]) -> dict[str, Wrapped | Destroyed]:
        """Those of ``ids`` that are there."""

    def insert(self, keys: Mapping[str, Wrapped]) -> set[str]:
        """Store new keys; returns the ids under which there was something already, which stays."""

    def destroy(self, id: str) -> None:
        """Leave nothing but the mark, whether there was a key or not."""

    def not_under(self, number: int, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        """Keys that another wrapping key wraps, in the order of their ids, beginning after the id ``after``."""

    def rewrap(self, changes: Sequence[tuple[str, Wrapped, Wrapped]]) -> int:
        """Replace keys (id, old, new) that are still as they were; returns how many."""

    def count_under(self, number: int) -> int:
        """How many keys the wrapping key wraps."""

    def wrappings(self) -> list[Wrapping]:
        """All wrapping keys, by number."""

    def add_wrapping(self, wrapping: Wrapping) -> bool:
        """False when the number is taken."""

    def replace_wrapping(self, old: Wrapping, new: Wrapping) -> bool:
        """False when it is no longer as it was."""
