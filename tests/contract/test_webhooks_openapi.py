"""The webhooks service held to its own OpenAPI document, by Schemathesis."""

from pymongo.database import Database

from services.webhooks.api import create_app
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.rendering import Renderer
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.contract.test_openapi import hold
from tests.support.builders import OPEN, TOPICS
from tests.support.measures_world import NOW


def test_webhooks(mongo_database: Database[Document], real_settings: Settings) -> None:
    prepare(mongo_database, {**COLLECTIONS, **BESIDE})
    renderer = Renderer(mongo_database, str, lambda _tenant, _consumer: None, None)
    endpoints = Endpoints(mongo_database, renderer, None, TOPICS, lambda: LogReader(real_settings), lambda: NOW)
    hold(create_app(endpoints, list, [], access=OPEN))
