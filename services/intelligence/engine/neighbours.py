"""Who is around a node, and who has the most relationships. Pure."""

from services.intelligence.engine.answers import Answer, Edge, Neighbourhood, Node
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.recommend import popular
from services.intelligence.engine.walk import known_strengths


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
    row = graph.rows[side].row(number)
    if question.among is not None:
        row = row[graph.mask(other(side), question.among)[row]]
    ids = graph.names[other(side)].ids
    strengths = known_strengths(graph, side, number, row.tolist(), question)
    found = sorted(zip((-strengths).tolist(), (ids[each] for each in row.tolist()), strict=True))
    shown = [
        Edge(id, far, -strength) if side == "consumer" else Edge(far, id, -strength)
        for strength, far in found[: question.limit]
    ]
    return shown, len(found) - len(shown)
