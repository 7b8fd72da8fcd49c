"""The connections of a process: how many each holder may have, and which one gives way to a new one.

A connection belongs to its address until it has shown a credential, and to the credential's owner from then on. It
is idle while no admitted request of it is in progress; only idle ones are closed to make room. So nobody is turned
away because others hold connections open: the largest holder's oldest idle connection gives way.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from shared.contracts.limits import Most, Owner, of_address
from shared.http.addresses import Proxies
from shared.http.problems.client import SHARE_USED_UP
from shared.http.server import Refusal

_PROXY = Owner("", "proxy")


class Held(Protocol):
    """A connection."""

    idle: bool

    def drop(self) -> None:
        """Close it at once."""


class Connections:
    """Used from one event loop only. ``of_address`` is the most of an address without a credential. ``proxies``
    are addresses and networks that this does not apply to. Raises ValueError for one that is neither."""

    def __init__(self, most: Most, of_address: int, proxies: Sequence[str] = ()) -> None:
        self._most, self._of_address = most, of_address
        self._proxies = Proxies(proxies)
        #: Of each holder, the oldest first.
        self._held: dict[Owner, dict[Held, None]] = {}
        self._owners: dict[Held, Owner] = {}
        self._tenants: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._owners)

    def opened(self, connection: Held, host: str) -> bool:
        """Count a new connection. False when there is no room: then it is not counted, and is to be closed."""
        owner = _PROXY if host in self._proxies else of_address(host)
        if owner is not _PROXY and len(self._held.get(owner, ())) >= self._of_address and not self._shed([owner]):
            return False
        if len(self) >= self._most.process and not self._shed(self._held):
            return False
        self._add(connection, owner)
        return True

    def belongs_to(self, connection: Held, owner: Owner) -> None:
        """A connection has shown a credential. Raises Refusal (429) when its owner has too many, all of them with
        requests in progress."""
        if self._owners.get(connection) in (None, owner) or owner.key.startswith("address "):
            return
        if owner.bounded:
            if len(self._held.get(owner, ())) >= self._most.credential and not self._shed([owner]):
                raise _too_many("this credential", self._most.credential)
            if self._tenants[owner.tenant] >= self._most.tenant and not self._shed(
                [each for each in self._held if each.tenant == owner.tenant]
            ):
                raise _too_many("this tenant", self._most.tenant)
        self.closed(connection)
        self._add(connection, owner)

    def closed(self, connection: Held) -> None:
        """A connection has ended. Does nothing when it is not counted."""
        if (owner := self._owners.pop(connection, None)) is None:
            return
        held = self._held[owner]
        del held[connection]
        if not held:
            del self._held[owner]
        self._tenants[owner.tenant] -= 1
        if not self._tenants[owner.tenant]:
            del self._tenants[owner.tenant]

    def _add(self, connection: Held, owner: Owner) -> None:
        self._owners[connection] = owner
        self._held.setdefault(owner, {})[connection] = None
        self._tenants[owner.tenant] += 1

    def _shed(self, owners: Iterable[Owner]) -> bool:
        """Close the oldest idle connection of the largest of these holders that has one."""
        for owner in sorted(owners, key=lambda each: -len(self._held.get(each, ()))):
            for connection in self._held.get(owner, ()):
                if connection.idle:
                    self.closed(connection)
                    connection.drop()
                    return True
        return False


def _too_many(whose: str, most: int) -> Refusal:
    detail = f"{whose} already has {most} connections with requests in progress in this process, its maximum"
    return Refusal(SHARE_USED_UP, detail, {"Retry-After": "1"})
