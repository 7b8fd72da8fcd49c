"""The exports service held to its own OpenAPI document, as the others are in ``test_openapi``."""

from typing import Any

from pymongo.database import Database

from tests.contract.test_openapi import hold
from tests.support.exports_world import ExportsWorld


def test_exports(mongo_database: Database[dict[str, Any]]) -> None:
    hold(ExportsWorld(mongo_database).app)
