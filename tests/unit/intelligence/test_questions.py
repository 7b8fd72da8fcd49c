"""Answers to questions, in memory: reasons that add up, closed providers, unknown ids, purposes."""

import math
from dataclasses import replace
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from services.intelligence.api import create_app
from services.intelligence.parameters import PairQuery, RecommendQuery, SimilarQuery
from services.intelligence.questions import NotGranted
from shared.http.caller import CONSUMERS_READ, INTELLIGENCE_READ, RELATIONS_READ, Caller
from shared.http.parameters import BadParameter
from tests.support.builders import OPEN, MemoryKith, event, recorded
from tests.support.intelligence import MemoryIntelligence

EVERYTHING = Caller("default", frozenset({INTELLIGENCE_READ, RELATIONS_READ}))
NARROW = Caller("default", frozenset({INTELLIGENCE_READ}))


@pytest.fixture(scope="module")
def service() -> MemoryIntelligence:
    kith = MemoryKith(slice_events=200)
    facts = [
        recorded(f"e{c}-{p}", "2026-10-01T00:00:00Z", f"r{c}-{p}", consumer_id=f"c{c}", provider_id=f"p{p}")
        for c in range(12)
        for p in range(8)
        if (c * 5 + p * 3) % 7 < 3
    ]
    kith.publish(facts)
    shop = {"provider_id": "p3", "name": "Three", "categories": ["bar"]}
    kith.publish([event("provider.upserted", "p3", "2026-10-01T00:00:00Z", shop)])
    kith.publish([event("provider.closed", "p5", "2026-10-01T00:00:00Z", {"provider_id": "p5"})])
    agreed = {"consumer_id": "c1", "consent": {"mail": True}}
    kith.publish([event("consumer.upserted", "c1", "2026-10-01T00:00:00Z", agreed)])
    kith.drain()
    service = MemoryIntelligence(kith)
    service.follow()
    return service


def test_points_add_up_to_the_score_of_every_answer(service: MemoryIntelligence) -> None:
    answers = 0
    for id in [f"c{n}" for n in range(12)]:
        found = service.questions.recommend(EVERYTHING, "consumer", id, RecommendQuery(consumer_id=id))
        for item in found["items"]:
            [reason] = item["because"]
            points = [*(via["points"] for via in reason["via"]), reason["rest_points"]]
            assert math.fsum(points) == pytest.approx(item["score"], rel=1e-12)
            answers += 1
    assert answers > 20


def test_few_consumers_are_not_counted(service: MemoryIntelligence) -> None:
    shared = {
        via["shared_consumers"]
        for n in range(12)
        for item in service.questions.recommend(
            EVERYTHING, "consumer", f"c{n}", RecommendQuery(consumer_id=f"c{n}")
        )["items"]
        for reason in item["because"]
        for via in reason["via"]
    }
    assert "few" in shared
    assert all(each == "few" or each >= 5 for each in shared)


def test_closed_providers_are_not_recommended_but_those_known_are_shown(service: MemoryIntelligence) -> None:
    for n in range(12):
        query = RecommendQuery(consumer_id=f"c{n}", limit=20)
        found = service.questions.recommend(EVERYTHING, "consumer", f"c{n}", query)
        assert "p5" not in {item["provider_id"] for item in found["items"]}
    known = [
        item["provider_id"]
        for n in range(12)
        for item in service.questions.recommend(
            EVERYTHING, "consumer", f"c{n}", RecommendQuery(consumer_id=f"c{n}", known=True)
        )["items"]
    ]
    assert "p5" in known


def test_names_are_for_those_who_may_read_them(service: MemoryIntelligence) -> None:
    query = SimilarQuery(provider_id="p0", limit=20)

    def names(caller: Caller) -> set[str]:
        found = service.questions.similar(caller, "provider", "p0", query)
        return {item["name"] for item in found["items"] if "name" in item}

    assert names(EVERYTHING) == {"Three"}
    assert names(NARROW) == set()


def test_what_led_to_an_answer_is_for_those_who_may_read_relations(service: MemoryIntelligence) -> None:
    explained = 0
    for n in range(12):
        query = RecommendQuery(consumer_id=f"c{n}", limit=20)
        wide, narrow = (
            service.questions.recommend(caller, "consumer", f"c{n}", query)["items"]
            for caller in (EVERYTHING, NARROW)
        )
        for one, other in zip(wide, narrow, strict=True):
            [seen], [hidden] = one["because"], other["because"]
            assert hidden["via"] == []
            assert hidden["rest"] == len(seen["via"]) + seen["rest"]
            assert hidden["rest_points"] == pytest.approx(hidden["points"])
            explained += len(seen["via"])
    assert explained > 12


