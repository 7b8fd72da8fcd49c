"""Who is around a node, and who has the most relationships. Pure."""

import numpy as np

from services.intelligence.engine.answers import Answer, Edge, Neighbourhood, Node
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.ranking import best
from services.intelligence.engine.recommend import popular
from services.intelligence.engine.walk import known_strengths, words_of


def neighbours(graph: Graph, side: Side, id: str, question: Question, depth: int = 1) -> Neighbourhood | None:
    """The node, the ``question.limit`` neighbours of its strongest relationships, and with ``depth`` 2 as many
    neighbours of each of these. None for an unknown id. ``known`` and ``beta`` have no meaning here."""
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
            shown, more = _strongest(graph, place, name, question)
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


def central(graph: Graph, side: Side, question: Question) -> list[Answer]:
    """The nodes of a side with the most relationships (by degree; PageRank is in ``SnapshotFigures``)."""
    return popular(graph, side, question)


def _strongest(graph: Graph, side: Side, id: str, question: Question) -> tuple[list[Edge], int]:
    """The edges of a node by strength, then id, as many as are asked for, and the number of the others."""
    number = graph.names[side].find(id)
    assert number is not None
    row = graph.rows[side].row(number).astype(np.int64)
    words = words_of(graph, side, number, row)
    if question.among is not None:
        wanted = graph.mask(other(side), question.among)[row]
        row, words = row[wanted], words[wanted]
    known = graph.names[other(side)].ids
    ids = [known[node] for node in row.tolist()]
    # Not by the strengths that are shown: as of another month, all of them may be too large or too small.
    strengths = graph.relative(words, question)
    chosen = best(strengths, ids, question.limit)
    if len(chosen) < question.limit:
        least = np.flatnonzero(strengths == 0)
        logarithms = graph.logarithms(words[least], question)
        rest = sorted(zip(logarithms, least.tolist(), strict=True), key=lambda each: (-each[0], ids[each[1]]))
        chosen += [at for _, at in rest[: question.limit - len(chosen)]]
    absolute = known_strengths(graph, side, number, row[chosen].tolist(), question).tolist()
    shown = []
    for at, strength in zip(chosen, absolute, strict=True):
        consumer, provider = (id, ids[at]) if side == "consumer" else (ids[at], id)
        shown.append(Edge(consumer, provider, strength))
    return shown, len(row) - len(shown)
