"""The status of an installation, read once."""

from contextlib import closing

from pymongo.database import Database

from shared.observability.status import Status, StatusReader
from shared.runtime.protocols import Document
from shared.settings import Settings


def read_status(settings: Settings, database: Database[Document]) -> Status:
    """Raises Unavailable."""
    with closing(StatusReader(settings, database)) as reader:
        return reader.read()
