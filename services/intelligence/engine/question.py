"""What can be asked of the graph. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Side = Literal["consumer", "provider"]


@dataclass(frozen=True, slots=True)
class Question:
    """How to answer.

    ``month`` ("2026-11"), ``weights`` per kind (others weigh 1; at least 0) and ``half_life`` in months (may be
    infinite) are those of a relationship's strength. ``beta`` takes popularity out: a score is divided by the
    number of relationships of the answer to this power (0 to 1). With ``kind``, only relations of that kind
    count, as if there were no others. ``among`` limits the answers, not what they follow from; ``without`` are no
    answers. ``known`` asks for those with a relationship already, in place of those without. ``reasons`` is how
    many terms of each score are listed.
    """

    month: str
    weights: Mapping[str, float] = field(default_factory=dict)
    half_life: float = 6.0
    beta: float = 0.4
    limit: int = 10
    kind: str | None = None
    among: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    known: bool = False
    reasons: int = 3

    def __post_init__(self) -> None:
        if not self.half_life > 0:
            raise ValueError("half_life must be positive")
        if not 0 <= self.beta <= 1:
            raise ValueError("beta must be from 0 to 1")
        if not all(0 <= weight < math.inf for weight in self.weights.values()):
            raise ValueError("weights must be finite and at least 0")
        if self.limit < 0 or self.reasons < 0:
            raise ValueError("limit and reasons must be at least 0")


def other(side: Side) -> Side:
    return "provider" if side == "consumer" else "consumer"
