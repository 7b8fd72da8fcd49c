"""What is known about consumers and providers beside their relations: places and categories. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from services.intelligence.engine.rows import Floats, Ints, summed

_EARTH_KM = 6371.0088


class Place(NamedTuple):
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Profiles:
    """Profiles by id; whoever is missing is not known. A consumer without a place is taken to live amid the
    providers that it knows."""

    consumer_places: Mapping[str, Place] = field(default_factory=dict)
    provider_places: Mapping[str, Place] = field(default_factory=dict)
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)


def coordinates(ids: Sequence[str], places: Mapping[str, Place]) -> Floats:
    """A row of latitude and longitude in radians for each id; not a number where unknown."""
    unknown = (np.nan, np.nan)
    return np.radians(np.array([places.get(id, unknown) for id in ids], np.float64).reshape(-1, 2))


def kilometres(one: Floats, many: Floats) -> Floats:
    """Great-circle distances between a place and many, or between each of some rows and many (haversine)."""
    latitude, longitude = one[..., 0], one[..., 1]
    half = (
        np.sin((many[..., 0] - latitude) / 2) ** 2
        + np.cos(latitude) * np.cos(many[..., 0]) * np.sin((many[..., 1] - longitude) / 2) ** 2
    )
    distances: Floats = 2 * _EARTH_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    return distances


@dataclass(frozen=True, slots=True)
class Categories:
    """Which categories each number of a provider has: ``columns[starts[n] : starts[n] + counts[n]]``, which
    ``owners`` say whose they are. Each weighs ``weights[n]``, 1 / √(their number).

    As a table of providers and categories it could be larger than memory.
    """

    starts: Ints
    counts: Ints
    columns: Ints
    owners: Ints
    weights: Floats
    names: int

    @classmethod
    def of(cls, ids: Sequence[str], categories: Mapping[str, frozenset[str]]) -> "Categories":
        found = [categories.get(id, frozenset()) for id in ids]
        numbers = {name: at for at, name in enumerate(sorted(frozenset().union(*found)))}
        counts = np.array([len(each) for each in found], np.int64)
        columns = np.array([at for each in found for at in sorted(numbers[name] for name in each)], np.int64)
        owners = np.repeat(np.arange(len(counts)), counts)
        weights = np.array(np.maximum(counts, 1) ** -0.5, np.float64)
        return cls(np.cumsum(counts) - counts, counts, columns, owners, weights, len(numbers))

    def __bool__(self) -> bool:
        return self.names > 0

    def shared_with(self, known: Ints) -> Floats:
        """States of each provider how much it has the categories of some: its own weigh 1 / √(their number) each,
        and so do those of the known ones, on average."""
        providers = known[self.counts[known] > 0]
        lengths = self.counts[providers]
        ends = np.cumsum(lengths)
        at = np.repeat(self.starts[providers] - ends + lengths, lengths) + np.arange(lengths.sum())
        wanted = summed(self.columns[at], np.repeat(self.weights[providers], lengths), self.names)
        wanted /= max(1, len(known))
        return summed(self.owners, wanted[self.columns], len(self.counts)) * self.weights
