"""Every erasure of a tenant, latest first, and its route."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pymongo.database import Database

from services.privacy import answers
from services.privacy.erasures import Erasures
from services.privacy.schema import REQUESTS
from shared.access.guard import CursorsOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.spelling import nfc
from shared.erasure.records import erasure_id
from shared.http.caller import ADMIN
from shared.http.costs import Cost, costs
from shared.http.cursors import time_and_id, time_place
from shared.http.purposes import INTERNAL
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
        folded = {"asked": {"$toDate": {"$toLong": _MILLISECONDS}}}
        steps = [
            {
                "$group": {
                    "_id": "$erasure",
                    "asked": {"$max": "$asked"},
                    "consumer_id": {"$first": "$consumer_id"},
                }
            },
            *beyond,
            {"$sort": {"asked": -1, "_id": -1}},
            {"$limit": limit + 1},
        ]
        if after is None:
            self._unite(tenant)
        found = list(self._records({"tenant": tenant}, folded, steps))
        shown, more = found[:limit], len(found) > limit
        # Each of the others has a record in NFC by now, and is listed under that.
        names = [each["_id"] for each in shown if nfc(each["consumer_id"]) == each["consumer_id"]]
        place = (shown[-1]["asked"], shown[-1]["_id"]) if more else None
        return [_brief(state) for state in self._erasures.states(tenant, names)], place

    def _unite(self, tenant: str) -> None:
        """See that what was stored before ids were normalised has a record under the id in NFC. It is made when
        the state is read, so this happens once."""
        # Not kept: a tenant may have had very many people erased.
        others = {"tenant": tenant, "consumer_id": {"$regex": r"[^\x00-\x7F]"}}
        ids = ((each["erasure"], each["consumer_id"]) for each in self._records(others, {}, []))
        if not (odd := {name: erasure_id(tenant, nfc(id)) for name, id in ids if nfc(id) != id}):
            return
        united = {*odd.values()}
        known = {each["erasure"] for each in self._records(others, {}, []) if each["erasure"] in united}
        self._erasures.states(tenant, [name for name, other in odd.items() if other not in known])

    def _records(self, wanted: Document, folded: Document, steps: list[Document]) -> Iterator[Document]:
        """The requests over HTTP and what was folded from Kafka. ``folded`` replaces fields of the latter. Raises
        Unavailable when it is read."""
        kept = {"_id": 0, "asked": 1, "consumer_id": 1}
        union = [{"$match": wanted}, {"$project": {**kept, "erasure": "$_id", **folded}}]
        pipeline: list[Document] = [
            {"$match": wanted},
            {"$project": {**kept, "erasure": 1}},
            {"$unionWith": {"coll": self._names("erasures"), "pipeline": union}},
            *steps,
        ]
        with translated():
            yield from self._database[REQUESTS].aggregate(pipeline, allowDiskUse=True)


def _brief(state: Document) -> Document:
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
    @needs(ADMIN, purpose=INTERNAL)
    # All of the tenant's are read to find the latest.
    @costs(Cost.QUERY)
    def listed(
        tenant: TenantOf,
        cursors: CursorsOf,
        limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of erasures.")] = 20,
        cursor: Annotated[
            str | None,
            DerivedFrom("consumer_id", "time"),
            Query(description="`next` of the page before. Default: the first page."),
        ] = None,
    ) -> Any:
        """Every erasure requested over HTTP or through Kafka, with its progress. The steps and the receipt are at
        `GET /v1/erasures/{erasure}`."""
        items, rest = erasures.page(tenant, limit, time_and_id(cursors.decode(cursor)))
        return json_response({"items": items, "next": cursors.encode(None if rest is None else time_place(*rest))})
