"""Opens the vault that the settings describe. For composition roots."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import WRAPPED_KEYS, Topics
from shared.runtime.outlet import Outlet
from shared.runtime.periodic import Periodic
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.master import EnvironmentKeys, FileKeys
from shared.vault.protocols import KeyStore, MasterKeys

_LOOK_SECONDS = 1.0
#: How often what dead processes have left unpublished is looked for.
_SWEEP_SECONDS = 60.0

if TYPE_CHECKING:
    from pymongo.database import Database

    from shared.runtime.protocols import Document
    from shared.vault.published_store import PublishedKeyStore


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


def vault_in(settings: Settings, database: "Database[Document]", *, seals: bool = True) -> Vault | None:
    """The vault in ``database``, or None where encryption is off; without ``seals`` it only opens. Makes no
    request. Raises ConfigurationError."""
    from shared.vault.mongo_store import MongoKeyStore

    masters = master_keys(settings)
    if masters is None:
        return None
    return Vault(key_store(settings, database) if seals else MongoKeyStore(database), masters)


def key_store(settings: Settings, database: "Database[Document]") -> KeyStore:
    """The store of the keys in ``database``, whose changes are published where KITH_KEYS_TOPIC=on says so."""
    from shared.vault.mongo_store import MongoKeyStore

    store = MongoKeyStore(database)
    if settings.keys_topic == "off":
        return store
    return published(settings, database, store)


def published(settings: Settings, database: "Database[Document]", store: KeyStore) -> "PublishedKeyStore":
    """``store`` with its topic. Connects to Kafka at the first change of a key."""
    from shared.kafka.clients import open_publisher
    from shared.kafka.python_client.has_records import has_records
    from shared.vault.published_store import PublishedKeyStore

    topic = Topics(settings.topic_prefix).name(WRAPPED_KEYS)
    publish = Outlet(lambda: open_publisher(settings)).publish
    return PublishedKeyStore(store, database, topic, publish, lambda: has_records(settings, topic))


def key_sweeper(settings: Settings, database: "Database[Document]") -> Periodic | None:
    """Publishes, once a minute, the keys that a process has changed and not published before it died: until then a
    destroyed one is still in the topic. None where there is no topic."""
    from shared.vault.mongo_store import MongoKeyStore

    if settings.encryption == "off" or settings.keys_topic == "off":
        return None
    store = published(settings, database, MongoKeyStore(database))
    return Periodic("unpublished-keys", store.sweep, _SWEEP_SECONDS)


def key_problems(vault: Vault | None) -> list[str]:
    """Why the keys of personal data are of no use to this process, for readiness. Takes a second at most, but
    where keys wait to be published: then as long as Kafka does."""
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
