"""Claims of positions in MongoDB, and the sessions that their transactions run in."""

import logging
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import ExecutionTimeout, OperationFailure

from shared.runtime.protocols import Claim, Document

log = logging.getLogger(__name__)

#: A living owner has stored its slice within this time.
_GRACE_MS = 2_000


class Claims:
    """Makes claims, and keeps one session per claim.

    A transaction outlives the process that died in it. MongoDB aborts it after a minute or more, and until then
    its documents are locked. So a position names the session of its owner, and a new claim ends what is still open
    in that session. For the same reason all transactions of a claim run in one session: starting the next one ends
    a transaction whose response was lost.
    """

    def __init__(self, positions: Collection[Document]) -> None:
        self._positions = positions
        self._client = positions.database.client
        self._sessions: dict[Claim, ClientSession] = {}

    def make(self, position: str, owner: str) -> tuple[Claim, Document]:
        """The claim, and the document of the position. Raises pymongo's errors."""
        session = self._client.start_session()
        fields = {"owner": owner, "session": session.session_id["id"]}
        try:
            stored = self._raise(position, fields, maxTimeMS=_GRACE_MS)
        except ExecutionTimeout:
            self._end_transaction(position)
            stored = self._raise(position, fields)
        claim = Claim(position, stored["epoch"])
        self._sessions = {c: s for c, s in self._sessions.items() if c.position != position}
        self._sessions[claim] = session
        return claim, stored

    def session(self, claim: Claim) -> ClientSession:
        """The session of a claim; an arbitrary one if the claim is void."""
        return self._sessions.get(claim) or self._client.start_session()

    def _raise(self, position: str, fields: Document, **options: Any) -> Document:
        stored = self._positions.find_one_and_update(
            {"_id": position},
            {"$inc": {"epoch": 1}, "$set": fields},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            **options,
        )
        assert stored is not None
        return stored

    def _end_transaction(self, position: str) -> None:
        stored = self._positions.find_one({"_id": position}) or {}
        log.warning("%s: ending a transaction that %s left open", position, stored.get("owner"))
        if "session" in stored:
            try:
                self._client.admin.command("killSessions", [{"id": stored["session"]}])
            except OperationFailure as error:
                # This server does not allow it: the transaction then ends by itself, in a minute or two.
                log.warning(
                    "%s: the session cannot be ended, waiting for the transaction to expire: %s", position, error
                )
