"""How a collection is loaded, without a server."""

from pathlib import Path
from typing import Any, cast

from pymongo import _csot
from pymongo.database import Database

from services.backup import lost, restore
from services.backup.claim import Claim
from services.backup.files import CollectionFile, Manifest
from shared.mongo.limits import LIMIT_SECONDS, STREAM_MS
from shared.runtime.protocols import Document


class Large:
    """A collection in which a pass over all documents needs longer than the client's limits."""

    def __init__(self) -> None:
        self.passes: list[float] = []

    def __getitem__(self, _name: str) -> "Large":
        return self

    def create_collection(self, *_: Any, **__: Any) -> None:
        assert _csot.remaining() is None

    def insert_many(self, *_: Any, **__: Any) -> None:
        assert _csot.remaining() is None

    def count_documents(self, _filter: Any) -> int:
        self.passes.append(_csot.remaining() or 0.0)
        return 0

    def list_collection_names(self) -> list[str]:
        return ["consumers@2", "dead_letters", "relations", "webhook_endpoints"]

    def find(self, _filter: Any, _fields: Any, *, max_time_ms: int = 0) -> list[Any]:
        self.passes.append(max_time_ms)
        return []

    def create_index(self, *_: Any, **__: Any) -> None:
        self.passes.append(_csot.remaining() or 0.0)


class Mine(Claim):
    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass


def test_counting_and_indexing_a_large_collection_may_take_longer_than_an_answer(
    tmp_path: Path, monkeypatch: Any
) -> None:
    known = CollectionFile(0, 0, "", {}, [{"key": {"at": 1}, "name": "at_1", "v": 2}])
    manifest = Manifest("0.1.0", 1, "kith", "2026-11-29T10:00:00+00:00", "all", {"facts": known}, {})
    source = restore.Source(manifest, {"facts": tmp_path}, {"facts": manifest})
    monkeypatch.setattr(restore, "read_collection", lambda *_: iter(()))
    database = Large()
    count = restore._load(cast(Database[Document], database), "facts", source, Mine(), lambda _: None)
    assert count == 0
    assert len(database.passes) == 2
    assert min(database.passes) > 10 * LIMIT_SECONDS


def test_whose_keys_are_lost_is_looked_for_as_long_as_it_takes() -> None:
    database = Large()
    assert list(lost._stored(cast(Database[Document], database))) == []
    assert database.passes == [STREAM_MS] * 4
