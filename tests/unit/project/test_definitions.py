"""A merge that keeps a definition of both sides is found: the later one would win without a word."""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

FOLDERS = ("services", "shared", "tests", "tools")


def twice(text: str) -> list[str]:
    """The names that a module, or a class in it, defines more than once."""
    tree = ast.parse(text)
    scopes: list[ast.Module | ast.ClassDef] = [
        tree,
        *(each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)),
    ]
    return sorted(
        name
        for scope in scopes
        for name, count in Counter(name for each in scope.body for name in defined(each)).items()
        if count > 1
    )


def defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            # Decorated ones may be variants of one definition: overload, setter.
            if not statement.decorator_list:
                yield statement.name
        case ast.Assign():
            yield from (each.id for each in statement.targets if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            yield name


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_defined_twice(folder: str) -> None:
    found = {path: names for path in (ROOT / folder).rglob("*.py") if (names := twice(path.read_text()))}
    assert found == {}


def test_what_is_defined_twice_is_found() -> None:
    assert twice("MOST = 1\n\nMOST = 1\n") == ["MOST"]
    assert twice("class A:\n    x: int = 1\n    x: int = 2\n    y = 1\n") == ["x"]
    assert twice("def f(): ...\ndef f(): ...\n") == ["f"]
    assert twice("x: int\nx = 1\ny = x\n") == []
