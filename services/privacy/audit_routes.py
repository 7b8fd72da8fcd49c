"""The route over the audit. It belongs to the privacy service, which already reads and writes the audit: data
protection officers use both."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query

from services.privacy import answers
from shared.access.audit import Act
from shared.access.audit_reading import AuditFilter, AuditReader, described
from shared.access.guard import AccessOf, CallerOf, CursorsOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.http.caller import ADMIN
from shared.http.parameters import BadParameter, moment
from shared.http.purposes import INTERNAL
from shared.http.scopes import needs
from shared.http.server import json_response, problems

_Time = Annotated[str | None, DerivedFrom("time")]
_FAILURES = problems(
    {
        400: "A parameter cannot be used; detail contains its name and the reason.",
        422: "A parameter is missing, unknown or malformed; detail names it.",
        503: "MongoDB is unavailable, or the audit cannot be written. Retry after the seconds in Retry-After.",
    }
)


def add_audit(app: FastAPI, reader: AuditReader) -> None:
    """Add ``GET /v1/audit`` to a guarded app."""

    @app.get("/v1/audit", tags=["audit"], response_model=answers.AuditPage, responses=_FAILURES)
    @needs(ADMIN, purpose=INTERNAL)
    def audit(
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        cursors: CursorsOf,
        subject: Annotated[
            str | None,
            DerivedFrom("consumer_id", "provider_id"),
            Query(max_length=200, description="The subject of acts: a consumer_id, a key, a dead letter …"),
        ] = None,
        by: Annotated[
            str | None,
            DerivedFrom(),
            Query(alias="caller", max_length=200, description="The caller's name, or the prefix of a key."),
        ] = None,
        action: Annotated[
            str | None,
            DerivedFrom(),
            Query(max_length=100, description="A code such as `personal.read`, or its first part: `keys`."),
        ] = None,
        from_: Annotated[
            _Time, Query(alias="from", description="Start, inclusive: a day (UTC) or a time with its offset.")
        ] = None,
        to: Annotated[_Time, Query(description="End, exclusive, in the form of `from`.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of entries.")] = 100,
        cursor: Annotated[
            str | None,
            Query(
                description="`next` of the page before, with the other parameters unchanged. Default: page one."
            ),
        ] = None,
    ) -> Any:
        """Who saw or did what, latest first: the entries of the credential's tenant. Reading a page is an entry
        itself, `audit.read`. If few entries match, a page may be short or empty and still have a `next`."""
        sought = AuditFilter(
            subject,
            by,
            action,
            None if from_ is None else moment("from", from_),
            None if to is None else moment("to", to),
        )
        if sought.first is not None and sought.end is not None and sought.first >= sought.end:
            raise BadParameter("to", "must be later than from")
        below = _sequence(cursors.decode(cursor))
        access.record(Act(tenant, caller.name, caller.key, "audit.read", described(sought)))
        entries, rest = reader.latest(tenant, sought, limit, below)
        items = [
            {name: entry["key" if name == "credential" else name] for name in answers.AuditEntry.model_fields}
            for entry in entries
        ]
        return json_response({"items": items, "next": cursors.encode(None if rest is None else [rest])})


def _sequence(place: Sequence[Any] | None) -> int | None:
    match place:
        case None:
            return None
        case [int(sequence)] if 1 <= sequence < 10**15:
            return sequence
    raise BadParameter("cursor", "is not a value of next from this query")
