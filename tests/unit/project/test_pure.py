"""What says that it is pure is: a module whose docstring has the word "Pure" reaches no client library, no web
framework, no settings, no clock and nothing random. The import graph is asked, so no list has to be kept."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from tests.support.paths import ROOT

#: What a pure module reaches in no way, not even through another one.
CLIENTS = ("kafka", "confluent_kafka", "pymongo", "bson", "fastapi", "uvicorn", "httpx", "shared.settings")
#: What it does not import itself. What it imports may (pydantic reads no clock for us, but imports one).
EFFECTS = ("logging", "time", "secrets", "uuid", "socket", "subprocess", "threading", "os")
CLOCKS = ("datetime.now", "datetime.utcnow", "date.today")
SEEDED = ("random.Random",)


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("services", "shared"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def says_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return "Pure." in docstring or "Pure:" in docstring


PURE = [(name, path) for name, path in modules() if says_pure(path)]

each_pure_module = pytest.mark.parametrize(("name", "path"), PURE, ids=[name for name, _ in PURE])


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("services", "shared", include_external_packages=True)


@each_pure_module
def test_a_pure_module_reaches_no_client(name: str, path: Path) -> None:  # noqa: ARG001
    chains = [
        " → ".join(chain)
        for client in CLIENTS
        if client in graph().modules and (chain := graph().find_shortest_chain(name, client))
    ]
    assert chains == []


@each_pure_module
def test_a_pure_module_imports_no_effect(name: str, path: Path) -> None:  # noqa: ARG001
    tree = ast.parse(path.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    # A generator that is handed in, with its seed, is fine; the one that all modules share is not.
    shared = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    called = [(node.lineno, ast.unparse(node.func)) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    impure = [
        f"line {line}: {function}()"
        for line, function in called
        if function in CLOCKS or (function.startswith("random.") and "random" in shared and function not in SEEDED)
    ]
    assert [each for each in sorted(imported) if each.partition(".")[0] in EFFECTS] == []
    assert impure == []


def test_every_projection_and_every_contract_says_that_it_is_pure() -> None:
    """Those that must be cannot leave the word out."""
    pure = {name for name, _ in PURE}
    demanded = {
        name
        for name, _ in modules()
        if (
            name.startswith("shared.contracts.") or (name.startswith("services.") and name.endswith(".projection"))
        )
    }
    assert demanded - pure == set()
