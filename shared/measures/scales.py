"""The rating scale of each tenant. The scale of the data is cached for a minute."""

import threading
import time
from collections.abc import Callable, Mapping

from shared.measures.query import BadMeasure
from shared.measures.scale import Scale

#: The setting's name for all tenants without a scale of their own.
EVERY = "*"
#: How long the scale of the data is cached, in seconds: computing it reads all ratings.
_SECONDS = 60.0


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
        self._known: dict[str, tuple[float, tuple[int, int] | None]] = {}
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
            known = self._known.get(tenant)
        if known is not None and self._clock() - known[0] < _SECONDS:
            return known[1]
        begun, found = self._clock(), self._read(tenant)
        with self._lock:
            self._known[tenant] = begun, found
        return found


def _checked(lowest: int, highest: int) -> Scale:
    if lowest >= highest:
        raise BadMeasure("highest", f"must be above lowest; the scale would be {lowest} to {highest}")
    return Scale(lowest=lowest, highest=highest, source="asked")
