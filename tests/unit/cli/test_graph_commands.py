"""`kith paths`, `neighbours`, `central`, `communities` and `campaign` with answers that a mask hides fields of."""

from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.service_client import ServiceClient
from shared.access.masks import MASK
from shared.contracts.errors import ConfigurationError

NODES = [
    {"side": "consumer", "id": "c1", "steps": 0, "relationships": 4321},
    {"side": "provider", "id": "p1", "name": "One", "steps": 1, "relationships": "few"},
]
EDGES = [{"consumer_id": "c1", "provider_id": "p1", "strength": 1.23456}]
CENTRAL = {"side": "provider", "id": "p1", "name": "One", "relationships": 1234, "pagerank": 0.0012345}
COMMUNITY = {
    "id": "k1",
    "consumers": 1234,
    "providers": 5678,
    "strongest": [{"id": "p1", "name": "One"}],
    "categories": [{"name": "bar", "providers": 4321}],
    "places": [{"name": "Lyon", "providers": 8765}],
}
LISTS = [{"consumer_id": "c1", "providers": [{"provider_id": "p1"}]}]
REPORT = {"shown": 4321, "providers": 5678, "shown_before": 1234, "kept_mean": 0.95}
#: Arguments, the answer, and what is shown of it.
ANSWERS: list[tuple[list[str], dict[str, Any], list[str]]] = [
    (["paths", "consumer:c1", "provider:p1"], {"nodes": NODES, "edges": EDGES}, ["1.23", "4,321", "few"]),
    (["neighbours", "consumer:c1"], {"nodes": NODES, "edges": EDGES, "omitted": 1234}, ["1.23", "1,234 more"]),
    (["central"], {"items": [CENTRAL]}, ["1,234", "0.001234"]),
    (["communities"], {"items": [COMMUNITY]}, ["1,234", "5,678", "bar (4,321)", "Lyon (8,765)"]),
    (["communities", "k1"], {"members": [CENTRAL]}, ["1,234", "0.001234"]),
    (["campaign", "-"], {"items": LISTS, "report": REPORT}, ["4,321 of 5,678", "1,234", "95.0%"]),
]


def hidden(value: Any, fields: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [hidden(each, fields) for each in value]
    if isinstance(value, dict):
        return {name: MASK if name in fields else hidden(each, fields) for name, each in value.items()}
    return MASK if not fields and isinstance(value, int | float) else value


@pytest.mark.parametrize(("arguments", "answer", "shown"), ANSWERS)
def test_a_masked_answer_is_shown_as_it_comes(
    arguments: list[str], answer: dict[str, Any], shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")

    def run(found: dict[str, Any]) -> str:
        monkeypatch.setattr(ServiceClient, "ask", lambda *_: found)
        result = CliRunner().invoke(app, arguments, input="c1\n")
        assert result.exit_code == 0, (result.output, result.exception)
        return " ".join(result.output.split())

    assert all(text in run(answer) for text in shown)
    numbers = run(hidden(answer, frozenset()))
    assert MASK in numbers
    assert not any(text in numbers for text in shown if text != "few")
    run(hidden(answer, frozenset({"name", "categories", "places", "strongest"})))


def test_the_whole_of_a_community_s_lists_may_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    found = hidden({"items": [COMMUNITY]}, frozenset({"categories", "places"}))
    monkeypatch.setattr(ServiceClient, "ask", lambda *_: found)
    result = CliRunner().invoke(app, ["communities"])
    assert result.output.count(MASK) == 2, result.exception


def test_a_kind_needs_the_number_of_relationships(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(*given: Any) -> dict[str, Any]:
        asked.append(given)
        return {"items": [CENTRAL]}

    monkeypatch.setattr(ServiceClient, "ask", ask)
    result = CliRunner().invoke(app, ["central", "--kind", "purchase"])
    assert isinstance(result.exception, ConfigurationError)
    assert "--by degree" in str(result.exception)
    assert not asked
    result = CliRunner().invoke(app, ["central", "--by", "degree", "--kind", "purchase"])
    assert (result.exit_code, len(asked)) == (0, 1)
