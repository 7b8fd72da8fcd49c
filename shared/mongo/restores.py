"""The mark of a restore that is not complete: nothing works on such a database."""

from pymongo.database import Database

from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: One document, ``restore``: {state, at, moment, …} of the last one.
RESTORES = "restores"
RESTORE_ID, RUNNING, DONE = "restore", "running", "done"


def restore_problems(database: Database[Document]) -> list[str]:
    """Why the database may not be used because of a restore; empty when it may. Raises Unavailable."""
    with translated():
        found = database[RESTORES].find_one({"_id": RESTORE_ID, "state": RUNNING}, {"_id": 1})
    if found is None:
        return []
    return ["the database is being restored, or a restore was interrupted; run kith restore again"]
