"""The services held to their own OpenAPI documents, by Schemathesis: whatever is asked, no answer is a failure of
the service, and none has a status, a type or a form that the document does not name."""

from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from pymongo.database import Database
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.ingest.api import create_app
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.support.builders import OPEN, TOPICS
from tests.support.measures_world import NOW, World
from tests.unit.ingest.test_api import RecordingPublisher

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
few = settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)


def without_classes(part: Any) -> Any:
    """Schemathesis makes texts with Python's ``re``, which knows no Unicode classes: then any text will do."""
    if isinstance(part, dict):
        return {
            name: without_classes(value)
            for name, value in part.items()
            if not (name == "pattern" and isinstance(value, str) and r"\p{" in value)
        }
    return [without_classes(each) for each in part] if isinstance(part, list) else part


def hold(app: FastAPI) -> None:
    """Ask whatever the document allows, and what it does not, of every operation."""
    schema = schemathesis.openapi.from_dict(without_classes(app.openapi()))
    schema.app = app
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) >= 4
    for operation in operations:

        @few
        @given(operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def asked(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=CHECKS)

        asked()


def test_relations(mongo_database: Database[Document]) -> None:
    hold(World(mongo_database).relations)


def test_analytics(mongo_database: Database[Document]) -> None:
    hold(World(mongo_database).analytics)


def test_ingest() -> None:
    hold(create_app(RecordingPublisher(), TOPICS, Settings(), lambda: NOW, list, access=OPEN))
