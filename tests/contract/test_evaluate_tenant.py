"""The stored relations of a tenant, as `kith evaluate` and `kith learn` read them."""

from collections import Counter
from typing import Any

import pytest
from pymongo.database import Database

from services.intelligence.evaluation.evaluate import evaluate
from services.intelligence.evaluation.tenant import read_tenant
from shared.contracts.errors import ConfigurationError
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
    assert read_tenant(mongo_database, "default", "advice")[0].consumer_ids == (some,)
    with pytest.raises(ConfigurationError, match="no relations of tenant 'nobody'"):
        read_tenant(mongo_database, "nobody")
