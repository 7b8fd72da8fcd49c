"""The files of a backup: one of concatenated BSON per collection, compressed, and a manifest, written last."""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from bson import decode_file_iter
from bson.codec_options import CodecOptions
from bson.json_util import dumps, loads
from bson.raw_bson import RawBSONDocument

from shared.contracts.errors import ConfigurationError

FORMAT = 1
MANIFEST = "manifest.json"
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_LEVEL = 1
#: The field of the manifest with the hash of all others.
_HASH = "sha256"


@dataclass(frozen=True)
class CollectionFile:
    """A collection in a backup. ``sha256`` and ``bytes`` are those of its documents before compression.
    ``options`` are MongoDB's (validator), ``indexes`` those of its indexes, as extended JSON."""

    documents: int
    bytes: int
    sha256: str
    options: dict[str, Any]
    indexes: list[dict[str, Any]]


@dataclass(frozen=True)
class TopicEnds:
    """A topic when the backup was taken: its id in Kafka, and the first offset and the end of each partition."""

    id: str
    partitions: dict[str, list[int]]


@dataclass(frozen=True)
class Manifest:
    """What a backup holds. ``moment`` is MongoDB's time of all its documents, ``part`` is all, data or keys."""

    kith: str
    revision: int
    database: str
    moment: str
    part: str
    collections: dict[str, CollectionFile]
    topics: dict[str, TopicEnds]
    format: int = field(default=FORMAT)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the file system refuses (a full disk, a folder of another user) becomes a ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, durably. Raises ConfigurationError when the disk does not take it."""
    with writing(folder / MANIFEST), _private(folder / MANIFEST) as file:
        fields = asdict(manifest)
        file.write(json.dumps({**fields, _HASH: _hash(fields)}, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises ConfigurationError where there is none, or one of another format."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
        if found.get("format") != FORMAT:
            raise ConfigurationError(
                f"{path} has format {found.get('format')}; this version of Kith reads {FORMAT}"
            )
        # Earlier versions wrote none.
        written = found.pop(_HASH, None)
        if written not in (None, _hash(found)):
            raise ConfigurationError(f"{path} was changed or damaged: it does not have its hash")
        collections = {name: CollectionFile(**each) for name, each in found.pop("collections").items()}
        topics = {name: TopicEnds(**each) for name, each in found.pop("topics").items()}
        return Manifest(**found, collections=collections, topics=topics)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigurationError(f"{folder} is no backup: it has no {MANIFEST}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{path} is damaged: {type(error).__name__}") from None


def write_collection(
    folder: Path,
    name: str,
    documents: Iterable[RawBSONDocument],
    options: Mapping[str, Any],
    indexes: Iterable[Mapping[str, Any]],
) -> CollectionFile:
    """Write the documents of a collection, durably, and describe the file. Raises ConfigurationError when the disk
    does not take it."""
    digest, count, size = hashlib.sha256(), 0, 0
    path = _path(folder, name)
    with writing(path), _private(path) as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0) as packed:
            for document in documents:
                raw = document.raw
                packed.write(raw)
                digest.update(raw)
                count, size = count + 1, size + len(raw)
        file.flush()
        os.fsync(file.fileno())
    return CollectionFile(count, size, digest.hexdigest(), _plain(options), [_plain(each) for each in indexes])


def read_collection(folder: Path, name: str) -> Iterator[RawBSONDocument]:
    """The documents of a collection, in the order of the file."""
    with gzip.open(_path(folder, name)) as file:
        yield from decode_file_iter(cast(BinaryIO, file), codec_options=RAW)


def check_collection(folder: Path, name: str, known: CollectionFile) -> None:
    """Raise ConfigurationError unless the file holds exactly what was written."""
    digest = hashlib.sha256()
    try:
        with gzip.open(_path(folder, name)) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{_path(folder, name)} cannot be read: {error}") from None
    if digest.hexdigest() != known.sha256:
        raise ConfigurationError(
            f"{_path(folder, name)} was changed or damaged: its hash is not that of the backup"
        )


def extended(found: Any) -> Any:
    """Options or indexes of a manifest as pymongo takes them."""
    return loads(json.dumps(found))


def _hash(fields: Mapping[str, Any]) -> str:
    # Not sorted: the order of an index's keys has a meaning.
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(dumps(found))
    return plain


def _path(folder: Path, name: str) -> Path:
    if "/" in name or name.startswith("."):
        raise ConfigurationError(f"a collection's name is not one of a file: {name}")
    return folder / f"{name}.bson.gz"


def _private(path: Path) -> BinaryIO:
    return cast(BinaryIO, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"))
