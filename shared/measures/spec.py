"""The declaration of a measure, from which routes and commands are made. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Generic, TypeVar

from shared.measures.answer import Answer
from shared.measures.query import PeriodQuery

S = TypeVar("S")
Q = TypeVar("Q", bound=PeriodQuery)
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, slots=True)
class Measure(Generic[S]):
    """One measure over a source ``S``. Create it with ``measure``, which checks that its parts fit."""

    name: str
    query: type[PeriodQuery]
    answer: type[Answer]
    run: Callable[[S, PeriodQuery], Answer]
    #: Paths of the personal fields in the answer to a query.
    personal: Callable[[PeriodQuery], tuple[str, ...]] = lambda _: ()
    #: Scopes that the answer to a query needs beside the route's, because it joins data of several.
    scopes: Callable[[PeriodQuery], tuple[str, ...]] = lambda _: ()

    @property
    def question(self) -> str:
        """The question that it answers: the first line of the answer's docstring."""
        question = cleandoc(self.answer.__doc__ or "").splitlines()[0].removeprefix("Answers: ")
        return question[:1].upper() + question[1:]


def measure(
    name: str,
    query: type[Q],
    answer: type[A],
    run: Callable[[S, Q], A],
    personal: Callable[[Q], tuple[str, ...]] = lambda _: (),
    scopes: Callable[[Q], tuple[str, ...]] = lambda _: (),
) -> Measure[S]:
    """``run`` computes the answer to a query from a source. ``personal`` returns the paths of its personal
    fields, ``scopes`` the scopes that it needs beside the route's."""

    def checked(source: S, asked: PeriodQuery) -> Answer:
        assert isinstance(asked, query)
        return run(source, asked)

    def named(asked: PeriodQuery) -> tuple[str, ...]:
        assert isinstance(asked, query)
        return personal(asked)

    def needed(asked: PeriodQuery) -> tuple[str, ...]:
        assert isinstance(asked, query)
        return scopes(asked)

    return Measure(name, query, answer, checked, named, needed)
