"""Answers of the engine as the API shows them. Pure."""

from collections.abc import Mapping, Sequence
from math import isfinite
from urllib.parse import quote

from services.intelligence.engine.answers import FEW, Answer, Edge, Lack, Node, Ranking, Via
from services.intelligence.engine.question import Question, Side
from services.intelligence.learning.model import LearnedRanking
from services.intelligence.state import Provider
from shared.runtime.protocols import Document

_WHY = {
    "unknown": "nobody with this id has a relationship{of}",
    "withheld": "the consumer has not granted the purpose that this tenant's data is used for",
    "weightless": "all relationships{of} weigh 0 by these weights",
    "unreached": "nobody else shares these relationships{of}, so the walk leads nowhere",
    "excluded": "those whom the walk reaches may not be an answer (category, closed, purpose)",
}


class Presenter:
    """``providers`` are the facts about providers; None for a caller who may not read relations: they see neither
    these nor through which relationships of a consumer an answer was found."""

    def __init__(self, question: Question, providers: Mapping[str, Provider] | None) -> None:
        self._question, self._providers = question, providers or {}
        self._shows_relationships = providers is not None

    def ranking(self, ranking: Ranking, side: Side, id: str, withheld: bool = False) -> Document:
        """The answers, who are of ``side``, to a question about ``id``, as members of an answer."""
        listed = [self.answer(each, rank, side, id) for rank, each in enumerate(ranking.answers, 1)]
        walked = ranking.basis == "walk"
        if not walked and side == "provider":
            for each in listed:  # its score is the number of its consumers
                each["score"] = each["score"] if each["relationships"] != "few" else 0.0
        return {
            "items": listed if walked else [],
            "candidates": ranking.candidates if walked else 0,
            **self.lack(ranking.lack, withheld),
            **({} if walked else {"popular": listed}),
            "sampled": ranking.sampled,
        }

    def lack(self, lack: Lack | None, withheld: bool = False) -> Document:
        """The members that state why there is no answer; none where there is one."""
        if lack is None:
            return {}
        why = "withheld" if withheld and lack == "unknown" else lack
        of = "" if self._question.kind is None else f" of the kind {self._question.kind}"
        return {"lack": why, "reason": _WHY[why].format(of=of)}

    def answer(self, answer: Answer, rank: int, side: Side, asked: str) -> Document:
        """One answer, who is of ``side``."""
        document: Document = {f"{side}_id": answer.id}
        if side == "provider":
            document |= self._named(answer.id, categories=True)
        document |= {"rank": rank, "score": answer.score, "relationships": relationships(side, answer.degree)}
        if answer.strength is not None:
            document["strength"] = answer.strength
        if answer.shared is not None:
            document["shared"] = few(answer.shared)
        if answer.shared is not None and side == "provider" and self._question.reasons:
            # Who knows both is counted, and not named.
            shared = few(answer.shared)
            document["because"] = [{"term": "walk", "points": answer.score, "shared_consumers": shared}]
        elif answer.via or answer.rest:
            of_asked = side == "provider" or answer.shared is not None
            document["because"] = [self.walk(answer, asked if of_asked else answer.id)]
        return document

    def learned(self, ranking: LearnedRanking, consumer_id: str, *, explain: bool) -> Document:
        """The answers of a model to a question about a consumer, as members of an answer."""
        items = []
        for rank, each in enumerate(ranking.answers, 1):
            item: Document = {
                "provider_id": each.id,
                **self._named(each.id, categories=True),
                "rank": rank,
                "score": each.score,
                "chance": each.chance,
                "relationships": relationships("provider", each.walk.degree),
            }
            if explain:
                item["because"] = [
                    self.walk(each.walk, consumer_id, term.points)
                    if term.name == "walk"
                    else {"term": term.name, "points": term.points}
                    for term in each.terms
                ]
            items.append(item)
        return {"items": items, "candidates": ranking.candidates, "sampled": ranking.sampled}

    def walk(self, answer: Answer, consumer_id: str, points: float | None = None) -> Document:
        """The reason `walk` of an answer: the relationships of ``consumer_id`` that led there. ``points`` are
        those of the whole reason, if these are not the walk's score; they are shared out as the score is."""
        factor = answer.factor if points is None else points / answer.whole if answer.whole else 0.0
        via = answer.via if self._shows_relationships else ()
        rest = sum(each.whole for each in answer.via[len(via) :]) + answer.rest_whole
        return {
            "term": "walk",
            "points": answer.score if points is None else points,
            "via": [self._via(each, factor, consumer_id) for each in via],
            "rest": len(answer.via) - len(via) + answer.rest,
            "rest_points": rest * factor,
        }

    def name(self, provider_id: str) -> Document:
        """A provider's name, where the caller may see it."""
        return self._named(provider_id, categories=False)

    def parts(self, nodes: Sequence[Node], edges: Sequence[Edge]) -> Document:
        """Some nodes, and relationships between them."""
        return {
            "nodes": [
                {
                    "side": node.side,
                    "id": node.id,
                    **(self.name(node.id) if node.side == "provider" else {}),
                    "steps": node.steps,
                    "relationships": relationships(node.side, node.degree),
                }
                for node in nodes
            ],
            "edges": [
                {
                    "consumer_id": edge.consumer_id,
                    "provider_id": edge.provider_id,
                    "strength": edge.strength,
                    "relationship": relationship(edge.consumer_id, edge.provider_id),
                }
                for edge in edges
            ],
        }

    def _via(self, via: Via, factor: float, consumer_id: str) -> Document:
        shared = {} if via.shared is None else {"shared_consumers": few(via.shared)}
        return {
            "provider_id": via.provider_id,
            **self._named(via.provider_id, categories=False),
            "strength": via.strength,
            **shared,
            "of": few(via.of),
            "points": via.whole * factor,
            "relationship": relationship(consumer_id, via.provider_id),
        }

    def _named(self, provider_id: str, *, categories: bool) -> Document:
        known = self._providers.get(provider_id)
        if known is None:
            return {}
        document: Document = {} if known.name is None else {"name": known.name}
        if categories and known.categories:
            document["categories"] = list(known.categories)
        return document


def relationship(consumer_id: str, provider_id: str) -> str:
    """The path of a relationship in the relations API."""
    return f"/v1/relationships/{quote(consumer_id, safe='')}/{quote(provider_id, safe='')}"


def few(count: int) -> int | str:
    """A number of consumers: a small one is personal data."""
    return count if count >= FEW else "few"


def relationships(side: Side, count: int) -> int | str:
    """The number of relationships of a node: of a provider, a number of consumers."""
    return few(count) if side == "provider" else count


def positions(seen: Mapping[str, int]) -> dict[str, int]:
    """The numbers of the last changes, by partition."""
    return {origin.removeprefix("relations@1/"): number for origin, number in sorted(dict(seen).items())}


def as_of(seen: Mapping[str, int], question: Question, model: str) -> Document:
    """What an answer follows from."""
    return {
        "positions": positions(seen),
        "month": question.month,
        "weights": dict(sorted(question.weights.items())),
        # A model may have learned that nothing fades.
        "half_life_months": question.half_life if isfinite(question.half_life) else None,
        "beta": question.beta,
        "model": model,
    }
