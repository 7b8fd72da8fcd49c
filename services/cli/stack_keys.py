"""The API keys that `kith up` and `kith demo` create for themselves and for their user."""

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.access.acts import Acts, recorder
from shared.access.keys import NO_LIMIT, ApiKeys, matches, prefix_of
from shared.access.keys_mongo import MongoKeys
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.http.caller import SCOPES
from shared.mongo.store import connect
from shared.runtime.clock import now
from shared.settings import Settings

_NAME = "kith up"


class StackKeys:
    """Keys with every scope and without a rate limit, one per tenant. The key of the tenant ``default`` is kept in
    the file ``api-key`` of the stack's folder for the next start. With ``keep`` False ``revoke`` revokes them
    all."""

    def __init__(self, settings: Settings, folder: Path, keep: bool) -> None:
        self._settings = settings
        self._file = folder / "api-key"
        self._keep = keep
        self._texts: dict[str, str] = {}

    def of(self, tenant: str) -> str | None:
        """The key of a tenant, created at the first call; None if no key is needed."""
        if self._settings.access == "open":
            return None
        if tenant not in self._texts:
            self._texts[tenant] = self._with(lambda keys, acts: self._find_or_make(keys, acts, tenant))
        return self._texts[tenant]

    def headers(self, tenant: str = "default") -> dict[str, str]:
        """The headers of a request on behalf of a tenant."""
        key = self.of(tenant)
        return {"Kith-Tenant": tenant} if key is None else {"Authorization": f"Bearer {key}"}

    def revoke(self) -> None:
        """Revoke the keys of a stack whose folder is not kept. A deleted database has no keys to revoke."""
        if self._keep or not self._texts:
            return

        def revoke(keys: ApiKeys, acts: Acts) -> None:
            for tenant, text in self._texts.items():
                prefix = prefix_of(text)
                assert prefix is not None
                keys.revoke(prefix)
                acts.record(tenant, "keys.revoke", {"key": prefix, "name": _NAME})

        with contextlib.suppress(Unavailable):
            self._with(revoke)

    def _find_or_make(self, keys: ApiKeys, acts: Acts, tenant: str) -> str:
        if tenant == "default" and (text := self._kept(keys)) is not None:
            return text
        key, text = keys.create(tenant, _NAME, [*SCOPES], limit=NO_LIMIT)
        acts.record(tenant, "keys.create", {"key": key.prefix, "name": key.name}, {"scopes": " ".join(key.scopes)})
        if tenant == "default":
            # Readable by its owner only, from the moment it exists.
            with contextlib.suppress(FileNotFoundError):
                self._file.unlink()
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as opened:
                opened.write(text + "\n")
        return text

    def _kept(self, keys: ApiKeys) -> str | None:
        try:
            text = self._file.read_text().strip()
            key = keys.get(prefix_of(text) or "")
        except (FileNotFoundError, ConfigurationError):
            return None
        whole = set(key.scopes) == set(SCOPES) and key.tenant == "default"
        return text if whole and key.valid(datetime.now(UTC)) and matches(key, text) else None

    def _with(self, work: "Callable[[ApiKeys, Acts], Any]") -> Any:
        assert self._settings.mongo is not None
        with connect(self._settings.mongo) as client:
            database = client[self._settings.database]
            with recorder(self._settings, database) as acts:
                return work(ApiKeys(MongoKeys(database), now), acts)
