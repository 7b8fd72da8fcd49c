"""Dirty files, by the mapping that teaches the format, against numbers that the csv module alone computes.

The files are the project's own (`tests/support/dirty_restaurants.py` makes them). Where KITH_DATA names a folder
that holds `restaurants/`, the UCI Machine Learning Repository's set with the same columns, the tests read it, too.
"""

import csv
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.codec import decode
from shared.contracts.events import event_key
from shared.contracts.topics import Topics
from tests.support.dirty_restaurants import FOLDER, write
from tests.support.importer import Recorder, imported, rejects_of
from tests.support.paths import DATA

MAPPING = DATA / "restaurants.toml"
Reader = Callable[[str], list[dict[str, str]]]
REAL = [Path(os.environ["KITH_DATA"]).resolve() / "restaurants"] if "KITH_DATA" in os.environ else []


@pytest.fixture(scope="module", params=[FOLDER, *REAL], ids=["made", "real"][: 1 + len(REAL)])
def mapping(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mapping beside the files that it is tried on."""
    folder = tmp_path_factory.mktemp("restaurants")
    (folder / "restaurants").symlink_to(request.param, target_is_directory=True)
    return Path(shutil.copy(MAPPING, folder))


@pytest.fixture(scope="module")
def rows(mapping: Path) -> Reader:
    def read(name: str) -> list[dict[str, str]]:
        with (mapping.parent / "restaurants" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter=";"))

    return read


def gathered(rows: list[dict[str, str]], key: str, value: str) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row[value] not in lists[row[key]]:
            lists[row[key]].append(row[value])
    return lists


@pytest.fixture(scope="module")
def recorder(mapping: Path, rows: Reader) -> Recorder:
    recorder = Recorder()
    report = imported(mapping, recorder)
    assert [(one.source, one.read, one.accepted, one.rejected) for one in report.sources] == [
        (name, len(rows(file)), len(rows(file)), 0)
        for name, file in (("consumers", "userprofile"), ("providers", "geoplaces"), ("reviews", "rating_final"))
    ]
    return recorder


@pytest.fixture(scope="module")
def consumers(recorder: Recorder) -> dict[str, dict[str, Any]]:
    return {one["data"]["consumer_id"]: one["data"] for one in recorder.events("kith.consumers")}


@pytest.fixture(scope="module")
def providers(recorder: Recorder) -> dict[str, dict[str, Any]]:
    return {one["data"]["provider_id"]: one["data"] for one in recorder.events("kith.providers")}


def test_the_files_are_those_that_the_generator_writes(tmp_path: Path) -> None:
    write(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        file.name: file.read_bytes() for file in FOLDER.iterdir()
    }


@pytest.mark.parametrize("seed", range(3))
def test_other_files_of_the_generator_are_imported_as_well(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "restaurants", consumers=30, providers=20, reviews=200, seed=seed)
    report = imported(Path(shutil.copy(MAPPING, tmp_path)))
    assert [(one.read, one.rejected) for one in report.sources] == [(30, 0), (20, 0), (200, 0)]


def test_every_row_is_one_valid_message_in_its_topic_and_under_its_key(
    recorder: Recorder, rows: Reader, mapping: Path
) -> None:
    topics = Topics()
    for message in recorder.messages:
        event = decode(message.value)
        assert (message.topic, message.key) == (topics.of(event), event_key(event))
    files = {"kith.consumers": "userprofile", "kith.providers": "geoplaces", "kith.relations": "rating_final"}
    counts = {topic: len(rows(name)) for topic, name in files.items()}
    assert Counter(message.topic for message in recorder.messages) == counts
    assert len({(one["source"], one["id"]) for one in recorder.events()}) == sum(counts.values())
    assert not rejects_of(mapping).exists()


def test_two_runs_give_the_same_bytes(recorder: Recorder, mapping: Path) -> None:
    again = Recorder()
    imported(mapping, again)
    assert again.messages == recorder.messages


def test_ratings_add_up_for_every_provider(recorder: Recorder, rows: Reader) -> None:
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
    assert sum(sums.values()) > 1000


def test_relation_ids_name_the_pair(recorder: Recorder, rows: Reader) -> None:
    expected = {f"{row['userID']}-{row['placeID']}" for row in rows("rating_final")}
    assert {one["data"]["relation_id"] for one in recorder.events("kith.relations")} == expected
    assert len(expected) == len(rows("rating_final"))


def test_spellings_of_a_place_become_one(providers: dict[str, dict[str, Any]], rows: Reader) -> None:
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
    assert len(set(written)) >= 10
    assert cities["San Luis Potosi"] == sum(city.startswith(("san luis", "s.l.p", "slp")) for city in written)
    assert cities["Ciudad Victoria"] == sum("victoria" in city for city in written)
    assert cities[None] == written.count("?")
    regions = {one.get("location", {}).get("region") for one in providers.values()}
    assert regions == {None, "San Luis Potosi", "Morelos", "Tamaulipas", "Mexico"}
    assert {one["location"].get("country") for one in providers.values()} == {None, "Mexico"}


def test_accents_survive(providers: dict[str, dict[str, Any]], rows: Reader) -> None:
    names = {row["placeID"]: row["name"].strip().replace("\ufffd", "ó") for row in rows("geoplaces")}
    assert {id: one["name"] for id, one in providers.items()} == names
    assert sum(not name.isascii() for name in names.values()) >= 2
    assert sum("\ufffd" in row["name"] for row in rows("geoplaces")) == 1


def test_coordinates_and_missing_values(
    consumers: dict[str, dict[str, Any]], providers: dict[str, dict[str, Any]], rows: Reader
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
    consumers: dict[str, dict[str, Any]], providers: dict[str, dict[str, Any]], rows: Reader
) -> None:
    cuisines = gathered(rows("chefmozcuisine"), "placeID", "Rcuisine")
    payments = gathered(rows("chefmozaccepts"), "placeID", "Rpayment")
    for id, provider in providers.items():
        assert provider.get("categories", []) == cuisines.get(id, [])
        expected = list(dict.fromkeys(name.replace("VISA", "Visa") for name in payments.get(id, [])))
        assert provider["traits"].get("payments", []) == expected
    assert len(providers) > sum("categories" in one for one in providers.values()) > len(providers) / 2
    likes = gathered(rows("usercuisine"), "userID", "Rcuisine")
    for id, consumer in consumers.items():
        assert consumer["traits"]["cuisines"] == likes[id][:100]
    assert max(len(names) for names in likes.values()) > 100
