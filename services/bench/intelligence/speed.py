"""The engine on synthetic graphs: time of a build, an answer and a change, and memory."""

import random
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import Any

import numpy as np

from services.bench.intelligence.data import zipf
from services.bench.intelligence.served import http_times
from services.intelligence.engine import Graph, Question, recommend
from services.intelligence.engine.graph import Row

MONTH = "2026-01"
_ASKED = 400
_ROUNDS = 3
_CHANGES = 20_000
_COMPARED = 100


def measure_engine(relationships: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of one size. Times of answers are CPU milliseconds of one core: other work on the machine would
    count otherwise. Those over HTTP, with reasons, are by the clock."""
    say(f"a graph of {relationships:,} relationships")
    rows = zipf(relationships)
    began = process_time()
    graph = Graph.build(rows)
    built = process_time() - began
    draw = random.Random(1)
    # By relationship, so that active ones are asked about most.
    consumers = [draw.choice(rows)[0] for _ in range(_ASKED)]
    providers = [draw.choice(rows)[1] for _ in range(_ASKED)]
    bare, explained = Question(MONTH, {"purchase": 3.0}, reasons=0), Question(MONTH, {"purchase": 3.0})
    memory = graph.nbytes() / graph.edges
    answers = _times([lambda id=id: recommend(graph, "consumer", id, bare) for id in consumers])  # type: ignore[misc]
    reasons = _times([lambda id=id: recommend(graph, "consumer", id, explained) for id in consumers])  # type: ignore[misc]
    whom = _times([lambda id=id: recommend(graph, "provider", id, bare) for id in providers])  # type: ignore[misc]
    served = http_times(relationships, consumers)
    changed, state = _change(graph, rows, draw)
    return {
        "relationships": relationships,
        "build s": round(built, 2),
        "bytes a relationship": round(memory, 1),
        "answer p50 ms": _at(answers, 50),
        "answer p99 ms": _at(answers, 99),
        "with reasons p50 ms": _at(reasons, 50),
        "with reasons p99 ms": _at(reasons, 99),
        "for a provider p50 ms": _at(whom, 50),
        "for a provider p99 ms": _at(whom, 99),
        "over HTTP p50 ms": _at(served, 50),
        "over HTTP p99 ms": _at(served, 99),
        "change µs": round(changed * 1e6, 1),
        "bytes after changes": round(graph.nbytes() / graph.edges, 1),
        "equal to a fresh graph": _equal(graph, state, consumers[:_COMPARED], explained),
        **{f"top ten kept by {sample}": _kept(rows, consumers[:_COMPARED], sample, bare) for sample in (100, 500)},
    }


def _times(calls: Sequence[Callable[[], object]]) -> list[float]:
    """The least of three of each call: what the machine does beside it is no part of it, and would make most of
    the 99th percentile."""
    found = [float("inf")] * len(calls)
    for _ in range(_ROUNDS):
        for at, call in enumerate(calls):
            began = process_time()
            call()
            found[at] = min(found[at], (process_time() - began) * 1e3)
    return found


def _at(times: list[float], percentile: float) -> float:
    return round(float(np.percentile(times, percentile)), 2)


def _change(graph: Graph, rows: list[Row], draw: random.Random) -> tuple[float, dict[tuple[str, str], Row]]:
    """The mean time of a change: a third of them removes, a third changes, a third adds."""
    state = {row[:2]: row for row in rows}
    changes: list[Row] = []
    for step in range(_CHANGES):
        row = draw.choice(rows)
        if step % 3 == 0:
            row = (row[0], row[1], {}, None)
        elif step % 3 == 1:
            row = (row[0], row[1], {"purchase": {MONTH: {"count": step + 1}}}, None)
        else:
            row = (row[0], draw.choice(rows)[1], {"view": {MONTH: {"count": 1}}}, None)
        changes.append(row)
        if row[2]:
            state[row[:2]] = row
        else:
            state.pop(row[:2], None)
    began = perf_counter(), process_time()
    for change in changes:
        graph.put(*change)
    return (process_time() - began[1]) / _CHANGES, state


def _equal(graph: Graph, state: dict[tuple[str, str], Row], consumers: list[str], question: Question) -> bool:
    fresh = Graph.build(state.values())
    return all(
        recommend(graph, "consumer", id, question) == recommend(fresh, "consumer", id, question)
        for id in consumers
    )


def _kept(rows: list[Row], consumers: list[str], sample: int, question: Question) -> float:
    """Which share of the first ten a sample of each row keeps."""
    whole, sampled = Graph.build(rows, sample=1 << 30, budget=1 << 40), Graph.build(rows, sample, 1 << 40)
    kept = total = 0
    for id in consumers:
        first, second = (
            {each.id for each in recommend(g, "consumer", id, question).answers} for g in (whole, sampled)
        )
        kept += len(first & second)
        total += len(first)
    return round(kept / total, 3)
