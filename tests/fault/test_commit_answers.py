"""Commits that fail, and commits whose answer is lost, by MongoDB's own fail points and by fault points."""

from typing import Any

import pytest

from tests.fault.load import market_items
from tests.fault.system import System

EVENTS, SEED = 2_000, 21

FAIL_POINTS: dict[str, tuple[int, dict[str, Any]]] = {
    # The second failure defeats the driver's own retry.
    "commit refused twice": (
        2,
        {"failCommands": ["commitTransaction"], "errorCode": 262, "errorLabels": ["RetryableWriteError"]},
    ),
    "commit without an answer, before it is done": (
        4,
        {"failCommands": ["commitTransaction"], "closeConnection": True},
    ),
    "commit done, but its durability unknown": (
        2,
        {"failCommands": ["commitTransaction"], "writeConcernError": {"code": 64, "errmsg": "timed out"}},
    ),
    "write conflict three times": (
        3,
        {"failCommands": ["update", "insert"], "errorCode": 112, "errorLabels": ["TransientTransactionError"]},
    ),
    "transaction aborted under way": (
        3,
        {"failCommands": ["insert"], "errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    ),
    "reads fail": (5, {"failCommands": ["find"], "closeConnection": True}),
    "claims fail": (5, {"failCommands": ["findAndModify"], "closeConnection": True}),
}


def fail(system: System, times: int, data: dict[str, Any]) -> None:
    """Only what Kith's workers do fails, not what the test looks at."""
    data = {**data, "appName": "kith"}
    system.client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})


def failed(system: System) -> int:
    """How often the fail point that is set has struck."""
    answer = system.client.admin.command({"getParameter": 1, "failpoint.failCommand": 1})
    return int(answer["failpoint.failCommand"]["timesEntered"])


@pytest.mark.fast
def test_each_fail_point_in_turn(system: System) -> None:
    """Each strikes as often as it may, and the work goes on after it."""
    system.start_all()
    load = system.load(market_items(100_000, SEED), rate=400)
    system.wait_stored(100)
    for name, (times, data) in FAIL_POINTS.items():
        enough = failed(system) + times
        fail(system, times, data)
        if name == "claims fail":
            system.start("relations")
        system.wait(f"so often: {name}", lambda enough=enough: failed(system) >= enough)  # type: ignore[misc]
        system.wait_stored(30)
    load.cut()
    system.verify()


@pytest.mark.fast
def test_answers_of_commits_are_lost(system: System) -> None:
    """The slice is stored, but the worker hears of a broken connection and folds it anew. By then the documents
    say that there is nothing to do, so that its changes are only in the outbox."""
    for service in ("relations", "analytics"):
        system.start(service, fault=",".join(f"after-commit:lost:{n}" for n in (2, 5, 6, 11)))
    system.load(market_items(EVENTS, SEED))
    system.verify()
