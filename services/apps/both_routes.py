"""Routes that a developer has under ``/register`` and the tenant under ``/v1/apps``."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Body, FastAPI, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from services.apps.figures import Figures
from services.apps.metadata import RegistrationToken, SecretOfApp
from services.apps.receipts import ReceiptPage, Receipts, shown_receipt
from services.apps.registry import SECRET_DAYS, Registry
from shared.access.apps.compliance import State
from shared.access.apps.model import App
from shared.access.audit import Act
from shared.access.guard import Access, AccessOf, CallerOf, CursorsOf
from shared.access.lineage import Count, DerivedFrom, Label
from shared.http.caller import Caller, Denied
from shared.http.costs import Cost, costs
from shared.http.cursors import time_and_id, time_place
from shared.http.problems.client import HIDDEN_FIELD, PURPOSE_BOUND
from shared.http.purposes import IMPERSONAL, INTERNAL, SUMS
from shared.http.scopes import needs
from shared.http.server import BODY_FAILURES, json_response, problems

ClientId = Annotated[str, DerivedFrom(), Path(max_length=100, description="The application's id.")]
MISSING = problems({404: "There is no application with this id, or the credential is another one's."})
CHANGED = problems({409: "Not possible for this application, or it was changed at the same moment."})


class FiguresOfApp(BaseModel):
    """What is going on with an application."""

    consented: Count = Field(description="Consumers who have granted its purpose, counted up to 100,000.")
    purpose: Label


class Usage(BaseModel):
    """What an application has used of its quota that is counted over all processes."""

    day: Label = Field(description="Today (UTC).")
    events_today: Count = Field(
        description="Events of today. Each process counts a hundredth of the quota at a time, before it is used."
    )
    events_a_day: Count = Field(description="Events that it may send in a day.")


class NewSecret(BaseModel):
    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=SECRET_DAYS)] = Field(SECRET_DAYS, description="How long it is valid.")
    others_end_in_hours: Annotated[int, Field(ge=0, le=24 * 365)] | None = Field(
        None, description="How long the former secret is valid, at most. Default: until its own end."
    )


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: where its routes begin, the scope that they need, and how it finds an application. ``find``
    raises HTTPException (404). ``outlives``: it sees the receipts of an application that was deleted."""

    prefix: str
    scope: str
    find: Callable[[Caller, str], App]
    outlives: bool = False


def recorded(access: Access, caller: Caller, action: str, app: App, **details: str | int) -> None:
    """Record an act on an application, before it is done. Raises Unavailable."""
    subject = {"app": app.id, "name": app.name}
    access.record(Act(app.tenant, caller.name, caller.key, action, subject, (), details))


def check_not_wider(caller: Caller, purpose: str, masks: Collection[str]) -> None:
    """Raise Denied (403) for an application, with this purpose and these masks, that sees what is hidden from
    ``caller``: whoever has a secret of it is the application."""
    if caller.purpose not in (None, purpose):
        detail = f"this credential is bound to the purpose {caller.purpose}, and the application has another"
        raise Denied(403, detail, kind=PURPOSE_BOUND)
    if seen := sorted({*caller.masks} - {*masks}):
        detail = (
            f"{seen[0]} is hidden from this credential, and not from the application; "
            "approve it with this mask first, or use a credential without masks"
        )
        raise Denied(403, detail, kind=HIDDEN_FIELD)


