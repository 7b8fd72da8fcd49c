"""The interfaces of the vault: master keys, a key service, and the store of keys. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol


class MasterKeys(Protocol):
    """The top of the key hierarchy. Master keys wrap the wrapping keys, of which there are few."""

    @property
    def current(self) -> str:
        """The id of the key that wraps new keys."""

    def known(self) -> Sequence[str]:
        """All ids, the current one first."""

    def wrap(self, id: str, secret: bytes, context: bytes) -> bytes:
        """``secret`` wrapped by the key ``id``, bound to ``context``. Raises Unavailable."""

    def unwrap(self, id: str, wrapped: bytes, context: bytes) -> bytes:
        """The unwrapped secret. Raises Unavailable, also when the key is not known here, because an operator can
        add it. Raises Unreadable when ``wrapped`` was not made by that key."""


class KeyService(Protocol):
    """The common interface of AWS KMS (Encrypt, Decrypt with an encryption context) and Google KMS (encrypt,
    decrypt with additional authenticated data). Both methods raise the errors of the service's library."""

    def encrypt(self, key_id: str, plaintext: bytes, context: bytes) -> bytes: ...

    def decrypt(self, key_id: str, ciphertext: bytes, context: bytes) -> bytes: ...


class Wrapped(NamedTuple):
    """A data key in its stored form, wrapped by the wrapping key of that number."""

    wrapped: bytes
    wrapping: int


class Destroyed(NamedTuple):
    """The mark in place of a destroyed data key: no key is created for it again."""


DESTROYED = Destroyed()


class Wrapping(NamedTuple):
    """A wrapping key in its stored form, wrapped by the master key ``master``. The highest number is in use."""

    number: int
    wrapped: bytes
    master: str


class KeyStore(Protocol):
    """Stores keys. Ids are ``document_id(tenant, consumer_id)``. Every method raises Unavailable. A write is
    durable when the method returns."""

    def find(self, ids: Collection[str]) -> dict[str, Wrapped | Destroyed]:
        """The stored keys among ``ids``."""

    def insert(self, keys: Mapping[str, Wrapped]) -> set[str]:
        """Store new keys. Returns the ids that exist already; their keys are not changed."""

    def destroy(self, id: str) -> None:
        """Replace the key, if any, by the mark."""

    def not_under(self, number: int, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        """Keys wrapped by other wrapping keys, ordered by id, from after the id ``after``."""

    def rewrap(self, changes: Sequence[tuple[str, Wrapped, Wrapped]]) -> int:
        """Replace keys (id, old, new) that are unchanged. Returns how many were."""

    def count_under(self, number: int) -> int:
        """The number of keys wrapped by the wrapping key."""

    def wrappings(self) -> list[Wrapping]:
        """All wrapping keys, by number."""

    def add_wrapping(self, wrapping: Wrapping) -> bool:
        """Store a new wrapping key. False when its number is taken."""

    def replace_wrapping(self, old: Wrapping, new: Wrapping) -> bool:
        """Replace a wrapping key. False when it has changed."""
