"""Relations to measure on: synthetic graphs, and the sets in the folder that KITH_DATA names."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.graph import Row
from services.intelligence.evaluation.relations import Relation, Relations
from services.intelligence.learning.profiles import Place, Profiles

_KINDS = ("purchase", "review", "view")
_MONTHS = tuple(f"2025-{month:02d}" for month in range(1, 13))


def zipf(relationships: int) -> list[Row]:
    """A bipartite graph where few have much: twenty relationships a consumer, two hundred a provider on
    average. Four of ten relationships have two or three cells."""
    random = np.random.default_rng(1)
    consumers, providers = max(10, relationships // 20), max(10, relationships // 200 + 200)
    pairs = np.zeros(0, np.int64)
    while len(pairs) < relationships:
        drawn = [
            random.choice(count, relationships, p=_shares(count, power))
            for count, power in ((consumers, 0.6), (providers, 0.8))
        ]
        pairs = np.unique(np.concatenate((pairs, drawn[0].astype(np.int64) << 32 | drawn[1])))
    pairs = random.permutation(pairs)[:relationships]
    cells = random.choice(3, relationships, p=(0.6, 0.25, 0.15)) + 1
    places = random.integers(0, len(_KINDS) * len(_MONTHS), (relationships, 3))
    counts = random.integers(1, 5, (relationships, 3))
    return [
        (f"consumer-{pair >> 32}", f"provider-{pair & 0xFFFFFFFF}", _cells(which[:many], how[:many]), None)
        for pair, many, which, how in zip(
            pairs.tolist(), cells.tolist(), places.tolist(), counts.tolist(), strict=True
        )
    ]


def restaurants(folder: Path) -> tuple[Relations, Profiles]:
    """Reviews of restaurants, without times, with places (UCI, CC BY 4.0)."""
    folder = folder / "restaurants"
    relations = Relations.of(
        Relation(row["userID"], row["placeID"], None, "review") for row in _rows(folder / "rating_final.csv", ";")
    )
    homes, shops = (
        {row[key]: Place(float(row["latitude"]), float(row["longitude"])) for row in _rows(folder / name, ";")}
        for name, key in (("userprofile.csv", "userID"), ("geoplaces.csv", "placeID"))
    )
    return relations, Profiles(homes, shops)


def insteval(folder: Path) -> Relations:
    """Students rate lecturers, by semester (R's lme4, GPL). ``lectage`` counts semesters back."""
    return Relations.of(
        Relation(row["s"], row["d"], _semester(int(row["lectage"])), "rating")
        for row in _rows(folder / "insteval" / "InstEval.csv", ",")
    )


def _semester(back: int) -> datetime:
    months = 2026 * 12 - 6 * back
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def _rows(path: Path, delimiter: str) -> Iterator[dict[str, str]]:
    with path.open(encoding="latin-1", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _shares(count: int, power: float) -> NDArray[np.float64]:
    shares = np.arange(1, count + 1, dtype=np.float64) ** -power
    return np.asarray(shares / shares.sum(), np.float64)


def _cells(places: list[int], counts: list[int]) -> dict[str, dict[str, dict[str, int]]]:
    kinds: dict[str, dict[str, dict[str, int]]] = {}
    for place, count in zip(places, counts, strict=True):
        kinds.setdefault(_KINDS[place % 3], {})[_MONTHS[place // 3]] = {"count": count}
    return kinds
