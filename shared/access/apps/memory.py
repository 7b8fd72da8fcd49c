"""Applications in memory, with the behaviour of the collections, for tests."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.access.apps.model import App
from shared.access.apps.store import Full, PublicKey
from shared.contracts.errors import Unavailable


class MemoryApps:
    """An AppStore. While ``away`` is true it behaves like an unreachable database."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}
        #: The notices of deletions.
        self.notices: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()
        self.away = False

    def insert(self, app: App, most: int | None = None) -> bool:
        self._reach()
        with self._lock:
            if most is not None and sum(each.tenant == app.tenant for each in self._apps.values()) >= most:
                raise Full
            return self._apps.setdefault(app.id, app) is app

    def find(self, id: str) -> App | None:
        self._reach()
        return self._apps.get(id)

    def all(self, tenant: str) -> list[App]:
        self._reach()
        found = [replace(app, revoked=()) for app in self._apps.values() if app.tenant == tenant]
        return sorted(found, key=lambda app: (app.created, app.id))

    def replace(self, before: App, after: App) -> bool:
        self._reach()
        with self._lock:
            if not self._is_stored(before):
                return False
            self._apps[before.id] = after
            return True

    def delete(self, app: App, notice: Mapping[str, Any] | None = None) -> bool:
        self._reach()
        with self._lock:
            if not self._is_stored(app):
                return False
            del self._apps[app.id]
            if notice is not None:
                self.notices.append(notice)
            return True

    def _is_stored(self, app: App) -> bool:
        stored = self._apps.get(app.id)
        return stored is not None and stored.revision == app.revision

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the applications cannot be read")


class MemoryPublicKeys:
    """A PublicKeyStore over ``keys``."""

    def __init__(self) -> None:
        self.keys: dict[str, PublicKey] = {}

    def find(self, kid: str) -> PublicKey | None:
        return self.keys.get(kid)

    def all(self) -> list[PublicKey]:
        return sorted(self.keys.values(), key=lambda key: (key.created, key.kid))
