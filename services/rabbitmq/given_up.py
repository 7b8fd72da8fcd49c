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
_NAME = RabbitProjection.name
_SILENT = timedelta(seconds=SILENT_SECONDS) // timedelta(milliseconds=1)


class GivenUp:
    """Called now and then by a bridge that sends no changes. It deletes the positions once, when no bridge is
    alive that sends them: such a one would begin again."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database
        self._done = False

    def __call__(self) -> None:
        """Raises Unavailable."""
        if self._done:
            return
        with translated():
            # By MongoDB's clock, as the heartbeats are.
            since = {"$gt": ["$at", {"$subtract": ["$$NOW", _SILENT]}]}
            if self._database[WORKERS].find_one({"service": _NAME, "$expr": since}, {"_id": 1}) is not None:
                return
            gone = self._database[POSITIONS].delete_many({"_id": beginning_with(f"{_NAME}@")}).deleted_count
        self._done = True
        if gone:
            message = (
                "changes no longer go out (KITH_RABBITMQ_OUT=off): forgot %d positions, and no erasure waits for "
                "RabbitMQ; turned on again, all changes come that the topics then hold"
            )
            log.warning(message, gone)
