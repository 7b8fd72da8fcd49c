"""Relations as arrays, for evaluating and learning. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine import Graph
from services.intelligence.engine.graph import Row

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Where no time is known, all relations are of one month.
_TIMELESS = datetime(2000, 1, 1, tzinfo=UTC)


class Relation(NamedTuple):
    """One fact. ``time`` is aware, or None for all relations."""

    consumer_id: str
    provider_id: str
    time: datetime | None
    kind: str


@dataclass(frozen=True, slots=True)
class Relations:
    """Relations in the order of consumers, providers, times and kinds, so that nothing depends on that of a file.

    ``consumers``, ``providers`` and ``kinds`` hold positions in the sorted ids and kind names; ``times`` are
    microseconds of UTC. A part (``only``) keeps all the ids: who has no relation in it is still an alternative.
    """

    consumer_ids: tuple[str, ...]
    provider_ids: tuple[str, ...]
    kind_names: tuple[str, ...]
    consumers: Ints
    providers: Ints
    times: Ints
    kinds: Ints
    timed: bool

    @classmethod
    def of(cls, relations: Iterable[Relation]) -> "Relations":
        """Raises ValueError where some have a time and others none."""
        rows = list(relations)
        timed = sum(row.time is not None for row in rows)
        if timed not in (0, len(rows)):
            raise ValueError(
                f"{len(rows) - timed} of {len(rows)} relations have no time; all must have one, or none"
            )
        names = [
            sorted({row.consumer_id for row in rows}),
            sorted({row.provider_id for row in rows}),
            sorted({row.kind for row in rows}),
        ]
        places = [{name: at for at, name in enumerate(each)} for each in names]
        table = np.array(
            [
                (
                    places[0][row.consumer_id],
                    places[1][row.provider_id],
                    _microseconds(row.time or _TIMELESS),
                    places[2][row.kind],
                )
                for row in rows
            ],
            np.int64,
        ).reshape(-1, 4)
        table = table[np.lexsort(table.T[::-1])]
        consumer_ids, provider_ids, kind_names = (tuple(each) for each in names)
        consumers, providers, times, kinds = table.T
        return cls(consumer_ids, provider_ids, kind_names, consumers, providers, times, kinds, bool(timed))

    def __len__(self) -> int:
        return len(self.consumers)

    def only(self, chosen: NDArray[np.bool_]) -> "Relations":
        return replace(
            self,
            consumers=self.consumers[chosen],
            providers=self.providers[chosen],
            times=self.times[chosen],
            kinds=self.kinds[chosen],
        )

    def pairs(self) -> tuple[Ints, Ints, Ints]:
        """Consumer, provider and first time of each pair that has a relation, in order."""
        keys = self.consumers * len(self.provider_ids) + self.providers
        keys, first = np.unique(keys, return_index=True)
        return self.consumers[first], self.providers[first], self.times[first]

    def latest_month(self) -> str:
        """The month of the last relation, as of which strengths are computed."""
        return _month(int(self.times.max(initial=0)))

    def graph(self) -> Graph:
        return Graph.build(self.rows())

    def rows(self) -> Iterator[Row]:
        """The relations as relationships."""
        months = [_month(time) for time in self.times.tolist()]
        at, bounds = 0, np.flatnonzero(np.diff(self.consumers * len(self.provider_ids) + self.providers)) + 1
        for end in [*bounds.tolist(), len(self)]:
            kinds: dict[str, dict[str, dict[str, Any]]] = {}
            for each in range(at, end):
                of_kind = kinds.setdefault(self.kind_names[self.kinds[each]], {})
                of_kind.setdefault(months[each], {"count": 0})["count"] += 1
            if kinds:
                consumer, provider = self.consumers[at], self.providers[at]
                yield self.consumer_ids[consumer], self.provider_ids[provider], kinds, None
            at = end

    def digest(self) -> str:
        """A digest of the set of relations: equal data have equal digests."""
        digest = blake2b(digest_size=16)
        for names in (self.consumer_ids, self.provider_ids, self.kind_names):
            digest.update("\0".join(names).encode() + b"\0\0")
        for column in (self.consumers, self.providers, self.times, self.kinds):
            digest.update(np.ascontiguousarray(column, "<i8").tobytes())
        return digest.hexdigest()


def _microseconds(time: datetime) -> int:
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _month(microseconds: int) -> str:
    months = int(np.datetime64(microseconds, "us").astype("datetime64[M]").astype(np.int64))
    return f"{1970 + months // 12:04d}-{months % 12 + 1:02d}"
