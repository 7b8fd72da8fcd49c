"""Parameters and failures that several routes of relations have."""

from typing import Annotated

from fastapi import Path, Query

from shared.access.lineage import DerivedFrom
from shared.contracts.events import Name
from shared.http.caller import CONSUMERS_READ
from shared.http.paths import PathId
from shared.http.scopes import Scoped
from shared.http.server import problems

Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of items of a page.")]
Cursor = Annotated[str | None, Query(max_length=3000, description="The value of `next` of the previous page.")]
Purpose = Annotated[
    Name | None,
    DerivedFrom("consent"),
    Scoped(CONSUMERS_READ),
    Query(
        description="Only consumers who have granted this purpose. A page then lacks the others and may be "
        "empty; `left_out` is true if it lacks any. Needs `consumers:read`."
    ),
]
ConsumerId = Annotated[PathId, DerivedFrom("consumer_id"), Path()]
ProviderId = Annotated[PathId, DerivedFrom("provider_id"), Path()]
FAILURES = problems(
    {
        422: "A parameter is missing or malformed; detail names it.",
        503: "MongoDB is unavailable. Retry after the seconds in Retry-After.",
    }
)
NOT_GRANTED = problems({403: "The credential lacks a scope, or the consumer has not granted the purpose."})
NOT_FOUND = FAILURES | problems({404: "No profile or fact has this id."})
