"""Routes of one person: the export of everything, and corrections of the profile."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Body, FastAPI, Path, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.privacy import answers
from services.privacy.correction import correction, grants
from services.privacy.failures import FAILURES
from services.privacy.people import People, unknown
from shared.access.apps.compliance import applications_in
from shared.access.audit import Act
from shared.access.guard import AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerEvent, Name
from shared.http.caller import ADMIN, CONSUMERS_READ, PERSONAL_READ, RELATIONS_READ
from shared.http.paths import PathId
from shared.http.problems.client import CONSUMER_ERASED, PURPOSE_BOUND, PURPOSE_NOT_GRANTED
from shared.http.purposes import GRANTED, GRANTED_ITSELF
from shared.http.scopes import Scoped, needs
from shared.http.server import Refusal, problem, problems
from shared.http.work import each
from shared.vault.fields import PERSONAL_OF_RELATION, seal_event
from shared.vault.keys import Vault
from shared.vault.protocols import Destroyed

Purpose = Annotated[
    Name | None,
    DerivedFrom("consent"),
    Scoped(CONSUMERS_READ),
    Query(description="Answer only if the consumer has granted this purpose. Needs `consumers:read`."),
]


def add_people(
    app: FastAPI,
    people: People,
    send: Callable[[ConsumerEvent], None],
    clock: Callable[[], datetime],
    vault: Vault | None,
    notify: Callable[[str, str, Sequence[str], datetime], None],
) -> None:
    """Add the routes. ``send`` returns once Kafka has acknowledged the event; ``vault`` seals corrections;
    ``notify`` tells applications of a copy (``create_app``)."""

    @app.get(
        "/v1/consumers/{consumer_id}/export",
        response_model=answers.Export,
        responses=FAILURES
        | problems({403: "The consumer has not granted the purpose.", 404: "No consumer is known under this id."}),
    )
    @needs(CONSUMERS_READ, RELATIONS_READ, masks_itself=True, purpose=GRANTED)
    def export(
        consumer_id: Annotated[PathId, DerivedFrom("consumer_id"), Path()],
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        purpose: Purpose = None,
    ) -> Response:
        """Everything that is stored about a consumer, in one JSON document, as of the time of reading. What was
        concluded about them (`graph`, `recommended`) needs the scope `intelligence:read`; without it both are
        null. The applications that the consumer has agreed to are listed, and told (`consumer.exported`), once a
        day at most."""
        people.check_granted(tenant, consumer_id, caller)
        if (profile := people.profile(tenant, consumer_id)) is None:
            if not people.known(tenant, consumer_id):
                raise unknown()
            profile = {"consumer_id": consumer_id}
        if purpose is not None and (profile.get("consent") or {}).get(purpose) is not True:
            raise Refusal(PURPOSE_NOT_GRANTED, f"the consumer has not granted the purpose {purpose}")
        _, fields = people.shown(profile, caller)
        # Whether relations have texts is unknown before they are read.
        shown = [*fields, *PERSONAL_OF_RELATION] if caller.may(PERSONAL_READ) else []
        access.reading(caller, {"consumer_id": consumer_id}, shown)
        # What an application exports for itself is no copy that the consumer gets.
        if caller.purpose is None:
            notify(tenant, consumer_id, applications_in(profile.get("consent") or {}), clock())
        pieces = people.export(tenant, profile, caller, consumer_id)
        return StreamingResponse(each(pieces), media_type="application/json")

    @app.patch(
        "/v1/consumers/{consumer_id}",
        status_code=202,
        response_model=answers.Correction,
        responses=FAILURES
        | problems(
            {
                400: "The body is not JSON in UTF-8.",
                404: "No consumer is known under this id.",
                409: "The consumer is erased.",
            }
        ),
    )
    @needs(ADMIN, purpose=GRANTED_ITSELF)
    def correct(
        consumer_id: Annotated[PathId, DerivedFrom("consumer_id"), Path()],
        patch: Annotated[dict[str, Any], Body(description="A JSON Merge Patch of the profile.")],
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
    ) -> Response:
        """Correct the profile of a consumer: members replace, null removes, all other fields stay. Each named
        field (`personal.email`, `consent.sms` …) is stated as of now, so the later of two corrections of a field
        counts. A part that is null (`personal`, `location`, `traits`, `consent`) removes all of its fields."""
        people.check_granted(tenant, consumer_id, caller)
        if caller.purpose is not None and grants(patch.get("consent")):
            raise Refusal(PURPOSE_BOUND, "consent: a credential that is bound to a purpose grants none")
        if (profile := people.profile(tenant, consumer_id)) is None:
            raise unknown()
        if "erased" in profile:
            raise Refusal(CONSUMER_ERASED, "the consumer is erased")
        try:
            event = correction(tenant, consumer_id, profile, patch, str(uuid.uuid4()), clock())
        except InvalidEvent as error:
            return problem(422, f"{error.field}: {error.detail}" if error.field else error.detail)
        if vault is not None:
            if isinstance(key := vault.keys(tenant, [consumer_id])[consumer_id], Destroyed):
                raise Refusal(CONSUMER_ERASED, "the consumer is erased")
            sealed = seal_event(event, key)
        else:
            sealed = event
        details = {"parts": ", ".join(sorted(patch))}
        subject = {"consumer_id": consumer_id}
        access.record(Act(tenant, caller.name, caller.key, "consumer.correct", subject, details=details))
        send(sealed)  # type: ignore[arg-type]
        return JSONResponse({"source": event.source, "id": event.id}, 202)
