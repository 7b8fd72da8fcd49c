"""The documents, and what can be read from them: blocks, commands, requests, answers."""

import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.paths import ROOT

SITE = ROOT / "docs"
README, CONTRIBUTING, SECURITY = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"
FIRST_STEPS = SITE / "start/second-terminal.md"
EMIT, CHANGES, IMPORT = (SITE / f"how-to/{name}.md" for name in ("emit", "read-changes", "import"))
PAGES = tuple(sorted(SITE.rglob("*.md")))
DOCUMENTS = (README, CONTRIBUTING, SECURITY, *PAGES)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    """A fenced block (its language) or an indented one (no language)."""

    language: str
    text: str


class Request(NamedTuple):
    """A curl in a document."""

    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | None


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


def answers(document: Path) -> list[dict[str, Any]]:
    """The JSON that a document shows."""
    return [json.loads(block.text) for block in blocks(document) if block.language == "json"]


def requests(document: Path) -> Iterator[Request]:
    """Every curl of a document."""
    for block in (block.text for block in blocks(document) if block.language in ("", "sh")):
        for line in re.sub(r"\\\n", " ", block).split("curl ")[1:]:
            words, headers, body, url, method = shlex.split(line, comments=True), [], None, "", ""
            while words:
                word = words.pop(0)
                if word == "-H":
                    name, _, value = words.pop(0).partition(": ")
                    headers.append((name.lower().encode(), value.encode()))
                elif word == "-d":
                    body = words.pop(0).encode()
                elif word == "-X":
                    method = words.pop(0)
                elif word.startswith("http"):
                    url = word
                elif not word.startswith("-"):
                    break  # a line of its own after it
            yield Request(method or ("GET" if body is None else "POST"), url, headers, body)


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as the site and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", prose(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
