"""The relationships of one tenant as a graph in flat arrays. Pure.

It is a set of edges: what it answers depends neither on the order in which they came nor on how often.
"""

import copy
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import fsum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.cells import Cell, Cells, Kinds, Wide, month_number
from services.intelligence.engine.names import Names
from services.intelligence.engine.question import Question, Side
from services.intelligence.engine.rows import Ints, Rows, summed

#: consumer_id, provider_id, kinds of the relationship's document, its strength where it has no cells
Row = tuple[str, str, Kinds, Wide | None]

Part = TypeVar("Part", Names, Rows, Cells)

#: The most consumers of a provider (and providers of a consumer) that a walk starts or goes on from.
SAMPLE = 8_192
#: The most relationships that a walk follows in one of its steps, about.
BUDGET = 1 << 20
# Graphs of one kind that are kept.
_VIEWS = 4
# A part of a strength is at most this, so that a sum of many is still a number: doubles end at 2^1024.
_MOST_DOUBLINGS = 1000.0
_MOST_PART = 2.0**_MOST_DOUBLINGS


class Graph:
    """``put`` and ``build`` change it; functions of this package answer from it. Not for several threads at once.

    ``sample`` and ``budget`` bound the time of an answer (see ``Rows.gather``). They are part of what an answer
    depends on.
    """

    def __init__(self, sample: int = SAMPLE, budget: int = BUDGET) -> None:
        if sample < 1 or budget < 1:
            raise ValueError("sample and budget must be at least 1")
        self.sample, self.budget = sample, budget
        self.names: dict[Side, Names] = {"consumer": Names(), "provider": Names()}
        self.rows: dict[Side, Rows] = {"consumer": Rows(words=True), "provider": Rows(words=False)}
        self.cells = Cells()
        #: The number of relationships.
        self.edges = 0
        self._views: OrderedDict[str, Graph] = OrderedDict()

    @classmethod
    def build(cls, rows: Iterable[Row], sample: int = SAMPLE, budget: int = BUDGET) -> "Graph":
        """The graph of all relationships of a scan, much faster than by ``put``. Of one pair the last row
        counts."""
        building = Building(cls(sample, budget))
        for row in rows:
            building.add(*row)
        return building.graph()

    def put(self, consumer_id: str, provider_id: str, kinds: Kinds | None, wide: Wide | None = None) -> None:
        """Set a relationship to what its document has: ``kinds``, or a strength where that has no cells. None (or
        nothing) removes it. Repeating it changes nothing."""
        at = self._at(consumer_id, provider_id)
        self._set(consumer_id, provider_id, at, self.cells.pack(kinds or {}, wide, self._word(at)))
        for kind, view in self._views.items():
            # A kind without a code is in no view.
            only = {kind: kinds[kind]} if kinds and kind in kinds and self.cells.is_named(kind) else None
            view.put(consumer_id, provider_id, only)

    def move(self, consumer_id: str, provider_id: str, kind: str, month: str, by: int) -> None:
        """Add ``by`` relations to a relationship, or take them away. Its other cells are not read; where a cell
        comes or goes they are copied, which takes some 0.3 ms for 60,000. Raises ValueError where there are not so
        many."""
        at = self._at(consumer_id, provider_id)
        self._set(consumer_id, provider_id, at, self.cells.moved(kind, month, by, self._word(at)))
        # A kind without a code is in no view.
        if (view := self._views.get(kind)) is not None and self.cells.is_named(kind):
            view.move(consumer_id, provider_id, kind, month, by)

    def apart(self) -> "Graph":
        """The graph as it is, which no change reaches any more: for what computes for long. Arrays are copied,
        which takes some 50 ms for a million relationships."""
        made = Graph(self.sample, self.budget)
        made.names = {side: _apart(names) for side, names in self.names.items()}
        made.rows = {side: _apart(rows) for side, rows in self.rows.items()}
        made.cells, made.edges = _apart(self.cells), self.edges
        return made

    def beside(self) -> "Graph":
        """An empty graph with the codes that this one gives to kinds: both together have as many as one may."""
        made = Graph(self.sample, self.budget)
        made.cells.share_codes(self.cells)
        return made

    def of_kind(self, kind: str | None) -> "Graph":
        """The graph of the relations of one kind only: kept up to date once made. A few are kept."""
        if kind is None:
            return self
        view = self._views.get(kind)
        if view is None:
            view = self._views[kind] = self._only(kind)
            if len(self._views) > _VIEWS:
                self._views.popitem(last=False)
        self._views.move_to_end(kind)
        return view

    def degree(self, side: Side, id: str) -> int:
        """The number of relationships; 0 for an unknown id."""
        number = self.names[side].find(id)
        return 0 if number is None else int(self.rows[side].length[number])

    def __contains__(self, pair: tuple[str, str]) -> bool:
        return self._at(*pair) >= 0

    def strength(self, consumer_id: str, provider_id: str, question: Question) -> float | None:
        """The strength of a relationship as of the question's month; None without one (of its kind)."""
        terms = self.terms(consumer_id, provider_id, question)
        return fsum(terms) if terms else None

    def terms(self, consumer_id: str, provider_id: str, question: Question) -> list[float]:
        """The parts of a strength, by kind and month. As of a month long before or after, a part stays the largest
        number there is for one, or becomes 0: what orders strengths is ``relative``."""
        at = self._at(consumer_id, provider_id)
        now = month_number(question.month)
        words = self.rows["consumer"].words
        assert words is not None
        return [
            min(
                question.weights.get(cell.kind, 1.0)
                * cell.amount
                * 2.0 ** min((cell.month - now) / question.half_life, _MOST_DOUBLINGS),
                _MOST_PART,
            )
            for cell in (self.cells.cells(int(words[at])) if at >= 0 else ())
            if question.kind is None or cell.kind == question.kind
        ]

    def relative(self, words: NDArray[np.uint64], question: Question) -> NDArray[np.float64]:
        """The strengths of some edges, relative to each other: decay never changes their ratios, so the latest
        month takes the place of the question's, and no power of two runs over."""
        edges, kinds, months, amounts = self.cells.amounts(words)
        if question.weights:
            amounts = amounts * self.cells.weights(question.weights)[kinds]
        if not (counted := amounts > 0).any():
            return np.zeros(len(words))
        latest = int(months[counted].max())
        ages = np.maximum(latest - months, 0)
        decay = _decay(question.half_life, 1 << int(ages.max()).bit_length())
        # The cells of an edge are added one after the other, in the order of kinds and months.
        return summed(edges, amounts * decay[ages], len(words))

    def mask(self, side: Side, ids: frozenset[str]) -> NDArray[np.bool_]:
        """Which numbers of a side are among ``ids``."""
        names = self.names[side]
        chosen = np.zeros(names.room, np.bool_)
        small, large = (ids, names) if len(ids) <= len(names) else (None, names)
        if small is not None:
            numbers = [number for id in small if (number := large.find(id)) is not None]
        else:
            numbers = [number for number, id in enumerate(names.ids) if id in ids]
        chosen[numbers] = True
        return chosen

    def not_allowed(self, side: Side, question: Question) -> NDArray[np.bool_]:
        """Which numbers of a side may not be an answer, by ``among`` and ``without``."""
        refused = self.mask(side, question.without)
        return refused if question.among is None else refused | ~self.mask(side, question.among)

    def nbytes(self) -> int:
        """Bytes of memory of arrays and ids, views of kinds included."""
        own = self.cells.nbytes() + sum(names.nbytes() for names in self.names.values())
        own += sum(rows.nbytes() for rows in self.rows.values())
        return own + self.views_nbytes()

    def views_nbytes(self) -> int:
        """Bytes of memory of the graphs of single kinds."""
        return sum(view.nbytes() for view in list(self._views.values()))

    def forget_views(self) -> None:
        """Keep no graph of a single kind; it is made again when it is asked for."""
        self._views.clear()

    def all_cells(self) -> Iterator[tuple[str, str, list[Cell]]]:
        """All relationships, in no order."""
        consumers, providers = self.names["consumer"].ids, self.names["provider"].ids
        for number, consumer_id in enumerate(consumers):
            if consumer_id:  # the number is taken
                row, words = self.rows["consumer"].row(number), self.rows["consumer"].row_words(number)
                for provider, word in zip(row.tolist(), words.tolist(), strict=True):
                    yield consumer_id, providers[provider], list(self.cells.cells(word))

    def _only(self, kind: str) -> "Graph":
        """The graph of a kind, made by arrays: it may be asked for again and again, of a large graph."""
        made = Graph(self.sample, self.budget)
        rows = self.rows["consumer"]
        assert rows.words is not None
        numbers = np.flatnonzero(rows.length[: self.names["consumer"].room])
        at, lengths = rows.positions(numbers)
        made.cells, which, words = self.cells.of_kind(rows.words[at], kind)
        placed: dict[Side, Ints] = {}
        ends: tuple[tuple[Side, Ints], ...] = (
            ("consumer", np.repeat(numbers, lengths)[which]),
            ("provider", rows.to[at][which].astype(np.int64)),
        )
        for side, nodes in ends:
            used, placed[side] = np.unique(nodes, return_inverse=True)
            made.names[side] = self.names[side].some(used)
        made._fill(placed["consumer"], placed["provider"], words)
        return made

    def _at(self, consumer_id: str, provider_id: str) -> int:
        consumer = self.names["consumer"].find(consumer_id)
        provider = self.names["provider"].find(provider_id)
        return -1 if consumer is None or provider is None else self.rows["consumer"].find(consumer, provider)

    def _word(self, at: int) -> int | None:
        """The word of the relationship at a position of its consumer's row; None at -1."""
        words = self.rows["consumer"].words
        assert words is not None
        return int(words[at]) if at >= 0 else None

    def _add(self, consumer_id: str, provider_id: str, word: int) -> None:
        consumer = self.names["consumer"].intern(consumer_id)
        provider = self.names["provider"].intern(provider_id)
        self.rows["consumer"].append(consumer, provider, word)
        self.rows["provider"].append(provider, consumer)
        self.edges += 1

    def _set(self, consumer_id: str, provider_id: str, at: int, word: int | None) -> None:
        """Set the word of the relationship at a position of its consumer's row; -1: of one that is not there."""
        consumers = self.rows["consumer"]
        assert consumers.words is not None
        if at < 0:
            if word is not None:
                self._add(consumer_id, provider_id, word)
        elif word is not None:
            consumers.words[at] = word
        else:
            self._remove(
                self.names["consumer"].intern(consumer_id), self.names["provider"].intern(provider_id), at
            )
        if (compacted := self.cells.compacted(consumers.words)) is not None:
            consumers.words = compacted

    def _remove(self, consumer: int, provider: int, at: int) -> None:
        self.rows["consumer"].remove(consumer, at)
        self.rows["provider"].remove(provider, self.rows["provider"].find(provider, consumer))
        self.edges -= 1
        if not self.rows["consumer"].length[consumer]:
            self.names["consumer"].release(consumer)
        if not self.rows["provider"].length[provider]:
            self.names["provider"].release(provider)

    def _fill(self, consumers: Ints, providers: Ints, words: NDArray[np.uint64]) -> None:
        pairs = (consumers.astype(np.int64) << 32) | providers
        last = len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1]
        consumers, providers = consumers[last].astype(np.int64), providers[last].astype(np.int64)
        self.rows["consumer"].fill(consumers, providers, words[last], self.names["consumer"].room)
        self.rows["provider"].fill(providers, consumers, None, self.names["provider"].room)
        self.edges = len(last)


