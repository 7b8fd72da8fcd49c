"""What the documents say is there: paths, links, make targets, files of the journey, tests of the controls."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings
from tests.support.documents import (
    DOCUMENTS,
    PAGES,
    README,
    SECURITY,
    SITE,
    anchors,
    code,
    each_document,
    prose,
    spans,
)
from tests.support.paths import ROOT

#: What an installation has and the repository has not.
MADE = {"deploy/.env", "deploy/backups"}
TOP = ("services/", "shared/", "tests/", "tools/", "docs/", "deploy/", ".ci/")


def paths(document: Path) -> list[str]:
    return [span.partition("::")[0] for span in spans(document) if span.startswith(TOP) and " " not in span]


@each_document
def test_paths_exist(document: Path) -> None:
    names = [span for span in spans(document) if re.fullmatch(r"[\w.-]+\.(py|yml|toml|md)|Dockerfile", span)]
    assert [path for path in paths(document) if not (ROOT / path).exists() and path not in MADE] == []
    assert [name for name in names if not any(ROOT.glob(name)) and not any(ROOT.glob(f"[sd]*/**/{name}"))] == []


def test_the_documents_name_many_paths() -> None:
    assert len({path for document in DOCUMENTS for path in paths(document)}) > 60


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text()))
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@each_document
def test_every_row_of_a_table_is_in_one(document: Path) -> None:
    """A row after an empty line is shown as text."""
    lines = ["", *prose(document.read_text()).splitlines(), ""]
    first = [i for i, line in enumerate(lines) if line.startswith("|") and not lines[i - 1].startswith("|")]
    assert [lines[i] for i in first if not re.fullmatch(r"\|[-:| ]+\|", lines[i + 1])] == []


def test_no_guide_lies_beside_the_code() -> None:
    assert [path for top in ("services", "shared") for path in (ROOT / top).rglob("*.md")] == []


def navigation() -> list[str]:
    def walk(entries: Any) -> list[str]:
        if isinstance(entries, str):
            return [entries]
        return [page for entry in entries for inner in entry.values() for page in walk(inner)]

    return walk(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(navigation()) == [page.relative_to(SITE).as_posix() for page in PAGES]


def test_the_readme_leads_to_each_part_and_is_one_screen() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 160
    for part in ("start", "how-to", "reference", "why"):
        assert f"](docs/{part}/index.md)" in text
        index = (SITE / part / "index.md").read_text()
        own = {page.relative_to(SITE / part).as_posix() for page in PAGES if SITE / part in page.parents}
        assert own - {"index.md"} <= set(re.findall(r"\]\(([^)#\s]+)", index))


def test_every_picture_is_there_and_shown() -> None:
    shown = {
        (document.parent / name).resolve()
        for document in DOCUMENTS
        for name in re.findall(r"!\[[^]]+\]\(([^)#\s]+)", document.read_text())
    }
    assert shown == set(SITE.rglob("*.png"))


@pytest.mark.parametrize("page", ["journey", "webhooks"])
def test_a_journey_names_what_is_in_the_files(page: str) -> None:
    journey = (SITE / f"why/{page}.md").read_text().partition("\n## ")[0]
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


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@each_document
def test_make_targets_exist(document: Path) -> None:
    named = {m[1] for line in code(document) if (m := re.match(r"(?:\w+=\S+ )*make ([\w-]+)", line))}
    assert named or document.name != "CONTRIBUTING.md"
    assert named <= targets()


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
    modules = [path for top in ("services", "shared", "tools") for path in (ROOT / top).rglob("*.py")]
    assert len(modules) > 50
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in modules}
    assert [path for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []
