"""Several writes as one, for what is not a fold: those of a slice are the store's."""

from collections.abc import Callable
from typing import TypeVar

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

T = TypeVar("T")

_SNAPSHOT = ReadConcern("snapshot")


def transact(database: Database[Document], transaction: Callable[[ClientSession], T]) -> T:
    """What ``transaction`` returns, once a majority has its writes. It is called again after a lost race. Raises
    Unavailable, and what ``translated`` raises."""
    with translated(), database.client.start_session() as session:
        return session.with_transaction(transaction, read_concern=_SNAPSHOT, write_concern=DURABLE)
