"""Whom a provider calls first: factors, checked by a second computation; reasons; who is left out; bad input."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from services.intelligence import calling as calling_module
from services.intelligence.calling import Calling
from services.intelligence.engine.calls import FEWEST, FITTED, Population, calls, fitted, known, population
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question
from services.intelligence.next_routes import NextCalls
from services.intelligence.parameters import NextQuery, RecommendQuery
from services.intelligence.rows import Money
from services.intelligence.state import State, Still, Tenant
from shared.http.caller import CONSUMERS_READ, INTELLIGENCE_READ, RELATIONS_READ, Caller
from shared.measures.bgnbd import BgNbd
from tests.support.builders import MemoryKith, event, recorded
from tests.support.intelligence import MemoryIntelligence

CALLER = Caller("default", frozenset({INTELLIGENCE_READ, RELATIONS_READ, CONSUMERS_READ}))
MONTH = "2026-11"
Kinds = dict[str, dict[str, dict[str, int]]]


def month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


NOW = 2026 * 12 + 10


def rows(seed: int = 7, consumers: int = 60) -> list[tuple[str, str, Kinds, None]]:
    """Consumers who come to a shop month by month and stop one day, and who know some other providers."""
    drawn = random.Random(seed)
    found: list[tuple[str, str, Kinds, None]] = []
    for n in range(consumers):
        first, rate, stays = NOW - drawn.randint(2, 18), drawn.uniform(0.2, 0.9), drawn.uniform(0.8, 1.0)
        months = {month(first): {"count": drawn.randint(1, 4)}}
        for at in range(first + 1, NOW + 1):
            if drawn.random() > stays:
                break
            if drawn.random() < rate:
                months[month(at)] = {"count": drawn.randint(1, 4)}
        kinds: Kinds = {"purchase": months}
        if n % 3 == 0:
            kinds["view"] = {month(first): {"count": 2}, month(NOW): {"count": 1}}
        found.append((f"c{n:02d}", "shop", kinds, None))
        for other in drawn.sample(range(8), drawn.randint(0, 4)):
            found.append((f"c{n:02d}", f"p{other}", {"purchase": {MONTH: {"count": 1}}}, None))
    return found


def question(**more: Any) -> Question:
    return Question(MONTH, **{"limit": 100, "known": True, **more})


def listed(graph: Graph, asked: Question, horizon: int = 12) -> list[tuple[Any, ...]]:
    found = known(graph, "shop", asked)
    assert not isinstance(found, str)
    made = calls(found, fitted(population(graph, asked)), asked, horizon)
    assert not isinstance(made, str)
    return [
        (each.answer.id, each.worth, each.risk, each.value, each.answer.score, each.months) for each in made[0]
    ]


def by_hand(model: BgNbd, x: int, t_x: int, t: int, horizon: int) -> tuple[float, float]:
    """Risk and expected months with x > 0: the paper's formulas, the integral by the midpoint rule."""
    odds = model.a / (model.b + x - 1) * ((model.alpha + t) / (model.alpha + t_x)) ** (model.r + x)
    alive = 1 / (1 + odds)
    a, b, steps, root = model.a, model.b + x, 200_000, min(model.a, 1.0)
    total = weight = 0.0
    for at in range(steps):
        # This takes the pole at 0 that there is below a = 1 out of the Beta density.
        p = ((at + 0.5) / steps) ** (1 / root)
        density, ahead = p ** (a - root) * (1 - p) ** (b - 1), horizon / (model.alpha + t)
        weight += density
        # For p near 0: its limit.
        part = (model.r + x) * ahead if p < 1e-200 else -math.expm1(-(model.r + x) * math.log1p(p * ahead)) / p
        total += density * part
    return 1 - alive, alive * total / weight


