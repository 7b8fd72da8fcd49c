"""Signatures of Standard Webhooks 1.0.0, symmetric and asymmetric. Pure.

Source: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. The signed bytes are
``{id}.{timestamp}.{body}``. A delivery made while a secret is rotated bears a signature for each valid secret;
a receiver accepts it if one of them fits.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Algorithm = Literal["hmac", "ed25519"]

SECRET_BYTES = 32
_PREFIXES: dict[Algorithm, str] = {"hmac": "whsec_", "ed25519": "whsk_"}
_PUBLIC = "whpk_"


def new_secret(algorithm: Algorithm, random: Callable[[int], bytes]) -> str:
    """A secret in the form that receivers' libraries take; ``random(n)`` returns n random bytes."""
    return _PREFIXES[algorithm] + base64.b64encode(random(SECRET_BYTES)).decode()


def algorithm_of(secret: str) -> Algorithm:
    """Raises ValueError for a text that is no secret."""
    for algorithm, prefix in _PREFIXES.items():
        if secret.startswith(prefix):
            _raw(secret, algorithm)
            return algorithm
    raise ValueError("a secret begins with whsec_ or whsk_")


def public_key(secret: str) -> str:
    """The public key (``whpk_…``) of an ed25519 secret, with which receivers verify."""
    key = Ed25519PrivateKey.from_private_bytes(_raw(secret, "ed25519"))
    return _PUBLIC + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def message_id(change: str) -> str:
    """The ``webhook-id`` of a change: the same for every attempt and replay. A change's own id contains
    characters that the signed bytes must not (``.``), so it is hashed."""
    return "msg_" + base64.b32encode(sha256(change.encode()).digest()).rstrip(b"=").decode().lower()


def signatures(id: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> str:
    """The value of the header ``webhook-signature``. ``timestamp`` is in seconds since 1970."""
    content = f"{id}.{timestamp}.".encode() + body
    return " ".join(_signature(secret, content) for secret in secrets)


def _signature(secret: str, content: bytes) -> str:
    if algorithm_of(secret) == "hmac":
        word = hmac.digest(_raw(secret, "hmac"), content, "sha256")
        return "v1," + base64.b64encode(word).decode()
    key = Ed25519PrivateKey.from_private_bytes(_raw(secret, "ed25519"))
    return "v1a," + base64.b64encode(key.sign(content)).decode()


def _raw(secret: str, algorithm: Algorithm) -> bytes:
    try:
        raw = base64.b64decode(secret.removeprefix(_PREFIXES[algorithm]), validate=True)
    except binascii.Error:
        raise ValueError("a secret is base64 after its prefix") from None
    if algorithm == "hmac" and not 24 <= len(raw) <= 64:
        raise ValueError("a symmetric secret has 24 to 64 bytes")
    if algorithm == "ed25519" and len(raw) != SECRET_BYTES:
        raise ValueError("an ed25519 secret has 32 bytes")
    return raw
