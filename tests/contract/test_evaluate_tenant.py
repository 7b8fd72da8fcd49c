"""The stored relations of a tenant, as `kith evaluate` and `kith learn` read them."""

import json
from collections import Counter
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.intelligence.evaluation.evaluate import evaluate
from services.intelligence.evaluation.tenant import read_tenant
from shared.contracts.errors import ConfigurationError
from tests.conftest import Addresses
from tests.support.measures_world import market, store

Mongo = Database[dict[str, Any]]


def test_the_relations_of_a_tenant_are_those_that_are_stored(mongo_database: Mongo) -> None:
    store(mongo_database, market(23))
    facts = list(mongo_database["relations"].find({"tenant": "default", "retracted": False}))
    relations, profiles = read_tenant(mongo_database, "default")
    expected = Counter((fact["consumer_id"], fact["provider_id"], fact["kind"]) for fact in facts)
    ids, shops, kinds = relations.consumer_ids, relations.provider_ids, relations.kind_names
    columns = (relations.consumers.tolist(), relations.providers.tolist(), relations.kinds.tolist())
    assert Counter((ids[c], shops[p], kinds[k]) for c, p, k in zip(*columns, strict=True)) == expected
    assert sorted(relations.times.tolist()) == sorted(round(fact["time"].timestamp() * 1e6) for fact in facts)
    described = mongo_database["providers"].find({"tenant": "default", "categories": {"$exists": True}})
    assert profiles.categories == {each["provider_id"]: frozenset(each["categories"]) for each in described}
    assert profiles.consumer_places == {}
    assert evaluate(relations, profiles).relations == len(facts) > 0

    asked = {each["consumer_id"] for each in mongo_database["consumers"].find({"tenant": "default"})}
    some = next(iter(sorted(asked & set(ids))))
    mongo_database["consumers"].update_one(
        {"tenant": "default", "consumer_id": some}, {"$set": {"consent": {"advice": True}}}
    )
    assert read_tenant(mongo_database, "default", ["advice"])[0].consumer_ids == (some,)
    with pytest.raises(
        ConfigurationError, match="'default' of consumers who have granted ads and advice are stored"
    ):
        read_tenant(mongo_database, "default", ["advice", "ads"])
    with pytest.raises(ConfigurationError, match="no relations of tenant 'nobody'"):
        read_tenant(mongo_database, "nobody")


def test_who_refuses_what_the_tenant_is_bound_to_is_neither_measured_nor_learned_from(
    mongo_database: Mongo, servers: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(mongo_database, market(23))
    ids = sorted(read_tenant(mongo_database, "default")[0].consumer_ids)
    described = {each["consumer_id"] for each in mongo_database["consumers"].find({"tenant": "default"})}
    some = sorted(described & set(ids))
    granted = {"advice": set(some[: len(some) * 2 // 3]), "ads": set(some[len(some) // 3 :])}
    for purpose, those in granted.items():
        wanted = {"tenant": "default", "consumer_id": {"$in": sorted(those)}}
        mongo_database["consumers"].update_many(wanted, {"$set": {f"consent.{purpose}": True}})
    monkeypatch.setenv("KITH_MONGO", servers.mongo)
    monkeypatch.setenv("KITH_DATABASE", mongo_database.name)

    def consumers(*options: str) -> int:
        result = CliRunner().invoke(app, ["evaluate", "--tenant", "default", "--json", *options])
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["consumers"])

    assert consumers() == len(ids)
    assert consumers("--purpose", "ads") == len(granted["ads"])
    for bound in ({"default": "advice"}, {"*": "advice"}):
        monkeypatch.setenv("KITH_INTELLIGENCE_PURPOSE", json.dumps(bound))
        assert consumers() == len(granted["advice"])
        assert consumers("--purpose", "ads") == len(granted["advice"] & granted["ads"]) > 0
        result = CliRunner().invoke(app, ["learn", "--tenant", "default"])
        assert "learning needs 30" in str(result.exception)


def test_a_tenant_is_measured_by_the_walk_that_answers(
    mongo_database: Mongo, servers: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(mongo_database, market(23))
    monkeypatch.setenv("KITH_MONGO", servers.mongo)
    monkeypatch.setenv("KITH_DATABASE", mongo_database.name)
    weights = {"purchase": 1_000.0, "view": 0.001}
    monkeypatch.setenv("KITH_KIND_WEIGHTS", json.dumps(weights))
    result = CliRunner().invoke(app, ["evaluate", "--tenant", "default", "--json"])
    assert result.exit_code == 0, result.output
    expected = evaluate(*read_tenant(mongo_database, "default"), weights).document()
    assert json.loads(result.stdout) == json.loads(json.dumps(expected))
    result = CliRunner().invoke(app, ["learn", "--tenant", "default", "--json"])
    assert result.exit_code in (0, 3), result.output
    assert json.loads(result.stdout)["model"]["kind_weights"] == weights