class Building:
    """Fills an empty graph with the rows of a scan, which may belong to several graphs in turn."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._consumers, self._providers, self._words = array("i"), array("i"), array("Q")

    def __len__(self) -> int:
        return len(self._words)

    def add(self, consumer_id: str, provider_id: str, kinds: Kinds, wide: Wide | None = None) -> None:
        """Add a row. Of one pair the last one counts."""
        if (word := self._graph.cells.pack(kinds, wide)) is not None:
            self._consumers.append(self._graph.names["consumer"].intern(consumer_id))
            self._providers.append(self._graph.names["provider"].intern(provider_id))
            self._words.append(word)

    def graph(self) -> Graph:
        """The graph of all rows; nothing can be added after it."""
        self._graph._fill(*(np.array(each) for each in (self._consumers, self._providers, self._words)))
        return self._graph


def _apart(part: Part) -> Part:
    """A copy of a part of a graph. What its arrays, dicts and lists contain does not change."""
    made = copy.copy(part)
    for name in getattr(part, "__slots__", None) or vars(part):
        value = getattr(part, name)
        if isinstance(value, np.ndarray | dict | list):
            setattr(made, name, value.copy())
    return made


@lru_cache(64)
def _decay(half_life: float, room: int) -> NDArray[np.float64]:
    """Powers of two for ages in months. By Python, one by one: the last bit of a vector's may depend on its
    place."""
    return np.array([2.0 ** (-age / half_life) for age in range(room + 1)])
