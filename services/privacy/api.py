"""The HTTP interface of the privacy service: routes over erasures and people."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, FastAPI, HTTPException, Path, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.privacy import answers
from services.privacy.correction import correction, grants
from services.privacy.erasures import Erasures
from services.privacy.people import People, unknown
from services.privacy.receipts import Receipts
from shared.access.app import guarded_app
from shared.access.apps.compliance import applications_in
from shared.access.audit import Act
from shared.access.guard import Access, AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.codec import encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerErased, ConsumerEvent, ErasedData, Name, event_key
from shared.contracts.topics import Topics
from shared.erasure.records import Mode
from shared.http.caller import ADMIN, CONSUMERS_READ, PERSONAL_READ, RELATIONS_READ
from shared.http.costs import Cost, costs
from shared.http.paths import PathId
from shared.http.problems.client import CONSUMER_ERASED, PSEUDONYM, PURPOSE_BOUND, PURPOSE_NOT_GRANTED
from shared.http.purposes import GRANTED, GRANTED_ITSELF, INTERNAL
from shared.http.scopes import Scoped, needs, public
from shared.http.server import Refusal, json_response, problem, problems
from shared.http.work import each
from shared.runtime.protocols import Message
from shared.vault.fields import PERSONAL_OF_RELATION, seal_event
from shared.vault.keys import Vault
from shared.vault.protocols import Destroyed

DESCRIPTION = """\
Erases, corrects and exports the data of one consumer.

An erasure destroys the consumer's key and deletes the relations (`delete`) or moves them to a pseudonym
(`anonymise`). It is permanent: no replay, rebuild or restored dump brings the consumer back.
"""
FAILURES = problems(
    {
        422: "A parameter or the body is malformed; detail names it.",
        503: "A server is unavailable. Retry after the seconds in Retry-After.",
    }
)
Purpose = Annotated[
    Name | None,
    DerivedFrom("consent"),
    Scoped(CONSUMERS_READ),
    Query(description="Answer only if the consumer has granted this purpose. Needs `consumers:read`."),
]


def create_app(
    erasures: Erasures,
    people: People,
    receipts: Receipts,
    publish: Callable[[Sequence[Message]], None],
    topics: Topics,
    ready: Callable[[], Sequence[str]],
    clock: Callable[[], datetime],
    *,
    access: Access,
    vault: Vault | None = None,
    notify: Callable[[str, str, Sequence[str], datetime], None] = lambda *_: None,
) -> FastAPI:
    """The app. ``publish`` returns once Kafka has acknowledged the messages; ``ready`` returns the reasons why the
    service cannot work; ``access`` decides on each request. Without ``vault`` personal values are in plain
    text. ``notify`` tells the applications that may know a consumer (tenant, id, those whose purpose is granted
    now) that a copy of their data is made."""
    app = guarded_app("Kith privacy", DESCRIPTION, access, ready, ids_in_paths=True)

    def send(event: ConsumerEvent) -> None:
        publish([Message(topics.of(event), event_key(event), encode(event))])

    @app.delete(
        "/v1/consumers/{consumer_id}",
        status_code=202,
        response_model=answers.Accepted,
        responses={
            202: {
                "description": "Accepted; the erasure is carried out within moments.",
                "headers": {
                    "Location": {"description": "URL of the erasure's state.", "schema": {"type": "string"}}
                },
            },
            **FAILURES,
            **problems(
                {
                    404: "The credential is bound to a purpose, and no consumer who has granted it has this id.",
                    409: "This is the pseudonym of an erased consumer.",
                }
            ),
        },
    )
    @needs(ADMIN, purpose=GRANTED_ITSELF)
    def erase(
        consumer_id: Annotated[PathId, DerivedFrom("consumer_id"), Path()],
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        mode: Annotated[
            Mode,
            Query(description="`anonymise` keeps the relations under a pseudonym; `delete` removes them."),
        ],
        reason: Annotated[
            str | None,
            DerivedFrom(),
            Query(
                max_length=200, description="Reason for the audit, as the number of a request. Nothing personal."
            ),
        ] = None,
    ) -> Response:
        """Erase a consumer. Repeating the request is safe and carries it out again. `delete` outranks `anonymise`,
        in either order."""
        people.check_granted(tenant, consumer_id, caller)
        if people.pseudonymous(tenant, consumer_id):
            # Later events of the consumer would still count for the pseudonym.
            raise Refusal(PSEUDONYM, "this is a pseudonym: erase the consumer behind it, with mode=delete")
        access.charge(caller, "erasures", 1)
        subject = {"consumer_id": consumer_id}
        details = {"mode": mode, **({} if reason is None else {"reason": reason})}
        access.record(Act(tenant, caller.name, caller.key, "consumer.erase", subject, details=details))
        request = erasures.ask(tenant, consumer_id, mode)
        send(
            ConsumerErased(
                specversion="1.0",
                id=f"{request['erasure']}/{mode}",
                source="kith/privacy",
                # A repeated request makes the same event: same source and id.
                time=request["asked"],
                tenant=tenant,
                type="consumer.erased",
                data=ErasedData(consumer_id=consumer_id, mode=mode),
            )
        )
        body = {"erasure": request["erasure"], "mode": mode, "asked": request["asked"].isoformat()}
        return JSONResponse(body, 202, {"Location": f"/v1/erasures/{quote(request['erasure'])}"})

    # Before the route of one erasure, which would match "keys" as an id.
    @app.get("/v1/erasures/keys", response_model=answers.Keys, responses=FAILURES)
    @public
    def keys() -> Any:
        """The public keys that verify receipts."""
        return json_response(receipts.jwks())

    @app.get(
        "/v1/erasures/{erasure}",
        response_model=answers.Erasure,
        responses=FAILURES | problems({404: "There is no erasure with this id."}),
    )
    @needs(ADMIN, purpose=INTERNAL)
    @costs(Cost.DOCUMENT)
    def erasure(erasure: Annotated[PathId, DerivedFrom("consumer_id"), Path()], tenant: TenantOf) -> Any:
        """The progress of an erasure, step by step, and the receipt once all steps are done."""
        if (found := erasures.state(tenant, erasure)) is None:
            raise HTTPException(404, "there is no erasure with this id")
        return json_response(found)

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

    return app