def test_an_unknown_id_has_no_answer_the_reason_and_the_popular_ones(service: MemoryIntelligence) -> None:
    found = service.questions.recommend(EVERYTHING, "consumer", "nobody", RecommendQuery(consumer_id="nobody"))
    assert (found["items"], found["lack"]) == ([], "unknown")
    assert found["reason"] == "nobody with this id has a relationship"
    scores = [item["score"] for item in found["popular"]]
    assert scores == sorted(scores, reverse=True)
    pair = service.questions.affinity(EVERYTHING, "nobody", "p0", PairQuery())
    assert (pair["score"], pair["lack"]) == (None, "unknown")


def test_a_purpose_leaves_out_who_has_not_granted_it(service: MemoryIntelligence) -> None:
    query = RecommendQuery(provider_id="p0", purpose="mail", limit=20)
    found = service.questions.recommend(EVERYTHING, "provider", "p0", query)
    assert {item["consumer_id"] for item in found["items"]} <= {"c1"}
    assert found["left_out"]
    refused = RecommendQuery(consumer_id="c2", purpose="mail")
    with pytest.raises(NotGranted):
        service.questions.recommend(EVERYTHING, "consumer", "c2", refused)


def test_for_a_credential_that_is_bound_to_the_purpose_nobody_is_missing(service: MemoryIntelligence) -> None:
    bound = replace(EVERYTHING, purpose="mail")
    query = RecommendQuery(provider_id="p0", purpose="mail", limit=20)
    found = service.questions.recommend(bound, "provider", "p0", query)
    assert {item["consumer_id"] for item in found["items"]} <= {"c1"}
    assert "left_out" not in found
    answers = []
    for id in ("c2", "nobody"):
        with pytest.raises(NotGranted) as refused:
            service.questions.recommend(bound, "consumer", id, RecommendQuery(consumer_id=id, purpose="mail"))
        answers.append(str(refused.value))
    assert answers[0] == answers[1]


def test_why_nobody_is_left_is_said_but_not_to_a_credential_that_is_bound(service: MemoryIntelligence) -> None:
    none = RecommendQuery(consumer_id="c1", category="none")
    found = service.questions.recommend(EVERYTHING, "consumer", "c1", none)
    assert (found["items"], found["lack"]) == ([], "excluded")
    assert "may not be an answer" in found["reason"]
    lacks = []
    for caller in (EVERYTHING, replace(EVERYTHING, purpose="post")):
        query = RecommendQuery(provider_id="p0", purpose="post")
        lacks.append(service.questions.recommend(caller, "provider", "p0", query)["lack"])
    assert lacks == ["excluded", "unreached"]


def test_a_category_limits_providers_only(service: MemoryIntelligence) -> None:
    query = SimilarQuery(provider_id="p0", category="bar")
    assert [i["provider_id"] for i in service.questions.similar(EVERYTHING, "provider", "p0", query)["items"]] == [
        "p3"
    ]
    query_of_consumers = SimilarQuery(consumer_id="c0", category="bar")
    with pytest.raises(BadParameter, match="limits providers"):
        service.questions.similar(EVERYTHING, "consumer", "c0", query_of_consumers)


def test_the_same_as_of_gives_the_same_answer(service: MemoryIntelligence) -> None:
    other = MemoryIntelligence(service.kith)
    other.follow()
    query = RecommendQuery(consumer_id="c3", limit=20)
    one, two = (each.questions.recommend(EVERYTHING, "consumer", "c3", query) for each in (service, other))
    assert one == two


@pytest.mark.parametrize(
    "weights", ["purchase", "purchase:-1", "purchase:1,purchase:2", "purchase:9999999999", "x:nan"]
)
def test_weights_that_cannot_be_are_refused(weights: str) -> None:
    with pytest.raises(ValueError, match="weights"):
        RecommendQuery(consumer_id="c1", weights=weights)


