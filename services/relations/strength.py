"""Strength: how much a relationship weighs now, by exponential decay of its relations. Pure.

As of month T it is ``Σ weight(kind) · count · 2^(−(T − month) / half_life)``, over the relations of a pair by
kind and month. (Forward decay: Cormode, Shkapenyuk, Srivastava, Xu, "Forward Decay", ICDE 2009.) Decay scales
all relationships alike, so their order never changes with T, and one stored number sorts them for ever.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

Kinds = Mapping[str, Mapping[str, Mapping[str, Any]]]

#: The month of which scores are.
LANDMARK = 2020 * 12
# Beyond it a strength stays the largest number that a double can hold: it ends at 2^1024.
_MOST_DOUBLINGS = 1000.0
_MOST: float = 2.0**_MOST_DOUBLINGS


def month_of(time: datetime) -> str:
    """``2026-11`` of an aware UTC time."""
    return _month(time.year, time.month)


@lru_cache(1_200)
def _month(year: int, month: int) -> str:
    return f"{year:04d}-{month:02d}"


@lru_cache(1_200)
def month_number(month: str) -> int:
    """Months since year 0, so that differences count months."""
    return int(month[:4]) * 12 + int(month[5:7]) - 1


@dataclass(frozen=True, slots=True)
class Strength:
    """The weights per kind (others weigh 1) and the half-life in months."""

    weights: Mapping[str, float]
    half_life: float

    def score(self, kinds: Kinds) -> float:
        """The sort key: log2 of the strength as of the fixed landmark January 2020.

        ``kinds`` is kind → month → {count}. Summed in sorted order, so that the same statistics always give
        the same bits. Minus infinity for no relations at all.
        """
        terms = [
            ((month_number(month) - LANDMARK) / self.half_life, self.weights.get(kind, 1.0) * cell["count"])
            for kind in sorted(kinds)
            for month, cell in sorted(kinds[kind].items())
        ]
        if not terms:
            return -math.inf
        # The largest exponent is taken out first: 2 to the power of centuries overflows.
        top = max(exponent for exponent, _ in terms)
        return top + math.log2(sum(weight * 2.0 ** (exponent - top) for exponent, weight in terms))

    def at(self, kinds: Kinds, now: datetime) -> tuple[float, dict[str, float]]:
        """The strength as of ``now`` and each kind's part of it (same unit, they add up to it)."""
        parts = self._parts(kinds, _month_count(now))
        return sum(parts.values()), parts

    def shares(self, kinds: Kinds) -> dict[str, float]:
        """Each kind's part of the strength as a fraction of 1; at least one relation is needed.

        They are the same at any time. They are computed as of the latest month: later, all the parts of an old
        relationship may be too small for a double.
        """
        latest = max(month_number(month) for months in kinds.values() for month in months)
        parts = self._parts(kinds, latest)
        total = sum(parts.values())
        return {kind: part / total for kind, part in parts.items()}

    def share(self, kinds: Kinds, score: float) -> float:
        """The part that these kinds have of a strength with this sort key, as a fraction of 1."""
        return _power(self.score(kinds) - score)

    def from_score(self, score: float, now: datetime) -> float:
        """The strength as of ``now`` of a stored sort key."""
        return _power(score - (_month_count(now) - LANDMARK) / self.half_life)

    def log_weight(self, weight: float, month: str) -> float:
        """log2 of what one relation of a kind of this weight adds to the strength as of the landmark."""
        return math.log2(weight) + (month_number(month) - LANDMARK) / self.half_life

    def weight(self, kind: str, time: datetime, now: datetime) -> float:
        """What one relation of a kind and time adds to the strength as of ``now``."""
        distance = _month_count(time) - _month_count(now)
        weight: float = min(self.weights.get(kind, 1.0) * _power(distance / self.half_life), _MOST)
        return weight

    def _parts(self, kinds: Kinds, present: int) -> dict[str, float]:
        return {
            kind: sum(
                min(
                    self.weights.get(kind, 1.0)
                    * cell["count"]
                    * _power((month_number(month) - present) / self.half_life),
                    _MOST,
                )
                for month, cell in sorted(months.items())
            )
            for kind, months in sorted(kinds.items())
        }


def _month_count(time: datetime) -> int:
    return time.year * 12 + time.month - 1


def _power(exponent: float) -> float:
    return float(2.0 ** min(exponent, _MOST_DOUBLINGS))
