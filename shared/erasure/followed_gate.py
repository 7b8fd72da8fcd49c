"""Holds answers back until what a service derives from the changes of relations agrees with the ledger of
erasures: a restored database may be older than an erasure."""

from collections.abc import Callable, Mapping, Sequence

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.erasure.gate import with_facts
from shared.erasure.records import LedgerEntry
from shared.runtime.protocols import Document
from shared.runtime.readiness import ReadinessGate
from shared.versions.generations import Registry
from shared.versions.progress import Mark, change_marks


class FollowedGate(ReadinessGate):
    """Open once relations have erased everybody who is in the ledger, and the service has followed the changes
    that relations had numbered by then. The retractions are among these, because a fact goes, and its change is
    numbered, in one transaction. It changes nothing in the documents of relations.

    ``names`` gives the present name of a collection of relations, ``read`` the ledger. ``followed`` returns
    whether these changes have been followed, ``behind`` is the problem until then. ``forget`` is called with
    everybody in the ledger: first, and once more before the gate opens, for what was derived of them meanwhile."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        read: Callable[[], Mapping[str, LedgerEntry]],
        relations: Registry,
        followed: Callable[[Sequence[Mark]], bool],
        behind: str,
        forget: Callable[[Sequence[LedgerEntry]], None] = lambda _: None,
    ) -> None:
        super().__init__("the ledger of erasures has not been read yet")
        # A mark must not be older than the state that it marks.
        self._database = database.with_options(read_concern=ReadConcern("majority"))
        self._names, self._read, self._relations = names, read, relations
        self._followed, self._behind, self._forget = followed, behind, forget
        self._erased: Sequence[LedgerEntry] | None = None
        self._left: Sequence[LedgerEntry] = ()
        self._marks: Sequence[Mark] | None = None

    def look(self) -> list[str]:
        if self._erased is None:
            erased = list(self._read().values())
            if not erased:
                return []
            self._forget(erased)
            self._erased = self._left = erased
        if self._left and (left := list(with_facts(self._database, self._names, self._left))):
            self._left = left
            return [f"the database was restored: {len(left)} erasures are not carried out in it yet"]
        self._left = ()
        if self._marks is None:
            self._marks = change_marks(self._relations)
        if not self._followed(self._marks):
            return [self._behind]
        self._forget(self._erased)
        return []
