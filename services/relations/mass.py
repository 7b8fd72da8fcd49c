"""The strength of a relationship of many cells as one exact number, which moves by difference. Pure.

The mass is Σ weight(kind) · count · 2^((month − landmark) / half_life), as an integer times a power of two. Each
kind and month has a term of 53 bits, a pure function of the settings. So sums of terms are exact and commute, and
what a retraction takes away is exactly what its fact had added.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from services.relations.strength import LANDMARK, Strength, month_number
from shared.runtime.protocols import Document

_BITS = 53


class Mass:
    """A sum of terms, ``number`` · 2^``exponent``, made with the settings of ``strength``."""

    __slots__ = ("_strength", "exponent", "number")

    def __init__(self, strength: Strength, number: int = 0, exponent: int = 0) -> None:
        self._strength = strength
        self.number, self.exponent = number, exponent

    def add(self, kind: str, month: str, count: int) -> None:
        """Add the term of a kind and month ``count`` times."""
        number, exponent = _term(self._strength.weights.get(kind, 1.0), month, self._strength.half_life)
        self._add(number * count, exponent)

    def plus(self, other: "Mass") -> None:
        self._add(other.number, other.exponent)

    def _add(self, number: int, exponent: int) -> None:
        if exponent < self.exponent:
            self.number <<= self.exponent - exponent
            self.exponent = exponent
        self.number += number << (exponent - self.exponent)

    def score(self) -> float:
        """The score, as ``Strength.score`` has it: log2 of the strength as of the landmark. Minus infinity for
        none."""
        self._reduce()
        return math.log2(self.number) + self.exponent if self.number > 0 else -math.inf

    def stored(self) -> Document:
        """In canonical form: the number is odd, or 0."""
        self._reduce()
        return {"number": f"{self.number:x}", "exponent": self.exponent, "settings": settings_of(self._strength)}

    def _reduce(self) -> None:
        if not self.number:
            self.exponent = 0
        elif zeros := (self.number & -self.number).bit_length() - 1:
            self.number >>= zeros
            self.exponent += zeros


def stored_mass(stored: Mapping[str, Any], strength: Strength) -> Mass | None:
    """The stored mass; None if it was made with other settings."""
    if stored["settings"] != settings_of(strength):
        return None
    return Mass(strength, int(stored["number"], 16), stored["exponent"])


def settings_of(strength: Strength) -> str:
    """A digest of the weights and the half-life."""
    weights = sorted((kind, float(weight)) for kind, weight in strength.weights.items())
    return blake2b(repr((weights, float(strength.half_life))).encode(), digest_size=8).hexdigest()


@lru_cache(10_000)
def _term(weight: float, month: str, half_life: float) -> tuple[int, int]:
    distance = (month_number(month) - LANDMARK) / half_life
    whole = math.floor(distance)
    fraction, exponent = math.frexp(weight * 2.0 ** (distance - whole))
    return int(fraction * 2.0**_BITS), exponent - _BITS + whole