def test_every_factor_equals_a_second_computation() -> None:
    asked, given = question(weights={"view": 0.25}), rows()
    graph = Graph.build(given)
    found = known(graph, "shop", asked)
    assert not isinstance(found, str)
    model = fitted(population(graph, asked))
    answer = calls(found, model, asked, 12)
    assert not isinstance(answer, str)
    made, candidates = answer
    assert candidates == len(made) > 10
    of = {consumer: kinds for consumer, provider, kinds, _ in given if provider == "shop"}
    for call in made[:3]:
        months = sorted({name for kinds in of[call.answer.id].values() for name in kinds})
        numbers = [int(name[:4]) * 12 + int(name[5:]) - 1 for name in months]
        risk, expected = by_hand(model, len(months) - 1, numbers[-1] - numbers[0], NOW - numbers[0], 12)
        weight = sum(
            {"view": 0.25}.get(kind, 1.0) * cell["count"]
            for kind, cells in of[call.answer.id].items()
            for cell in cells.values()
        )
        assert (call.months, call.first, call.last) == (len(months), numbers[0], numbers[-1])
        assert call.risk == pytest.approx(risk, rel=1e-9)
        assert call.expected == pytest.approx(expected, rel=1e-3)
        assert call.per_month == pytest.approx(weight / len(months), rel=1e-12)
        assert call.worth == call.risk * (call.expected * call.per_month) * call.answer.score
    worths = [call.worth for call in made]
    assert worths == sorted(worths, reverse=True)


def test_order_and_detours_change_nothing() -> None:
    given = rows()
    first = Graph.build(given)
    shuffled = given[:]
    random.Random(1).shuffle(shuffled)
    second = Graph()
    for consumer, provider, kinds, wide in shuffled:
        second.put(f"x{consumer}", provider, kinds, wide)  # its number is free again afterwards
        second.put(consumer, provider, kinds, wide)
        second.put(f"x{consumer}", provider, None)
    assert listed(first, question()) == listed(second, question())


def test_a_later_month_and_a_kind_that_weighs_nothing_do_not_count() -> None:
    given = rows()
    plain = listed(Graph.build(given), question(kind="purchase"))
    weighed = listed(Graph.build(given), question(weights={"view": 0.0}))
    assert [each[:4] for each in plain] == [each[:4] for each in weighed]
    later = [
        (c, p, {**kinds, "purchase": {**kinds["purchase"], "2027-05": {"count": 9}}} if p == "shop" else kinds, w)
        for c, p, kinds, w in given
    ]
    figures = {each[0]: (each[2], each[3], each[5]) for each in listed(Graph.build(later), question())}
    assert figures == {each[0]: (each[2], each[3], each[5]) for each in listed(Graph.build(given), question())}


def test_who_came_once_is_counted_and_not_listed() -> None:
    graph = Graph.build(rows())
    found = known(graph, "shop", question())
    assert not isinstance(found, str)
    names = {each[0] for each in listed(graph, question())}
    once = {
        consumer
        for consumer, provider, kinds, _ in rows()
        if provider == "shop" and len({name for cells in kinds.values() for name in cells}) == 1
    }
    assert once
    assert not once & names
    assert found.repeaters == len(found.numbers) - len(once)


def test_the_model_is_fitted_to_complete_months() -> None:
    """What happens in the month that is asked about changes who is listed, and not the model."""
    given = rows()
    graph = Graph.build(given)
    before = population(graph, question())
    graph.put("c00", "shop", {"purchase": {**given[0][2]["purchase"], MONTH: {"count": 90}}})
    graph.put("new", "shop", {"purchase": {MONTH: {"count": 1}}})
    assert population(graph, question()).key == before.key
    graph.put("new", "shop", {"purchase": {"2026-10": {"count": 1}}})
    assert population(graph, question()).key != before.key
    at_hand = [
        sorted({name for cells in kinds.values() for name in cells if name < MONTH}) for _, _, kinds, _ in given
    ]
    assert before.n.sum() == sum(bool(months) for months in at_hand)
    assert before.repeaters == sum(len(months) > 1 for months in at_hand)


