"""What the documents say is there, and what they show is what the code does."""

import ast
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, urlsplit

import pytest
import typer

from services.analytics.api import create_app as analytics_app
from services.analytics.dashboard.live import add_live
from services.analytics.dashboard.operations import add_operations
from services.bench.__main__ import parser
from services.cli.__main__ import app as kith
from services.cli.settings import ELSEWHERE
from services.exports.api import create_app as exports_app
from services.importer.mapping import load
from services.ingest.api import create_app as ingest_app
from services.ingest.door import Accepted, Door, Rejected
from services.privacy.api import create_app as privacy_app
from services.relations.api import create_app as relations_app
from shared.contracts.changes import decode_change
from shared.contracts.codec import decode
from shared.contracts.topics import INPUTS, OUTPUTS
from shared.runtime.protocols import Message, Partition, Record
from shared.runtime.sequence_numbers import Sieve, number
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.builders import OPEN, STRENGTH, TOPICS, MemoryKith

ROOT = Path(__file__).parents[3]
README, CONTRIBUTING, SECURITY = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"
EXPORTS = ROOT / "services/exports/README.md"
#: A guide lies beside what it is about; the README leads there.
GUIDES = (
    ROOT / "shared/vault/README.md",
    ROOT / "shared/access/README.md",
    ROOT / "services/privacy/README.md",
    ROOT / "services/analytics/dashboard/README.md",
    EXPORTS,
)
DOCUMENTS = (README, CONTRIBUTING, SECURITY, *GUIDES)
#: These name some of everything.
LARGE = (README, CONTRIBUTING)
TOP = ("services/", "shared/", "tests/", ".ci/")
NOW = datetime(2026, 11, 21, 21, 55, tzinfo=UTC)
PORTS = {8701: "ingest", 8702: "relations", 8703: "analytics", 8704: "privacy", 8705: "exports"}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    """A fenced block (its language) or an indented one (no language)."""

    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    found = [Block(m[1], m[2]) for m in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]
    assert len(found) * 2 == len(re.findall(r"^```", text, re.MULTILINE)), "a fence without language or end"
    indented = re.findall(r"(?:^    .*\n|^\n(?=    ))+", prose(text), re.MULTILINE)
    return [*found, *(Block("", textwrap.dedent(block)) for block in indented)]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(document: Path) -> list[str]:
    """Inline code outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^    .*$", "", prose(document.read_text()), flags=re.MULTILINE))


def code(document: Path) -> Iterator[str]:
    """Lines of blocks and inline code: wherever a command may stand."""
    yield from spans(document)
    for block in blocks(document):
        if block.language in ("", "sh"):
            yield from (line.strip().removeprefix("$ ") for line in block.text.splitlines())


def of(document: Path, language: str) -> list[str]:
    found = [block.text for block in blocks(document) if block.language == language]
    assert found, f"no {language} in {document.name}"
    return found


@each_document
def test_paths_exist(document: Path) -> None:
    paths = [span.partition("::")[0] for span in spans(document) if span.startswith(TOP) and " " not in span]
    names = [span for span in spans(document) if re.fullmatch(r"[\w.-]+\.(py|yml|toml|md)|Dockerfile", span)]
    assert len(paths) > 5 or document not in LARGE
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [name for name in names if not any(ROOT.glob(name)) and not any(ROOT.glob(f"s*/**/{name}"))] == []


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    headings = re.findall(r"^#+ (.*)$", prose(document.read_text()), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = [link for link in re.findall(r"\]\(([^)]+)\)", document.read_text()) if "://" not in link]
    assert [a for a in links if a.startswith("#") and a[1:] not in anchors] == []
    assert [
        a for a in links if not a.startswith("#") and not (document.parent / a.partition("#")[0]).is_file()
    ] == []
    if document == README:
        assert {str(guide.relative_to(ROOT)) for guide in GUIDES} <= {link.partition("#")[0] for link in links}


def test_the_journey_names_what_is_in_the_files() -> None:
    journey = README.read_text().partition("## One event's journey")[2].partition("\n## ")[0]
    steps = re.split(r"^\d+\. ", journey, flags=re.MULTILINE)[1:]
    assert len(steps) > 10
    for step in steps:
        found = re.findall(r"`([^`]+)`", step)
        files = [ROOT / span for span in found if span.endswith(".py")]
        names = [span.split(".")[-1] for span in found if re.fullmatch(r"[A-Z]?\w+(\.\w+)?", span)]
        assert files, step
        defined = {
            node.name
            for file in files
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        assert [name for name in names if name not in defined] == [], step


@each_document
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {m[1] for line in code(document) if (m := re.match(r"(?:\w+=\S+ )*make ([\w-]+)", line))}
    assert named or document not in LARGE
    assert named <= targets


def commands() -> dict[str, set[str]]:
    """Every command, as in ``kith topics create``, and its options."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, name: str) -> None:
        found[name] = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word, child in getattr(command, "commands", {}).items():
            walk(child, f"{name} {word}")

    walk(typer.main.get_command(kith), "kith")
    return found


