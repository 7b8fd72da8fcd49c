"""Choosing among consumers by a purpose: consents are read of the first ones, then of more until all are found."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

#: Of ids, those who have granted the purpose.
Granted = Callable[[list[str]], set[str]]

T = TypeVar("T")

#: How often a path is looked for, each time without those of whom it is known that they have not granted.
ATTEMPTS = 50


def purpose_for(purposes: Mapping[str, str], tenant: str) -> str | None:
    """The purpose that is configured for a tenant; ``*`` names that of all others."""
    return purposes.get(tenant, purposes.get("*"))


def first_granted(first: Callable[[int], Sequence[str]], granted: Granted, limit: int) -> tuple[list[str], bool]:
    """The first ``limit`` consumers who have granted, of those that ``first`` gives in order, and whether any of
    those before have not."""
    size = 2 * limit
    asked: set[str] = set()
    wanted: set[str] = set()
    while True:
        ids = list(first(size))
        if new := [each for each in ids if each not in asked]:
            asked.update(new)
            wanted |= granted(new)
        kept = [each for each in ids if each in wanted]
        if len(kept) >= limit or len(ids) < size:
            return kept[:limit], len(kept) < len(ids)
        size *= 4


def granted_of_each(
    first: Callable[[int], Sequence[Sequence[str]]], granted: Granted, limit: int
) -> tuple[frozenset[str], bool]:
    """Finds who has granted, of several lists: of each at least the first ``limit`` who have; and whether anybody
    has not. ``first`` gives so many of each list, in order."""
    asked: set[str] = set()
    known: set[str] = set()
    size = 2 * limit
    while True:
        lists = first(size)
        if new := sorted({id for each in lists for id in each} - asked):
            asked.update(new)
            known |= granted(new)
        if all(len(each) < size or sum(id in known for id in each) >= limit for each in lists):
            return frozenset(known), len(known) < len(asked)
        size *= 4


def through_granted(
    look: Callable[[frozenset[str]], tuple[T, Sequence[str], Sequence[str]]], granted: Granted
) -> tuple[T, bool, bool]:
    """What ``look`` finds without some consumers: with it, it gives the consumers in it, who must all have
    granted, and some who could take their places. Whether anybody was left out, and whether ATTEMPTS were not
    enough, so that somebody in it has not granted."""
    refused: set[str] = set()
    for attempt in range(1, ATTEMPTS + 1):
        found, inside, others = look(frozenset(refused))
        ids = sorted({*inside, *others})
        missing = set(ids) - granted(ids) if ids else set()
        given_up = bool(missing & set(inside))
        if not given_up or attempt == ATTEMPTS:
            break
        refused |= missing
    return found, bool(refused), given_up
