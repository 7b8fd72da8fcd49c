"""The vault: a data key per consumer, created in bulk, cached briefly, destroyed permanently."""

import os
import threading
import time
import unicodedata
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from hmac import digest

from shared.contracts.errors import ConfigurationError, KeysNotRestored, Unavailable, WrongMasterKey
from shared.contracts.events import document_id
from shared.contracts.spelling import other_spellings
from shared.vault.protocols import Destroyed, KeyStore, MasterKeys, Wrapped, Wrapping
from shared.vault.tokens import KEY_BYTES, DataKey, Unreadable

#: How long a key is cached, in seconds: a destroyed key may be used for this long in other processes.
LIFE_SECONDS = 5.0
#: How long a wrapping key is used for new keys before looking for a newer one, in seconds.
WRAPPING_SECONDS = 5.0
MOST_CACHED = 50_000
#: The "consumer" of the tenant's own key; no consumer has an empty id.
TENANT = ""
_BATCH = 10_000
_TRIES, _PAUSE_SECONDS = 40, 0.05

Found = dict[str, DataKey | Destroyed]


class Vault:
    """The keys of consumers by tenant and id. Thread-safe. Methods raise Unavailable when the store or the master
    keys are unavailable.

    A destroyed key stays cached here for ``life_seconds`` at most, unless ``forget`` is called.
    """

    def __init__(
        self,
        store: KeyStore,
        masters: MasterKeys,
        *,
        life_seconds: float = LIFE_SECONDS,
        most: int = MOST_CACHED,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._masters = store, masters
        self._clock, self._sleep = clock, sleep
        self._cache = _Cache(life_seconds, most, clock)
        self._wrappings: dict[int, tuple[Wrapping, DataKey]] = {}
        self._current: tuple[float, int] | None = None

    def check(self) -> None:
        """Raise the errors of using the vault: Unavailable, or Unreadable when the master keys are different
        ones."""
        self._wrapping_now()

    def problems(self) -> list[str]:
        """Why personal data cannot be opened or sealed, where waiting does not help. Creates nothing. Not:
        an unavailable store."""
        try:
            self._read_wrappings()
        except (WrongMasterKey, KeysNotRestored, ConfigurationError) as error:
            return [str(error)]
        except Unavailable:
            return []
        except Unreadable:
            return [
                "the stored keys of personal data cannot be opened with this master key; give this process the "
                "one that they were made with"
            ]
        return []

    def cached(self, tenant: str, consumer_ids: Iterable[str]) -> Found | None:
        """All of these keys if they are cached, otherwise None. Never blocks."""
        ids = {document_id(tenant, id): id for id in consumer_ids}
        found = self._cache.get(ids)
        return {ids[id]: key for id, key in found.items()} if len(found) == len(ids) else None

    def keys(self, tenant: str, consumer_ids: Collection[str], create: bool = True) -> Found:
        """The keys of these consumers. Missing ones are created; without ``create`` they are left out."""
        ids = {document_id(tenant, id): id for id in consumer_ids}
        found = self._cache.get(ids)
        missing = [id for id in ids if id not in found]
        for start in range(0, len(missing), _BATCH):
            stamp = self._cache.stamp
            loaded = self._load(missing[start : start + _BATCH], create)
            self._cache.put(loaded, stamp)
            found |= loaded
        return {ids[id]: key for id, key in found.items()}

    def destroy(self, tenant: str, consumer_id: str) -> None:
        """Make everything sealed with the consumer's key permanently unreadable, and prevent a new key. A key of
        another spelling of the id, from before ids were normalised, is destroyed as well."""
        others = {document_id(tenant, each): each for each in other_spellings(consumer_id)}
        self._store.destroy(document_id(tenant, consumer_id))
        self.forget(tenant, consumer_id)
        for id in self._store.find(others) if others else ():
            self._store.destroy(id)
            self.forget(tenant, others[id])

    def forget(self, tenant: str, consumer_id: str) -> None:
        """Remove a key from the cache."""
        self._cache.forget(document_id(tenant, consumer_id))

    def tenant_key(self, tenant: str) -> DataKey:
        """The tenant's own key: for data without a consumer, and for ``blind`` and ``pseudonym``."""
        key = self.keys(tenant, [TENANT])[TENANT]
        if isinstance(key, Destroyed):
            raise Unavailable(f"the own key of the tenant {tenant} is destroyed")
        return key

    def blind(self, tenant: str, field: str, value: str) -> str:
        """The blind index of an e-mail address or phone number: the same for equal values, without revealing
        them."""
        return blind(self.tenant_key(tenant), field, value)

    def pseudonym(self, tenant: str, consumer_id: str) -> str:
        """A permanent name for a consumer. Only the tenant's key connects it with the consumer."""
        return pseudonym(self.tenant_key(tenant), consumer_id)

    def _load(self, ids: list[str], create: bool) -> Found:
        found = self._unwrapped(self._store.find(ids))
        missing = [id for id in ids if id not in found]
        if not missing or not create:
            return found
        number, wrapping = self._wrapping_now()
        random = os.urandom(KEY_BYTES * len(missing))
        made = {id: random[n * KEY_BYTES : (n + 1) * KEY_BYTES] for n, id in enumerate(missing)}
        wrapped = {id: Wrapped(wrapping.seal(secret, id.encode()), number) for id, secret in made.items()}
        taken = self._store.insert(wrapped)
        found |= {id: DataKey(secret) for id, secret in made.items() if id not in taken}
        # Created by other processes in the meantime. Their keys count once they are durable, which may be a moment
        # later.
        for _ in range(_TRIES):
            if not taken:
                return found
            others = self._unwrapped(self._store.find(taken))
            found |= others
            if taken := taken - others.keys():
                self._sleep(_PAUSE_SECONDS)
        raise Unavailable("keys that another process has just created cannot be read yet")

    def _unwrapped(self, stored: Mapping[str, Wrapped | Destroyed]) -> Found:
        found: Found = {}
        for id, key in stored.items():
            if isinstance(key, Wrapped):
                found[id] = DataKey(self._wrapping(key.wrapping).open(key.wrapped, id.encode()))
            else:
                found[id] = key
        return found

    def _wrapping(self, number: int) -> DataKey:
        if number not in self._wrappings:
            self._read_wrappings()
            if number not in self._wrappings:
                raise Unavailable(f"there is no wrapping key {number}")
        return self._wrappings[number][1]

    def _wrapping_now(self) -> tuple[int, DataKey]:
        """The wrapping key for new keys. The first one of all is created here."""
        now = self._clock()
        if self._current is None or now - self._current[0] >= WRAPPING_SECONDS:
            if not self._read_wrappings():
                self._store.add_wrapping(new_wrapping(1, self._masters))
                self._read_wrappings()
            self._current = (now, max(self._wrappings))
        number = self._current[1]
        return number, self._wrappings[number][1]

    def _read_wrappings(self) -> bool:
        stored = self._store.wrappings()
        for wrapping in stored:
            known = self._wrappings.get(wrapping.number)
            if known is None or known[0] != wrapping:
                self._wrappings[wrapping.number] = (wrapping, unwrapped(wrapping, self._masters))
        return bool(stored)


def new_wrapping(number: int, masters: MasterKeys) -> Wrapping:
    """A new wrapping key with that number, wrapped by the current master key."""
    return wrap(number, os.urandom(KEY_BYTES), masters)


def wrap(number: int, secret: bytes, masters: MasterKeys) -> Wrapping:
    master = masters.current
    return Wrapping(number, masters.wrap(master, secret, _context(number)), master)


def unwrapped(wrapping: Wrapping, masters: MasterKeys) -> DataKey:
    return DataKey(masters.unwrap(wrapping.master, wrapping.wrapped, _context(wrapping.number)))


def _context(number: int) -> bytes:
    return b"kith wrapping key %d" % number


def blind(key: DataKey, field: str, value: str) -> str:
    """The blind index of a value under a tenant's own key. Spellings of one e-mail address or phone number have
    the same index: case and surrounding space are ignored, and in phone numbers everything but digits and the
    plus."""
    word = digest(key.subkey("blind"), f"{field}\0{normalised(field, value)}".encode(), "sha256")
    return urlsafe_b64encode(word[:16]).rstrip(b"=").decode()


def pseudonym(key: DataKey, consumer_id: str) -> str:
    """``anon-`` and 26 characters, derived with the tenant's own key."""
    word = digest(key.subkey("pseudonym"), consumer_id.encode(), "sha256")
    return "anon-" + word[:13].hex()


def normalised(field: str, value: str) -> str:
    """The normal form of an e-mail address (``email``) or phone number (``phone``), for comparison."""
    text = unicodedata.normalize("NFKC", value).strip()
    if field != "phone":
        return text.casefold()
    digits = "".join(str(unicodedata.digit(c)) for c in text if c.isdigit())
    if text.startswith("+"):
        return "+" + digits
    return "+" + digits.removeprefix("00") if digits.startswith("00") else digits


class _Cache:
    """Keys by document id, with least-recently-used eviction. An entry is valid for ``life`` seconds after it was
    loaded, however often it is used."""

    def __init__(self, life: float, most: int, clock: Callable[[], float]) -> None:
        self._life, self._most, self._clock = life, most, clock
        self._entries: OrderedDict[str, tuple[float, DataKey | Destroyed]] = OrderedDict()
        self._lock = threading.Lock()
        self._forgotten = 0

    @property
    def stamp(self) -> tuple[float, int]:
        """To be taken before loading, so that a key forgotten during the load is not cached."""
        return self._clock(), self._forgotten

    def get(self, ids: Iterable[str]) -> Found:
        found: Found = {}
        oldest = self._clock() - self._life
        with self._lock:
            for id in ids:
                entry = self._entries.get(id)
                if entry is not None and entry[0] > oldest:
                    found[id] = entry[1]
                    self._entries.move_to_end(id)
        return found

    def put(self, keys: Found, stamp: tuple[float, int]) -> None:
        loaded_at, forgotten = stamp
        with self._lock:
            if forgotten != self._forgotten:
                return
            for id, key in keys.items():
                self._entries[id] = (loaded_at, key)
                self._entries.move_to_end(id)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def forget(self, id: str) -> None:
        with self._lock:
            self._forgotten += 1
            self._entries.pop(id, None)
