"""The rating scale of each tenant. The scale of the data is cached, the longer the more it costs."""

import threading
import time
from collections.abc import Callable, Mapping

from shared.measures.query import BadMeasure
from shared.measures.scale import Scale

#: The setting's name for all tenants without a scale of their own.
EVERY = "*"
#: How long the scale of the data is cached: computing it reads all ratings of a tenant, and only an index for this
#: one purpose would change that. It may take a two-hundredth of the time, and is a minute old at least, an hour at
#: most.
_SECONDS, _LONGEST_SECONDS, _TIMES = 60.0, 3_600.0, 200.0


class Scales:
    """Finds the scale of each tenant. ``set`` are the scales of the setting by tenant. ``read`` computes that of
    the data, None without ratings. Thread-safe."""

    def __init__(
        self,
        set: Mapping[str, tuple[int, int]],
        read: Callable[[str], tuple[int, int] | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._set, self._read, self._clock = set, read, clock
        #: By tenant: until when it counts, and the scale.
        self._known: dict[str, tuple[float, tuple[int, int] | None]] = {}
        self._reading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, tenant: str, lowest: int | None, highest: int | None) -> Scale | None:
        """The scale of a tenant. ``lowest`` and ``highest`` are the requested bounds. None without ratings. Raises
        BadMeasure for a scale of fewer than two ratings, and the errors of ``read``."""
        if lowest is not None and highest is not None:
            return _checked(lowest, highest)
        known = self._set.get(tenant, self._set.get(EVERY))
        found = known or self._seen(tenant)
        if lowest is None and highest is None:
            if found is None:
                return None
            return Scale(lowest=found[0], highest=found[1], source="data" if known is None else "setting")
        if found is None:
            missing = "lowest" if lowest is None else "highest"
            raise BadMeasure(missing, "is needed as well, because there are no ratings to take it from")
        return _checked(found[0] if lowest is None else lowest, found[1] if highest is None else highest)

    def _seen(self, tenant: str) -> tuple[int, int] | None:
        with self._lock:
            one_at_a_time = self._reading.setdefault(tenant, threading.Lock())
        # Others wait for the first, instead of reading all ratings beside it.
        with one_at_a_time:
            begun = self._clock()
            known = self._known.get(tenant)
            if known is not None and begun < known[0]:
                return known[1]
            found = self._read(tenant)
            took = self._clock() - begun
            self._known[tenant] = begun + min(max(_SECONDS, _TIMES * took), _LONGEST_SECONDS), found
            return found


def _checked(lowest: int, highest: int) -> Scale:
    if lowest >= highest:
        raise BadMeasure("highest", f"must be above lowest; the scale would be {lowest} to {highest}")
    return Scale(lowest=lowest, highest=highest, source="asked")