def test_no_number_of_consumers_below_five_is_shown() -> None:
    """Of any provider, wherever its relationships are counted; those of a consumer are no consumers."""
    kith = MemoryKith(slice_events=200)
    pairs = [(f"c{c}", f"p{p}") for p in range(6) for c in range(p + 1)]
    facts = [
        recorded(f"e{c}-{p}", "2026-10-01T00:00:00Z", f"r{c}-{p}", consumer_id=c, provider_id=p) for c, p in pairs
    ]
    kith.publish(facts)
    kith.drain()
    small = MemoryIntelligence(kith)
    small.follow()
    asked: list[Any] = [
        small.questions.recommend(EVERYTHING, "consumer", "c5", RecommendQuery(consumer_id="c5")),
        small.questions.recommend(EVERYTHING, "consumer", "nobody", RecommendQuery(consumer_id="nobody")),
        small.questions.recommend(EVERYTHING, "consumer", "c5", RecommendQuery(consumer_id="c5", known=True)),
        small.questions.similar(EVERYTHING, "provider", "p5", SimilarQuery(provider_id="p5")),
    ]
    numbers = {
        item["provider_id"]: (item["relationships"], item["score"])
        for found in asked
        for item in [*found["items"], *found.get("popular", ())]
    }
    assert {id: relationships for id, (relationships, _) in numbers.items()} == {
        **{f"p{p}": "few" for p in range(4)},
        "p4": 5,
        "p5": 6,
    }
    assert [each["score"] for each in asked[1]["popular"]] == [6, 5, 0, 0, 0, 0]
    of_consumers = RecommendQuery(provider_id="p0")
    found = small.questions.recommend(EVERYTHING, "provider", "p0", of_consumers)
    assert {item["consumer_id"]: item["relationships"] for item in found["items"]} == {
        f"c{c}": 6 - c for c in range(1, 6)
    }
    unused = cast(Any, None)
    app = create_app(small.questions, unused, unused, unused, list, access=OPEN)
    with TestClient(app, headers={"Kith-Tenant": "default"}) as client:
        central = client.get("/v1/central?by=degree").json()["items"]
        around = client.get("/v1/neighbours/consumer/c0").json()["nodes"]
        limited = client.get("/v1/central?by=degree&kind=purchase")
        refused = client.get("/v1/central?kind=purchase")
    assert limited.status_code == 200
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "kind")
    for nodes in (central, [node for node in around if node["side"] == "provider"]):
        assert {node["id"]: node["relationships"] for node in nodes} == {
            id: relationships for id, (relationships, _) in numbers.items()
        }


def test_how_many_had_a_score_depends_neither_on_the_limit_nor_on_who_is_left_out(
    service: MemoryIntelligence,
) -> None:
    ask = service.questions
    for n in range(12):
        id = f"c{n}"
        of = [
            ask.recommend(EVERYTHING, "consumer", id, RecommendQuery(consumer_id=id, limit=limit))
            for limit in (1, 2, 100)
        ]
        assert {found["candidates"] for found in of} == {len(of[-1]["items"])}, "closed ones are none"

    def of_provider(purpose: str | None, limit: int) -> Any:
        query = RecommendQuery(provider_id="p0", purpose=purpose, limit=limit)
        return ask.recommend(EVERYTHING, "provider", "p0", query)

    def like_consumer(purpose: str | None, limit: int) -> Any:
        query = SimilarQuery(consumer_id="c1", purpose=purpose, limit=limit)
        return ask.similar(EVERYTHING, "consumer", "c1", query)

    for answers in (of_provider, like_consumer):
        everybody = len(answers(None, 100)["items"])
        assert everybody > 2
        found = [answers(purpose, limit) for purpose in (None, "mail") for limit in (1, 2, 100)]
        assert {each["candidates"] for each in found} == {everybody}
    bound = replace(EVERYTHING, purpose="mail")
    told = ask.recommend(bound, "provider", "p0", RecommendQuery(provider_id="p0", purpose="mail"))
    assert told["candidates"] is None


@pytest.mark.parametrize(
    ("more", "masks", "lack"),
    [
        ({CONSUMERS_READ}, (), "withheld"),
        ({CONSUMERS_READ}, ("personal",), "withheld"),
        (set(), (), "unknown"),
        ({CONSUMERS_READ}, ("consent",), "unknown"),
        ({CONSUMERS_READ}, ("consent.advice",), "unknown"),
        ({CONSUMERS_READ}, ("consent.*",), "unknown"),
    ],
)
def test_that_somebody_has_not_granted_is_told_to_those_who_may_see_consents(
    more: set[str], masks: tuple[str, ...], lack: str
) -> None:
    kith = MemoryKith()
    kith.publish([recorded("e1", "2026-10-01T00:00:00Z", "r1", consumer_id="ada", provider_id="p")])
    kith.drain()
    service = MemoryIntelligence(kith, {"*": "advice"})
    service.follow()
    caller = Caller("default", frozenset({INTELLIGENCE_READ, RELATIONS_READ, *more}), masks)
    ask = service.questions
    told = [
        ask.recommend(caller, "consumer", "ada", RecommendQuery(consumer_id="ada")),
        ask.similar(caller, "consumer", "ada", SimilarQuery(consumer_id="ada")),
        ask.affinity(caller, "ada", "p", PairQuery()),
    ]
    assert [each["lack"] for each in told] == [lack] * 3
    nobody = ask.recommend(caller, "consumer", "nobody", RecommendQuery(consumer_id="nobody"))
    assert nobody["lack"] == "unknown"
    assert lack == "withheld" or nobody["reason"] == told[0]["reason"]
