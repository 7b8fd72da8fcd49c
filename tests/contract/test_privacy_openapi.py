"""The privacy service held to its own OpenAPI document, by Schemathesis."""

from pymongo.database import Database

from shared.runtime.protocols import Document
from tests.contract.test_openapi import hold
from tests.support.builders import event, recorded
from tests.support.privacy_driver import Services


def test_privacy(mongo_database: Database[Document]) -> None:
    services = Services(mongo_database)
    services.store([event("consumer.upserted", "e1", "2026-01-01T00:00:00Z", {"consumer_id": "0"})])
    services.store([recorded("e2", "2026-01-01T00:00:00Z", consumer_id="0")])
    hold(services.app)
