"""What the tests of the importer share: a publisher that records, and one call from mapping text to report."""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.importer.batch import Clock
from services.importer.mapping import load
from services.importer.run import Progress, Report, run
from shared.contracts.topics import Topics
from shared.runtime.protocols import Message
from shared.vault.keys import Vault

CLOCK = Clock(datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1))
#: The version of what the tests import, where they do not ask for the file's own.
AS_OF = datetime(2025, 12, 31, 12, tzinfo=UTC)


class Recorder:
    """Acknowledges everything at once and keeps it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed = False

    def send(self, messages: Sequence[Message]) -> Future[None]:
        self.messages.extend(messages)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def close(self) -> None:
        self.closed = True

    def events(self, topic: str | None = None) -> list[dict[str, Any]]:
        return [json.loads(one.value) for one in self.messages if topic in (None, one.topic)]


def imported(
    mapping: Path,
    recorder: Recorder | None = None,
    progress: Progress | None = None,
    vault: Vault | None = None,
    as_of: datetime | None = AS_OF,
) -> Report:
    """Import with rejects beside the mapping. ``as_of`` None is what mapping and files say, as of now."""
    clock = CLOCK if as_of is AS_OF else Clock(datetime.now(UTC), CLOCK.most_ahead)
    rejects = rejects_of(mapping)
    return run(load(mapping), recorder, Topics(), rejects, clock, progress, vault, path=mapping, as_of=as_of)


def rejects_of(mapping: Path) -> Path:
    return mapping.with_suffix(".rejected.jsonl")


def rejected(mapping: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rejects_of(mapping).read_text(encoding="utf-8").splitlines()]


def write_mapping(folder: Path, text: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return path


VISITS = """
[[source]]
path = "{file}"
type = "relation.recorded"
time = 2024-05-01T00:00:00Z
{options}
[source.fields]
kind = {{ const = "view" }}
consumer_id = "who"
provider_id = "where"
{fields}
"""


def visits(folder: Path, file: str, options: str = "", fields: str = "") -> Path:
    """A mapping of a file with the columns ``who`` and ``where`` to views."""
    return write_mapping(folder, VISITS.format(file=file, options=options, fields=fields))
