"""Opens the dependencies of a rebuild, from the settings of the environment."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, assert_never, get_args

from pymongo.database import Database

from services.analytics.projection import AnalyticsProjection
from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.rebuild.build import RebuildContext
from services.rebuild.names import Name
from services.relations.factory import build_projection, with_keys
from services.relations.schema import COLLECTIONS as RELATIONS
from shared.contracts.collections import Collections
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.kafka.python_client.all_partitions import AllPartitionsReader
from shared.mongo.errors import translated
from shared.mongo.store import MongoStore, connect, prepare
from shared.runtime.protocols import Document, Projection
from shared.runtime.worker import owner_name
from shared.settings import Settings, require, servers_of
from shared.vault.keys import Vault
from shared.vault.open import vault_in
from shared.versions.generations import collections_of, own_collections
from shared.versions.mongo_registry import MongoRegistry

NAMES: tuple[Name, ...] = get_args(Name)


@contextmanager
def opened(settings: Settings, name: Name) -> Iterator[tuple[RebuildContext, Database[Document]]]:
    """The context of a projection and its database. Raises ConfigurationError."""
    if name == "relations":  # which holds personal data
        require(settings, "kafka", "mongo", "master_key")
    _, mongo = servers_of(settings)
    with connect(mongo) as client:
        database = client[settings.database]
        vault = vault_in(settings, database) if name == "relations" else None
        projection, collections = projection_of(settings, name, vault)

        def prepare_version(version: int) -> None:
            with translated():
                prepare(database, collections_of(own_collections(collections), version))

        context = RebuildContext(
            projection=projection,
            collections=collections,
            registry=MongoRegistry(database, name),
            owner=owner_name(),
            open_store=lambda version: with_keys(
                MongoStore(database, collections_of(collections, version)), vault
            ),
            open_reader=lambda: AllPartitionsReader(settings, projection.topics),
            open_publisher=lambda: open_publisher(settings),
            prepare=prepare_version,
            slice_events=settings.slice_events,
            open_committer=lambda: ThreadPoolExecutor(2, thread_name_prefix="commit"),
        )
        yield context, database


def projection_of(
    settings: Settings, name: Name, vault: Vault | None = None
) -> tuple[Projection[Any], Collections]:
    """A projection as its service builds it, and the collections that it writes."""
    if name == "analytics":
        return AnalyticsProjection(Topics(settings.topic_prefix)), ANALYTICS
    if name == "relations":
        return build_projection(settings, vault), RELATIONS
    assert_never(name)
