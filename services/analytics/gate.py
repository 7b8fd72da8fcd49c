"""Holds answers back until analytics agrees with the ledger of erasures: a restored dump may still count consumers
who were erased after it was made."""

from collections.abc import Callable, Mapping, Sequence

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.erasure.gate import with_facts
from shared.erasure.records import LedgerEntry
from shared.runtime.protocols import Document
from shared.runtime.readiness import ReadinessGate
from shared.versions.generations import Registry
from shared.versions.progress import Mark, caught_up, change_marks


class CountingGate(ReadinessGate):
    """Open once relations have erased everybody who is in the ledger, and analytics has counted the changes that
    relations had numbered by then. The retractions are among these, because a fact goes, and its change is
    numbered, in one transaction. It changes nothing itself. ``names`` gives what a collection of relations is
    called at the moment, ``read`` the ledger."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        read: Callable[[], Mapping[str, LedgerEntry]],
        relations: Registry,
        analytics: Registry,
    ) -> None:
        super().__init__("the ledger of erasures has not been read yet")
        # A mark must not be older than the state that it marks.
        self._database = database.with_options(read_concern=ReadConcern("majority"))
        self._names, self._read = names, read
        self._relations, self._analytics = relations, analytics
        self._left: Sequence[LedgerEntry] | None = None
        self._marks: Sequence[Mark] | None = None

    def look(self) -> list[str]:
        if self._left is None:
            self._left = list(self._read().values())
            if not self._left:
                return []
        if self._left and (left := list(with_facts(self._database, self._names, self._left))):
            self._left = left
            return [f"the database was restored: {len(left)} erasures are not carried out in it yet"]
        self._left = ()
        if self._marks is None:
            self._marks = change_marks(self._relations)
        if caught_up(self._database, self._analytics, self._marks):
            return []
        return ["the changes of the latest erasures are not counted yet"]
