"""How two nodes are connected. Pure."""

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.answers import Connection, Edge, Node
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.rows import Ints

#: The most relationships of a path.
LONGEST = 6


def connection(
    graph: Graph,
    start: tuple[Side, str],
    end: tuple[Side, str],
    question: Question,
    longest: int = LONGEST,
    without: frozenset[str] = frozenset(),
) -> Connection:
    """The strongest connection of two nodes: a path of the fewest relationships; of these, the one through the
    least busy nodes, by the product of 1 / (number of relationships) of the nodes between, as in resource
    allocation (Zhou, Lü, Zhang, "Predicting missing links via local information", Eur. Phys. J. B 71, 2009); of
    equal ones the one whose ids, read from the end, come first.

    A consumer and a provider are told apart by their sides. All relationships count alike, of ``question.kind``
    only where it is given; the strengths are in the answer. No path leads through the consumers ``without``.
    """
    graph = graph.of_kind(question.kind)
    numbers = [graph.names[side].find(id) for side, id in (start, end)]
    if numbers[0] is None or numbers[1] is None:
        return Connection((), (), False, start[0] if numbers[0] is None else end[0])
    path: list[int] | None = [numbers[0]]
    if start != end:
        path = _path(graph, start[0], numbers[0], end[0], numbers[1], longest, without)
    if path is None:
        return Connection((), (), False)
    sides = [start[0] if step % 2 == 0 else other(start[0]) for step in range(len(path))]
    ids = [graph.names[side].ids[number] for side, number in zip(sides, path, strict=True)]
    nodes = tuple(
        Node(side, id, step, graph.degree(side, id))
        for step, (side, id) in enumerate(zip(sides, ids, strict=True))
    )
    edges = []
    for step in range(1, len(ids)):
        pair = (ids[step - 1], ids[step]) if sides[step] == "provider" else (ids[step], ids[step - 1])
        edges.append(Edge(*pair, graph.strength(*pair, question) or 0.0))
    return Connection(nodes, tuple(edges), True)


def instead(graph: Graph, found: Connection, most: int) -> list[str]:
    """Consumers of the providers of a path, some of each: who may stand in the place of others on it."""
    rows, ids = graph.rows["provider"], graph.names["consumer"].ids
    numbers = [graph.names["provider"].find(node.id) for node in found.nodes if node.side == "provider"]
    nodes = np.array([number for number in numbers if number is not None], np.int64)
    return sorted({ids[each] for each in rows.gather(nodes, most, graph.names["consumer"])[0].tolist()})


def _path(
    graph: Graph, side: Side, start: int, goal_side: Side, goal: int, longest: int, without: frozenset[str]
) -> list[int] | None:
    """The numbers of the nodes from start to goal. ``loads[step]`` has for each number what the best path to it
    costs: the product of the degrees of the nodes before it but the first. Infinite: not reached in that step."""
    layer: Ints = np.array([start])
    seen = {each: np.zeros(graph.names[each].room, np.bool_) for each in (side, other(side))}
    seen["consumer"] |= graph.mask("consumer", without)
    seen[side][start] = True
    load = np.full(graph.names[side].room, np.inf)
    load[start] = 1.0
    loads = [load]
    here = side
    for step in range(1, longest + 1):
        there = other(here)
        onward, lengths = graph.rows[here].gather(layer)
        degrees = graph.rows[here].length[layer].astype(np.float64) if step > 1 else np.ones(1)
        load = np.full(graph.names[there].room, np.inf)
        np.minimum.at(load, onward, np.repeat(loads[-1][layer] * degrees, lengths))
        load[seen[there]] = np.inf
        layer = np.flatnonzero(load < np.inf)
        seen[there][layer] = True
        loads.append(load)
        here = there
        if here == goal_side and seen[here][goal]:
            return _back(graph, here, goal, loads)
        if not len(layer):
            return None
    return None


def _back(graph: Graph, side: Side, goal: int, loads: list[NDArray[np.float64]]) -> list[int]:
    path = [goal]
    for step in range(len(loads) - 1, 0, -1):
        before = other(side)
        row = graph.rows[side].row(path[-1]).astype(np.int64)
        costs = loads[step - 1][row]
        if step > 1:
            costs = costs * graph.rows[before].length[row]
        ids = graph.names[before].ids
        path.append(min(row[costs == costs.min()].tolist(), key=ids.__getitem__))
        side = before
    return path[::-1]
