"""A sealed value as a word: ``kith1.<base64url(nonce | ciphertext | tag)>``, AES-256-GCM. Pure.

What a token is bound to (tenant, consumer, field) is authenticated with it, so that one that is moved elsewhere
does not open. The nonce is made of what is sealed: the same value in the same place is the same token, which is
what lets a duplicate of an event change nothing. Only that shows: whether two values of one field of one
consumer are equal.
"""

import base64
import binascii
import hmac
import json
import re
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "kith1."
KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
#: What a model accepts in place of a personal value. At least a nonce, a tag and one byte.
PATTERN = r"^kith1\.[A-Za-z0-9_-]{39,}$"
_TOKEN = re.compile(PATTERN.removesuffix("$"))

#: What is sealed: JSON's scalars.
Value = str | int | float | bool


class Unreadable(Exception):
    """This is no token of this key and place, or it was changed."""


class DataKey:
    """A secret of 32 bytes and what it does. Two subkeys, so that no key serves two purposes."""

    __slots__ = ("_cipher", "_nonces", "secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self.secret = secret
        self._cipher: AESGCM | None = None
        self._nonces = b""

    def __repr__(self) -> str:
        return "DataKey(…)"

    def subkey(self, purpose: str) -> bytes:
        """32 bytes for one purpose, from which neither the secret nor another subkey follows."""
        return hmac.digest(self.secret, b"kith1 " + purpose.encode(), "sha256")

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """nonce | ciphertext | tag, the same for the same arguments."""
        cipher = self._cipher or self._prepared()
        message = len(associated).to_bytes(8, "big") + associated + plain
        nonce = hmac.digest(self._nonces, message, "sha256")[:_NONCE_BYTES]
        return nonce + cipher.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """What was sealed. Raises Unreadable."""
        if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise Unreadable("too short")
        cipher = self._cipher or self._prepared()
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except InvalidTag:
            raise Unreadable("of another key or place, or changed") from None

    def _prepared(self) -> AESGCM:
        self._nonces = self.subkey("nonce")
        self._cipher = cipher = AESGCM(self.subkey("encrypt"))
        return cipher


def associated(tenant: str, consumer_id: str, field: str) -> bytes:
    """Where a value belongs, in bytes that no other place has. ``field`` is like ``personal.email``."""
    return f"{len(tenant)}:{tenant}{len(consumer_id)}:{consumer_id}{field}".encode()


def seal(key: DataKey, tenant: str, consumer_id: str, field: str, value: Value) -> str:
    """The token of a value (text, a number or a truth value) in its place."""
    plain = b"s" + value.encode() if isinstance(value, str) else b"j" + json.dumps(value).encode()
    sealed = key.seal(plain, associated(tenant, consumer_id, field))
    return PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(key: DataKey, tenant: str, consumer_id: str, field: str, token: str) -> Any:
    """The value of a token. Raises Unreadable for whatever ``seal`` has not made of this key and place."""
    plain = key.open(_sealed(token), associated(tenant, consumer_id, field))
    return plain[1:].decode() if plain[:1] == b"s" else json.loads(plain[1:])


def is_token(value: object) -> bool:
    """Whether a value has the form of a token: it may still open under no key."""
    return isinstance(value, str) and value.startswith(PREFIX) and _TOKEN.fullmatch(value) is not None


def _sealed(token: str) -> bytes:
    body = token.removeprefix(PREFIX).encode("ascii", "replace")
    try:
        sealed = base64.b64decode(body + b"=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise Unreadable("not in base64url") from None
    # Several spellings decode to the same bytes; only one of them was made here.
    if not token.startswith(PREFIX) or base64.urlsafe_b64encode(sealed).rstrip(b"=") != body:
        raise Unreadable("not as it was made")
    return sealed
