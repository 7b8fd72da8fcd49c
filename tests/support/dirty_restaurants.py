"""Files about restaurants, their guests and the guests' ratings, as dirty as files in the wild.

`python -m tests.support.dirty_restaurants` writes them to `tests/data/restaurants`, always the same ones. They are
separated by semicolons, write a missing value as "?", spell one city in many ways, have lost an accent, name
providers in one file that another lacks, tick one hundred cuisines and more, and hold no time at all.
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.paths import DATA

FOLDER = DATA / "restaurants"
CITIES = {
    "San Luis Potosi": ["San Luis Potosi"] * 12
    + ["san luis potosi", "san luis potosi ", "s.l.p.", "s.l.p", "slp", "san luis potos"],
    "Cuernavaca": ["Cuernavaca"] * 4 + ["cuernavaca"],
    "Ciudad Victoria": ["victoria"] * 4 + ["victoria ", "Ciudad Victoria", "Cd Victoria", "Cd. Victoria"],
    "Jiutepec": ["Jiutepec"],
    "Soledad": ["Soledad"],
}
STATES = {
    "San Luis Potosi": ["SLP"] * 6
    + ["San Luis Potosi", "san luis potosi", "slp", "S.L.P.", "s.l.p.", "san luis potos"],
    "Cuernavaca": ["Morelos", "Morelos", "morelos"],
    "Ciudad Victoria": ["tamaulipas", "Tamaulipas"],
    "Jiutepec": ["Morelos"],
    "Soledad": ["SLP", "mexico"],
}
POINTS = {
    "San Luis Potosi": (22.15, -100.98),
    "Cuernavaca": (18.92, -99.18),
    "Ciudad Victoria": (23.75, -99.16),
    "Jiutepec": (18.88, -99.17),
    "Soledad": (22.19, -100.93),
}
CUISINES = ["Mexican", "American", "Cafeteria", "Pizzeria", "Cafe-Coffee_Shop", "Japanese", "Italian", "Hot_Dogs"]
PAYMENTS = ["cash", "VISA", "Visa", "MasterCard-Eurocard", "American_Express", "bank_debit_cards"]
FIRST = [
    "La Estrella de",
    "El Rincón de",
    "Tacos",
    "puesto de tacos",
    "Cenaduria",
    "carnitas_",
    "Cabaña",
    "Gorditas",
]
SECOND = [
    "San Francisco",
    "Dimas",
    "los Volcanes",
    "Tlaquepaque",
    "del Centro ",
    "la Huasteca",
    "Doña Tota",
    "mata",
]

Rows = list[list[Any]]


def write(folder: Path, consumers: int = 60, providers: int = 50, reviews: int = 480, seed: int = 2114) -> None:
    """Write the six files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    guests = [f"U{1001 + n}" for n in range(consumers)]
    places = [str(132560 + 7 * n) for n in range(providers)]
    for name, header, rows in (
        ("userprofile", _PROFILE, [_guest(rng, id) for id in guests]),
        ("usercuisine", "userID;Rcuisine", _likes(rng, guests)),
        ("geoplaces", _PLACES, [_place(rng, n, id) for n, id in enumerate(places)]),
        # More places than have coordinates, and not all of those.
        ("chefmozcuisine", "placeID;Rcuisine", _lists(rng, [*places, "1", "2"], CUISINES, 0.75)),
        ("chefmozaccepts", "placeID;Rpayment", _lists(rng, [*places, "3"], PAYMENTS, 0.9)),
        (
            "rating_final",
            "userID;placeID;rating;food_rating;service_rating",
            _ratings(rng, guests, places, reviews),
        ),
    ):
        lines = [header, *(";".join(str(cell) for cell in row) for row in rows)]
        (folder / f"{name}.csv").write_bytes("".join(f"{line}\n" for line in lines).encode())


_PROFILE = (
    "userID;latitude;longitude;smoker;drink_level;dress_preference;ambience;transport;marital_status;hijos;birth_year;"
    "interest;personality;religion;activity;color;weight;budget;height"
)
_PLACES = (
    "placeID;latitude;longitude;the_geom_meter;name;address;city;state;country;fax;zip;alcohol;smoking_area;dress_code;"
    "accessibility;price;url;Rambience;franchise;area;other_services"
)


