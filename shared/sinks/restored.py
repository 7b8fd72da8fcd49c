"""Whether relations have made up for a restore of MongoDB: until then documents are older than published changes.

A sink reads the documents that a change names. Relations publish their changes once more while they go on from the
positions of a backup, but with the numbers that they had, so a sink that has taken them would never look again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.database import Database

from shared.contracts.errors import Unavailable
from shared.mongo.errors import translated
from shared.mongo.restores import ENDS, RESTORE_ID, RESTORES
from shared.runtime.protocols import Document
from shared.versions.generations import Registry


def check_restored(database: Database[Document], relations: Registry, problems: Sequence[str] = ()) -> None:
    """Raises Unavailable while there are ``problems``, or while relations have not made up for a restore: a sink
    waits, so that neither erased consumers of a restored MongoDB nor its older documents come into its rows."""
    if waiting := [*problems, *replay_problems(database, relations)]:
        raise Unavailable("; ".join(waiting))


def replay_problems(database: Database[Document], relations: Registry) -> list[str]:
    """Why the documents of relations may be older than what was published before the last restore; empty when they
    are not. Raises Unavailable."""
    with translated():
        restored = database[RESTORES].find_one({"_id": RESTORE_ID}, {ENDS: 1})
    if restored is None or not (ends := restored.get(ENDS)):
        return []
    return _behind(ends, relations)


def _behind(ends: list[Mapping[str, Any]], relations: Registry) -> list[str]:
    positions = relations.positions(relations.read().live)
    behind = [
        each["place"]
        for each in ends
        if each["place"] not in positions or (positions[each["place"]].next or 0) < each["end"]
    ]
    if not behind:
        return []
    return [f"the database was restored, and relations have not read the log since again: {', '.join(behind[:3])}"]
