"""The endpoints that a caller manages: what all routes of endpoints begin with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import HTTPException, Path

from services.webhooks.applications import application_of
from services.webhooks.management.endpoints import Endpoints, Since, owned
from services.webhooks.management.models import Place
from shared.access.apps.model import is_app_id
from shared.access.audit import Act
from shared.access.guard import Access
from shared.access.lineage import DerivedFrom, reveals
from shared.http.caller import Caller
from shared.http.server import problems
from shared.runtime.protocols import Document

MISSING = problems({404: "There is no endpoint with this id."})
EndpointName = Annotated[str, DerivedFrom(), Path(max_length=100, description="The endpoint's id.")]


@dataclass(frozen=True, slots=True)
class Managed:
    endpoints: Endpoints

    def find(self, caller: Caller, name: str) -> Document:
        """An endpoint that the caller manages. Raises HTTPException (404)."""
        endpoint = self.endpoints.find(caller.tenant, name)
        if endpoint is None or not manages(caller, endpoint):
            raise HTTPException(404, "there is no endpoint with this id")
        return endpoint

    def answer(self, endpoint: Document, caller: Caller) -> Document:
        return self.endpoints.answer(endpoint, bound=caller.purpose is not None)


def manages(caller: Caller, endpoint: Document) -> bool:
    return caller.purpose is None or owned(endpoint, caller.purpose)


def unseen(caller: Caller, endpoint: Document) -> list[str]:
    """The caller's masks that the endpoint's deliveries need not have had. An application has seen what was sent
    to its own."""
    if caller.key == application_of(endpoint):
        return []
    return sorted({*caller.masks} - (set() if is_app_id(endpoint["created_by"]) else {*endpoint["masks"]}))


def hides_receipts(caller: Caller) -> bool:
    """Whether receipts are hidden from a caller: their ids are made of the consumer's."""
    return reveals(caller.masks, ("consumer_id",)) is not None


def record(access: Access, caller: Caller, action: str, name: str) -> None:
    """Record an act on an endpoint, before it is done. Raises Unavailable."""
    access.record(Act(caller.tenant, caller.name, caller.key, action, {"endpoint": name}))


def time_problem(since: datetime | str | None) -> str | None:
    """What is wrong with the beginning of a replay; None if nothing is."""
    if not isinstance(since, datetime):
        return None
    if since.tzinfo is None:
        return "since: must have an offset, as in 2026-11-29T12:00:00Z"
    try:
        since.astimezone(UTC)
    except OverflowError:
        return "since: is before the year 1 or after the year 9999 in UTC"
    return None


def beginning(since: datetime | str | None, after: Sequence[Place] | None = None) -> Since:
    """The beginning of a replay without a ``time_problem``."""
    places = None if after is None else {each.origin: each.number for each in after}
    return Since(since.astimezone(UTC) if isinstance(since, datetime) else None, places)