def _guest(rng: random.Random, id: str) -> list[Any]:
    lat, lon = rng.choice(list(POINTS.values()))
    return [
        id,
        round(lat + rng.uniform(-0.04, 0.04), rng.choice([2, 3, 6])),
        round(lon + rng.uniform(-0.04, 0.04), rng.choice([3, 6])),
        rng.choice(["FALSE"] * 8 + ["TRUE", "TRUE", "?"]),
        rng.choice(["abstemious", "casual drinker", "social drinker"]),
        rng.choice(["no preference", "formal", "informal", "elegant", "?"]),
        rng.choice(["family", "friends", "solitary", "?"]),
        rng.choice(["public", "car owner", "on foot", "?"]),
        rng.choice(["single"] * 5 + ["married", "widow", "?"]),
        rng.choice(["independent", "kids", "dependent", "?"]),
        rng.choice([1930, 1987, 1988, 1989, 1990, 1991]),
        rng.choice(["variety", "technology", "none", "retro"]),
        rng.choice(["hard-worker", "thrifty-protector", "conformist"]),
        rng.choice(["Catholic", "none", "Christian"]),
        rng.choice(["student"] * 5 + ["professional", "unemployed", "?"]),
        rng.choice(["blue", "black", "green"]),
        rng.randint(40, 110),
        rng.choice(["medium", "low", "high", "?"]),
        round(rng.uniform(1.2, 2.0), rng.choice([1, 2, 2])),
    ]


def _place(rng: random.Random, number: int, id: str) -> list[Any]:
    city = rng.choice([*["San Luis Potosi"] * 5, *CITIES])
    lat, lon = POINTS[city]
    unknown = rng.random() < 0.15
    name = f"{rng.choice(FIRST)} {rng.choice(SECOND)}"
    if number == 2:
        name = "El Rinc\ufffdn de San Francisco"
    return [
        id,
        round(lat + rng.uniform(-0.03, 0.03), rng.choice([4, 6, 7])),
        round(lon + rng.uniform(-0.03, 0.03), rng.choice([6, 7])),
        rng.randbytes(25).hex().upper(),
        name,
        rng.choice(["?", "Revolucion", "venustiano carranza", "Av. V. Carranza", "lic. Emilio portes gil"]),
        "?" if unknown else rng.choice(CITIES[city]),
        "?" if unknown else rng.choice(STATES[city]),
        "?" if unknown else rng.choice(["Mexico"] * 4 + ["mexico", "?"]),
        "?",
        rng.choice(["?", "?", "78000", "78250", "62290", "08701"]),
        rng.choice(["No_Alcohol_Served"] * 3 + ["Wine-Beer", "Full_Bar"]),
        rng.choice(["none", "not permitted", "section", "only at bar"]),
        rng.choice(["informal", "casual", "formal"]),
        rng.choice(["no_accessibility", "completely", "partially"]),
        rng.choice(["low", "medium", "high"]),
        rng.choice(["?"] * 8 + ["no", "lunacafe.example"]),
        rng.choice(["familiar", "quiet"]),
        rng.choice(["f"] * 5 + ["t"]),
        rng.choice(["closed", "open"]),
        rng.choice(["none", "variety", "Internet"]),
    ]


def _likes(rng: random.Random, guests: Sequence[str]) -> Rows:
    rows = [[guest, name] for guest in guests for name in rng.sample(CUISINES, rng.choice([1, 1, 1, 2, 4]))]
    return rows + [[guests[-1], f"Cuisine_{n}"] for n in range(101)]


def _lists(rng: random.Random, places: Iterable[str], values: Sequence[str], share: float) -> Rows:
    rows = [
        [place, value]
        for place in places
        if rng.random() < share
        for value in rng.sample(values, rng.choice([1, 1, 2, 3]))
    ]
    rng.shuffle(rows)
    return rows


def _ratings(rng: random.Random, guests: Sequence[str], places: Sequence[str], count: int) -> Rows:
    """Each guest and each place has a rating at least, and nobody rates a place twice."""
    pairs = {(guest, places[n % len(places)]) for n, guest in enumerate(guests)}
    pairs |= {(guests[n % len(guests)], place) for n, place in enumerate(places)}
    everyone = [(guest, place) for guest in guests for place in places]
    rng.shuffle(everyone)
    for pair in everyone:
        if len(pairs) >= count:
            break
        pairs.add(pair)
    return [[guest, place, *(rng.randint(0, 2) for _ in range(3))] for guest, place in sorted(pairs)]


if __name__ == "__main__":
    write(FOLDER)
