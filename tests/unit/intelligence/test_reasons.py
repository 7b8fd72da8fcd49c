"""The reasons of every answer: terms add up to the score, and what led there to the points of its term."""

import math
from typing import Any, cast

from fastapi.testclient import TestClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.intelligence.advisers import Advisers
from services.intelligence.api import create_app
from services.intelligence.engine import Graph
from services.intelligence.learning.model import Model
from services.intelligence.state import State, Still, Tenant
from tests.support.builders import OPEN, MemoryKith
from tests.support.intelligence import MemoryIntelligence

CONSUMERS = [f"c{number}" for number in range(7)]
PROVIDERS = [f"p{number}" for number in range(7)]
MONTHS = ("2025-11", "2026-01", "2026-02")

pairs = st.dictionaries(
    st.tuples(st.sampled_from(CONSUMERS), st.sampled_from(PROVIDERS)),
    st.tuples(st.sampled_from(("visit", "purchase")), st.sampled_from(MONTHS), st.integers(1, 9)),
    min_size=8,
    max_size=40,
)
parameters = st.fixed_dictionaries(
    {"limit": st.integers(1, 9)},
    optional={
        "beta": st.floats(0, 1).map(lambda each: round(each, 2)),
        "half_life_months": st.sampled_from((0.01, 1, 1200)),
        "weights": st.sampled_from(("purchase:7,visit:0.5", "visit:0")),
        "kind": st.sampled_from(("visit", "purchase")),
    },
)
weights = st.tuples(*[st.floats(-3, 3)] * 3)


class OneModel:
    """Stored models, of which one is live."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        names = ("walk", "alike", "popularity")
        model = Model(names, weights, (-1.0, -1.0, 1.0), (0.5, 0.7, 0.9), 0.3, 5.0, 0.1, "", 9, {"visit": 2.0})
        self._found = {"_id": "x", "name": "logit", "version": 1, "parameters": model.document()}

    def live(self, tenant: str) -> Any:
        del tenant
        return self._found


def client(pairs: dict[tuple[str, str], tuple[str, str, int]], weights: tuple[float, ...]) -> TestClient:
    rows = [(*pair, {kind: {month: {"count": n}}}, None) for pair, (kind, month, n) in pairs.items()]
    state = State({})
    state.tenants["default"] = Tenant(graph=Graph.build(rows))
    service = MemoryIntelligence(MemoryKith(slice_events=1))
    questions = service.questions
    questions._follower = Still(state)
    questions._advisers = Advisers(cast(Any, OneModel(weights)))
    unused = cast(Any, None)
    app = create_app(questions, unused, unused, unused, list, access=OPEN)
    return TestClient(app, headers={"Kith-Tenant": "default"})


def holds(score: float, because: list[dict[str, Any]]) -> None:
    near = {"rel_tol": 1e-9, "abs_tol": 1e-12}
    assert math.isclose(math.fsum(reason["points"] for reason in because), score, **near)
    for reason in because:
        if "via" not in reason:
            continue
        points = [via["points"] for via in reason["via"]]
        signs = {math.copysign(1, each) for each in (*points, reason["points"]) if each}
        assert len(signs) <= 1
        # The smallest numbers there are have fewer digits.
        assert abs(math.fsum(points)) <= abs(reason["points"]) * (1 + 1e-9) + 1e-300
        if points or reason["rest"]:
            assert math.isclose(math.fsum((*points, reason["rest_points"])), reason["points"], **near)
        assert points == sorted(points, key=abs, reverse=True)


@settings(max_examples=30, deadline=None)
@given(pairs, parameters, weights)
@example({("c0", "p0"): ("visit", MONTHS[0], 1)}, {"limit": 1}, (1.0, 1.0, 1.0))
def test_the_reasons_of_every_answer_add_up(
    pairs: dict[tuple[str, str], tuple[str, str, int]], given: dict[str, Any], weights: tuple[float, ...]
) -> None:
    explained = 0
    with client(pairs, weights) as asking:

        def ask(path: str, **query: Any) -> Any:
            found = asking.get(path, params={**given, **query})
            assert found.status_code == 200, found.text
            return found.json()

        walk = {"record": False}
        found = [ask("/v1/recommendations", consumer_id=id, **walk) for id in CONSUMERS]
        found += [ask("/v1/recommendations", consumer_id=id, known=True, **walk) for id in CONSUMERS[:3]]
        found += [ask("/v1/recommendations", provider_id=id, **walk) for id in PROVIDERS[:3]]
        found += [ask("/v1/similar", consumer_id=id) for id in CONSUMERS[:4]]
        found += [ask("/v1/similar", provider_id=id) for id in PROVIDERS[:4]]
        for item in (item for each in found for item in each["items"]):
            assert item["because"]
            holds(item["score"], item["because"])
            explained += 1
        assert all("because" not in item for item in ask("/v1/similar", consumer_id="c0", explain=False)["items"])
        one = {name: value for name, value in given.items() if name != "limit"}
        pair = asking.get("/v1/affinity/c0/p1", params=one).json()
        if pair["score"] is not None:
            holds(pair["score"], pair["because"])
        campaign = asking.post("/v1/campaigns", json={"consumer_ids": CONSUMERS, "explain": True, **given})
        assert campaign.status_code == 200, campaign.text
        for place in (place for each in campaign.json()["items"] for place in each["providers"]):
            assert ("because" in place) == (place["score"] > 0)
            if place["score"]:
                holds(place["score"], place["because"])
    # Where relationships weigh something, so many of them lead somewhere.
    assert explained or len(pairs) < 25 or given.keys() & {"kind", "weights", "half_life_months"}


def test_the_reasons_of_similar_ones_are_what_both_know() -> None:
    made = dict.fromkeys([("c0", "p0"), ("c0", "p1"), ("c1", "p0"), ("c1", "p1")], ("visit", "2026-01", 2))
    with client(made, (1.0, 1.0, 1.0)) as asking:
        [consumer] = asking.get("/v1/similar?consumer_id=c0").json()["items"]
        [reason] = consumer["because"]
        assert [(via["provider_id"], via["of"], via["relationship"]) for via in reason["via"]] == [
            ("p0", "few", "/v1/relationships/c0/p0"),
            ("p1", "few", "/v1/relationships/c0/p1"),
        ]
        assert not any("shared_consumers" in via for via in reason["via"])
        [provider] = asking.get("/v1/similar?provider_id=p0").json()["items"]
        assert provider["because"] == [{"term": "walk", "points": provider["score"], "shared_consumers": "few"}]