@each_document
def test_commands_and_their_options_exist(document: Path) -> None:
    known, named = commands(), set()
    for line in code(document):
        if found := re.search(r"^(?:docker-compose .* )?(kith(?: .*)?)$", line):
            words = found[1].partition("#")[0].split()
            plain = list(takewhile(re.compile("[a-z][a-z-]*").fullmatch, words))
            # What follows the command's own words may be a plain word, too: an argument.
            names = [" ".join(plain[:length]) for length in (4, 3, 2, 1)]
            command = next(name for name in names if name in known)
            group = any(name.startswith(f"{command} ") for name in known)
            assert not group or words == command.split(), line
            assert {word for word in words if word.startswith("--")} <= known[command], line
            named.add(command)
    assert "kith import" in named or document not in LARGE


def test_every_command_is_in_a_document() -> None:
    known = commands()
    groups = {name for name in known if any(other.startswith(f"{name} ") for other in known)}
    assert set(known) - groups <= {span for document in DOCUMENTS for span in spans(document)}


@each_document
def test_options_that_stand_alone_exist(document: Path) -> None:
    known = commands()
    named = {word for span in spans(document) for word in re.findall(r"(?<!\S)(--[a-z-]+)", span)}
    assert named or document != README
    bench = {option for action in parser()._actions for option in action.option_strings}
    assert named <= set().union(*known.values()) | bench | {"--auth"}  # the last is mongod's


@each_document
def test_variables_are_settings(document: Path) -> None:
    known = {f"KITH_{name.upper()}" for name in Settings.model_fields} | set(ELSEWHERE)
    for conftest in ("tests/conftest.py", "tests/fault/conftest.py"):
        known |= set(re.findall(r"KITH_\w+", (ROOT / conftest).read_text()))
    named = set(re.findall(r"KITH_[A-Z_]*[A-Z]", document.read_text())) - {"KITH_KEY", "KITH_AUTH"}
    assert named or document not in LARGE
    assert named <= known


@each_document
def test_topics_are_topics(document: Path) -> None:
    named = {span for span in spans(document) if re.fullmatch(r"kith\.[a-z-]+", span)}
    assert named <= {TOPICS.name(short) for short in (*INPUTS, *OUTPUTS)}


def openapi() -> dict[str, dict[str, Any]]:
    """The services' OpenAPI documents. Nothing is asked of what they stand on."""
    nothing = cast(Any, None)
    analytics = analytics_app(nothing, list, cast(Any, list), access=OPEN)
    add_live(analytics, nothing)
    add_operations(analytics, nothing, nothing, nothing, nothing)
    return {
        "ingest": ingest_app(
            MemoryPublisher(MemoryLog({})), TOPICS, Settings(), lambda: NOW, list, access=OPEN
        ).openapi(),
        "relations": relations_app(nothing, STRENGTH, list, lambda: NOW, cast(Any, list), access=OPEN).openapi(),
        "analytics": analytics.openapi(),
        "privacy": privacy_app(
            nothing, nothing, nothing, nothing, TOPICS, list, lambda: NOW, access=OPEN
        ).openapi(),
        "exports": exports_app(nothing, list, cast(Any, list), access=OPEN).openapi(),
    }


def test_routes_exist_and_all_are_named() -> None:
    paths = {(m.upper(), path) for d in openapi().values() for path, item in d["paths"].items() for m in item}
    text = "".join(document.read_text() for document in DOCUMENTS)
    named = {(m[1], m[2]) for m in re.finditer(r"`(GET|POST|PUT|DELETE|PATCH) (/[^\s?`]+)", text)}
    assert named - {("GET", "/openapi.json")} == paths


def requests() -> Iterator[tuple[str, list[tuple[bytes, bytes]], bytes | None, str]]:
    """Every curl of the documents: address, headers, body."""
    for block in (block.text for document in DOCUMENTS for block in blocks(document) if block.language == "sh"):
        for line in re.sub(r"\\\n", " ", block).split("curl ")[1:]:
            words, headers, body, url, method = shlex.split(line, comments=True), [], None, "", "GET"
            while words:
                word = words.pop(0)
                if word == "-H":
                    name, _, value = words.pop(0).partition(": ")
                    headers.append((name.lower().encode(), value.encode()))
                elif word == "-d":
                    body = words.pop(0).encode()
                elif word == "-X":
                    method = words.pop(0)
                elif not word.startswith("-"):
                    url = word
            yield url, headers, body, method


