"""Sources of master keys: a file, the environment, or a cloud's key service."""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from shared.contracts.errors import ConfigurationError, Unavailable, WrongMasterKey
from shared.local.private import new_folder
from shared.vault.protocols import KeyService
from shared.vault.tokens import KEY_BYTES, DataKey

_WORLD = 0o007


def new_master_key() -> str:
    """A new key in the form of files and the environment: 32 random bytes in base64url."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


class EnvironmentKeys:
    """Keys in a setting: one, or several separated by commas, the current one first."""

    def __init__(self, text: str) -> None:
        self._keys = _parsed(text.replace(",", "\n"), "KITH_MASTER_KEY")

    @property
    def current(self) -> str:
        return next(iter(self._keys))

    def known(self) -> Sequence[str]:
        return list(self._keys)

    def wrap(self, id: str, secret: bytes, context: bytes) -> bytes:
        return _of(self._keys, id).seal(secret, context)

    def unwrap(self, id: str, wrapped: bytes, context: bytes) -> bytes:
        return _of(self._keys, id).open(wrapped, context)


class FileKeys:
    """Keys in a file, one a line, the current one first. Text after a # is a comment. A changed file is read
    again, so a new key needs no restart. Raises ConfigurationError when the file is missing, malformed, or
    readable by all users."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._keys: dict[str, DataKey] = {}
        self._fresh()

    @property
    def current(self) -> str:
        return next(iter(self._fresh()))

    def known(self) -> Sequence[str]:
        return list(self._fresh())

    def wrap(self, id: str, secret: bytes, context: bytes) -> bytes:
        return _of(self._fresh(), id).seal(secret, context)

    def unwrap(self, id: str, wrapped: bytes, context: bytes) -> bytes:
        return _of(self._fresh(), id).open(wrapped, context)

    def _fresh(self) -> dict[str, DataKey]:
        try:
            status = self._path.stat()
            if status.st_mode & _WORLD:
                raise ConfigurationError(
                    f"{self._path}: every user can read the master key; run chmod 600 on the file"
                )
            if (read_at := (status.st_mtime_ns, status.st_ino)) != self._read_at:
                self._keys = _parsed(self._path.read_text(), str(self._path))
                self._read_at = read_at
        except OSError as error:
            raise ConfigurationError(f"{self._path}: the master key cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{self._path}: is not a file of master keys") from None
        return self._keys


def add_to_file(path: Path) -> str:
    """Add a new key before the others in a file, which is created if missing (readable by its owner only). Returns
    the new key's id. The file is replaced atomically. Raises ConfigurationError."""
    before = ""
    if path.exists():
        FileKeys(path)
        before = path.read_text()
    line = new_master_key()
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new_folder(path.parent)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{line}\n{before}")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return FileKeys(path).current


class CloudKeys:
    """Keys that never leave a key service. ``ids`` are their names there, the current one first. ``passing``
    returns whether an error of the service's library may pass with a retry; other errors are not caught."""

    def __init__(
        self, service: KeyService, ids: Sequence[str], passing: Callable[[Exception], bool] = lambda _: False
    ) -> None:
        if not ids:
            raise ConfigurationError("the key service needs the name of at least one key")
        self._service, self._ids, self._passing = service, list(ids), passing

    @property
    def current(self) -> str:
        return self._ids[0]

    def known(self) -> Sequence[str]:
        return self._ids

    def wrap(self, id: str, secret: bytes, context: bytes) -> bytes:
        return self._asked(lambda: self._service.encrypt(id, secret, context))

    def unwrap(self, id: str, wrapped: bytes, context: bytes) -> bytes:
        # The service may have keys that are not configured here. It decides what is allowed.
        return self._asked(lambda: self._service.decrypt(id, wrapped, context))

    def _asked(self, ask: Callable[[], bytes]) -> bytes:
        try:
            return ask()
        except Exception as error:
            if self._passing(error):
                raise Unavailable(f"the key service: {type(error).__name__}") from error
            raise


def _parsed(text: str, where: str) -> dict[str, DataKey]:
    keys: dict[str, DataKey] = {}
    for line in text.splitlines():
        if not (word := line.partition("#")[0].strip()):
            continue
        try:
            secret = base64.b64decode(word.replace("+", "-").replace("/", "_"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise ConfigurationError(
                f"{where}: a master key is {KEY_BYTES} random bytes in base64; `kith keys master new` makes one"
            )
        # The id is derived from the key, so that it cannot be wrong.
        keys.setdefault("local:" + hashlib.sha256(b"kith master key " + secret).hexdigest()[:16], DataKey(secret))
    if not keys:
        raise ConfigurationError(f"{where}: holds no master key; `kith keys master new` makes one")
    return keys


def _of(keys: dict[str, DataKey], id: str) -> DataKey:
    if id not in keys:
        raise WrongMasterKey(
            f"the stored keys of personal data need the master key {id}, which this process does not have; "
            "waiting does not help: add it to the file or setting of the master keys"
        )
    return keys[id]
