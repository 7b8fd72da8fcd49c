"""The route over the audit. It lies with the privacy service: those who answer for personal data ask there who saw
it, and that service reads and writes the audit already."""

from typing import Annotated, Any

from fastapi import FastAPI, Query

from services.privacy import answers
from shared.access.audit import Act
from shared.access.audit_reading import AuditFilter, AuditReader, described
from shared.access.guard import AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.http.caller import ADMIN
from shared.http.cursors import decode_cursor, encode_cursor
from shared.http.parameters import BadParameter, moment
from shared.http.scopes import needs
from shared.http.server import json_response, problem, problems

_Time = Annotated[str | None, DerivedFrom("time")]
_FAILURES = problems(
    {
        400: "A parameter cannot be used; detail says which and why.",
        422: "A parameter is missing, not known or not of its form; detail says which.",
        503: "MongoDB is unavailable, or the audit cannot be written; try again after Retry-After seconds.",
    }
)


def add_audit(app: FastAPI, reader: AuditReader) -> None:
    """Add ``GET /v1/audit`` to an app that is guarded."""

    @app.get("/v1/audit", tags=["audit"], response_model=answers.AuditPage, responses=_FAILURES)
    @needs(ADMIN)
    def audit(
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        subject: Annotated[
            str | None,
            DerivedFrom("consumer_id", "provider_id"),
            Query(max_length=200, description="What acts were done to: a consumer_id, a key, a letter …"),
        ] = None,
        by: Annotated[
            str | None,
            DerivedFrom(),
            Query(alias="caller", max_length=200, description="Who: a caller's name, or the prefix of a key."),
        ] = None,
        action: Annotated[
            str | None,
            DerivedFrom(),
            Query(max_length=100, description="A code such as `personal.read`, or its first part: `keys`."),
        ] = None,
        from_: Annotated[
            _Time, Query(alias="from", description="Begin, inclusive: a day (UTC) or a time with its offset.")
        ] = None,
        to: Annotated[_Time, Query(description="End, exclusive, written as `from` is.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many entries at most.")] = 100,
        cursor: Annotated[
            str | None, Query(description="`next` of the page before, with all else the same. Left out: page one.")
        ] = None,
    ) -> Any:
        """Who saw or did what, the latest first: the entries of the credential's tenant. Each page that is read is
        an entry itself, `audit.read`. Where much is looked through for few entries, a page may be short or empty
        and still have a `next`."""
        sought = AuditFilter(
            subject,
            by,
            action,
            None if from_ is None else moment("from", from_),
            None if to is None else moment("to", to),
        )
        if sought.first is not None and sought.end is not None and sought.first >= sought.end:
            raise BadParameter("to", "must be later than from")
        below = _place(cursor)
        access.record(Act(tenant, caller.name, caller.key, "audit.read", described(sought)))
        entries, rest = reader.latest(tenant, sought, limit, below)
        items = [
            {name: entry["key" if name == "credential" else name] for name in answers.AuditEntry.model_fields}
            for entry in entries
        ]
        return json_response({"items": items, "next": None if rest is None else encode_cursor(rest)})

    @app.exception_handler(BadParameter)
    async def bad_parameter(_: Any, error: BadParameter) -> Any:
        return problem(400, str(error), errors=[{"field": error.name, "detail": error.detail}])


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        match decode_cursor(cursor):
            case [int(sequence)] if 1 <= sequence < 10**15:
                return sequence
    except ValueError:
        pass
    raise BadParameter("cursor", "is not one that an answer to this query gave as next")
