"""Every erasure of a tenant, latest first, and its route."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pymongo.database import Database

from services.privacy import answers
from services.privacy.erasures import Erasures
from services.privacy.schema import REQUESTS
from shared.access.guard import CursorsOf, TenantOf
from shared.contracts.events import EPOCH
from shared.http.caller import ADMIN
from shared.http.parameters import BadParameter
from shared.http.scopes import needs
from shared.http.server import json_response, problems
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: The request time of an erasure that arrived through Kafka: microseconds since 1970, by mode.
_MICROSECONDS = {"$max": ["$asked.anonymise.time", "$asked.delete.time"]}
_MILLISECONDS = {"$floor": {"$divide": [_MICROSECONDS, 1000]}}


class ErasureList:
    """Lists the erasures requested over HTTP and through Kafka; one that was requested both ways is listed once.
    ``names`` returns the present full name of a collection of relations."""

    def __init__(self, database: Database[Document], names: Callable[[str], str], erasures: Erasures) -> None:
        self._database, self._names, self._erasures = database, names, erasures

    def page(self, tenant: str, limit: int, after: tuple[datetime, str] | None) -> tuple[list[Document], Any]:
        """Erasures with their state, and the place (time, id) after which the next page begins; None at the end.
        Raises Unavailable."""
        beyond: list[Document] = []
        if after is not None:
            time, name = after
            beyond = [{"$match": {"$or": [{"asked": {"$lt": time}}, {"asked": time, "_id": {"$lt": name}}]}}]
        folded: list[Document] = [
            {"$match": {"tenant": tenant}},
            {"$project": {"_id": 0, "erasure": "$_id", "asked": {"$toDate": {"$toLong": _MILLISECONDS}}}},
        ]
        with translated():
            found = list(
                self._database[REQUESTS].aggregate(
                    [
                        {"$match": {"tenant": tenant}},
                        {"$project": {"_id": 0, "erasure": 1, "asked": 1}},
                        {"$unionWith": {"coll": self._names("erasures"), "pipeline": folded}},
                        {"$group": {"_id": "$erasure", "asked": {"$max": "$asked"}}},
                        *beyond,
                        {"$sort": {"asked": -1, "_id": -1}},
                        {"$limit": limit + 1},
                    ],
                    allowDiskUse=True,
                )
            )
        shown, more = found[:limit], len(found) > limit
        items = [self._told(tenant, each["_id"]) for each in shown]
        place = (shown[-1]["asked"], shown[-1]["_id"]) if more else None
        return [item for item in items if item is not None], place

    def _told(self, tenant: str, name: str) -> Document | None:
        state = self._erasures.state(tenant, name)
        if state is None:
            return None
        waiting = next((step["name"] for step in state["steps"] if not step["done"]), None)
        kept = ("erasure", "consumer_id", "mode", "asked", "done")
        return {**{name: state[name] for name in kept}, "waiting_for": waiting}


def add_erasure_list(app: FastAPI, erasures: ErasureList) -> None:
    """Add ``GET /v1/erasures`` to a guarded app."""

    @app.get(
        "/v1/erasures",
        response_model=answers.ErasurePage,
        responses=problems(
            {
                400: "The cursor does not come from this list.",
                422: "A parameter is unknown or malformed; detail names it.",
                503: "A server is unavailable. Retry after the seconds in Retry-After.",
            }
        ),
    )
    @needs(ADMIN)
    def listed(
        tenant: TenantOf,
        cursors: CursorsOf,
        limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of erasures.")] = 20,
        cursor: Annotated[
            str | None, Query(description="`next` of the page before. Default: the first page.")
        ] = None,
    ) -> Any:
        """Every erasure requested over HTTP or through Kafka, with its progress. The steps and the receipt are at
        `GET /v1/erasures/{erasure}`."""
        items, rest = erasures.page(tenant, limit, _time_and_id(cursors.decode(cursor)))
        return json_response({"items": items, "next": cursors.encode(None if rest is None else _place(*rest))})


def _place(time: datetime, name: str) -> list[Any]:
    return [(time - EPOCH) // timedelta(milliseconds=1), name]


def _time_and_id(place: Sequence[Any] | None) -> tuple[datetime, str] | None:
    """Raises BadParameter."""
    match place:
        case None:
            return None
        # Until the year 9999, the last that there is.
        case [int(milliseconds), str(name)] if 0 <= milliseconds < 250_000_000_000_000:
            return EPOCH + timedelta(milliseconds=milliseconds), name
    raise BadParameter("cursor", "is not a value of next from this query")
