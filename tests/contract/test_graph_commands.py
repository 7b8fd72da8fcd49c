"""`kith paths`, `neighbours`, `central`, `communities` and `campaign`, with the service's own answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pymongo.database import Database
from typer.testing import CliRunner

from services.cli.__main__ import app as kith
from services.cli.service_client import ServiceClient
from services.intelligence.api import create_app
from tests.support.builders import OPEN
from tests.support.intelligence import over
from tests.support.measures_world import market, store

Run = Callable[..., Any]


@pytest.fixture(params=[80, 40])
def run(
    mongo_database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Run:
    """Runs a command in a terminal of a width; its requests come to the service over what is stored."""
    store(mongo_database, market(23))
    names = {"tenant": "default", "provider_id": "p3"}
    mongo_database["providers"].update_one(names, {"$set": {"name": "Three"}})
    client = TestClient(create_app(*over(mongo_database), list, access=OPEN))

    def ask(_: ServiceClient, method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    monkeypatch.setattr(ServiceClient, "ask", ask)
    monkeypatch.setenv("COLUMNS", str(request.param))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(kith, arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        assert max(map(len, result.output.splitlines())) <= (request.param if "--json" not in arguments else 10**6)
        return result.output

    return run


def test_what_the_service_answers_is_shown(run: Run, tmp_path: Path) -> None:
    found = json.loads(run("paths", "consumer:c01", "provider:p3", "--json"))
    shown = run("paths", "consumer:c01", "provider:p3")
    assert all(node["id"] in shown for node in found["nodes"])
    assert found["found"]
    assert "No answer: this consumer has no relationship." in " ".join(
        run("paths", "consumer:x", "provider:p3").split()
    )

    found = json.loads(run("neighbours", "provider:p3", "--limit", "3", "--json"))
    shown = run("neighbours", "provider:p3", "--limit", "3")
    assert len(found["edges"]) == 3
    assert all(edge["consumer_id"] in shown for edge in found["edges"])
    assert f"{found['omitted']} more relationships are not shown." in shown

    for by in ("pagerank", "degree"):
        for side in ("consumer", "provider"):
            found = json.loads(run("central", "--by", by, "--side", side, "--json"))
            shown = run("central", "--by", by, "--side", side)
            assert all(item["id"] in shown for item in found["items"])

    found = json.loads(run("communities", "--json"))
    assert all(word in run("communities") for word in ("community", "consumers", "providers"))
    one = found["items"][0]["id"]
    members = json.loads(run("communities", one, "--json"))["members"]
    shown = run("communities", one)
    assert all(each["id"] in shown for each in members[:20])

    whom = tmp_path / "whom.txt"
    whom.write_text("c30\nc35\n\nc30\n")
    found = json.loads(run("campaign", str(whom), "--limit", "3", "--json"))
    assert [each["consumer_id"] for each in found["items"]] == ["c30", "c35"]
    shown = run("campaign", str(whom), "--limit", "3")
    assert all(one["provider_id"] in shown for each in found["items"] for one in each["providers"])
    assert any(each["providers"] for each in found["items"])
    assert f"of {found['report']['providers']} providers" in " ".join(shown.split())
