"""What the documents show is what the code does: requests, answers, documents, changes, a mapping."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.importer.mapping import load
from services.ingest.door import Accepted, Door, Rejected
from services.relations.mass import Mass
from shared.contracts.changes import decode_change
from shared.contracts.codec import decode
from shared.runtime.protocols import Message, Partition, Record
from shared.runtime.sequence_numbers import SequenceFilter, assign_numbers
from tests.support.builders import STRENGTH, TOPICS, MemoryKith
from tests.support.documents import (
    CHANGES,
    DOCUMENTS,
    EMIT,
    FIRST_STEPS,
    IMPORT,
    SITE,
    answers,
    blocks,
    of,
    requests,
)

NOW = datetime(2026, 11, 21, 21, 55, tzinfo=UTC)


def posted(document: Path) -> Iterator[tuple[dict[str, Any], list[Message]]]:
    """What the door says to each event of a document, and what it would publish."""
    door = Door(TOPICS, 86_400)
    for method, url, headers, body in requests(document):
        if (method, urlsplit(url).path) == ("POST", "/v1/events"):
            verdicts = door.judge(body or b"", headers, NOW)
            messages = [verdict.message for verdict in verdicts if isinstance(verdict, Accepted)]
            rejected = [
                {"index": v.index, "id": v.id, "reason": v.reason, "field": v.field, "detail": v.detail}
                for v in verdicts
                if isinstance(v, Rejected)
            ]
            yield {"accepted": len(messages), "rejected": rejected}, messages


def test_the_door_answers_as_shown() -> None:
    for document in DOCUMENTS:
        found = [answer for answer, _ in posted(document)]
        assert found == [answer for answer in answers(document) if "accepted" in answer], document
        assert len(found) == 4 or document != FIRST_STEPS


def test_the_head_of_many_kinds_has_the_strength_of_its_relations() -> None:
    (shown,) = (document for document in answers(SITE / "reference/stored-documents.md") if "mass" in document)
    mass = Mass(STRENGTH)
    mass.add("purchase", "2026-05", 100)
    mass.add("another", "2026-09", 1_100)
    assert (shown["mass"], shown["score"]) == (mass.stored(), mass.score())


def test_the_relationship_is_what_the_events_make() -> None:
    memory = MemoryKith()
    for _, messages in posted(FIRST_STEPS):
        for message in messages:
            memory.log.append(message)
    memory.drain()
    (stored,) = memory.documents()["relationships"].values()
    documents = answers(SITE / "reference/stored-documents.md")
    (shown,) = (document for document in documents if "fingerprint" in document)
    times = {name: datetime.fromisoformat(shown[name]["$date"]) for name in ("first", "last")}
    assert {**shown, **times} == stored

    (explained,) = (answer for answer in answers(FIRST_STEPS) if "as_of" in answer)
    total, parts = STRENGTH.at(stored["kinds"], datetime.fromisoformat(explained["as_of"]))
    assert explained["strength"] == pytest.approx(total)
    assert {kind: cell["strength"] for kind, cell in explained["kinds"].items()} == pytest.approx(parts)


def test_the_events_of_other_languages_decode() -> None:
    (python,) = (text for text in of(EMIT, "python") if "urllib" in text)
    (literal,) = (
        node.value
        for node in ast.parse(python).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event"
    )
    decode(json.dumps(ast.literal_eval(literal)).encode())
    (java,) = of(EMIT, "java")
    (event,) = re.findall(r'"""\n(.*?)"""', java, re.DOTALL)
    decode(event.encode())


def test_every_python_example_compiles() -> None:
    sources = [block.text for document in DOCUMENTS for block in blocks(document) if block.language == "python"]
    assert len(sources) > 2
    for source in sources:
        compile(source, "document", "exec")


def test_the_change_decodes() -> None:
    (shown,) = (answer for answer in answers(CHANGES) if answer.get("type") == "relation.changed")
    decode_change(json.dumps(shown).encode())


def test_the_reader_of_changes_counts_each_once() -> None:
    (source,) = (text for text in of(CHANGES, "python") if "is_next" in text)
    scope: dict[str, Any] = {}
    exec(compile(source, CHANGES.name, "exec"), scope)
    messages, _ = assign_numbers([Message("t", None, b"", 0) for _ in range(4)], "relations@1/kith.relations/0", 0)
    delivered = [messages[i] for i in (0, 1, 1, 3, 0, 1, 2, 3, 3)]
    seen: dict[str, int] = {}
    counted = [message for message in delivered if scope["is_next"](seen, dict(message.headers))]
    assert counted == messages
    sieve, origin = SequenceFilter({}, trimmed=False), Partition("t", 0)
    records = [Record(origin, offset, 0, None, b"", m.headers) for offset, m in enumerate(delivered)]
    assert [record.headers for record in records if sieve.accept(record)] == [m.headers for m in counted]


def test_the_mapping_loads(tmp_path: Path) -> None:
    (mapping,) = of(IMPORT, "toml")
    (tmp_path / "shop.toml").write_text(mapping)
    assert [source.type for source in load(tmp_path / "shop.toml").source] == ["relation.recorded"]
