"""What all tenants share in a process, counted per credential first, then per tenant, then in all."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contracts.limits import Most, Owner
from shared.http.problems.client import SHARE_USED_UP
from shared.http.problems.server import TOO_BUSY
from shared.http.server import Refusal


class Share:
    """One thing that is shared. Thread-safe.

    ``what`` completes "this credential already has 2 …", as in "exports in progress". ``unit`` divides the amounts
    in messages, as 2**20 does for MiB. ``retry_seconds`` is the header Retry-After.
    """

    def __init__(self, what: str, most: Most, *, unit: int = 1, retry_seconds: int = 1) -> None:
        self.most = most
        self._what, self._unit, self._retry = what, unit, retry_seconds
        self._lock = threading.Lock()
        self._credentials: Counter[tuple[str, str]] = Counter()
        self._tenants: Counter[str] = Counter()
        self._all = 0

    @property
    def used(self) -> int:
        """What is taken in all."""
        return self._all

    def take(self, owner: Owner, amount: int = 1) -> None:
        """Take ``amount``, which the caller gives back. Raises Refusal: 429 when the credential or the tenant has
        its share already, 503 when everything is taken, by others too. Then nothing is taken."""
        most, credential = self.most, (owner.tenant, owner.key)
        with self._lock:
            if owner.bounded:
                if self._credentials[credential] + amount > most.credential:
                    raise self._refused("this credential", most.credential)
                if self._tenants[owner.tenant] + amount > most.tenant:
                    raise self._refused("this tenant", most.tenant)
            if self._all + amount > most.process:
                detail = f"this process already has {most.process // self._unit} {self._what}, the maximum"
                raise Refusal(TOO_BUSY, f"{detail}; retry later", {"Retry-After": str(self._retry)})
            self._credentials[credential] += amount
            self._tenants[owner.tenant] += amount
            self._all += amount

    def give(self, owner: Owner, amount: int = 1) -> None:
        """Give back what was taken."""
        credential = (owner.tenant, owner.key)
        with self._lock:
            for counter, name in ((self._credentials, credential), (self._tenants, owner.tenant)):
                counter[name] -= amount  # type: ignore[index]
                if counter[name] <= 0:  # type: ignore[index]
                    del counter[name]
            self._all -= amount

    @contextmanager
    def taken(self, owner: Owner, amount: int = 1) -> Iterator[None]:
        """Take ``amount`` for the block. Raises as ``take`` does."""
        self.take(owner, amount)
        try:
            yield
        finally:
            self.give(owner, amount)

    def _refused(self, whose: str, most: int) -> Refusal:
        detail = f"{whose} already has {most // self._unit} {self._what} in this process, its maximum"
        return Refusal(SHARE_USED_UP, f"{detail}; retry when some have ended", {"Retry-After": str(self._retry)})
