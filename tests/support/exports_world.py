"""A market in MongoDB, as relations and analytics store it, and the exports service over it."""

import io
from typing import Any

import httpx
import pandas as pd
from fastapi import FastAPI
from pymongo.database import Database

from services.exports.api import create_app
from services.exports.source import Exports
from shared.contracts.events import Event
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, event
from tests.support.measures_world import left, market, store

Mongo = Database[dict[str, Any]]


class ExportsWorld:
    """``table``: the facts that stand in the end, by pandas from the raw events alone."""

    def __init__(self, database: Mongo) -> None:
        self.database = database
        self.events: list[Event] = [*market(23), *_extra()]
        self.table = left(self.events)
        store(database, self.events)
        self.exports = Exports(database)
        self.app: FastAPI = create_app(self.exports, list, access=OPEN)

    def get(self, path: str, tenant: str = "default", **params: Any) -> httpx.Response:
        asked = {key.removesuffix("_"): str(value) for key, value in params.items()}
        return get(self.app, path, asked, {"Kith-Tenant": tenant})

    def csv(self, dataset: str, tenant: str = "default", **params: Any) -> pd.DataFrame:
        """An export as pandas reads its CSV: nothing is guessed but numbers."""
        answer = self.get(f"/v1/export/{dataset}", tenant, **params)
        assert answer.status_code == 200, answer.text
        return pd.read_csv(io.BytesIO(answer.content), keep_default_na=False, na_values=[""])


def _extra() -> list[Event]:
    """What a market has not: personal fields, and texts that a spreadsheet would run."""
    ada = {
        "consumer_id": "=ada",
        "personal": {"name": "Ada Berg"},
        "location": {"country": "France", "region": "Rhône", "city": "Lyon", "lat": 45.76, "lon": 4.84},
        "consent": {"newsletter": True},
        "traits": {"vip": True},
    }
    review = {
        "relation_id": "=1+2",
        "kind": "review",
        "consumer_id": "=ada",
        "provider_id": "p1",
        "rating": 5,
        "text": 'Good, "very"\ngood; Café ☕',
        "traits": {"device": "phone"},
    }
    return [
        event("consumer.upserted", "crm-ada", "2026-01-01T00:00:00Z", ada),
        event("relation.recorded", "x1", "2026-11-20T10:00:00.123Z", review),
    ]
