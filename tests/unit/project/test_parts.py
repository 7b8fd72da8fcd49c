"""What `make test` runs in parts is the whole suite, each test once."""

import random
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.support.parts import keep_part

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "tests" / "unit").rglob("test_*.py"))[:40]


def test_the_folders_of_tests_are_what_make_test_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.split("\ntest: ")[1].split("\n\n")[0]
    run = re.findall(r"(?:contract|fault|e2e|unit|browser)(?:-\d)?", recipe)
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert {name.partition("-")[0] for name in run} == folders
    parts = dict(re.findall(r"PART=\$\(@:(\w+)-%=%\)/(\d)", makefile))
    wanted = [f"{name}-{number}" for name, of in parts.items() for number in range(1, int(of) + 1)]
    assert sorted(run) == sorted([*wanted, *(folders - parts.keys())])


@pytest.mark.parametrize("parts", [2, 3])
def test_each_test_is_in_one_part_in_whatever_order_it_is_collected(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = [Mock(path=path, nodeid=f"{path}::{number}") for path in FILES for number in range(3)]
    draw, kept = random.Random(1), list[str]()
    for number in range(1, parts + 1):
        monkeypatch.setenv("KITH_PART", f"{number}/{parts}")
        items: list[Any] = draw.sample(tests, len(tests))
        keep_part("KITH_PART", Mock(), items, lambda item: item.nodeid)
        assert items
        kept += [item.nodeid for item in items]
    assert sorted(kept) == sorted(each.nodeid for each in tests)
