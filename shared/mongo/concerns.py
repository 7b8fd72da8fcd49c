"""How durable a write is before it counts."""

from bson.codec_options import CodecOptions
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from shared.runtime.protocols import Document

#: A majority of the replica set has it, so that no failover takes it back; a server that cannot get one says so.
DURABLE = WriteConcern("majority", wtimeout=10_000)
_AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True)


def durable_database(database: Database[Document]) -> Database[Document]:
    """``database`` with DURABLE writes, and times that have their offset."""
    return database.with_options(codec_options=_AWARE, write_concern=DURABLE)