def test_a_sample_bounds_what_the_model_is_fitted_to() -> None:
    """The consumers of the lowest hashes, whatever the order in which they came."""
    wide = [
        (f"c{n}", f"p{p}", {"purchase": {f"2026-{(n + p) % 9 + 1:02d}": {"count": 1}}}, None)
        for n in range(FITTED // 8)
        for p in range(10)
    ]
    found = population(Graph.build(wide), question())
    assert FITTED <= found.n.sum() < FITTED + 10
    assert population(Graph.build(wide[::-1]), question()).key == found.key


def test_too_little_data_is_stated() -> None:
    query = NextQuery(provider_id="shop")
    assert still(Graph.build([])).next(CALLER, query)["lack"] == "unknown"
    for when, consumers in ((MONTH, 30), ("2026-09", 30), ("2027-03", 0)):
        once = [(f"c{n}", "shop", {"purchase": {when: {"count": 3}}}, None) for n in range(30)]
        answer = still(Graph.build(once)).next(CALLER, query)
        assert (answer["items"], answer["lack"], answer["consumers"]) == ([], "too_few", consumers)
        assert "10 relationships" in answer["reason"]
    elsewhere = [
        *once,
        *(
            (f"c{n}", "bar", {"purchase": {"2026-09": {"count": 1}, "2026-08": {"count": 1}}}, None)
            for n in range(20)
        ),
    ]
    answer = still(Graph.build(elsewhere)).next(CALLER, query)
    assert (answer["items"], answer["lack"], answer["consumers"], answer["repeaters"]) == (
        [],
        "no_repeaters",
        0,
        0,
    )


@pytest.mark.parametrize("number", [FEWEST - 1, FEWEST])
def test_ten_who_came_back_are_enough(number: int) -> None:
    given = [
        (f"c{n}", p, {"purchase": {"2026-10": {"count": 1}, f"2026-{n % 5 + 3:02d}": {"count": 1}}}, None)
        for n in range(number)
        for p in (("shop", "other") if n == 0 else ("shop",) if n % 2 else ("other",))
    ][:number]
    answer = still(Graph.build(given)).next(CALLER, NextQuery(provider_id="shop"))
    assert (answer.get("lack") == "too_few") == (number < FEWEST)
    assert (answer["churn_model"] is None) == (number < FEWEST)


def still(graph: Graph, source: Any = None) -> Calling:
    state = State({})
    state.tenants["default"] = Tenant(graph=graph)
    kith = MemoryKith(slice_events=1)
    service = MemoryIntelligence(kith)
    service.questions._follower = Still(state)
    if source is not None:
        service.questions.source = source
    return Calling(service.questions)


class Consents:
    def __init__(self, granted: set[str]) -> None:
        self._granted = granted

    def granted(self, tenant: str, ids: list[str], purpose: str) -> set[str]:
        assert (tenant, purpose) == ("default", "mail")
        return {id for id in ids if id in self._granted}


def test_the_answer_has_every_factor_and_reasons_that_add_up() -> None:
    answer = still(Graph.build(rows())).next(CALLER, NextQuery(provider_id="shop", limit=5))
    assert len(answer["items"]) == 5 < answer["candidates"]
    assert "lack" not in answer
    for rank, item in enumerate(answer["items"], 1):
        assert item["rank"] == rank
        assert item["worth"] == item["risk"] * item["expected_weight"] * item["affinity"] > 0
        assert item["expected_weight"] == item["expected_months"] * item["per_month"]
        [reason] = item["because"]
        points = [*(via["points"] for via in reason["via"]), reason["rest_points"]]
        assert math.fsum(points) == pytest.approx(item["affinity"], rel=1e-12)
        assert item["first_month"] < item["last_month"] <= MONTH
    assert NextCalls.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer


def test_how_many_are_worth_a_call_does_not_depend_on_the_limit_or_a_purpose() -> None:
    graph = Graph.build(rows())
    everybody = still(graph).next(CALLER, NextQuery(provider_id="shop", limit=100))
    some = {item["consumer_id"] for item in everybody["items"][1::2]}
    for limit in (1, 3, 100):
        asked = NextQuery(provider_id="shop", limit=limit, purpose="mail")
        found = still(graph, Consents(some)).next(CALLER, asked)
        assert found["candidates"] == everybody["candidates"] == len(everybody["items"])
        assert {item["consumer_id"] for item in found["items"]} <= some


class Purse(Consents):
    """Amounts of some consumers, all of purchases in euros."""

    def __init__(self, amounts: dict[str, int]) -> None:
        super().__init__(set(amounts))
        self._amounts = amounts

    def money(self, tenant: str, pairs: list[tuple[str, str]], asked: Money) -> dict[str, int]:
        assert (tenant, {provider for _, provider in pairs}) == ("default", {"shop"})
        cells = {c: {"purchase": {MONTH: {"count": 1, "amount": {"EUR": a}}}} for c, a in self._amounts.items()}
        found = {consumer: asked.of(cells[consumer]) for consumer, _ in pairs if consumer in cells}
        return {consumer: net for consumer, net in found.items() if net is not None}


def test_with_a_currency_the_value_is_in_money() -> None:
    graph = Graph.build(rows())
    query = NextQuery(provider_id="shop", limit=100)
    weighed = {item["consumer_id"]: item for item in still(graph).next(CALLER, query)["items"]}
    some = sorted(weighed)
    amounts = {id: 100 * number for number, id in enumerate(some)} | {some[-1]: -500}
    in_euros = query.model_copy(update={"currency": "EUR"})
    answer = still(graph, Purse(amounts)).next(CALLER, in_euros)
    assert answer["currency"] == "EUR"
    assert {item["consumer_id"] for item in answer["items"]} == {id for id in some if amounts[id] > 0}
    for item in answer["items"]:
        before = weighed[item["consumer_id"]]
        assert item["per_month_minor"] == amounts[item["consumer_id"]] / item["months"]
        assert item["expected_value_minor"] == item["expected_months"] * item["per_month_minor"]
        assert item["worth"] == item["risk"] * item["expected_value_minor"] * item["affinity"]
        assert (item["risk"], item["affinity"]) == (before["risk"], before["affinity"])
    worths = [item["worth"] for item in answer["items"]]
    assert worths == sorted(worths, reverse=True)
    assert NextCalls.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer
    # Another currency, only views, or purchases that weigh nothing: there is no money.
    for other in ({"currency": "CHF"}, {"kind": "view"}, {"weights": "purchase:0"}):
        answer = still(graph, Purse(amounts)).next(CALLER, in_euros.model_copy(update=other))
        assert (answer["items"], bool(answer["lack"])) == ([], True)
    assert still(graph, Purse({})).next(CALLER, in_euros)["lack"] == "no_money"


def test_the_affinity_is_the_score_of_the_recommendations_of_those_known() -> None:
    graph = Graph.build(rows())
    calling = still(graph)
    known_ones = calling._questions.recommend(
        CALLER, "provider", "shop", RecommendQuery(provider_id="shop", known=True, limit=100)
    )
    scores = {item["consumer_id"]: item["score"] for item in known_ones["items"]}
    for item in calling.next(CALLER, NextQuery(provider_id="shop", limit=100))["items"]:
        assert item["affinity"] == scores[item["consumer_id"]]


def test_a_purpose_leaves_out_who_has_not_granted_it() -> None:
    graph = Graph.build(rows())
    everyone = still(graph).next(CALLER, NextQuery(provider_id="shop", limit=100))["items"]
    agreed = [item["consumer_id"] for item in everyone][1::4]
    calling = still(graph, Consents(set(agreed)))
    answer = calling.next(CALLER, NextQuery(provider_id="shop", limit=3, purpose="mail"))
    assert [item["consumer_id"] for item in answer["items"]] == agreed[:3]
    assert answer["left_out"] is True
    worths = {item["consumer_id"]: item["worth"] for item in everyone}
    assert all(item["worth"] == worths[item["consumer_id"]] for item in answer["items"])
    nobody = still(graph, Consents(set())).next(CALLER, NextQuery(provider_id="shop", purpose="mail"))
    assert (nobody["items"], nobody["left_out"]) == ([], True)


def test_reasons_why_nobody_is_listed() -> None:
    twice: Kinds = {"purchase": {"2026-10": {"count": 1}, "2026-07": {"count": 2}}}
    alone = Graph.build([(f"c{n}", "shop", twice, None) for n in range(20)])
    answer = still(alone).next(CALLER, NextQuery(provider_id="shop"))
    assert (answer["items"], answer["lack"], answer["repeaters"]) == ([], "unreached", 20)
    assert still(alone).next(CALLER, NextQuery(provider_id="nobody"))["lack"] == "unknown"
    assert still(alone).next(CALLER, NextQuery(provider_id="shop", weights="purchase:0"))["lack"] == "weightless"
    single = still(alone).next(CALLER, NextQuery(provider_id="shop", as_of="2026-07"))
    assert (single["lack"], single["consumers"], single["repeaters"]) == ("too_few", 20, 0)
    purpose = still(alone, Consents({"c1"})).next(CALLER, NextQuery(provider_id="shop", purpose="mail"))
    assert (purpose["lack"], purpose["left_out"]) == ("unreached", False)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"provider_id": ""},
        {"provider_id": "p", "horizon_months": 0},
        {"provider_id": "p", "horizon_months": 121},
        {"provider_id": "p", "limit": 101},
        {"provider_id": "p", "beta": 1.5},
        {"provider_id": "p", "as_of": "2026-13"},
        {"provider_id": "p", "weights": "purchase:-1"},
        {"provider_id": "p", "consumer_id": "c"},
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NextQuery.model_validate(bad)


