"""Who is around a node, and who has the most relationships. Pure."""

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.answers import Answer, Edge, Neighbourhood, Node
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.ranking import best
from services.intelligence.engine.recommend import popular
from services.intelligence.engine.walk import known_strengths, words_of

# Below this part of the strongest, a double begins to lose digits.
_LEAST = 2.0**-900


def neighbours(
    graph: Graph,
    side: Side,
    id: str,
    question: Question,
    depth: int = 1,
    consumers: frozenset[str] | None = None,
) -> Neighbourhood | None:
    """The node, the ``question.limit`` neighbours of its strongest relationships, and with ``depth`` 2 as many
    neighbours of each of these. None for an unknown id. Of consumers, only those of ``consumers`` are chosen from,
    if given. ``known``, ``beta`` and ``among`` have no meaning here."""
    if depth not in (1, 2):
        raise ValueError("depth must be 1 or 2")
    graph = graph.of_kind(question.kind)
    if graph.names[side].find(id) is None:
        return None
    nodes = {(side, id): Node(side, id, 0, graph.degree(side, id))}
    edges: dict[tuple[str, str], Edge] = {}
    left_out = 0
    frontier = [(side, id)]
    for steps in range(1, depth + 1):
        following = []
        for place, name in frontier:
            shown, more = _strongest(graph, place, name, question, consumers)
            left_out += more
            for edge in shown:
                far = edge.provider_id if place == "consumer" else edge.consumer_id
                key = (other(place), far)
                edges[edge.consumer_id, edge.provider_id] = edge
                if key not in nodes:
                    nodes[key] = Node(*key, steps, graph.degree(*key))
                    following.append(key)
        frontier = following
    return Neighbourhood(tuple(nodes.values()), tuple(edges.values()), left_out)


def consumers_around(
    graph: Graph, side: Side, id: str, question: Question, depth: int, most: int
) -> list[list[str]]:
    """Lists the consumers that ``neighbours`` chooses from: for each provider whose consumers it shows, ``most``
    of them, strongest first."""
    graph = graph.of_kind(question.kind)
    number = graph.names[side].find(id)
    if number is None or (side == "consumer" and depth == 1):
        return []
    providers = [number] if side == "provider" else _in_order(graph, side, number, question, question.limit)
    ids = graph.names["consumer"].ids
    return [[ids[each] for each in _in_order(graph, "provider", at, question, most)] for at in providers]


def central(graph: Graph, side: Side, question: Question) -> list[Answer]:
    """The nodes of a side with the most relationships (by degree; PageRank is in ``SnapshotFigures``)."""
    return popular(graph, side, question)


def _strongest(
    graph: Graph, side: Side, id: str, question: Question, consumers: frozenset[str] | None
) -> tuple[list[Edge], int]:
    """The edges of a node by strength, then id, as many as are asked for, and the number of the others."""
    number = graph.names[side].find(id)
    assert number is not None
    among = graph.mask("consumer", consumers) if side == "provider" and consumers is not None else None
    chosen = _in_order(graph, side, number, question, question.limit, among)
    ids = graph.names[other(side)].ids
    shown = []
    for node, strength in zip(
        chosen, known_strengths(graph, side, number, chosen, question).tolist(), strict=True
    ):
        consumer, provider = (id, ids[node]) if side == "consumer" else (ids[node], id)
        shown.append(Edge(consumer, provider, strength))
    return shown, graph.degree(side, id) - len(shown)


def _in_order(
    graph: Graph,
    side: Side,
    number: int,
    question: Question,
    limit: int,
    among: NDArray[np.bool_] | None = None,
) -> list[int]:
    """The first neighbours of a node by the strength of their relationships, then id."""
    row = graph.rows[side].row(number).astype(np.int64)
    words = words_of(graph, side, number, row)
    if among is not None:
        row, words = row[among[row]], words[among[row]]
    known = graph.names[other(side)].ids
    # Not by the strengths that are shown: as of another month, all of them may be too large or too small. Those
    # that are too small beside the strongest are compared among themselves.
    chosen: list[int] = []
    while len(chosen) < limit and len(row):
        wanted = limit - len(chosen)
        strengths = graph.relative(words, question)
        top = float(strengths.max())
        if not top:  # they weigh nothing
            chosen += sorted(row.tolist(), key=known.__getitem__)[:wanted]
            break
        strengths[strengths < top * _LEAST] = 0
        chosen += row[best(strengths, [known[node] for node in row.tolist()], wanted)].tolist()
        row, words = row[strengths == 0], words[strengths == 0]
    return chosen
