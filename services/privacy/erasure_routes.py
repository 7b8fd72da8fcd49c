"""Routes of erasures: ask for one, and see how far it is."""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Path, Query, Response
from fastapi.responses import JSONResponse

from services.privacy import answers
from services.privacy.erasures import Erasures
from services.privacy.failures import FAILURES
from services.privacy.people import People
from services.privacy.receipts import Receipts
from shared.access.audit import Act
from shared.access.guard import AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.events import ConsumerErased, ConsumerEvent, ErasedData
from shared.erasure.records import Mode
from shared.http.caller import ADMIN
from shared.http.costs import Cost, costs
from shared.http.paths import PathId
from shared.http.problems.client import PSEUDONYM
from shared.http.purposes import GRANTED_ITSELF, INTERNAL
from shared.http.scopes import needs, public
from shared.http.server import Refusal, json_response, problems


def add_erasures(
    app: FastAPI, erasures: Erasures, people: People, receipts: Receipts, send: Callable[[ConsumerEvent], None]
) -> None:
    """Add the routes. ``send`` returns once Kafka has acknowledged the event."""

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
