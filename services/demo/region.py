"""The simulated market's towns around Lake Constance, firms and people. Pure."""

from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Town:
    name: str
    country: str
    lat: float
    lon: float
    weight: int


@dataclass(frozen=True, slots=True)
class Category:
    """A trade. ``price`` is the median in minor units, ``spread`` the sigma of its logarithm. The rest are
    probabilities: of a contact after a view, of a purchase after a view, of a subscription after a purchase."""

    name: str
    title: str
    price: int
    spread: float
    contact: float
    purchase: float
    subscribe: float


TOWNS = (
    Town("Konstanz", "DE", 47.660, 9.175, 85),
    Town("St. Gallen", "CH", 47.424, 9.377, 76),
    Town("Friedrichshafen", "DE", 47.651, 9.479, 61),
    Town("Ravensburg", "DE", 47.782, 9.611, 50),
    Town("Dornbirn", "AT", 47.413, 9.742, 50),
    Town("Singen", "DE", 47.760, 8.840, 48),
    Town("Radolfzell", "DE", 47.737, 8.970, 31),
    Town("Bregenz", "AT", 47.503, 9.747, 29),
    Town("Lindau", "DE", 47.546, 9.684, 25),
    Town("Kreuzlingen", "CH", 47.645, 9.178, 22),
    Town("Romanshorn", "CH", 47.566, 9.379, 11),
)
CATEGORIES = (
    Category("bakery", "Bakery", 780, 0.4, 0.02, 0.75, 0.02),
    Category("cafe", "Café", 1_150, 0.4, 0.03, 0.65, 0.01),
    Category("restaurant", "Restaurant", 4_600, 0.5, 0.25, 0.45, 0.0),
    Category("hotel", "Hotel", 16_500, 0.5, 0.35, 0.2, 0.0),
    Category("hairdresser", "Hairdresser", 4_900, 0.4, 0.4, 0.45, 0.0),
    Category("bicycles", "Bicycles", 8_900, 1.1, 0.2, 0.25, 0.03),
    Category("farm-shop", "Farm shop", 2_900, 0.5, 0.05, 0.55, 0.12),
    Category("gym", "Gym", 3_400, 0.3, 0.3, 0.2, 0.35),
    Category("bookshop", "Bookshop", 2_100, 0.5, 0.05, 0.4, 0.02),
    Category("boat-hire", "Boat hire", 7_500, 0.4, 0.3, 0.35, 0.0),
)
_GIVEN = "Anna Ben Clara David Elif Finn Greta Hannah Ivo Jana Karim Lena Mia Noah Ola Paul Rosa Sami Tim Vera"
_FAMILY = (
    "Ammann Bauer Berger Brunner Egger Fischer Frei Graf Huber Keller Lang Maier Moser Roth Schmid "
    "Steiner Vogel Weber Wolf Ziegler"
)
GIVEN, FAMILY = _GIVEN.split(), _FAMILY.split()


#: Groups of consumers who like the same providers, whatever these sell. No event says who belongs to which: it
#: shows in who visits whom only.
TASTES = 6


def taste_of(id: str) -> int:
    """The taste group of a consumer or provider, the same in every market."""
    return crc32(id.encode()) % TASTES


@dataclass(slots=True)
class Provider:
    id: str
    name: str
    town: Town
    category: Category
    currency: str
    price: float
    quality: float
    location: dict[str, Any]
    known: bool = False


@dataclass(slots=True)
class Consumer:
    """``loyalty`` is the probability of returning to a known provider; ``gone`` the progress at which the consumer
    churns."""

    id: str
    name: str
    town: Town
    loyalty: float
    gone: float
    location: dict[str, Any]
    favourites: list[Provider] = field(default_factory=list)


def new_provider(random: Random, number: int) -> Provider:
    town = _town(random)
    category = random.choice(CATEGORIES)
    family = random.choice(FAMILY)
    currency = "CHF" if town.country == "CH" else "EUR"
    if category.name == "hotel" and random.random() < 0.3:
        currency = "USD"  # sells through a foreign booking site
    return Provider(
        id=f"{category.name}-{family.lower()}-{number}",
        name=f"{category.title} {family}",
        town=town,
        category=category,
        currency=currency,
        price=category.price * random.lognormvariate(0, 0.25),
        quality=min(4.9, max(1.5, random.gauss(3.9, 0.6))),
        location=place(random, town, 0.012),
    )


def new_consumer(random: Random, number: int, progress: float) -> Consumer:
    """A consumer who arrives at ``progress``. About a third will churn."""
    town = _town(random)
    # One upstream system in fifty writes ids with a colon, as real ones do.
    return Consumer(
        id=f"crm:{number}" if random.random() < 0.02 else f"c-{number:05}",
        name=f"{random.choice(GIVEN)} {random.choice(FAMILY)}",
        town=town,
        loyalty=random.betavariate(2.5, 1.5),
        gone=progress + random.expovariate(5) if random.random() < 0.35 else 2.0,
        location=place(random, town, 0.03),
    )


def place(random: Random, town: Town, spread: float) -> dict[str, Any]:
    """A location around a town's centre; ``spread`` in degrees."""
    return {
        "country": town.country,
        "city": town.name,
        "lat": round(random.gauss(town.lat, spread), 5),
        "lon": round(random.gauss(town.lon, spread * 1.5), 5),
    }


_WEIGHTS = [town.weight for town in TOWNS]


def _town(random: Random) -> Town:
    return random.choices(TOWNS, _WEIGHTS)[0]


def moved(random: Random) -> dict[str, Any]:
    """A new home."""
    return place(random, _town(random), 0.03)
