"""What the graph answers. Pure.

A score is a whole number (``whole``) times a ``factor``. Whole numbers add up exactly, so the terms of a score are
whole numbers of the same factor.
"""

from dataclasses import dataclass
from typing import Literal

from services.intelligence.engine.question import Side

#: So many consumers are named as a number; fewer are "few".
FEW = 5


@dataclass(frozen=True, slots=True)
class Via:
    """A term of a score: a provider that the consumer knows, and its consumers who also know the other provider.

    ``strength`` is that of the consumer's relationship with it, ``shared`` the number of those consumers, ``of``
    the number of consumers that were looked at. For similar consumers, it is a provider that both know, and
    ``shared`` is None.
    """

    provider_id: str
    strength: float
    shared: int | None
    of: int
    whole: int

    @property
    def few(self) -> bool:
        """Whether ``shared`` is too small to be shown: who shares a small provider is personal data."""
        return self.shared is not None and self.shared < FEW


@dataclass(frozen=True, slots=True)
class Answer:
    """An id and its score: ``whole`` × ``factor``, where ``whole`` is the sum of the terms of ``via`` and
    ``rest_whole``, the sum of ``rest`` further terms. ``strength`` is that of the relationship with whom the
    question was about, None without one. ``degree`` is the number of relationships of the answer. ``shared``
    is, for similar nodes, the number of neighbours of both."""

    id: str
    whole: int
    factor: float
    degree: int
    via: tuple[Via, ...] = ()
    rest: int = 0
    rest_whole: int = 0
    strength: float | None = None
    shared: int | None = None

    @property
    def score(self) -> float:
        return self.whole * self.factor


#: "walk": the random walk. "popularity": the answers are the most popular ones, as nothing better is known.
Basis = Literal["walk", "popularity"]
#: Why an answer is not the walk's: the id has no relationship (of the kind); all its relationships weigh 0;
#: the walk reaches nobody; or only such as may not be an answer.
Lack = Literal["unknown", "weightless", "unreached", "excluded"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Answers, best first, equal scores by id. ``candidates`` is the number of those with a score who may be
    an answer.

    ``sampled``: the walk did not follow all relationships, but a sample by the hash of ids, to bound its time.
    """

    answers: tuple[Answer, ...]
    basis: Basis
    lack: Lack | None
    candidates: int
    sampled: bool


@dataclass(frozen=True, slots=True)
class Affinity:
    """One pair: its ``strength`` (None without a relationship), and as what ``answer`` the walk that starts
    from the consumer finds the provider, at which ``rank`` of ``candidates`` (None if it does not find it).

    The rank is among those that the consumer does not know; for a provider that it knows, among those that it
    knows, and the score is made of its other relationships only.
    """

    consumer_id: str
    provider_id: str
    strength: float | None
    answer: Answer | None
    rank: int | None
    candidates: int
    lack: Lack | None
    sampled: bool


@dataclass(frozen=True, slots=True)
class Node:
    """A consumer or provider, how many steps from the one that was asked about, and its number of
    relationships."""

    side: Side
    id: str
    steps: int
    degree: int


@dataclass(frozen=True, slots=True)
class Edge:
    consumer_id: str
    provider_id: str
    strength: float


@dataclass(frozen=True, slots=True)
class Connection:
    """A path: nodes in order, and the relationships between them. ``found`` is false without one of at most the
    steps that were asked for; ``lack`` is the unknown end, if one is."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    found: bool
    lack: Side | None = None

    @property
    def steps(self) -> int:
        return len(self.edges)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Nodes by steps and strength, and the relationships between them. ``left_out`` counts the relationships of
    nodes shown that are not."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    left_out: int
