"""What is known about consumers and providers beside their relations: places and categories. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.rows import Floats

_EARTH_KM = 6371.0088


class Place(NamedTuple):
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Profiles:
    """By id; whoever is missing is not known. A consumer without a place is taken to live amid the providers
    that it knows."""

    consumer_places: Mapping[str, Place] = field(default_factory=dict)
    provider_places: Mapping[str, Place] = field(default_factory=dict)
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)


def coordinates(ids: list[str], places: Mapping[str, Place]) -> Floats:
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


def shared_categories(ids: list[str], categories: Mapping[str, frozenset[str]]) -> NDArray[np.float64]:
    """A row for each id and a column for each category: 1 / √(number of the provider's categories), else 0."""
    names = sorted({name for id in ids for name in categories.get(id, ())})
    columns = {name: at for at, name in enumerate(names)}
    table = np.zeros((len(ids), len(names)))
    for at, id in enumerate(ids):
        if mine := categories.get(id):
            table[at, [columns[name] for name in mine]] = len(mine) ** -0.5
    return table