def add_both(app: FastAPI, side: Side, registry: Registry, figures: Figures, receipts: Receipts) -> None:
    """Add the routes of one side."""
    own, responses = f"{side.prefix}/{{client_id}}", BODY_FAILURES | MISSING | CHANGED

    @app.post(f"{own}/secrets", status_code=201, response_model=SecretOfApp, responses=responses)
    @needs(side.scope, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def add_secret(
        client_id: ClientId,
        caller: CallerOf,
        access: AccessOf,
        wanted: Annotated[NewSecret, Body(default_factory=NewSecret)],
    ) -> Response:
        """Add a secret. Two are valid at once, so that the old one can be replaced without downtime. A credential
        that sees less than the application gets none."""
        found = side.find(caller, client_id)
        check_not_wider(caller, found.purpose, found.masks)
        recorded(access, caller, "app.secret.add", found)
        hours = wanted.others_end_in_hours
        overlap = None if hours is None else timedelta(hours=hours)
        _, secret, text = registry.add_secret(found, wanted.days, overlap)
        shown = {"secret": secret.id, "created": secret.created, "ends": secret.ends, "valid": True}
        return json_response({**shown, "client_secret": text}, 201)

    @app.delete(f"{own}/secrets/{{secret}}", status_code=204, responses=responses)
    @needs(side.scope, masks_itself=True, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def remove_secret(client_id: ClientId, secret: ClientId, caller: CallerOf, access: AccessOf) -> Response:
        """End a secret now, and the tokens that were issued for it."""
        found = side.find(caller, client_id)
        registry.check_secret(found, secret)
        recorded(access, caller, "app.secret.remove", found, secret=secret)
        registry.remove_secret(found, secret)
        return Response(status_code=204)

    @app.post(f"{own}/registration-token", status_code=201, response_model=RegistrationToken, responses=responses)
    @needs(side.scope, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def renew_token(client_id: ClientId, caller: CallerOf, access: AccessOf) -> Response:
        """Replace the registration token (RFC 7592 3): the former one may be lost, or known to others. It is
        refused within five seconds. Secrets and access tokens stay valid."""
        found = side.find(caller, client_id)
        check_not_wider(caller, found.purpose, found.masks)
        recorded(access, caller, "app.registration.renew", found)
        _, token = registry.renew_registration(found)
        return json_response({"registration_access_token": token}, 201)

    @app.delete(own, status_code=204, responses=responses)
    @needs(side.scope, masks_itself=True, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def delete(client_id: ClientId, caller: CallerOf, access: AccessOf) -> Response:
        """Delete an application. Its tokens are refused within five seconds."""
        found = side.find(caller, client_id)
        recorded(access, caller, "app.delete", found)
        registry.delete(found)
        return Response(status_code=204)

    @app.get(
        f"{own}/receipts",
        response_model=ReceiptPage,
        responses=BODY_FAILURES
        | MISSING
        | problems({400: "The body is not JSON, or the cursor is not of this list."}),
    )
    @needs(side.scope, purpose=INTERNAL)
    def told(
        client_id: ClientId,
        caller: CallerOf,
        cursors: CursorsOf,
        state: Annotated[State | None, DerivedFrom(), Query(description="Only receipts in this state.")] = None,
        limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of receipts.")] = 20,
        cursor: Annotated[
            str | None,
            DerivedFrom("consumer_id", "time"),
            Query(description="`next` of the page before. Default: the first page."),
        ] = None,
    ) -> Response:
        """What the application was told without subscribing: of erased and exported consumers, and of its own
        deletion. When it was enqueued, and when its endpoint has answered; kept for three years after that. Latest
        first."""
        if not side.outlives:
            side.find(caller, client_id)
        found = receipts.page(caller.tenant, client_id, state, limit + 1, time_and_id(cursors.decode(cursor)))
        if not found:
            side.find(caller, client_id)
        page = found[:limit]
        place = time_place(page[-1]["at"], page[-1]["_id"]) if len(found) > limit else None
        return json_response({"items": [shown_receipt(each) for each in page], "next": cursors.encode(place)})

    @app.get(f"{own}/figures", response_model=FiguresOfApp, responses=BODY_FAILURES | MISSING)
    @needs(side.scope, purpose=SUMS)
    @costs(Cost.QUERY)
    def count(client_id: ClientId, caller: CallerOf) -> Response:
        """How many consumers have agreed to the application."""
        found = side.find(caller, client_id)
        return json_response(
            {"consented": figures.consented(found.tenant, found.purpose), "purpose": found.purpose}
        )

    @app.get(f"{own}/usage", response_model=Usage, responses=BODY_FAILURES | MISSING)
    @needs(side.scope, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def usage(client_id: ClientId, caller: CallerOf) -> Response:
        """What the application has used today of its quota of events."""
        found = side.find(caller, client_id)
        day, most = registry.clock().date().isoformat(), found.limits.events_a_day
        # What was refused is counted as well.
        used = min(figures.events(found.tenant, found.id, day), most)
        return json_response({"day": day, "events_today": used, "events_a_day": most})