def test_what_is_asked_can_be_asked() -> None:
    documents, asked = openapi(), [(url, method.lower()) for url, _, body, method in requests() if body is None]
    assert len(asked) > 5
    for url, method in asked:
        parts = urlsplit(url)
        paths = documents[PORTS[parts.port or 0]]["paths"]
        (route,) = (p for p in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), parts.path))
        known = {parameter["name"] for parameter in paths[route][method].get("parameters", ())}
        assert {name for name, _ in parse_qsl(parts.query)} <= known, url


def posted() -> Iterator[tuple[dict[str, Any], list[Message]]]:
    """What the door says to each POST of the README, and what it would publish."""
    door = Door(TOPICS, 86_400)
    for _, headers, body, _ in requests():
        if body is not None:
            verdicts = door.judge(body, headers, NOW)
            messages = [verdict.message for verdict in verdicts if isinstance(verdict, Accepted)]
            rejected = [
                {"index": v.index, "id": v.id, "reason": v.reason, "field": v.field, "detail": v.detail}
                for v in verdicts
                if isinstance(v, Rejected)
            ]
            yield {"accepted": len(messages), "rejected": rejected}, messages


def answers() -> list[dict[str, Any]]:
    return [json.loads(text) for text in of(README, "json")]


def test_the_door_answers_as_shown() -> None:
    shown = [answer for answer in answers() if "accepted" in answer]
    assert len(shown) == 4
    assert [answer for answer, _ in posted()] == shown


def test_the_relationship_is_what_the_events_make() -> None:
    memory = MemoryKith()
    for _, messages in posted():
        for message in messages:
            memory.log.append(message)
    memory.drain()
    (stored,) = memory.documents()["relationships"].values()
    (shown,) = (answer for answer in answers() if "fingerprint" in answer)
    times = {name: datetime.fromisoformat(shown[name]["$date"]) for name in ("first", "last")}
    assert {**shown, **times} == stored

    (explained,) = (answer for answer in answers() if "as_of" in answer)
    total, parts = STRENGTH.at(stored["kinds"], datetime.fromisoformat(explained["as_of"]))
    assert explained["strength"] == pytest.approx(total)
    assert {kind: cell["strength"] for kind, cell in explained["kinds"].items()} == pytest.approx(parts)


def test_the_events_of_other_languages_decode() -> None:
    (python,) = (text for text in of(README, "python") if "urllib" in text)
    (literal,) = (
        node.value
        for node in ast.parse(python).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event"
    )
    decode(json.dumps(ast.literal_eval(literal)).encode())
    (java,) = of(README, "java")
    (event,) = re.findall(r'"""\n(.*?)"""', java, re.DOTALL)
    decode(event.encode())


def test_the_change_decodes() -> None:
    (shown,) = (answer for answer in answers() if answer.get("type") == "relation.changed")
    decode_change(json.dumps(shown).encode())


def test_the_reader_of_changes_counts_each_once() -> None:
    (source,) = (text for text in of(README, "python") if "is_next" in text)
    scope: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), scope)
    messages, _ = number([Message("t", None, b"", 0) for _ in range(4)], "relations@1/kith.relations/0", 0)
    delivered = [messages[i] for i in (0, 1, 1, 3, 0, 1, 2, 3, 3)]
    seen: dict[str, int] = {}
    counted = [message for message in delivered if scope["is_next"](seen, dict(message.headers))]
    assert counted == messages
    sieve, origin = Sieve({}, trimmed=False), Partition("t", 0)
    records = [Record(origin, offset, 0, None, b"", m.headers) for offset, m in enumerate(delivered)]
    assert [record.headers for record in records if sieve.admits(record)] == [m.headers for m in counted]


def test_the_mapping_loads(tmp_path: Path) -> None:
    (mapping,) = of(README, "toml")
    (tmp_path / "shop.toml").write_text(mapping)
    assert [source.type for source in load(tmp_path / "shop.toml").source] == ["relation.recorded"]


def test_each_control_has_its_tests() -> None:
    """In SECURITY.md every threat names a control and a test of it."""
    rows = [line.split("|")[1:-1] for line in SECURITY.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 12
    for *_, control, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", tests)
        assert control.strip()
        assert named, tests
        for path, name in named:
            assert f"def {name}" in (ROOT / path).read_text(), (path, name)


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_module_has_a_docstring() -> None:
    modules = [path for top in ("services", "shared") for path in (ROOT / top).rglob("*.py")]
    assert len(modules) > 50
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in modules}
    assert [path for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []
