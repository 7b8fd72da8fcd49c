"""Reads the whole state from MongoDB as of one moment: relationships, providers, consents, and the numbers of the
last changes, which the relations service stores in the same transactions."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from services.intelligence.rows import Money, joined
from services.intelligence.state import UNBOUNDED, Provider, State
from shared.contracts.errors import Unavailable
from shared.contracts.events import document_id
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.mongo.store import POSITIONS, beginning_with
from shared.runtime.protocols import Document
from shared.versions.generations import collection_of, place_of
from shared.versions.mongo_registry import MongoRegistry

log = logging.getLogger(__name__)

_RELATIONSHIP = {"tenant": 1, "consumer_id": 1, "provider_id": 1, "kinds": 1}
_CELLS = {"_id": 0, "kind": 1, "year": 1, "months": 1}
_PROVIDER = {
    "_id": 0,
    "tenant": 1,
    "provider_id": 1,
    "name": 1,
    "categories": 1,
    "location": 1,
    "closed": 1,
}
#: SnapshotTooOld, SnapshotUnavailable
_PAST_GONE = (239, 246)
_BATCH = 20_000
_PAIRS = 1_000  # in one query
#: Ids of consumers in one query: of the longest, a document of it has 8 MB, and MongoDB takes 16.
_IDS = 10_000


class MongoSource:
    """The collections of the live version of relations in ``database``. ``purposes`` as in ``State``. With
    ``tenant``, only that one is scanned."""

    def __init__(
        self, database: Database[Document], purposes: Mapping[str, str], tenant: str | None = None
    ) -> None:
        self._of: Document = {} if tenant is None else {"tenant": tenant}
        self._database = database
        self._purposes = purposes
        self._registry = MongoRegistry(database, "relations")

    @property
    def version(self) -> int:
        """The live version of relations. Raises Unavailable."""
        return self._registry.read().live

    def numbers(self) -> dict[str, int]:
        """The number of the last change of each origin, as of now. Raises Unavailable."""
        durable = self._database.with_options(read_concern=ReadConcern("majority"))
        with translated():
            return _numbers(durable, self.version, None)

    def scan(self, going_on: Callable[[], bool], most: int = UNBOUNDED) -> State:
        """The whole state as of one moment, of which the largest tenants are left out where all have more than
        ``most`` relationships. Raises Unavailable, also when ``going_on`` ends."""
        version = self.version
        began = time.monotonic()
        with translated(), _keeping_the_past(), self._database.client.start_session(snapshot=True) as session:
            state = State(_numbers(self._database, version, session), self._purposes, most)

            def keeping_room() -> bool:
                state.keep_room()
                return going_on()

            self._load_consents(state, keeping_room, version, session)
            self._load_providers(state, keeping_room, version, session)
            relationships = self._database[collection_of("relationships", version)]
            found = relationships.find(
                self._of, _RELATIONSHIP, session=session, batch_size=_BATCH, max_time_ms=STREAM_MS
            )
            state.load(self._with_kinds(_while(keeping_room, found), version, session))
        if self.version != version:
            raise Unavailable("relations were switched to another version during the scan")
        log.info("read all relationships in %.1f s", time.monotonic() - began)
        return state

    def providers(self, tenant: str, ids: list[str]) -> dict[str, Provider]:
        """The present facts about providers. Raises Unavailable."""
        wanted = {"_id": {"$in": [document_id(tenant, id) for id in ids]}}
        with translated():
            found = self._database[collection_of("providers", self.version)].find(wanted, _PROVIDER)
            return {each["provider_id"]: Provider.of(each) for each in found}

    def granted(self, tenant: str, ids: list[str], purpose: str) -> set[str]:
        """Finds those of these consumers who have granted a purpose. Raises Unavailable."""
        found: set[str] = set()
        with translated():
            consumers = self._database[collection_of("consumers", self.version)]
            for start in range(0, len(ids), _IDS):
                some = [document_id(tenant, id) for id in ids[start : start + _IDS]]
                wanted = {"_id": {"$in": some}, f"consent.{purpose}": True}
                found.update(each["consumer_id"] for each in consumers.find(wanted, {"consumer_id": 1}))
        return found

    def _with_kinds(
        self, relationships: Iterable[Document], version: int, session: ClientSession | None = None
    ) -> Iterator[Document]:
        """The same, with the cells of those that have them in documents of their own."""
        cells = self._database[collection_of("relationship_cells", version)]
        for each in relationships:
            if "kinds" not in each:
                wanted = {"_id": beginning_with(f"{each['_id']}:")}
                found = cells.find(wanted, _CELLS, session=session, max_time_ms=STREAM_MS)
                each["kinds"] = joined(found)
            yield each

    def money(self, tenant: str, pairs: list[tuple[str, str]], asked: Money) -> dict[str, int]:
        """The net amounts of these (consumer, provider), of one provider, by consumer; without those that have
        none. Raises Unavailable."""
        found: dict[str, int] = {}
        with translated():
            version = self.version
            relationships = self._database[collection_of("relationships", version)]
            for start in range(0, len(pairs), _PAIRS):
                ids = [document_id(tenant, *pair) for pair in pairs[start : start + _PAIRS]]
                for each in self._with_kinds(relationships.find({"_id": {"$in": ids}}, _RELATIONSHIP), version):
                    if (net := asked.of(each["kinds"])) is not None:
                        found[each["consumer_id"]] = net
        return found

    def _load_consents(
        self, state: State, going_on: Callable[[], bool], version: int, session: ClientSession
    ) -> None:
        consumers = self._database[collection_of("consumers", version)]
        kept = {"_id": 0, "tenant": 1, "consumer_id": 1}
        for purpose in set(self._purposes.values()):
            wanted = {**self._of, f"consent.{purpose}": True}
            found = consumers.find(wanted, kept, session=session, max_time_ms=STREAM_MS)
            for each in _while(going_on, found):
                if state.purpose_of(each["tenant"]) == purpose:
                    state.tenant(each["tenant"]).grant(each["consumer_id"], True)

    def _load_providers(
        self, state: State, going_on: Callable[[], bool], version: int, session: ClientSession
    ) -> None:
        providers = self._database[collection_of("providers", version)]
        found = providers.find(self._of, _PROVIDER, session=session, max_time_ms=STREAM_MS)
        for each in _while(going_on, found):
            state.tenant(each["tenant"]).describe(each["provider_id"], Provider.of(each))


def _numbers(database: Database[Document], version: int, session: ClientSession | None) -> dict[str, int]:
    wanted = {"_id": beginning_with(f"relations@{version}/"), "emitted": {"$gt": 0}}
    # A switch to another version carries the numbers over, and the origins keep the names of version 1.
    return {
        f"relations@1/{place_of(each['_id'])}": each["emitted"]
        for each in database[POSITIONS].find(wanted, {"emitted": 1}, session=session)
    }


def _while(going_on: Callable[[], bool], found: Any) -> Iterator[Any]:
    for at, each in enumerate(found):
        if not at % _BATCH and not going_on():
            raise Unavailable("the service is stopping")
        yield each


@contextmanager
def _keeping_the_past() -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        if error.code in _PAST_GONE:
            raise Unavailable(
                "MongoDB did not keep the past for as long as the scan takes; raise "
                "minSnapshotHistoryWindowInSeconds"
            ) from error
        raise
