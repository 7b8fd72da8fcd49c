"""The best of many by score, equal ones by id. Pure."""

from collections.abc import Sequence
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray


def best(scores: NDArray[np.float64], ids: Sequence[str], limit: int) -> list[int]:
    """The numbers of the ``limit`` highest positive scores."""
    numbers = np.flatnonzero(scores > 0)
    if len(numbers) > limit:
        if not limit:
            return []
        bar = np.partition(scores[numbers], len(numbers) - limit)[len(numbers) - limit]
        above = numbers[scores[numbers] > bar].tolist()
        equal = numbers[scores[numbers] == bar].tolist()
        chosen = above + nsmallest(limit - len(above), equal, key=ids.__getitem__)
    else:
        chosen = numbers.tolist()
    return sorted(chosen, key=lambda number: (-scores[number], ids[number]))


def rank(scores: NDArray[np.float64], ids: Sequence[str], number: int) -> int:
    """The place of one, from 1, in the order of ``best``."""
    equal = np.flatnonzero(scores == scores[number]).tolist()
    return 1 + int((scores > scores[number]).sum()) + sum(ids[each] < ids[number] for each in equal)
