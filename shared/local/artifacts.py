"""Files that Kith fetches to run, each held to the SHA-256 in ``artifacts.toml``.

A file that differs is neither used nor deleted: the error names it, what was expected and what was found.
``make pins`` writes the list.
"""

import hashlib
import os
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from shared.contracts.errors import ConfigurationError
from shared.local.cache import cache_folder, locked

LIST = Path(__file__).with_name("artifacts.toml")
#: Maven Central, unless the variable names a mirror of it. What a mirror answers is checked all the same.
VARIABLE, MAVEN_CENTRAL = "KITH_MAVEN_URL", "https://repo.maven.apache.org/maven2"
_TRIES, _TIMEOUT_SECONDS, _AT_ONCE = 3, 60.0, 4
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Artifacts:
    """Files that belong together. ``files``: path in the repository (or package) → SHA-256."""

    folder: str
    origin: str
    files: Mapping[str, str]


class Mismatch(ConfigurationError):
    """A file is not the one that is listed."""


@cache
def listed(name: str) -> Artifacts:
    """The artifacts of this name in the list."""
    found = tomllib.loads(LIST.read_text())[name]
    return Artifacts(found["folder"], found["origin"], found["files"])


def fetched(name: str) -> Path:
    """The folder with the listed files, and with no other jar, each checked. The first call on a machine downloads
    them. Raises ConfigurationError; Mismatch when a file differs."""
    artifacts = listed(name)
    folder = cache_folder() / artifacts.folder
    if not folder.exists():
        with locked(artifacts.folder) as cache:
            if not folder.exists():
                _download(artifacts, cache, folder)
    expected = {PurePosixPath(path).name: sha256 for path, sha256 in artifacts.files.items()}
    if unlisted := sorted({jar.name for jar in folder.glob("*.jar")} - set(expected)):
        raise Mismatch(
            f"{folder} holds {', '.join(unlisted)}, which Kith has not put there, and Java would load it. "
            "Nothing was started: move it elsewhere, and start again"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda item: check(folder / item[0], item[1]), expected.items()))
    return folder


def check(path: Path, sha256: str) -> None:
    """Raise Mismatch unless the file has this hash. A file that stays as it is is read once in a process."""
    try:
        at = path.stat()
        found = _hash(path, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
    except FileNotFoundError:
        raise Mismatch(
            f"{path} is missing (SHA-256 {sha256}). Nothing was started: delete {path.parent}, "
            "and the next start fetches it again"
        ) from None
    if found != sha256:
        raise Mismatch(
            f"{path} is not the file that this version of Kith was made with.\n"
            f"  SHA-256 expected  {sha256}\n"
            f"  SHA-256 found     {found}  ({at.st_size} bytes)\n"
            "It was not run, and stays where it is. Find out who changed it; delete "
            f"{path.parent} (or install the package again), and the next start fetches it again"
        )


@cache
def _hash(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repository() -> str:
    """The address of the Maven repository."""
    return (os.environ.get(VARIABLE) or MAVEN_CENTRAL).rstrip("/")


def _download(artifacts: Artifacts, cache: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as name:
        complete = Path(name) / "complete"
        complete.mkdir()

        def fetch(item: tuple[str, str]) -> None:
            path, sha256 = item
            download(f"{repository()}/{path}", complete / PurePosixPath(path).name, sha256)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fetch, artifacts.files.items()))
        complete.rename(folder)  # at once, and only when all are there and checked


def download(url: str, to: Path, sha256: str) -> None:
    """Fetch a file whose hash is known. Nothing stays of one that differs. Raises ConfigurationError when the
    server cannot be reached, Mismatch when it serves something else."""
    for left in reversed(range(_TRIES)):
        try:
            size, announced, found = _receive(url, to)
        except (OSError, HTTPException) as error:
            # A file that is not there will not come by asking again.
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if left and not final:
                continue
            raise ConfigurationError(
                f"cannot fetch {url}: {type(error).__name__}: {error}. Check the network or the proxy; "
                f"{VARIABLE} names a mirror of Maven Central"
            ) from error
        if found == sha256:
            return
        to.unlink()
        if left and announced is not None and size < announced:
            continue  # the connection broke
        cut = f" of {announced}" if announced is not None and size != announced else ""
        raise Mismatch(
            f"{url} is not the file that this version of Kith was made with.\n"
            f"  SHA-256 expected  {sha256}\n"
            f"  SHA-256 found     {found}  ({size}{cut} bytes)\n"
            "It was not run, and nothing of it was kept. Try again. If it differs again, a proxy or mirror "
            f"changes or cuts downloads: ask its administrator, or name another mirror in {VARIABLE}"
        )


def _receive(url: str, to: Path) -> tuple[int, int | None, str]:
    """The bytes that came, those that were announced, and the hash of what came."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, to.open("wb") as file:
        while chunk := answer.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        announced = answer.headers.get("Content-Length")
        return file.tell(), None if announced is None else int(announced), digest.hexdigest()
