"""All of it, with the targets."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.bench.intelligence.quality import measure_quality
from services.bench.intelligence.speed import measure_engine

Row = dict[str, Any]

SIZES = (100_000, 1_000_000)
#: What a figure of a size must be below.
_BELOW: dict[int, dict[str, float]] = {
    100_000: {
        "answer p99 ms": 5,
        "with reasons p99 ms": 5,
        "for a provider p99 ms": 5,
        "over HTTP p99 ms": 20,
        "change µs": 20,
        "bytes a relationship": 60,
    },
    1_000_000: {
        "answer p99 ms": 25,
        "with reasons p99 ms": 25,
        "for a provider p99 ms": 25,
        "change µs": 20,
        "bytes a relationship": 60,
        "build s": 10,
    },
}
#: What the NDCG@10 of a method must be at least.
_LEAST = {
    ("restaurants, leave-last-out", "walk"): 0.34,
    ("restaurants, leave-last-out", "learned"): 0.39,
    ("InstEval, leave-last-out", "walk"): 0.60,
}


def measure_intelligence(
    sizes: tuple[int, ...], say: Callable[[str], None]
) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of the engine, of quality (where KITH_DATA names a folder), and of targets."""
    speed = [measure_engine(size, say) for size in sizes]
    quality: list[Row] = []
    if folder := os.environ.get("KITH_DATA"):
        say(f"the data sets of {folder}")
        quality = measure_quality(Path(folder))
    else:
        say("KITH_DATA names no folder with data sets, so quality is not measured")
    return speed, quality, targets(speed, quality)


def targets(speed: list[Row], quality: list[Row]) -> list[Row]:
    """Each target, what was measured, and whether it is met. Pure."""
    rows = [
        {
            "target": f"{name} at {row['relationships']:,}",
            "measured": row[name],
            "must be": f"< {most:g}",
            "met": row[name] < most,
        }
        for row in speed
        for name, most in _BELOW.get(row["relationships"], {}).items()
    ]
    rows += [
        {
            "target": f"answers equal those of a fresh graph at {row['relationships']:,}",
            "measured": row["equal to a fresh graph"],
            "must be": "True",
            "met": row["equal to a fresh graph"],
        }
        for row in speed
    ]
    rows += [
        {
            "target": f"{row['data']}, {row['method']}",
            "measured": row["NDCG@10"],
            "must be": f">= {least:g}",
            "met": row["NDCG@10"] >= least,
        }
        for row in quality
        if (least := _LEAST.get((row["data"], row["method"]))) is not None
    ]
    return rows
