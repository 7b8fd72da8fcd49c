"""Reads which applications of third parties may know a consumer, for the export."""

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database

from shared.access.apps.compliance import applications_in
from shared.access.apps.mongo import durable
from shared.access.apps.notices import registered
from shared.access.apps.schema import APPS
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.runtime.protocols import Document


class Recipients:
    """Reads one database. Methods raise Unavailable."""

    def __init__(self, database: Database[Document]) -> None:
        self._database = database

    def of(self, tenant: str, consumer_id: str, consent: Mapping[str, Any]) -> list[Document]:
        """The applications that a consumer has ever agreed to, by id. ``consent`` is that of the profile: the
        register may not have what was granted a moment ago. It is the consumer's word, so an application that is
        named there alone counts only where the tenant has it."""
        ever = registered(self._database, tenant, consumer_id)
        granted = set(applications_in(consent))
        wanted = {"_id": {"$in": sorted(ever | granted)}, "tenant": tenant}
        with translated():
            found = durable(self._database, APPS).find(wanted, {"name": 1}, max_time_ms=QUERY_MS)
            names = {each["_id"]: each["name"] for each in found}
        return [
            {"app": app, "name": names.get(app), "granted": app in granted} for app in sorted(ever | names.keys())
        ]
