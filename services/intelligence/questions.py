"""Answers questions of a tenant: from the graph, the facts about providers, and the consents."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

from services.intelligence.advisers import Advisers
from services.intelligence.consented import first_granted
from services.intelligence.engine.answers import Ranking
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.recommend import affinity, recommend
from services.intelligence.engine.similar import similar
from services.intelligence.follower import Source
from services.intelligence.learning.model import LearnedRanking
from services.intelligence.parameters import AskQuery, Defaults, PairQuery, RecommendQuery, SimilarQuery
from services.intelligence.present import Presenter, as_of
from services.intelligence.state import State, Tenant
from shared.access.lineage import reveals
from shared.contracts.errors import NoRoom, Unavailable
from shared.http.caller import CONSUMERS_READ, RELATIONS_READ, Caller
from shared.http.parameters import BadParameter
from shared.runtime.protocols import Document

#: How many terms of each score are listed.
REASONS = 3

Rank = Callable[[Tenant, Question], Ranking]


class Reading(Protocol):
    """What holds the state: a Follower, or a state that does not follow."""

    def reading(self, tenant: str, /) -> AbstractContextManager[State]: ...


class NotGranted(Exception):
    """The consumer has not granted the purpose."""


class Questions:
    """Every method raises Unavailable while MongoDB is unavailable and it is needed."""

    def __init__(
        self,
        follower: Reading,
        source: Source,
        defaults: Defaults,
        problems: Callable[[], Sequence[str]] = list,
        advisers: Advisers | None = None,
    ) -> None:
        """``advisers`` are the learned models; without them the walk answers. ``problems`` are the reasons why
        nothing may be answered now."""
        self.source, self.defaults = source, defaults
        self._follower, self._problems, self._advisers = follower, problems, advisers

    @contextmanager
    def reading(self, tenant: str) -> Iterator[State]:
        """The state, of which what concerns a tenant does not change within. Raises Unavailable where nothing may
        be answered now."""
        if found := self._problems():
            raise Unavailable("; ".join(found))
        with self._follower.reading(tenant) as state:
            if state.known(tenant).outgrown:
                raise NoRoom(
                    "there is no room for the tenant's relationships (KITH_INTELLIGENCE_MAX_EDGES); the operator "
                    "has to give the service more memory, or the tenant a process of its own"
                )
            yield state

    def recommend(self, caller: Caller, side: Side, id: str, query: RecommendQuery) -> Document:
        """The providers for a consumer, or the consumers for a provider: by the live model where it can answer.
        Raises NotGranted and BadParameter."""
        model = self._model(caller.tenant, side, query)
        if model is not None:
            self.check(caller.tenant, id, query.purpose)
            if (found := self._by_model(caller, id, query, model)) is not None:
                return found
        return self._ranked(
            caller,
            side,
            other(side),
            id,
            query,
            lambda tenant, question: recommend(tenant.graph, side, id, question),
            known=query.known,
        )

    def similar(self, caller: Caller, side: Side, id: str, query: SimilarQuery) -> Document:
        """The nodes of the same side that are similar. Raises NotGranted and BadParameter."""
        return self._ranked(
            caller,
            side,
            side,
            id,
            query,
            lambda tenant, question: similar(tenant.graph, side, id, question),
        )

    def affinity(self, caller: Caller, consumer_id: str, provider_id: str, query: PairQuery) -> Document:
        """One pair. Raises NotGranted."""
        self.check(caller.tenant, consumer_id, query.purpose)
        question = self.defaults.question(query, beta=query.beta, reasons=REASONS if query.explain else 0)
        with self.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
            found = affinity(tenant.graph, consumer_id, provider_id, question)
            presenter = _presenter(caller, tenant, question)
            document: Document = {
                "consumer_id": consumer_id,
                "provider_id": provider_id,
                **presenter.name(provider_id),
                "strength": found.strength,
                "score": None if found.answer is None else found.answer.score,
                "rank": found.rank,
                "candidates": found.candidates,
                # There in any case: where values are masked, their absence would tell.
                "lack": None,
                "reason": None,
                **presenter.lack(found.lack, _withheld(caller, tenant, consumer_id)),
                "sampled": found.sampled,
                "as_of": as_of(state.seen, question, "walk"),
            }
        if query.explain:
            led = found.answer
            document["because"] = None if led is None else [presenter.walk(led, consumer_id)]
        return document

    def _model(self, tenant: str, side: Side, query: RecommendQuery) -> Document | None:
        """The model that answers; None where the walk does: for consumers for a provider, and where the request
        has something that the model has learned otherwise. Raises BadParameter."""
        own = {"beta", "half_life_months", "weights", "kind"} & query.model_fields_set
        walks = side == "provider" or query.known or bool(own) or query.model == "walk"
        live = None if self._advisers is None or walks else self._advisers.live(tenant)
        if query.model is not None and query.model != "walk" and (live is None or live["name"] != query.model):
            raise BadParameter(
                "model",
                "does not answer here: it is not live, or the question has what it has learned otherwise "
                "(beta, half_life_months, weights, kind, known, provider_id)",
            )
        return live

    def _by_model(self, caller: Caller, id: str, query: RecommendQuery, model: Document) -> Document | None:
        """The answer of a model; None where it has none."""
        assert self._advisers is not None
        question = self.defaults.question(query, limit=query.limit, reasons=REASONS if query.explain else 0)
        with self.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
            recommender = self._advisers.recommender(tenant, model)
            if recommender is None:
                return None
            question = _limited(tenant, question, query.category, closed=False)
            ranking = recommender.recommend(id, question)
            if not isinstance(ranking, LearnedRanking):
                return None
            learned = recommender.model
            asked = replace(question, beta=learned.beta, half_life=learned.half_life, weights=learned.kind_weights)
            return {
                **_presenter(caller, tenant, asked).learned(ranking, id, explain=query.explain),
                "as_of": as_of(state.seen, asked, f"{model['name']}:{model['version']}"),
            }

    def check(self, tenant: str, consumer_id: str | None, purpose: str | None) -> None:
        """Raises NotGranted."""
        if purpose is None or consumer_id is None:
            return
        if consumer_id not in self.source.granted(tenant, [consumer_id], purpose):
            raise NotGranted(purpose)

    def _ranked(
        self,
        caller: Caller,
        side: Side,
        far: Side,
        id: str,
        query: AskQuery,
        rank: Rank,
        *,
        known: bool = False,
    ) -> Document:
        if far == "consumer" and query.category is not None:
            raise BadParameter("category", "limits providers, and these answers are consumers")
        self.check(caller.tenant, id if side == "consumer" else None, query.purpose)
        question = self.defaults.question(
            query, beta=query.beta, limit=query.limit, known=known, reasons=REASONS if query.explain else 0
        )

        def asked(tenant: Tenant) -> Question:
            if far == "consumer":
                return question
            return _limited(tenant, question, query.category, closed=known)

        if far == "provider" or query.purpose is None:
            with self.reading(caller.tenant) as state:
                tenant = state.known(caller.tenant)
                limited = asked(tenant)
                return self._shown(caller, state, tenant, rank(tenant, limited), side, far, id, limited)
        chosen, left_out = self._chosen(caller.tenant, rank, question, query.purpose)
        with self.reading(caller.tenant) as state:
            tenant = state.known(caller.tenant)
            everybody = rank(tenant, replace(question, limit=0, reasons=0))
            ranking = rank(tenant, replace(question, among=chosen))
            if ranking.lack == "excluded" and caller.purpose is not None:
                # For a credential that is bound to the purpose, nobody is missing.
                ranking = replace(ranking, lack="unreached")
            document = self._shown(caller, state, tenant, ranking, side, far, id, question)
        if caller.purpose is not None:
            return {**document, "candidates": None}
        # Of the walk: where it reaches nobody, the popular ones stand in.
        found = everybody.candidates if everybody.basis == "walk" else 0
        return {**document, "candidates": found, "left_out": left_out}

    def _chosen(self, name: str, rank: Rank, question: Question, purpose: str) -> tuple[frozenset[str], bool]:
        """The best consumers who have granted a purpose, and whether any have not."""

        def first(size: int) -> list[str]:
            with self.reading(name) as state:
                ranking = rank(state.known(name), replace(question, limit=size, reasons=0))
            return [answer.id for answer in ranking.answers]

        granted = partial(self.source.granted, name, purpose=purpose)
        chosen, left_out = first_granted(first, granted, question.limit)
        return frozenset(chosen), left_out

    def _shown(
        self,
        caller: Caller,
        state: State,
        tenant: Tenant,
        ranking: Ranking,
        side: Side,
        far: Side,
        id: str,
        question: Question,
    ) -> Document:
        presenter = _presenter(caller, tenant, question)
        withheld = side == "consumer" and _withheld(caller, tenant, id)
        return {
            **presenter.ranking(ranking, far, id, withheld),
            "as_of": as_of(state.seen, question, "walk"),
        }


def _limited(tenant: Tenant, question: Question, category: str | None, *, closed: bool) -> Question:
    """The same for providers of a category alone, and without closed ones unless they are wanted."""
    return replace(
        question,
        among=None if category is None else tenant.of_category(category),
        without=frozenset() if closed else frozenset(tenant.closed),
    )


def _withheld(caller: Caller, tenant: Tenant, consumer_id: str) -> bool:
    """Whether somebody is not in the graph for want of consent, for those who may see consents."""
    may_know = caller.may(CONSUMERS_READ) and reveals(caller.masks, ("consent",)) is None
    return may_know and tenant.withheld.degree("consumer", consumer_id) > 0


def _presenter(caller: Caller, tenant: Tenant, question: Question) -> Presenter:
    return Presenter(question, tenant.providers if caller.may(RELATIONS_READ) else None)
