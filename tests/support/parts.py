"""A part of the collected tests, for processes that share them side by side, each with servers of its own."""

import os
from collections.abc import Callable, Hashable

import pytest


def keep_part(
    variable: str, config: pytest.Config, items: list[pytest.Item], unit: Callable[[pytest.Item], Hashable]
) -> None:
    """Deselect the tests of other parts. The environment's ``variable`` names the part: ``1/2`` is every second
    unit, in the order of collection, and ``2/2`` the others. ``unit`` names what stays together. Without the
    variable all tests stay."""
    if not (part := os.environ.get(variable)):
        return
    number, parts = (int(each) for each in part.split("/"))
    order = {name: place for place, name in enumerate(dict.fromkeys(map(unit, items)))}
    mine = [item for item in items if order[unit(item)] % parts == number - 1]
    config.hook.pytest_deselected(items=[item for item in items if order[unit(item)] % parts != number - 1])
    items[:] = mine
