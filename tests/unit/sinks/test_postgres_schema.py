"""What happens to a Postgres schema that another process makes at the same moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from services.postgres import connections as module
from services.postgres.connections import Connections, prepare
from services.postgres.schema import MIGRATIONS
from shared.contracts.errors import ConfigurationError


class Statements:
    """Connections that only note what is executed."""

    schema = "kith"

    def __init__(self) -> None:
        self.executed: list[str] = []

    @contextmanager
    def lent(self) -> Iterator["Statements"]:
        yield self

    def execute(self, query: Any, *_: Any) -> None:
        self.executed.append(query if isinstance(query, str) else query.as_string(None))


def test_a_newer_version_that_is_noticed_only_behind_the_lock_is_not_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = iter([0, 0, len(MIGRATIONS) + 1])
    monkeypatch.setattr(module, "_version", lambda *_: next(seen))
    with pytest.raises(ConfigurationError, match="made by a newer Kith"):
        prepare(cast(Connections, statements := Statements()))
    assert not [each for each in statements.executed if each.startswith(("DELETE", "INSERT"))]
