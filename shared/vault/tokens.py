"""Sealed values as text: ``kith1.<base64url(nonce | ciphertext | tag)>``, AES-256-GCM. Pure.

The place of a token (tenant, consumer, field) is authenticated with it, so a token that is moved elsewhere cannot
be decrypted. The nonce is derived from the plaintext: the same value in the same place yields the same token, so
that a duplicate of an event changes nothing. Only that is revealed: whether two values of one field of one
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
#: The pattern that a model accepts in place of a personal value: at least a nonce, a tag and one byte.
PATTERN = r"^kith1\.[A-Za-z0-9_-]{39,}$"
_TOKEN = re.compile(PATTERN.removesuffix("$"))

#: The types of sealed values: JSON's scalars.
Value = str | int | float | bool


class Unreadable(Exception):
    """The text is not a token of this key and place, or it was changed."""


class DataKey:
    """A secret of 32 bytes with its operations. It has two subkeys, so that each key serves one purpose."""

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
        """32 bytes for one purpose. They reveal neither the secret nor another subkey."""
        return hmac.digest(self.secret, b"kith1 " + purpose.encode(), "sha256")

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """nonce | ciphertext | tag, deterministic for the same arguments."""
        cipher = self._cipher or self._prepared()
        message = len(associated).to_bytes(8, "big") + associated + plain
        nonce = hmac.digest(self._nonces, message, "sha256")[:_NONCE_BYTES]
        return nonce + cipher.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext. Raises Unreadable."""
        if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise Unreadable("too short")
        cipher = self._cipher or self._prepared()
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except InvalidTag:
            raise Unreadable("encrypted with another key or for another place, or changed") from None

    def _prepared(self) -> AESGCM:
        self._nonces = self.subkey("nonce")
        self._cipher = cipher = AESGCM(self.subkey("encrypt"))
        return cipher


def associated(tenant: str, consumer_id: str, field: str) -> bytes:
    """The place of a value, as unambiguous bytes. ``field`` is a path such as ``personal.email``."""
    return f"{len(tenant)}:{tenant}{len(consumer_id)}:{consumer_id}{field}".encode()


def seal(key: DataKey, tenant: str, consumer_id: str, field: str, value: Value) -> str:
    """The token of a value (text, number or boolean) in its place."""
    plain = b"s" + value.encode() if isinstance(value, str) else b"j" + json.dumps(value).encode()
    sealed = key.seal(plain, associated(tenant, consumer_id, field))
    return PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(key: DataKey, tenant: str, consumer_id: str, field: str, token: str) -> Any:
    """The value of a token. Raises Unreadable for text that ``seal`` has not made with this key and place."""
    plain = key.open(_sealed(token), associated(tenant, consumer_id, field))
    return plain[1:].decode() if plain[:1] == b"s" else json.loads(plain[1:])


def is_token(value: object) -> bool:
    """Whether a value has the form of a token. It may still be undecryptable with any key."""
    return isinstance(value, str) and value.startswith(PREFIX) and _TOKEN.fullmatch(value) is not None


def _sealed(token: str) -> bytes:
    body = token.removeprefix(PREFIX).encode("ascii", "replace")
    try:
        sealed = base64.b64decode(body + b"=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise Unreadable("not in base64url") from None
    # Several spellings decode to the same bytes; only one of them is made here.
    if not token.startswith(PREFIX) or base64.urlsafe_b64encode(sealed).rstrip(b"=") != body:
        raise Unreadable("not in its original spelling")
    return sealed
