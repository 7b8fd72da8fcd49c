"""The key of cursors: of this process, or in MongoDB for all processes of an installation."""

import logging
import os
import threading
import time

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern

from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

COLLECTION = "cursor_keys"
KEY_BYTES = 32
_UNAUTHORIZED = 13
_log = logging.getLogger(__name__)

#: How often a key that does not fit is read again at most.
_AGAIN_SECONDS = 5.0


class OwnKey:
    """A CursorKey of this process alone."""

    def __init__(self) -> None:
        self._key = os.urandom(KEY_BYTES)

    def current(self) -> bytes:
        return self._key

    def renewed(self) -> bytes:
        return self._key


class MongoCursorKey:
    """A CursorKey that the first process creates. It protects no stored data, so it is stored in plain text, and
    an installation without master keys has one, too. A deleted key is replaced; cursors of before then end."""

    def __init__(self, database: Database[Document]) -> None:
        # A key that is lost in a failover would end the cursors that it has made.
        self._keys = database.get_collection(
            COLLECTION,
            write_concern=DURABLE,
            read_concern=ReadConcern("majority"),
        )
        self._lock = threading.Lock()
        self._known: tuple[bytes, float] | None = None

    def current(self) -> bytes:
        known = self._known
        return self._read() if known is None else known[0]

    def renewed(self) -> bytes:
        with self._lock:
            known = self._known
            if known is not None and time.monotonic() - known[1] < _AGAIN_SECONDS:
                return known[0]
        return self._read()

    def _read(self) -> bytes:
        with self._lock, translated():
            try:
                found = self._keys.find_one({"_id": "1"})
            except OperationFailure as error:
                if error.code != _UNAUTHORIZED:
                    raise
                # A user with the rights of a version before this one.
                _log.error(
                    "this service may not read its key of cursors, so other processes will refuse its cursors; "
                    "grant what `kith privileges` prints",
                )
                found = {"key": os.urandom(KEY_BYTES)}
            if found is None:
                found = {"_id": "1", "key": os.urandom(KEY_BYTES)}
                try:
                    self._keys.insert_one(found)
                except DuplicateKeyError:  # another process was first
                    found = self._keys.find_one({"_id": "1"}) or found
            key = bytes(found["key"])
            self._known = (key, time.monotonic())
            return key
