"""Every option of every report changes the answer, or is refused by name: none is ignored."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from services.cli import report
from services.cli.__main__ import app as kith
from services.cli.report import Report, answer, reports
from services.relations.measures import gamma_gamma, valuing
from services.relations.measures.gamma_gamma import GammaGamma
from shared.contracts.errors import ConfigurationError
from shared.measures import bgnbd
from shared.measures.bgnbd import BgNbd
from shared.measures.query import BadMeasure
from tests.conftest import Addresses
from tests.support.builders import event, recorded
from tests.support.measures_world import NOW, PLACES, World
from tests.support.relations_driver import Mongo, MongoKith
from tests.support.vault import MASTER_KEY

#: By option, values of which at least one makes a difference on this market.
VALUES: dict[str, list[str]] = {
    "from": ["2026-11-20", "2026-10-01"],
    "to": ["2026-11-02", "2026-09-01"],
    "kind": ["view", "review", "purchase"],
    "category": ["garage", "café"],
    "provider_id": ["p4", "p1"],
    "currency": ["USD", "EUR"],
    "lowest": ["0", "1"],
    "highest": ["10", "5"],
    "positive_from": ["2", "5"],
    "limit": ["1", "2"],
    "minimum": ["1000", "1"],
    "weight": ["0", "1000"],
    "baseline_days": ["7", "60"],
    "discount": ["0.5"],
    "horizon_weeks": ["4"],
    "risk_from": ["0.9", "0.2"],
    "risk_to": ["0.001", "0.1", "0.5"],
}
#: What these need, beside a choice, before they can make a difference.
BESIDE = {"lowest": {"highest": "10"}, "highest": {"lowest": "1"}}


def choices(options: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Nothing chosen, and each value of each option that has a few."""
    yield {}
    for name, field in options.items():
        for value in values(field.annotation):
            yield {name: value}


def values(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := values(part))), ())


CASES = [
    (each, name, choice)
    for each in reports()
    for choice in choices(each.fields)
    for name in each.fields
    if name not in choice
]


def named(each: Any) -> str | None:
    if isinstance(each, Report):
        return each.name
    return (
        "+".join(f"{name}={value}" for name, value in each.items()) or "plain" if isinstance(each, dict) else each
    )


@pytest.mark.parametrize(("asked", "option", "choice"), CASES, ids=named)
def test_no_option_is_ignored(
    world: World, asked: Report, option: str, choice: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "now", lambda: NOW + timedelta(hours=1))
    wide = {"from": "2026-08-01"} if option != "from" and asked.name != "activity" else {}
    base = {**wide, **BESIDE.get(option, {}), **choice}
    # Few orders are enough here: how well the models fit is another test's.
    monkeypatch.setattr(valuing, "FEWEST", 5)
    monkeypatch.setattr(bgnbd, "fit", lambda _: BgNbd(0.8, 5.0, 0.6, 2.5))
    monkeypatch.setattr(gamma_gamma, "fit", lambda *_: GammaGamma(6.0, 4.0, 1_500.0))
    plain = outcome(world, asked, base)
    assert not isinstance(plain, Refused)
    if option == "limit" and len(plain["items"]) < 2:
        return  # nothing to limit on this market
    tried = values(asked.fields[option].annotation) or VALUES[option]
    for value in tried:
        found = outcome(world, asked, {**base, option: value})
        if isinstance(found, Refused):
            assert found.option in (option, *choice)
        if found != plain:
            return
    raise AssertionError(f"{asked.name} {choice}: --{option} changes nothing")


class Refused:
    def __init__(self, option: str) -> None:
        self.option = option


def outcome(world: World, asked: Report, given: dict[str, str]) -> Any:
    try:
        return answer(world.database, asked.name, "default", given).model_dump()
    except BadMeasure as bad:
        return Refused(bad.name)
    except ValidationError as error:
        return Refused(str(error.errors()[0]["loc"][0]))


@pytest.fixture
def sealed(servers: Addresses, mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Consumers whose cities and points are encrypted, and the command beside them."""
    for name, value in {"MONGO": servers.mongo, "DATABASE": mongo_database.name, "AUDIT": "mongo"}.items():
        monkeypatch.setenv(f"KITH_{name}", value)
    data = [{"consumer_id": id, "location": place} for id, place in PLACES.items()]
    people = [event("consumer.upserted", f"u{n}", "2026-11-01T00:00:00Z", each) for n, each in enumerate(data)]
    facts = [recorded(f"f{id}", "2026-11-01T00:00:00Z", f"r-{id}", consumer_id=id) for id in PLACES]
    MongoKith(mongo_database, sealed=True).store([*people, *facts])
    return CliRunner()


def test_cities_are_shown_with_the_key_and_refused_without(
    sealed: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = ["report", "geography", "--level", "city"]
    with pytest.raises(ConfigurationError, match="cities of consumers are encrypted: KITH_MASTER_KEY_FILE"):
        sealed.invoke(kith, city, catch_exceptions=False)
    plain = sealed.invoke(kith, ["report", "geography", "--json"], catch_exceptions=False)
    assert "latitude and longitude are left out" in plain.stderr
    assert [item["lat"] for item in json.loads(plain.stdout)["items"]] == [None, None]
    provided = sealed.invoke(kith, [*city, "--side", "provider"], catch_exceptions=False)
    assert (provided.exit_code, provided.stderr) == (0, "")

    monkeypatch.setenv("KITH_MASTER_KEY", MASTER_KEY)
    table = sealed.invoke(kith, city, catch_exceptions=False)
    assert all(place["city"] in table.stdout for place in PLACES.values())
    assert table.stderr == ""
    named = sealed.invoke(kith, ["report", "geography", "--json"], catch_exceptions=False)
    assert {item["lat"] for item in json.loads(named.stdout)["items"]} == {45.76, -1.29}
    acts = sealed.invoke(kith, ["audit", "list", "--json"], catch_exceptions=False).stdout
    assert acts.count("personal.read") == 2


def test_the_same_holds_for_its_file(sealed: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    city = ["export", "measures/geography", "--set", "level=city", "--out", "cities.csv"]
    with pytest.raises(ConfigurationError, match="cities of consumers are encrypted: KITH_MASTER_KEY_FILE"):
        sealed.invoke(kith, city, catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []
    plain = sealed.invoke(kith, ["export", "measures/geography", "--out", "-"], catch_exceptions=False)
    assert "latitude and longitude are left out" in plain.stderr
    assert "45.76" not in plain.stdout

    monkeypatch.setenv("KITH_MASTER_KEY", MASTER_KEY)
    assert sealed.invoke(kith, city, catch_exceptions=False).exit_code == 0
    text = (tmp_path / "cities.csv").read_text()
    assert all(place["city"] in text for place in PLACES.values())
    assert (tmp_path / "cities.csv").stat().st_mode & 0o077 == 0
    acts = sealed.invoke(kith, ["audit", "list", "--json"], catch_exceptions=False).stdout
    [entry] = [json.loads(line) for line in acts.splitlines() if "personal.read" in line]
    assert (entry["subject"], entry["fields"]) == ({"export": "measures/geography"}, ["city", "lat", "lon"])
