"""The files of a backup give back every byte, and one that was changed is refused."""

import gzip
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Int64, Regex
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from services.backup.files import (
    MANIFEST,
    CollectionFile,
    Manifest,
    TopicEnds,
    check_collection,
    extended,
    read_collection,
    read_manifest,
    write_collection,
    write_manifest,
)
from shared.contracts.errors import ConfigurationError

EPOCH, LATEST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (1970, 9000))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1).map(Int64),
        st.floats(allow_nan=False),
        st.text(),
        st.binary().map(Binary),
        st.datetimes(min_value=EPOCH, max_value=LATEST).map(lambda t: t.replace(microsecond=0, tzinfo=UTC)),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text("abc$.é", min_size=1), inner)),
    max_leaves=8,
)
# Small ones: of large ones the drawing takes all the time.
DOCUMENTS = st.lists(st.dictionaries(st.text("abcé", min_size=1), VALUES, max_size=4), max_size=3)


def raw(document: dict[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(document))


@given(DOCUMENTS)
def test_every_document_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    documents = [raw({"_id": number, **each}) for number, each in enumerate(given_)]
    known = write_collection(folder, "some", documents, {}, [])
    assert known.documents == len(documents)
    check_collection(folder, "some", known)
    assert [each.raw for each in read_collection(folder, "some")] == [each.raw for each in documents]


def a_file(folder: Path) -> CollectionFile:
    documents = [raw({"_id": str(number)}) for number in range(100)]
    options = {"validator": {"name": Regex("^a$")}, "capped": False}
    indexes = [{"v": 2, "key": {"b": 1, "a": -1}, "name": "b_1_a_-1", "partialFilterExpression": {"x": Int64(1)}}]
    return write_collection(folder, "some", documents, options, indexes)


def written(folder: Path) -> Manifest:
    topics = {"t": TopicEnds("i", {"0": [0, 9]})}
    moment = "2026-11-29T10:00:00+00:00"
    manifest = Manifest("1", 3, "kith", moment, "all", {"some": a_file(folder)}, topics)
    write_manifest(folder, manifest)
    return manifest


def test_options_and_indexes_keep_their_types_and_their_order(tmp_path: Path) -> None:
    written(tmp_path)
    known = read_manifest(tmp_path).collections["some"]
    assert extended(known.options) == {"validator": {"name": Regex("^a$")}, "capped": False}
    [index] = extended(known.indexes)
    assert list(index["key"]) == ["b", "a"]
    assert index["partialFilterExpression"] == {"x": 1}


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    a_file(tmp_path)
    assert stat.S_IMODE((tmp_path / "some.bson.gz").stat().st_mode) == 0o600


@pytest.mark.parametrize("harm", ["cut", "changed", "other", "gone"])
def test_a_file_that_was_changed_is_refused(tmp_path: Path, harm: str) -> None:
    known = a_file(tmp_path)
    path = tmp_path / "some.bson.gz"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif harm == "changed":
        packed = bytearray(path.read_bytes())
        packed[20:60] = bytes(40)
        path.write_bytes(packed)
    elif harm == "other":
        path.write_bytes(gzip.compress(bson.encode({"_id": "0"})))
    else:
        path.unlink()
    with pytest.raises(ConfigurationError, match=r"some\.bson\.gz"):
        check_collection(tmp_path, "some", known)


def test_the_manifest_comes_back(tmp_path: Path) -> None:
    manifest = written(tmp_path)
    assert read_manifest(tmp_path) == manifest
    fields = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**fields, "format": 2}))
    with pytest.raises(ConfigurationError, match="format 2"):
        read_manifest(tmp_path)


def test_a_byte_of_the_manifest_that_was_changed_is_noticed(tmp_path: Path) -> None:
    """A count, a moment or the order of an index would be taken for the truth."""
    written(tmp_path)
    text = (tmp_path / MANIFEST).read_text()
    for old, new in (('"all"', '"alm"'), ("T10:", "T11:"), ("9\n", "8\n"), ('"sha256"', '"sha255"')):
        (tmp_path / MANIFEST).write_text(text.replace(old, new))
        with pytest.raises(ConfigurationError, match="damaged"):
            read_manifest(tmp_path)
    # Those of earlier versions have no hash.
    fields = json.loads(text)
    del fields["sha256"]
    (tmp_path / MANIFEST).write_text(json.dumps(fields))
    assert read_manifest(tmp_path).moment == "2026-11-29T10:00:00+00:00"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', '{"format": 1, "collections": 3, "topics": {}}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ConfigurationError, match="damaged"):
        read_manifest(tmp_path)


def test_a_folder_that_is_no_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no backup"):
        read_manifest(tmp_path)


def test_a_file_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "backup.tar").touch()
    with pytest.raises(ConfigurationError, match=r"backup\.tar is no backup"):
        read_manifest(tmp_path / "backup.tar")
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path)
