"""Holds answers back until no consumer of the ledger of erasures is in the graph any more: a restored database may
be older than an erasure."""

from collections.abc import Callable, Mapping, Sequence

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.erasure.gate import with_facts
from shared.erasure.records import LedgerEntry
from shared.runtime.protocols import Document
from shared.runtime.readiness import ReadinessGate
from shared.versions.generations import Registry
from shared.versions.progress import Mark, change_marks


class GraphGate(ReadinessGate):
    """Open once relations have erased everybody who is in the ledger, and the graph is whole and has followed the
    changes that relations had numbered by then.

    ``names`` gives the present name of a collection of relations, ``read`` the ledger, ``seen`` the numbers that
    the graph has followed, ``problems`` why it is not whole. ``forget`` deletes what is stored about consumers who
    were erased while no process of this service ran."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        read: Callable[[], Mapping[str, LedgerEntry]],
        relations: Registry,
        seen: Callable[[], Mapping[str, int]],
        problems: Callable[[], Sequence[str]],
        forget: Callable[[str, str], None],
    ) -> None:
        super().__init__("the ledger of erasures has not been read yet")
        # A mark must not be older than the state that it marks.
        self._database = database.with_options(read_concern=ReadConcern("majority"))
        self._names, self._read, self._relations = names, read, relations
        self._seen, self._followed, self._forget = seen, problems, forget
        self._left: Sequence[LedgerEntry] | None = None
        self._marks: Sequence[Mark] | None = None

    def look(self) -> list[str]:
        if self._left is None:
            self._left = list(self._read().values())
            for entry in self._left:
                self._forget(entry.tenant, entry.consumer_id)
        if self._left and (left := list(with_facts(self._database, self._names, self._left))):
            self._left = left
            return [f"the database was restored: {len(left)} erasures are not carried out in it yet"]
        self._left = ()
        if found := self._followed():
            return list(found)
        if self._marks is None:
            self._marks = change_marks(self._relations)
        seen = self._seen()
        if all(seen.get(str(mark["origin"]), 0) >= int(mark["number"]) for mark in self._marks):
            return []
        return ["the graph has not followed the changes of the latest erasures yet"]
