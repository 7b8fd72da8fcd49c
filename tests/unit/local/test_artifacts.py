"""What is fetched is what the list holds, or it is neither used nor kept. A server here serves the rest."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.contracts.errors import ConfigurationError
from shared.local import artifacts
from shared.local.artifacts import VARIABLE, Artifacts, Mismatch, check, download, fetched
from shared.local.cache import cache_folder

GOOD = b"the jar as it was listed" * 1000
SHA256 = hashlib.sha256(GOOD).hexdigest()
ONE, TWO = "org/example/one/1.0/one-1.0.jar", "org/example/two/1.0/two-1.0.jar"
Answer = tuple[int, bytes, int]


class Repository:
    """Serves ``answers`` by path: status, body, and the length that is announced. Counts what is asked for."""

    def __init__(self, url: str, answers: dict[str, list[Answer]]) -> None:
        self.url, self.answers = url, answers
        self.asked: list[str] = []

    def serves(self, path: str, *answers: Answer) -> None:
        """The answers to the first, second … question; the last one from then on."""
        self.answers[path] = list(answers)


def whole(body: bytes) -> Answer:
    return 200, body, len(body)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    found: Repository

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            found.asked.append(path)
            answers = found.answers.get(path, [(404, b"", 0)])
            status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found = Repository(f"http://127.0.0.1:{server.server_port}", {})
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLE, found.url + "/")
    monkeypatch.setenv("KITH_CACHE_FOLDER", str(tmp_path / "cache"))
    monkeypatch.setattr(artifacts, "listed", lambda _: Artifacts("things-1.0", "…", {ONE: SHA256, TWO: SHA256}))
    yield found
    server.shutdown()
    server.server_close()


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_good_files_are_fetched_once_and_stay(repository: Repository, tmp_path: Path) -> None:
    repository.serves(ONE, whole(GOOD))
    repository.serves(TWO, whole(GOOD))
    folder = fetched("things")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "one-1.0.jar": GOOD,
        "two-1.0.jar": GOOD,
    }
    assert fetched("things") == folder
    assert sorted(repository.asked) == [ONE, TWO]
    assert left_in(tmp_path / "cache") == {"things-1.0"}, "nothing of the download stays beside it"


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (whole(b"another jar"), ("(11 bytes)", hashlib.sha256(b"another jar").hexdigest())),
        (whole(GOOD[:-1]), (f"({len(GOOD) - 1} bytes)",)),
        (whole(GOOD + b"\n"), (f"({len(GOOD) + 1} bytes)",)),
        (whole(b""), ("(0 bytes)",)),
        ((200, GOOD[:500], len(GOOD)), (f"(500 of {len(GOOD)} bytes)",)),
    ],
    ids=["wrong bytes", "a byte short", "a byte more", "empty", "connection cut"],
)
def test_another_file_is_refused_and_nothing_of_it_stays(
    answer: Answer, parts: tuple[str, ...], repository: Repository, tmp_path: Path
) -> None:
    repository.serves(ONE, whole(GOOD))
    repository.serves(TWO, answer)
    with pytest.raises(Mismatch) as refused:
        fetched("things")
    said = str(refused.value)
    for part in (f"{repository.url}/{TWO}", SHA256, "not run", VARIABLE, *parts):
        assert part in said
    assert left_in(tmp_path / "cache") == set()
    repository.serves(TWO, whole(GOOD))
    assert len(list(fetched("things").iterdir())) == 2, "the next start fetches it"


def test_a_connection_that_is_cut_once_does_no_harm(repository: Repository, tmp_path: Path) -> None:
    repository.serves(ONE, (200, GOOD[:500], len(GOOD)), (503, b"", 0), whole(GOOD))
    download(f"{repository.url}/{ONE}", tmp_path / "one.jar", SHA256)
    assert (tmp_path / "one.jar").read_bytes() == GOOD
    assert repository.asked == [ONE] * 3


def test_what_is_not_there_is_asked_for_once(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"cannot fetch {repository.url}/{ONE}: HTTPError")):
        download(f"{repository.url}/{ONE}", tmp_path / "one.jar", SHA256)
    assert repository.asked == [ONE]
    assert not (tmp_path / "one.jar").exists()


def test_a_repository_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Check the network"):
        download("http://127.0.0.1:1/one.jar", tmp_path / "one.jar", SHA256)


def change(path: Path) -> None:
    path.write_bytes(GOOD.replace(b"jar", b"jAr"))


def add(path: Path) -> None:
    path.with_name("evil.jar").write_bytes(GOOD)


@pytest.mark.parametrize(
    ("do", "parts"),
    [
        (change, ("one-1.0.jar is not the file", SHA256, "stays where it is")),
        (lambda path: path.write_bytes(b""), ("one-1.0.jar is not the file", "(0 bytes)")),
        (Path.unlink, ("one-1.0.jar is missing", SHA256)),
        (add, ("evil.jar", "Java would load it")),
    ],
    ids=["changed", "emptied", "deleted", "added"],
)
def test_a_cache_that_was_tampered_with_is_not_used_and_not_cleaned_up(
    do: Callable[[Path], object], parts: tuple[str, ...], repository: Repository
) -> None:
    repository.serves(ONE, whole(GOOD))
    repository.serves(TWO, whole(GOOD))
    jar = fetched("things") / "one-1.0.jar"
    do(jar)
    before = {path: path.read_bytes() for path in jar.parent.iterdir()}
    with pytest.raises(Mismatch) as refused:
        fetched("things")
    for part in parts:
        assert part in str(refused.value)
    assert {path: path.read_bytes() for path in jar.parent.iterdir()} == before
    assert len(repository.asked) == 2


def test_a_file_of_a_package_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "mongod").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(Mismatch, match=r"install the package again"):
        check(tmp_path / "mongod", SHA256)


def test_a_relative_cache_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka runs in the folder of its data, and its class path names the jars."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITH_CACHE_FOLDER", "cache")
    assert cache_folder() == tmp_path / "cache"
