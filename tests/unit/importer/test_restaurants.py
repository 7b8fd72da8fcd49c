"""The restaurant data against numbers that the csv module alone computes from the files."""

import csv
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from services.importer.mapping import load
from services.importer.run import run
from shared.contracts.codec import decode
from shared.contracts.events import event_key
from shared.contracts.topics import Topics
from tests.support.importer import CLOCK, Recorder

MAPPING = Path(__file__).parents[2] / "data" / "restaurants.toml"
DATA = Path(__file__).parents[4] / "shared" / "data" / "restaurants"


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def gathered(name: str, key: str, value: str) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = defaultdict(list)
    for row in rows(name):
        if row[value] not in lists[row[key]]:
            lists[row[key]].append(row[value])
    return lists


@pytest.fixture(scope="module")
def rejects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("restaurants") / "rejected.jsonl"


@pytest.fixture(scope="module")
def recorder(rejects: Path) -> Recorder:
    recorder = Recorder()
    report = run(load(MAPPING), recorder, Topics(), rejects, CLOCK)
    assert [(one.source, one.read, one.accepted, one.rejected) for one in report.sources] == [
        ("consumers", 138, 138, 0),
        ("providers", 130, 130, 0),
        ("reviews", 1161, 1161, 0),
    ]
    return recorder


@pytest.fixture(scope="module")
def consumers(recorder: Recorder) -> dict[str, dict[str, Any]]:
    return {one["data"]["consumer_id"]: one["data"] for one in recorder.events("kith.consumers")}


@pytest.fixture(scope="module")
def providers(recorder: Recorder) -> dict[str, dict[str, Any]]:
    return {one["data"]["provider_id"]: one["data"] for one in recorder.events("kith.providers")}


def test_every_row_is_one_valid_message_in_its_topic_and_under_its_key(recorder: Recorder, rejects: Path) -> None:
    topics = Topics()
    for message in recorder.messages:
        event = decode(message.value)
        assert (message.topic, message.key) == (topics.of(event), event_key(event))
    assert Counter(message.topic for message in recorder.messages) == {
        "kith.consumers": 138,
        "kith.providers": 130,
        "kith.relations": 1161,
    }
    assert len({(one["source"], one["id"]) for one in recorder.events()}) == 138 + 130 + 1161
    assert not rejects.exists()


def test_two_runs_give_the_same_bytes(recorder: Recorder, rejects: Path) -> None:
    again = Recorder()
    run(load(MAPPING), again, Topics(), rejects, CLOCK)
    assert again.messages == recorder.messages


def test_ratings_add_up_for_every_provider(recorder: Recorder) -> None:
    sums: Counter[tuple[str, str]] = Counter()
    for row in rows("rating_final"):
        for name in ("rating", "food_rating", "service_rating"):
            sums[row["placeID"], name] += int(row[name])
    found: Counter[tuple[str, str]] = Counter()
    for one in recorder.events("kith.relations"):
        data = one["data"]
        found[data["provider_id"], "rating"] += data["rating"]
        for name in ("food_rating", "service_rating"):
            found[data["provider_id"], name] += data["traits"][name]
    assert found == sums
    assert sum(sums.values()) > 3000


def test_relation_ids_name_the_pair(recorder: Recorder) -> None:
    expected = {f"{row['userID']}-{row['placeID']}" for row in rows("rating_final")}
    assert {one["data"]["relation_id"] for one in recorder.events("kith.relations")} == expected
    assert len(expected) == 1161


def test_spellings_of_a_place_become_one(providers: dict[str, dict[str, Any]]) -> None:
    cities = Counter(one.get("location", {}).get("city") for one in providers.values())
    assert set(cities) == {
        None,
        "San Luis Potosi",
        "Cuernavaca",
        "Jiutepec",
        "Ciudad Victoria",
        "Soledad",
    }
    written = [row["city"].strip().lower() for row in rows("geoplaces")]
    assert cities["San Luis Potosi"] == sum(city.startswith(("san luis", "s.l.p", "slp")) for city in written)
    assert cities["Ciudad Victoria"] == sum("victoria" in city for city in written)
    assert cities[None] == written.count("?")
    regions = {one.get("location", {}).get("region") for one in providers.values()}
    assert regions == {None, "San Luis Potosi", "Morelos", "Tamaulipas", "Mexico"}
    assert {one["location"].get("country") for one in providers.values()} == {None, "Mexico"}


def test_accents_survive(providers: dict[str, dict[str, Any]]) -> None:
    assert providers["132845"]["name"] == "Cenaduria El Rincón de Tlaquepaque"
    assert providers["135106"]["name"] == "El Rincón de San Francisco"


def test_coordinates_and_missing_values(
    consumers: dict[str, dict[str, Any]], providers: dict[str, dict[str, Any]]
) -> None:
    for row in rows("geoplaces"):
        place = providers[row["placeID"]]
        point = (place["location"]["lat"], place["location"]["lon"])
        assert point == (float(row["latitude"]), float(row["longitude"]))
        assert place["traits"].get("zip") == (None if row["zip"] == "?" else row["zip"])
        assert place["traits"]["franchise"] is (row["franchise"] == "t")
    for row in rows("userprofile"):
        person = consumers[row["userID"]]
        smoker = {"TRUE": True, "FALSE": False, "?": None}[row["smoker"]]
        assert person["traits"].get("smoker") is smoker
        assert person["traits"]["height_cm"] == round(float(row["height"]) * 100)
        assert person["personal"]["birth_year"] == row["birth_year"]


def test_lists_come_from_other_files(
    consumers: dict[str, dict[str, Any]], providers: dict[str, dict[str, Any]]
) -> None:
    cuisines = gathered("chefmozcuisine", "placeID", "Rcuisine")
    payments = gathered("chefmozaccepts", "placeID", "Rpayment")
    for id, provider in providers.items():
        assert provider.get("categories", []) == cuisines.get(id, [])
        expected = list(dict.fromkeys(name.replace("VISA", "Visa") for name in payments.get(id, [])))
        assert provider["traits"].get("payments", []) == expected
    assert sum("categories" in one for one in providers.values()) > 90
    likes = gathered("usercuisine", "userID", "Rcuisine")
    for id, consumer in consumers.items():
        assert consumer["traits"]["cuisines"] == likes[id][:100]
    assert len(likes["U1135"]) == 103