def test_an_erased_consumer_is_called_no_more() -> None:
    kith = MemoryKith(slice_events=400)
    facts = [
        recorded(
            f"e{c}-{p}-{m}", f"2026-{m:02d}-02T00:00:00Z", f"r{c}-{p}-{m}", consumer_id=f"c{c}", provider_id=p
        )
        for c in range(14)
        for p, months in (("shop", (2 + c % 4, 6 + c % 3, 9)), ("other", (8,)))
        for m in months
    ]
    kith.publish(facts)
    kith.drain()
    service = MemoryIntelligence(kith)
    service.follow()
    calling, query = Calling(service.questions), NextQuery(provider_id="shop", limit=100)
    before = {item["consumer_id"] for item in calling.next(CALLER, query)["items"]}
    assert "c3" in before
    kith.publish(
        [event("consumer.erased", "gone", "2026-11-02T00:00:00Z", {"consumer_id": "c3", "mode": "delete"})]
    )
    kith.drain()
    service.follow()
    assert {item["consumer_id"] for item in calling.next(CALLER, query)["items"]} == before - {"c3"}


class Moving:
    """A state whose graph changes whenever nobody holds it: a complete month of another consumer each time."""

    def __init__(self, graph: Graph) -> None:
        self.state, self.held, self.times = State({}), False, 0
        self.state.tenants["default"] = Tenant(graph=graph)

    @contextmanager
    def reading(self, _: str) -> Iterator[State]:
        self.held = True
        yield self.state
        self.held = False
        self.times += 1
        kinds: Kinds = {"purchase": {"2026-09": {"count": 1}}}
        self.state.tenants["default"].graph.put(f"new{self.times}", "other", kinds)


def test_a_model_is_fitted_while_nobody_waits_and_an_answer_comes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moving = Moving(Graph.build(rows()))
    held: list[bool] = []
    calling = still(Graph())
    calling._questions._follower = moving

    def watched(found: Population) -> BgNbd:
        held.append(moving.held)
        return fitted(found)

    monkeypatch.setattr(calling_module, "fitted", watched)
    answer = calling.next(CALLER, NextQuery(provider_id="shop"))
    assert answer["items"]
    assert held == [False, False, False, True]
    # From here on the graph stays as it is: fitted once more, and then kept.
    calling._questions._follower = Still(moving.state)
    calling.next(CALLER, NextQuery(provider_id="shop"))
    calling.next(CALLER, NextQuery(provider_id="shop"))
    assert len(held) == 5
