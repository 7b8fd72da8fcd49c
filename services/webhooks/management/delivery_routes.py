"""Routes of what is delivered to an endpoint: a test, replays, the log of attempts."""

from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Query, Response

from services.webhooks.management import models
from services.webhooks.management.endpoints import TooMany
from services.webhooks.management.managed import (
    MISSING,
    EndpointName,
    Managed,
    beginning,
    hides_receipts,
    record,
    time_problem,
    unseen,
)
from services.webhooks.management.replays import Unfinished
from services.webhooks.management.retries import Wanted
from services.webhooks.messages.notice import is_receipt
from shared.access.guard import AccessOf, CallerOf, CursorsOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.access.masks import MASK
from shared.http.caller import WEBHOOKS_MANAGE, Denied
from shared.http.cursors import time_and_id, time_place
from shared.http.problems.client import HIDDEN_FIELD
from shared.http.purposes import GRANTED_ITSELF
from shared.http.scopes import needs
from shared.http.server import BODY_FAILURES, json_response, problem, problems

_INTERNAL = frozenset({"_id", "endpoint", "tenant"})
#: What a receiver may repeat of a body.
_ECHOES = ("answer", "error")


def add_delivery_routes(app: FastAPI, managed: Managed) -> None:
    endpoints = managed.endpoints

    @app.post(
        "/v1/webhooks/endpoints/{endpoint}/test",
        status_code=202,
        response_model=models.Tested,
        responses=BODY_FAILURES
        | MISSING
        | problems({409: "The endpoint is disabled, or has as many tests that wait as it may have."}),
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def test(endpoint: EndpointName, _: TenantOf, caller: CallerOf, access: AccessOf) -> Response:
        """Send a delivery of type `webhook.test`. Its outcome is in the log of deliveries."""
        stored = managed.find(caller, endpoint)
        record(access, caller, "webhook.test", endpoint)
        if stored["state"] != "enabled":
            return problem(409, "the endpoint is disabled; enable it first")
        try:
            return json_response({"delivery": endpoints.test(stored)}, 202)
        except TooMany as error:
            return problem(409, str(error))

    @app.post(
        "/v1/webhooks/endpoints/{endpoint}/replay",
        status_code=202,
        response_model=models.Started,
        responses=BODY_FAILURES
        | MISSING
        | problems({409: "The endpoint has as many unfinished replays as it may have."}),
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def replay(
        endpoint: EndpointName,
        stated: Annotated[models.Replay, Body()],
        _: TenantOf,
        caller: CallerOf,
        access: AccessOf,
    ) -> Response:
        """Send the changes since a time, or after the last that was counted of each origin, again, in order.
        Changes from now on follow them."""
        stored = managed.find(caller, endpoint)
        if (reason := time_problem(stated.since)) is not None:
            return problem(422, reason)
        record(access, caller, "webhook.replay", endpoint)
        try:
            name, changes = endpoints.replay(stored, beginning(stated.since, stated.after))
        except Unfinished as error:
            return problem(409, str(error))
        # Those of all consumers: not for a credential for which some do not exist.
        counted = {} if caller.purpose is not None else {"changes": changes}
        return json_response({"replay": name, **counted}, 202)

    @app.post(
        "/v1/webhooks/endpoints/{endpoint}/retry",
        status_code=202,
        response_model=models.Started,
        responses=BODY_FAILURES | MISSING,
    )
    @needs(WEBHOOKS_MANAGE, masks_itself=True, purpose=GRANTED_ITSELF)
    def retry(
        endpoint: EndpointName,
        _: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        stated: Annotated[models.Retry, Body(default_factory=models.Retry)],
    ) -> Response:
        """Send again what was given up after ten attempts, or now what waits for its next attempt. What has had
        ten attempts gets one more: if it fails, it is given up again."""
        stored = managed.find(caller, endpoint)
        for name, id in (("receipt", stated.receipt), ("delivery", stated.delivery)):
            if hides_receipts(caller) and id is not None and (name == "receipt" or is_receipt(id)):
                # Its id is a hash of the consumer's: whether there is one would confirm a guess.
                detail = f"consumer_id is hidden from this credential, and {name} would reveal it"
                raise Denied(403, detail, kind=HIDDEN_FIELD)
        record(access, caller, "webhook.retry", endpoint)
        wanted = Wanted(stated.delivery, stated.receipt, stated.waiting)
        return json_response({"deliveries": endpoints.retry(stored, wanted)}, 202)

    @app.get(
        "/v1/webhooks/endpoints/{endpoint}/deliveries",
        response_model=models.AttemptPage,
        responses=BODY_FAILURES | MISSING | problems({400: "The cursor does not come from this list."}),
    )
    @needs(WEBHOOKS_MANAGE, purpose=GRANTED_ITSELF)
    def deliveries(
        endpoint: EndpointName,
        _: TenantOf,
        caller: CallerOf,
        cursors: CursorsOf,
        outcome: Annotated[
            Literal["delivered", "failed", "given_up", "dropped"] | None,
            DerivedFrom(),
            Query(description="Only attempts with this outcome. `failed` is tried again, `given_up` is not."),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of attempts.")] = 20,
        cursor: Annotated[
            str | None, Query(description="`next` of the page before. Default: the first page.")
        ] = None,
    ) -> Any:
        """The attempts of 30 days, latest first, with the first KiB of each answer. Answers and errors may repeat
        what was sent: they are masked where the credential has a mask that the endpoint does not have. Receipts
        are left out where `consumer_id` is masked, because their ids follow from it."""
        stored = managed.find(caller, endpoint)
        after, bound = time_and_id(cursors.decode(cursor)), caller.purpose is not None
        items = endpoints.attempts(
            stored, outcome, limit + 1, after, bound=bound, receipts=not hides_receipts(caller)
        )
        page, rest = items[:limit], len(items) > limit
        masked = {name for each in page for name in _ECHOES if name in each and unseen(caller, stored)}
        return json_response(
            {
                "items": [
                    {k: MASK if k in masked else v for k, v in each.items() if k not in _INTERNAL} for each in page
                ],
                **({"masked": sorted(masked)} if masked else {}),
                "next": cursors.encode(time_place(page[-1]["at"], page[-1]["_id"]) if rest else None),
            }
        )
