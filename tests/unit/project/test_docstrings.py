"""A docstring says what a thing is or does, and begins with that: a verb or a noun."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

#: With these a sentence begins in its middle: what it is about, only the signature says.
FRAGMENTS = re.compile(r"(Of|Those|As|By)\b")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources() -> Iterator[Path]:
    for top in ("services", "shared"):
        yield from sorted((ROOT / top).rglob("*.py"))


def test_a_docstring_begins_with_what_it_is_about() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)) and FRAGMENTS.match(docstring)
    ]
    assert found == []
