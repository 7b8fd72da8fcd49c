"""A projection is rebuilt under load: killed, resumed, compared, switched to, rolled back, dropped."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.cli.up import environment
from services.demo.comparison import Weights, compare_documents
from shared.versions.generations import collection_of
from shared.versions.mongo_registry import MongoRegistry
from tests.fault.load import Item, event, market_items
from tests.fault.log import fold, read_log, sieve
from tests.fault.system import System

SEED = 29


def kith(system: System, *arguments: str) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    return subprocess.Popen(
        [Path(sys.executable).with_name("kith"), "rebuild", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **environment(system.settings)},
    )


def run(system: System, *arguments: str, status: int = 0) -> list[Any]:
    """The lines of JSON that the command prints."""
    with kith(system, *arguments, "--json") as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == status, f"{arguments}: {output}\n{errors}\n{system.tails()}"
    return [json.loads(line) for line in output.splitlines()]


def reached(system: System, projection: str, version: int) -> int:
    stands = MongoRegistry(system.database, projection).positions(version)
    return sum(stand.next or 0 for stand in stands.values())


def judge(system: System, version: int, *, joined: bool = True) -> None:
    """What this version of relations holds is a fold of the log, and so are the sums of analytics; readers take
    each change once.
    ``joined``: each event has made its change."""
    prefix = system.settings.topic_prefix
    inputs = read_log(system.settings, [f"{prefix}.{name}" for name in ("consumers", "providers", "relations")])
    changes = read_log(system.settings, [f"{prefix}.relation-changes"])
    oracle, _ = fold(inputs)
    expected = oracle.expected()
    names = ("consumers", "providers", "relations", "relationships")
    stored = {name: list(system.database[collection_of(name, version)].find()) for name in names}
    weights = Weights(system.settings.kind_weights, system.settings.half_life_months)
    stored["aggregates"] = list(system.database.aggregates.find())
    wrong = [str(one) for one in compare_documents(expected, stored, weights).differences]
    if joined:
        wrong += system.invariant._exactly_these_changes(expected, inputs, changes)
    for place, entries in changes.items():
        stream = sieve(entries)
        numbers = {origin: max(there) for origin, there in stream.present.items()}
        if numbers != dict(stream.highest):
            wrong.append(f"{place}: {numbers} are published, {dict(stream.highest)} reach a reader")
    assert not wrong, "\n".join([*wrong, system.tails()])


def verify(system: System, dropped: str) -> None:
    """Version 1 is live again and all is as if it always had been. The positions of a version that was dropped are
    gone, which the watch takes for a step back."""
    system.wait_drained()
    system.watch.end()
    gone = f"{dropped}/"
    system.watch.wrong = [
        one for one in system.watch.wrong if not (one.startswith(gone) and one.endswith(" to 0"))
    ]
    system.verify()


def test_relations_are_rebuilt_under_load(system: System) -> None:
    system.start_all()
    system.load(market_items(2_000, SEED), rate=1_500)
    system.wait_stored(1_500, since=0)
    load = system.load(market_items(100_000, SEED + 1), rate=150)

    with kith(system, "relations", "--rate", "600", "--json") as first:
        system.wait("a third of the way", lambda: reached(system, "relations", 2) > 800)
        first.send_signal(signal.SIGKILL)
        first.communicate()
    killed_at = reached(system, "relations", 2)
    assert killed_at < reached(system, "relations", 1)

    lines = run(system, "relations", "--once", "--rate", "0")
    assert lines[0]["done"] >= killed_at, "it began anew"
    assert lines[-1]["ended"] == "level"
    assert load.running, "there was no load"

    [difference] = run(system, "diff", "relations")
    assert difference["same"]
    assert difference["collections"]["relations"]["compared"] > 1_000
    [switched] = run(system, "switch", "relations")[-1:]
    assert (switched["live"], switched["previous"]) == (2, 1)
    before = reached(system, "relations", 2)
    system.wait("the workers to go on", lambda: reached(system, "relations", 2) > before + 100)
    assert load.running, "there was no load"
    load.cut()
    system.wait_drained()
    judge(system, 2)

    load = system.load(market_items(100_000, SEED + 2), rate=150)
    time.sleep(2)
    [back] = run(system, "rollback", "relations")[-1:]
    assert (back["live"], back["previous"]) == (1, 2)
    assert load.running, "there was no load"
    run(system, "drop", "relations")
    assert not [name for name in system.database.list_collection_names() if "@" in name]
    time.sleep(2)
    load.cut()
    verify(system, "relations@2")


def test_analytics_are_rebuilt_under_load(system: System) -> None:
    system.start_all(analytics=2)
    system.load(market_items(2_000, SEED + 3), rate=1_500)
    system.wait("changes", lambda: reached(system, "analytics", 1) > 1_000)
    load = system.load(market_items(100_000, SEED + 4), rate=150)
    run(system, "analytics", "--once", "--rate", "0")
    [difference] = run(system, "diff", "analytics")
    assert difference["same"]
    assert difference["collections"]["aggregates"]["compared"] > 1_000
    run(system, "switch", "analytics")
    before = reached(system, "analytics", 2)
    system.wait("the workers to go on", lambda: reached(system, "analytics", 2) > before + 100)
    run(system, "rollback", "analytics")
    assert load.running, "there was no load"
    run(system, "drop", "analytics")
    time.sleep(1)
    load.cut()
    verify(system, "analytics@2")


def test_readers_are_told_of_facts_that_other_settings_make(system: System) -> None:
    """The old workers refuse what is dated ahead of its arrival, the new version takes it: after the switch
    analytics counts it, too, and every other fact once."""
    strict = system.start("relations", max_future_seconds="0")
    system.start("analytics")
    tomorrow = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
    data = [
        {"relation_id": f"r{n}", "kind": "view", "consumer_id": f"c{n % 7}", "provider_id": "p"} for n in range(40)
    ]
    ahead = [Item(event("relation.recorded", f"ahead-{n}", each, time=tomorrow)) for n, each in enumerate(data)]
    system.load([*market_items(600, SEED + 6), *ahead], rate=1_000)
    system.wait_drained()
    assert system.database.dead_letters.count_documents({"reason": "in_the_future"}) == len(ahead)

    run(system, "relations", "--once", "--rate", "0")
    [difference] = run(system, "diff", "relations", status=1)
    assert difference["collections"]["relations"]["only_other"] == len(ahead)
    [refused] = run(system, "switch", "relations", status=1)
    assert (refused["ended"], refused["differing"]) == ("refused", len(ahead))
    assert MongoRegistry(system.database, "relations").read().live == 1

    strict.ask_to_stop()
    system.wait("the end of the old worker", lambda: not strict.running, may_end=[strict])
    system.forget(strict)
    system.start("relations")
    [switched] = run(system, "switch", "relations", "--differences", "publish")[-1:]
    assert switched["corrected"] == len(ahead)
    system.load(market_items(400, SEED + 7), rate=1_000)
    system.wait_drained()
    judge(system, 2, joined=False)
    assert system.database.aggregates.count_documents({"key": "p"})


@pytest.mark.parametrize("step", ["announced", "stopped 12", "brought", "numbered 6"])
def test_a_switch_that_is_killed_holds_nobody_up(system: System, step: str) -> None:
    """The workers go on by themselves, as the version that is live, and the switch can be done again."""
    system.start_all(relations=2)
    load = system.load(market_items(100_000, SEED + 5), rate=200)
    system.wait_stored(1_000)
    run(system, "relations", "--once", "--rate", "0")
    name, _, count = step.partition(" ")
    dies = (
        "import os, signal\n"
        "from services.cli.rebuild import switch, turn\n"
        "from services.cli.__main__ import main\n"
        "def dying(*arguments):\n"
        "    count = 0\n"
        "    for step in switch.hand_over(*arguments[:2], patience_seconds=6.0):\n"
        f"        count += step.startswith({name!r})\n"
        f"        if count == {int(count or 1)}:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield step\n"
        "turn.hand_over = dying\n"
        "main()\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    killed = subprocess.run(
        [sys.executable, "-c", dies, "rebuild", "switch", "relations"],
        env={**clean, **environment(system.settings)},
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed
    registry = MongoRegistry(system.database, "relations")
    assert registry.read().live == 1
    before = reached(system, "relations", 1)
    system.wait("the workers to go on by themselves", lambda: reached(system, "relations", 1) > before + 100)
    if step == "announced":  # no worker had been stopped, and none has needed to look
        left = registry.read().hand_over
        assert left is not None
        system.wait("the announcement to be void", lambda: registry.now() > left.until)
    else:
        assert registry.read().hand_over is None
    run(system, "switch", "relations")
    load.cut()
    system.wait_drained()
    judge(system, 2)
