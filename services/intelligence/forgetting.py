"""Deletes what is stored about an erased consumer."""

from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from shared.erasure.derived import filters
from shared.mongo.errors import translated
from shared.runtime.protocols import Document


class Forgetting:
    def __init__(self, database: Database[Document]) -> None:
        self._database = database.with_options(write_concern=WriteConcern("majority", wtimeout=10_000))

    def __call__(self, tenant: str, consumer_id: str) -> None:
        """Delete it. Raises Unavailable."""
        with translated():
            for collection, wanted in filters(tenant, consumer_id):
                self._database[collection].delete_many(wanted)
