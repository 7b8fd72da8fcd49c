"""Answers whom a provider calls first: figures of the graph, and models of churn that are fitted when they are
needed."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from threading import Lock

from services.intelligence.consented import first_granted
from services.intelligence.engine.calls import FEWEST, Call, CallLack, Population, calls, fitted, known, population
from services.intelligence.engine.question import Question
from services.intelligence.parameters import NextQuery
from services.intelligence.present import Presenter, as_of
from services.intelligence.questions import REASONS, Questions
from services.intelligence.rows import Money
from services.intelligence.state import State
from shared.http.caller import RELATIONS_READ, Caller
from shared.measures.bgnbd import BgNbd
from shared.runtime.protocols import Document

#: Net amounts in minor units of a currency, by consumer.
Amounts = Mapping[str, int]
_KEPT = 64
#: How often a model is fitted while the graph goes on changing, before the graph waits for it.
_ATTEMPTS = 3
_WHY: Mapping[str, str] = {
    "too_few": "too few consumers came back to any provider: a model of churn needs 10 relationships with"
    " relations{of} in two months before this one",
    "no_repeaters": "no consumer of this provider has relations{of} in two months, and there is no risk before a"
    " second one",
    "no_model": "no model of churn with finite numbers fits these relations{of}",
    "no_money": "no consumer of this provider has relations{of} with an amount of more than 0 in this currency",
}


class Estimator:
    """Fits models, and keeps the latest of each tenant: the same population has the same."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, OrderedDict[bytes, BgNbd]] = {}

    def has(self, tenant: str, found: Population) -> bool:
        with self._lock:
            return found.key in self._kept.get(tenant, ())

    def of(self, tenant: str, found: Population) -> BgNbd:
        key = found.key
        with self._lock:
            kept = self._kept.setdefault(tenant, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        model = fitted(found)
        with self._lock:
            kept[key] = model
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        return model


class Calling:
    """Every method raises Unavailable where nothing may be answered now."""

    def __init__(self, questions: Questions) -> None:
        self._questions, self._estimator = questions, Estimator()

    def next(self, caller: Caller, query: NextQuery) -> Document:
        """The consumers of a provider that are most worth a call."""
        question = self._questions.defaults.question(
            query, beta=query.beta, limit=query.limit, known=True, reasons=REASONS if query.explain else 0
        )
        money = None if query.currency is None else self._money(caller.tenant, query, question, query.currency)
        if query.purpose is None:
            return self._answer(caller, query, question, money)
        chosen, left_out = self._granted(caller, query, question, query.purpose, money)
        if not chosen and not left_out:  # nobody is worth a call, and the reason is in the answer
            return {**self._answer(caller, query, question, money), "left_out": False}
        answer = self._answer(caller, query, replace(question, among=chosen), money)
        return {**answer, "left_out": left_out}

    def _money(self, tenant: str, query: NextQuery, question: Question, currency: str) -> Amounts:
        """What the consumers of the provider have spent there, by consumer."""
        with self._questions.reading(tenant) as state:
            found = known(state.known(tenant).graph, query.provider_id, question)
            if isinstance(found, str):
                return {}
            ids = found.walk.graph.names["consumer"].ids
            pairs = [(ids[number], query.provider_id) for number in found.numbers.tolist()]

        def counts(kind: str) -> bool:
            return question.kind in (None, kind) and question.weights.get(kind, 1.0) > 0

        return self._questions.source.money(tenant, pairs, Money(currency, counts, question.month))

    def _granted(
        self, caller: Caller, query: NextQuery, question: Question, purpose: str, money: Amounts | None
    ) -> tuple[frozenset[str], bool]:
        """The best ones who have granted the purpose, and whether any have not."""

        def first(size: int) -> list[str]:
            answer = self._answer(caller, query, replace(question, limit=size, reasons=0), money)
            return [item["consumer_id"] for item in answer["items"]]

        granted = partial(self._questions.source.granted, caller.tenant, purpose=purpose)
        chosen, left_out = first_granted(first, granted, question.limit)
        return frozenset(chosen), left_out

    def _answer(self, caller: Caller, query: NextQuery, question: Question, money: Amounts | None) -> Document:
        for attempt in range(_ATTEMPTS + 1):
            with self._questions.reading(caller.tenant) as state:
                graph = state.known(caller.tenant).graph
                among = population(graph, question)
                if among.repeaters < FEWEST or self._estimator.has(caller.tenant, among) or attempt == _ATTEMPTS:
                    return self._shown(caller, state, among, query, question, money)
            # The graph changes meanwhile; its complete months hardly ever do.
            self._estimator.of(caller.tenant, among)
        raise AssertionError("the last attempt answers")

    def _shown(
        self,
        caller: Caller,
        state: State,
        among: Population,
        query: NextQuery,
        question: Question,
        money: Amounts | None,
    ) -> Document:
        tenant = state.known(caller.tenant)
        presenter = Presenter(question, tenant.providers if caller.may(RELATIONS_READ) else None)
        answer: Document = {
            "items": [],
            "candidates": 0,
            "consumers": 0,
            "repeaters": 0,
            "horizon_months": query.horizon_months,
            "churn_model": None,
            "sampled": False,
            "as_of": as_of(state.seen, question, "walk"),
            **({} if query.currency is None else {"currency": query.currency}),
        }
        found = known(tenant.graph, query.provider_id, question)
        if isinstance(found, str):
            return {**answer, **_lack(presenter, question, found)}
        answer |= {
            "consumers": len(found.numbers),
            "repeaters": found.repeaters,
            "sampled": found.walk.sampled,
        }
        if among.repeaters < FEWEST:
            return {**answer, **_lack(presenter, question, "too_few")}
        if not found.repeaters:
            return {**answer, **_lack(presenter, question, "no_repeaters")}
        model = self._estimator.of(caller.tenant, among)
        listed = calls(found, model, question, query.horizon_months, money)
        if isinstance(listed, str):
            return {**answer, **_lack(presenter, question, listed)}
        made, answer["candidates"] = listed
        answer["items"] = [_call(presenter, each, rank) for rank, each in enumerate(made, 1)]
        answer["churn_model"] = {
            **{name: getattr(model, name) for name in ("r", "alpha", "a", "b", "log_likelihood")},
            "relationships": int(among.n.sum()),
            "reliable": model.settled,
        }
        if not answer["candidates"] and question.among is None:
            penniless = money is not None and not any(net > 0 for net in money.values())
            answer |= _lack(presenter, question, "no_money" if penniless else "unreached")
        return answer


def _lack(presenter: Presenter, question: Question, lack: CallLack) -> Document:
    if lack == "too_few" or lack == "no_repeaters" or lack == "no_model" or lack == "no_money":
        of = "" if question.kind is None else f" of the kind {question.kind}"
        return {"lack": lack, "reason": _WHY[lack].format(of=of)}
    return presenter.lack(lack)


def _call(presenter: Presenter, call: Call, rank: int) -> Document:
    answer = call.answer
    document: Document = {
        "consumer_id": answer.id,
        "rank": rank,
        "worth": call.worth,
        "risk": call.risk,
        "expected_weight": call.value,
        "affinity": answer.score,
        "months": call.months,
        "first_month": _month(call.first),
        "last_month": _month(call.last),
        "expected_months": call.expected,
        "per_month": call.per_month,
        "strength": answer.strength,
    }
    if call.money is not None:
        document |= {"expected_value_minor": call.money, "per_month_minor": call.money_per_month}
    if answer.via or answer.rest:
        document["because"] = [presenter.walk(answer, answer.id)]
    return document


def _month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"
