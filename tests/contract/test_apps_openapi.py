"""The apps service held to its own OpenAPI document, by Schemathesis."""

from pymongo.database import Database

from services.apps.api import create_app
from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.registry import Registry
from services.apps.signing import Signer
from shared.access.apps.mongo import MongoApps
from shared.access.apps.notices import MongoReceipts
from shared.access.apps.schema import COLLECTIONS
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from tests.contract.test_openapi import hold
from tests.support.apps import ISSUER, Clock
from tests.support.builders import OPEN


def test_apps(mongo_database: Database[Document]) -> None:
    prepare(mongo_database, COLLECTIONS)
    registry = Registry(MongoApps(mongo_database), Clock())
    signer = Signer(MongoKeyPairs(mongo_database), None, ISSUER, Clock())
    figures, receipts = Figures(mongo_database, str), MongoReceipts(mongo_database)
    hold(create_app(registry, signer, figures, receipts, list, access=OPEN))
