"""Signs access tokens (RFC 9068) with a key that is replaced by itself, or by an operator who lets it end."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from joserfc import jwt
from joserfc.jwk import ECKey

from shared.access.apps.model import App, Secret
from shared.access.apps.store import PublicKey
from shared.access.apps.tokens import ALGORITHM, AUDIENCE, KID_PREFIX, LEEWAY_SECONDS, TOKEN_SECONDS, TYPE
from shared.vault.keys import Vault

#: A key signs for so long; then the next one does.
KEY_AGE = timedelta(days=30)
#: Other processes notice a replaced key within this many seconds.
REREAD_SECONDS = 5.0
#: How long a replaced key verifies: until the last token that a process may have signed with it has ended.
VERIFIES_FOR = timedelta(seconds=REREAD_SECONDS + TOKEN_SECONDS + LEEWAY_SECONDS)
#: The pseudo tenant whose key of the vault seals private keys: no tenant can have this name.
_OWNER = "*"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key pair as it is stored: the private part is JSON, ``sealed`` by the vault or plain."""

    public: PublicKey
    private: bytes = field(repr=False)
    sealed: bool


class KeyPairs(Protocol):
    """Stores key pairs. Every method raises Unavailable. A write is durable when the method returns."""

    def public(self) -> list[PublicKey]:
        """Every published key, the oldest first."""

    def private(self, kid: str) -> PrivateKey | None: ...

    def add(self, key: PrivateKey) -> PrivateKey:
        """Store a pair and publish its public part. If its name is taken, the stored one is published and
        returned."""

    def end(self, kid: str, until: datetime) -> None:
        """Let a published key end. One that ends already keeps its end, unless the new one is earlier."""

    def remove(self, kid: str) -> None:
        """Delete a pair."""


class Signer:
    """Makes the tokens of ``issuer``. Thread-safe. Methods raise Unavailable. ``clock`` is aware."""

    def __init__(
        self,
        pairs: KeyPairs,
        vault: Vault | None,
        issuer: str,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pairs, self._vault, self._clock, self._elapsed = pairs, vault, clock, elapsed
        self.issuer = issuer
        self._lock = threading.Lock()
        self._current: tuple[float, PublicKey, ECKey] | None = None

    def token(self, app: App, secret: Secret, scopes: Sequence[str], jti: str) -> str:
        """An access token for ``scopes``, which ends after TOKEN_SECONDS."""
        public, key = self._key()
        now = int(self._clock().timestamp())
        claims: dict[str, Any] = {
            "iss": public.issuer,
            "sub": app.id,
            "client_id": app.id,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": jti,
            "scope": " ".join(scopes),
            "tenant": app.tenant,
            "app": app.id,
            "secret": secret.id,
        }
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": public.kid}
        return jwt.encode(header, claims, key, algorithms=[ALGORITHM])

    def jwks(self) -> dict[str, Any]:
        """The keys whose tokens may be valid, as a JSON Web Key Set."""
        now = self._clock()
        valid = [key for key in self._pairs.public() if key.until is None or now < key.until]
        return {"keys": [{**key.jwk, "kid": key.kid, "alg": ALGORITHM, "use": "sig"} for key in valid]}

    def find(self, kid: str) -> PublicKey | None:
        return next((key for key in self._pairs.public() if key.kid == kid), None)

    def _key(self) -> tuple[PublicKey, ECKey]:
        with self._lock:
            if self._current is not None and self._elapsed() - self._current[0] < REREAD_SECONDS:
                return self._current[1:]
            at = self._elapsed()
            public = self._usable(self._pairs.public())
            if self._current is not None and self._current[1].kid == public.kid:
                key = self._current[2]
            else:
                key = self._opened(public)
            self._current = at, public, key
            return public, key

    def _usable(self, published: Sequence[PublicKey]) -> PublicKey:
        """The key that signs now; a new one when the last is too old, ends, or is of another issuer."""
        now = self._clock()
        own = [key for key in published if key.issuer == self.issuer and key.until is None]
        recent = bool(own) and now - own[-1].created < KEY_AGE
        fresh = own.pop() if recent else self._make(published, now)
        for old in own:
            self._pairs.end(old.kid, now + VERIFIES_FOR)
        for ended in published:
            if ended.until is not None and ended.until <= now:
                self._pairs.remove(ended.kid)
        return fresh

    def _make(self, published: Sequence[PublicKey], now: datetime) -> PublicKey:
        # A name that follows from those before, so that of several processes one makes the key.
        number = 1 + max((int(key.kid.removeprefix(KID_PREFIX)) for key in published), default=0)
        while True:
            pair = ECKey.generate_key("P-256")
            private = json.dumps(pair.as_dict(private=True)).encode()
            kid = f"{KID_PREFIX}{number}"
            if self._vault is not None:
                private = self._vault.tenant_key(_OWNER).seal(private, kid.encode())
            public = PublicKey(kid, self.issuer, pair.as_dict(private=False), now)
            stored = self._pairs.add(PrivateKey(public, private, self._vault is not None)).public
            if stored.issuer == self.issuer:
                return stored
            number += 1  # taken by a process with another address

    def _opened(self, public: PublicKey) -> ECKey:
        pair = self._pairs.private(public.kid)
        assert pair is not None, f"the private part of the key {public.kid} is missing"
        private = pair.private
        if pair.sealed:
            assert self._vault is not None, "the key that signs tokens is sealed, and KITH_ENCRYPTION is off"
            private = self._vault.tenant_key(_OWNER).open(private, public.kid.encode())
        return ECKey.import_key(json.loads(private))
