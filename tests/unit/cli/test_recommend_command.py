"""`kith recommend` and its siblings, over relationships in memory."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli import recommend, recommend_view
from services.cli.__main__ import app
from shared.http.caller import SCOPES, Caller
from tests.support.builders import MemoryKith, recorded
from tests.support.intelligence import MemoryIntelligence

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture(scope="module")
def service() -> MemoryIntelligence:
    kith = MemoryKith(slice_events=200)
    kith.publish(
        recorded(f"e{c}-{p}", f"2026-{5 + n:02d}-01T00:00:00Z", f"r{c}-{p}-{n}", consumer_id=c, provider_id=p)
        for number, c in enumerate([COMPOSED, *(f"c{n}" for n in range(11))])
        for at, p in enumerate([COMPOSED, *(f"p{n}" for n in range(7))])
        if (number * 5 + at * 3) % 7 < 3
        for n in range(1 + (number + at) % 3)
    )
    kith.drain()
    service = MemoryIntelligence(kith)
    service.follow()
    return service


@pytest.fixture
def kith(service: MemoryIntelligence, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command on the relationships in memory. Returns what it has printed."""

    def asked(tenant: str, ask: Any) -> Any:
        return ask(service.questions, Caller(tenant, frozenset(SCOPES)))

    monkeypatch.setattr(recommend, "_asked", asked)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    return run


@pytest.mark.parametrize("command", ["recommend", "similar"])
@pytest.mark.parametrize("side", ["--consumer", "--provider"])
def test_an_id_in_any_spelling_is_found(kith: Any, command: str, side: str) -> None:
    found = json.loads(kith(command, side, DECOMPOSED, "--json"))
    assert found["items"]
    assert found == json.loads(kith(command, side, COMPOSED, "--json"))


def test_the_provider_who_calls_is_found_in_any_spelling(kith: Any) -> None:
    found = json.loads(kith("next", "--provider", DECOMPOSED, "--json"))
    assert found["consumers"] > 0
    assert found == json.loads(kith("next", "--provider", COMPOSED, "--json"))


def test_one_pair(kith: Any) -> None:
    found = json.loads(kith("affinity", DECOMPOSED, DECOMPOSED, "--json"))
    assert found == json.loads(kith("affinity", COMPOSED, COMPOSED, "--json"))
    assert found["consumer_id"] == found["provider_id"] == COMPOSED
    shown = kith("affinity", COMPOSED, COMPOSED)
    assert all(word in shown for word in ("strength", "score", "rank", f"of {found['candidates']}", "because"))
    assert "because" not in kith("affinity", COMPOSED, COMPOSED, "--no-explain")
    unreached = json.loads(kith("affinity", "nobody", "p1", "--json"))
    assert unreached.keys() == found.keys(), (
        "whether there is a score is told by values alone, which can be masked"
    )
    unknown = kith("affinity", "nobody", "p1")
    assert "no relationship" in unknown
    assert "none: nobody with this id has a relationship" in " ".join(unknown.split())


def test_options_of_strength_and_reasons_are_those_of_the_api(kith: Any) -> None:
    plain = json.loads(kith("recommend", "--consumer", "c1", "--json"))
    assert all("because" in item for item in plain["items"])
    given = ("--weights", "purchase:0", "--half-life-months", "1", "--no-explain")
    found = json.loads(kith("recommend", "--consumer", "c1", "--json", *given))
    assert found["as_of"]["half_life_months"] == 1
    assert found["as_of"]["weights"]["purchase"] == 0
    assert not any("because" in item for item in found["items"])
    for command in (["similar", "--provider", "p1"], ["next", "--provider", "p1"], ["affinity", "c1", "p1"]):
        assert json.loads(kith(*command, "--json", *given))["as_of"]["half_life_months"] == 1


def test_popular_providers_with_few_consumers_have_few_and_not_0(kith: Any) -> None:
    found = json.loads(kith("recommend", "--consumer", "nobody", "--json"))
    shown = kith("recommend", "--consumer", "nobody")
    assert "relationships" in shown
    assert "score" not in shown
    assert {each["relationships"] for each in found["popular"]} == {"few", 5, 6}
    lines = {
        line.split()[0]: line.split()[-2:] for line in shown.splitlines() if line.rstrip().endswith("popular")
    }
    wanted = {each["provider_id"]: [str(each["relationships"]), "popular"] for each in found["popular"]}
    assert lines == wanted


def test_columns_that_are_empty_are_left_out_and_small_risks_differ(kith: Any) -> None:
    assert "name" not in kith("recommend", "--provider", "p1").splitlines()[0].split()
    assert [recommend_view._risk(risk) for risk in (0.0, 0.00123, 0.0456, 0.5, 0.99949, 1.0)] == [
        *("0%", "0.12%", "4.6%", "50%", "100%", "100%"),
    ]
