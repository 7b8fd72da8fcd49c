"""The mark of a restore: the database is its own while it lasts, and no service works on it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pymongo.database import Database

from shared.contracts.errors import ConfigurationError
from shared.mongo.errors import translated
from shared.mongo.restores import DONE, RESTORE_ID, RESTORES, RUNNING
from shared.runtime.protocols import Document


class Claim:
    """The mark of one restore of the backup of ``moment``. Another restore takes it over, because nothing
    distinguishes one that was interrupted from one that runs; this one then ends with an error."""

    def __init__(self, database: Database[Document], moment: str) -> None:
        self._database, self._moment = database, moment
        self._mine = {"_id": RESTORE_ID, "state": RUNNING, "by": uuid4().hex}

    def take(self, replace: bool) -> None:
        """Mark the database, and empty it. Raises ConfigurationError when it is not empty, unless a restore was
        interrupted or with ``replace``; and Unavailable."""
        database = self._database
        with translated():
            names = _names(database)
            interrupted = RESTORES in names and database[RESTORES].find_one({"_id": RESTORE_ID, "state": RUNNING})
            if names and not interrupted and not replace:
                raise ConfigurationError(
                    f"the database {database.name} holds {len(names)} collections; --replace drops them for good"
                )
            mark = {**self._mine, "at": datetime.now(UTC), "moment": self._moment}
            database[RESTORES].replace_one({"_id": RESTORE_ID}, mark, upsert=True)
            for name in _names(database):
                if name != RESTORES:
                    database.drop_collection(name)

    def check(self) -> None:
        """Raise ConfigurationError when another restore has taken the database over; and Unavailable."""
        with translated():
            found = self._database[RESTORES].find_one(self._mine, {"_id": 1})
        if found is None:
            raise _taken_over()

    def end(self, fields: Mapping[str, Any]) -> None:
        """Mark the restore as done, with ``fields``. Raises ConfigurationError as ``check``, and Unavailable."""
        done = {"_id": RESTORE_ID, "state": DONE, "moment": self._moment, **fields}
        with translated():
            if not self._database[RESTORES].replace_one(self._mine, done).matched_count:
                raise _taken_over()


def _names(database: Database[Document]) -> list[str]:
    return [name for name in database.list_collection_names() if not name.startswith("system.")]


def _taken_over() -> ConfigurationError:
    return ConfigurationError(
        "another kith restore has taken this database over, or somebody has dropped it. Let one restore run alone"
    )
