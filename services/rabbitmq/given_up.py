"""Forgets how far changes have gone out, where ``KITH_RABBITMQ_OUT`` turned that off.

Erasures wait until every sink that has a position has their changes, so positions that never move again would hold
each of them up for ever.
"""

import logging
from datetime import timedelta
from typing import Any

from pymongo.database import Database

from services.rabbitmq.projection import RabbitProjection
from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS, beginning_with
from shared.observability.heartbeat import SILENT_SECONDS, WORKERS

log = logging.getLogger(__name__)

#: Between looks whether another bridge still sends changes.
LOOK_SECONDS = 15.0
#: So many looks in a row must find none: ten minutes. Heartbeats stay away, too, while MongoDB elects a primary or
#: the machine stands still.
LOOKS = 41
_NAME = RabbitProjection.name
_MILLISECOND = timedelta(milliseconds=1)
_SILENT = timedelta(seconds=SILENT_SECONDS) // _MILLISECOND
_UNMOVED = timedelta(seconds=LOOKS * LOOK_SECONDS) // _MILLISECOND


class GivenUp:
    """Called now and then by a bridge that sends no changes. It deletes the positions once, when ``looks`` in a
    row, all of which MongoDB answered, have found no bridge alive that sends them, and no position that has moved
    lately: such a bridge would begin again."""

    def __init__(self, database: Database[dict[str, Any]], looks: int = LOOKS) -> None:
        self._database, self._looks = database, looks
        self._silent = 0
        self._done = False

    def __call__(self) -> None:
        """Raises Unavailable."""
        if self._done:
            return
        silent, self._silent = self._silent, 0
        own = {"_id": beginning_with(f"{_NAME}@")}
        with translated():
            if self._recent(WORKERS, {"service": _NAME}, "$at", _SILENT):
                return
            if self._recent(POSITIONS, own, "$moved", _UNMOVED):
                return
            self._silent = silent + 1
            if self._silent < self._looks:
                return
            gone = self._database[POSITIONS].delete_many(own).deleted_count
        self._done = True
        if gone:
            message = (
                "changes no longer go out (KITH_RABBITMQ_OUT=off): forgot %d positions, and no erasure waits for "
                "RabbitMQ; turned on again, all changes come that the topics then hold"
            )
            log.warning(message, gone)

    def _recent(self, collection: str, wanted: dict[str, Any], time: str, most: int) -> bool:
        """Whether ``time`` of one of the ``wanted`` is at most so many milliseconds ago: by MongoDB's clock, as it
        was written."""
        since = {"$gt": [time, {"$subtract": ["$$NOW", most]}]}
        return self._database[collection].find_one({**wanted, "$expr": since}, {"_id": 1}) is not None
