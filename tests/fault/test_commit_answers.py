"""Commits that fail, and commits whose answer is lost, by MongoDB's own fail points and by fault points."""

from typing import Any

import pytest

from tests.fault.load import market_items
from tests.fault.system import System

EVENTS, SEED = 2_000, 21

FAIL_POINTS: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    # The second failure defeats the driver's own retry.
    "commit refused twice": (
        {"times": 2},
        {"failCommands": ["commitTransaction"], "errorCode": 262, "errorLabels": ["RetryableWriteError"]},
    ),
    "commit without an answer, before it is done": (
        {"times": 4},
        {"failCommands": ["commitTransaction"], "closeConnection": True},
    ),
    "commit done, but its durability unknown": (
        {"times": 2},
        {"failCommands": ["commitTransaction"], "writeConcernError": {"code": 64, "errmsg": "timed out"}},
    ),
    "write conflict three times": (
        {"times": 3},
        {"failCommands": ["update", "insert"], "errorCode": 112, "errorLabels": ["TransientTransactionError"]},
    ),
    "transaction aborted under way": (
        {"times": 3},
        {"failCommands": ["insert"], "errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    ),
    "reads fail": ({"times": 5}, {"failCommands": ["find"], "closeConnection": True}),
    "claims fail": ({"times": 5}, {"failCommands": ["findAndModify"], "errorCode": 11600}),
}
FAST = {"commit done, but its durability unknown"}


def fail(system: System, mode: dict[str, int], data: dict[str, Any]) -> None:
    """Only what Kith's workers do fails, not what the test looks at."""
    data = {**data, "appName": "kith"}
    system.client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})


def failed(system: System) -> int:
    """How often the last fail point has struck."""
    off = {"configureFailPoint": "failCommand", "mode": "off"}
    return int(system.client.admin.command(off)["count"])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.fast) if n in FAST else n for n in FAIL_POINTS]
)
def test_fail_point(system: System, name: str) -> None:
    mode, data = FAIL_POINTS[name]
    system.start_all()
    system.load(market_items(EVENTS, SEED))
    for stored in (100, 300, 600):
        system.wait(f"{stored} events stored", lambda stored=stored: system.stored() >= stored)  # type: ignore[misc]
        fail(system, mode, data)
    system.wait_drained()
    assert failed(system) >= mode["times"]
    system.verify()


@pytest.mark.fast
@pytest.mark.parametrize("service", ["relations", "analytics"])
def test_answers_of_commits_are_lost(system: System, service: str) -> None:
    """The slice is stored, but the worker hears of a broken connection and folds it anew. By then the documents
    say that there is nothing to do, so that its changes are only in the outbox."""
    system.start(service, fault=",".join(f"after-commit:lost:{n}" for n in (2, 5, 6, 11)))
    system.start("analytics" if service == "relations" else "relations")
    system.load(market_items(EVENTS, SEED))
    system.verify()
