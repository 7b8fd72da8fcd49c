"""Opens the vault that the settings describe. For composition roots."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.contracts.errors import ConfigurationError
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.master import EnvironmentKeys, FileKeys
from shared.vault.protocols import MasterKeys

_LOOK_SECONDS = 1.0

if TYPE_CHECKING:
    from pymongo.database import Database

    from shared.runtime.protocols import Document


def master_keys(settings: Settings) -> MasterKeys | None:
    """The master keys, or None where KITH_ENCRYPTION=off disables encryption explicitly. Raises ConfigurationError
    without either."""
    if settings.encryption == "off":
        return None
    if settings.master_key_file is not None and settings.master_key is not None:
        raise ConfigurationError("KITH_MASTER_KEY_FILE and KITH_MASTER_KEY are both set; one is enough")
    if settings.master_key_file is not None:
        return FileKeys(Path(settings.master_key_file))
    if settings.master_key is not None:
        return EnvironmentKeys(settings.master_key.get_secret_value())
    raise ConfigurationError(
        "there is no master key to encrypt personal data with: set KITH_MASTER_KEY_FILE (`kith keys master new "
        "FILE` makes one) or KITH_MASTER_KEY. KITH_ENCRYPTION=off stores personal data in plain text."
    )


def vault_in(settings: Settings, database: "Database[Document]") -> Vault | None:
    """The vault in ``database``, or None where encryption is off. Makes no request. Raises ConfigurationError."""
    from shared.vault.mongo_store import MongoKeyStore

    masters = master_keys(settings)
    return None if masters is None else Vault(MongoKeyStore(database), masters)


def key_problems(vault: Vault | None) -> list[str]:
    """Why the keys of personal data are of no use to this process, for readiness. Takes a second at most."""
    import pymongo

    if vault is None:
        return []
    with pymongo.timeout(_LOOK_SECONDS):
        return vault.problems()


@contextmanager
def open_vault(settings: Settings) -> Iterator[Vault | None]:
    """The same with a client of its own."""
    if master_keys(settings) is None:
        yield None
        return
    if settings.mongo is None:
        raise ConfigurationError("KITH_MONGO is not set; it stores the keys of personal data")
    from shared.mongo.store import connect

    with connect(settings.mongo) as client:
        yield vault_in(settings, client[settings.database])
