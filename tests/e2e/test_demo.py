"""The demo without a terminal, as a newcomer's script would run it."""

import json

from tests.support.end_to_end import kith
from tests.support.waiting import PATIENCE_SECONDS


def test_the_demo_is_exact_and_says_so_in_one_line() -> None:
    with kith("demo", "--events", "3000", "--exit", "--json") as process:
        output, errors = process.communicate(timeout=2 * PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    result = json.loads(output.splitlines()[-1])
    assert set(result) == {
        "sent",
        "accepted",
        "stored",
        "relationships",
        "changes",
        "exact",
        "seconds",
        "events_per_s",
        "latency_ms",
        "webhooks",
    }
    assert result["exact"] is True
    assert result["sent"] == 3000
    # Some of the market's events are flawed on purpose, and some repeat, amend or retract others.
    assert 2500 < result["accepted"] < 3000
    assert 0 < result["relationships"] <= result["stored"] <= result["changes"] <= result["accepted"]
    assert result["events_per_s"] > 0
    assert result["seconds"] > 0
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
    webhooks = result["webhooks"]
    assert 0 < webhooks["owed"] == webhooks["arrived"]
    assert webhooks["refused"] == 0
    assert "Traceback" not in errors
