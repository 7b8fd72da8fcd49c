"""A tiny benchmark on real servers: a peer and Kith's whole job, and what is printed of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    if folder := os.environ.get("KITH_CACHE_FOLDER"):
        environment["KITH_CACHE_FOLDER"] = folder
    done = subprocess.run(
        [sys.executable, "-m", "services.bench", "--json", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def test_a_peer_and_kith_are_measured_on_the_same_topics() -> None:
    only = ("bulk", "kith-librdkafka")
    rows = bench("--only", *only, "--events", "6000", "--reps", "1", "--scenarios", "first", "amended")
    assert [row for row in rows if row["row"] == "left out"] == []
    runs = {(row["contender"], row["scenario"]): row for row in rows if row["row"] == "run"}
    assert set(runs) == {("bulk", "first"), ("kith-librdkafka", "first"), ("kith-librdkafka", "amended")}
    for run in runs.values():
        assert run["events"] == 6000
        assert run["rate"] > 100
        assert run["client_us"] + run["mongod_us"] > 0
        assert run["memory_mb"] > 10
    # Both stored the same facts; that they are all there, the benchmark itself has checked.
    assert runs["bulk", "first"]["stored"] == runs["kith-librdkafka", "first"]["stored"] < 6000
