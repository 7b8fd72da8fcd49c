"""A part of the collected tests, for processes that share them side by side, each with servers of its own."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable

import pytest


def keep_part(
    variable: str, config: pytest.Config, items: list[pytest.Item], unit: Callable[[pytest.Item], Hashable]
) -> None:
    """Deselect the tests of other parts. The environment's ``variable`` names the part, ``1/3`` the first of
    three; without it all tests stay. ``unit`` names what stays together. Units are given to the part that has
    least so far, those with the longest files first: before a test runs, nothing else tells how long it takes."""
    if not (part := os.environ.get(variable)):
        return
    number, parts = (int(each) for each in part.split("/"))
    units: dict[Hashable, list[pytest.Item]] = defaultdict(list)
    for item in items:
        units[unit(item)].append(item)
    loads = [0] * parts
    kept: set[Hashable] = set()
    # Not in the order of their collection, which another part may have collected otherwise.
    for load, name in sorted(
        ((_length(units[name]), name) for name in units), key=lambda each: (-each[0], repr(each[1]))
    ):
        least = loads.index(min(loads))
        loads[least] += load
        if least == number - 1:
            kept.add(name)
    config.hook.pytest_deselected(items=[item for item in items if unit(item) not in kept])
    items[:] = [item for item in items if unit(item) in kept]


def _length(items: list[pytest.Item]) -> int:
    """Bytes of the files in which they are."""
    return sum(path.stat().st_size for path in {item.path for item in items})
