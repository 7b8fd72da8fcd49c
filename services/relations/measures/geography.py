"""Consumers, relations and money by region. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, Field

from services.relations.measures.facts import Histories, added
from shared.access.lineage import Count, DerivedFrom
from shared.measures.answer import Answer
from shared.measures.units import Degrees, Fraction, Minor

Level = Literal["country", "region", "city"]
Side = Literal["consumer", "provider"]
LEVELS: tuple[Level, ...] = ("country", "region", "city")


class Place(NamedTuple):
    """A region at the granularity of a level; None for an unknown part."""

    country: str | None = None
    region: str | None = None
    city: str | None = None


class Region(BaseModel):
    country: Annotated[str | None, DerivedFrom("location.country")] = Field(
        description="Country as upstream writes it; null when unknown."
    )
    region: Annotated[str | None, DerivedFrom("location.region")] = Field(
        description="Region; null when unknown, or when the level is country."
    )
    city: Annotated[str | None, DerivedFrom("location.city")] = Field(
        description="City; null when unknown, or when the level is not city."
    )
    lat: Annotated[Degrees | None, DerivedFrom("location.lat")] = Field(
        title="Latitude", description="Latitude of the center of the points in the region, in degrees (WGS 84)."
    )
    lon: Annotated[Degrees | None, DerivedFrom("location.lon")] = Field(
        title="Longitude", description="Longitude of the same center, in degrees (WGS 84)."
    )
    consumers: Count = Field(description="Distinct consumers.")
    providers: Count | None = Field(
        description="Distinct providers; null when the locations are those of consumers."
    )
    relations: Count
    amount_minor: Annotated[dict[str, Minor], DerivedFrom("amount", "currency")] = Field(
        title="Money", description="Net money by currency, in minor units."
    )


class Geography(Answer):
    """Answers: where are our consumers and providers, and where is business done?"""

    money: ClassVar[str | None] = "each on its own; nothing is converted"

    located: Annotated[Fraction | None, DerivedFrom("location.country")] = Field(
        title="Country known", description="Fraction of relations with a known country, from 0 to 1."
    )
    items: list[Region] = Field(description="Most consumers first, then most relations, then by name.")


class Atlas:
    """The places of ids at a level, and the center of each place. Takes profiles one by one."""

    def __init__(self, level: Level) -> None:
        self._depth = LEVELS.index(level) + 1
        self._places: dict[str, Place] = {}
        self._known: dict[Place, Place] = {}
        self._sums: dict[Place, list[float]] = {}

    def add(self, id: str, location: Mapping[str, Any]) -> None:
        """``location`` as in a profile: country, region, city, lat and lon, each or none."""
        place = Place(*(location.get(level) for level in LEVELS[: self._depth]))
        # Each place is one object, shared by all its ids.
        self._places[id] = place = self._known.setdefault(place, place)
        if (lat := location.get("lat")) is not None and (lon := location.get("lon")) is not None:
            x, y = math.radians(lat), math.radians(lon)
            sums = self._sums.setdefault(place, [0.0, 0.0, 0.0])
            for at, part in enumerate((math.cos(x) * math.cos(y), math.cos(x) * math.sin(y), math.sin(x))):
                sums[at] += part

    def of(self, id: str) -> Place:
        return self._places.get(id, _NOWHERE)

    def middle(self, place: Place) -> tuple[float, float] | tuple[None, None]:
        """Latitude and longitude of the mean direction: right also across the date line. None without points, or
        when the points cancel out."""
        x, y, z = self._sums.get(place, (0.0, 0.0, 0.0))
        if math.hypot(x, y, z) < 1e-9:
            return None, None
        return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


_NOWHERE = Place()


def geography(histories: Histories, atlas: Atlas, side: Side, limit: int) -> Geography:
    """Distinct consumers and providers, relations and net money by region.

    ``histories``: facts of the period, in any order, a consumer in as many parts as they come; ``atlas`` places
    consumers or providers, whichever ``side`` says. A consumer counts once in each region; by provider's region
    the same consumer may count in several. Unit: consumers, relations, minor units. The middle is the mean
    direction of points on the sphere (K. V. Mardia, "Statistics of Directional Data", 1972).
    """
    relations = Counter[Place]()
    consumers: dict[Place, set[str]] = {}
    providers: dict[Place, set[str]] = {}
    amounts: dict[Place, dict[str, int]] = {}
    for consumer, facts in histories:
        for fact in facts:
            place = atlas.of(consumer if side == "consumer" else fact.provider_id)
            relations[place] += 1
            consumers.setdefault(place, set()).add(consumer)
            # Each provider has one place, but its consumers may have all of them.
            if side == "provider":
                providers.setdefault(place, set()).add(fact.provider_id)
            added(amounts.setdefault(place, {}), fact)
    order = sorted(relations, key=lambda place: (-len(consumers[place]), -relations[place], _name(place)))
    known = sum(count for place, count in relations.items() if place.country is not None)
    total = relations.total()
    items = []
    for place in order[:limit]:
        lat, lon = atlas.middle(place)
        items.append(
            Region(
                country=place.country,
                region=place.region,
                city=place.city,
                lat=lat,
                lon=lon,
                consumers=len(consumers[place]),
                providers=len(providers[place]) if side == "provider" else None,
                relations=relations[place],
                amount_minor=dict(sorted(amounts[place].items())),
            )
        )
    return Geography(located=known / total if total else None, items=items)


def _name(place: Place) -> Iterable[str]:
    return tuple(part or "" for part in place)
