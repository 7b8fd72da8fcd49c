"""Routes of profiles: consumers and providers."""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from services.relations import answers
from services.relations.consent import consenting
from services.relations.parameters import FAILURES, NOT_FOUND, NOT_GRANTED, ConsumerId, Limit, ProviderId, Purpose
from services.relations.queries import Queries
from services.relations.redaction import Redactor
from shared.access.guard import AccessOf, CallerOf, TenantOf
from shared.access.masks import hides
from shared.http.caller import CONSUMERS_READ, PERSONAL_READ, RELATIONS_READ
from shared.http.costs import Cost, costs
from shared.http.problems.client import HIDDEN_FIELD, NOT_ENCRYPTED, PURPOSE_NOT_GRANTED
from shared.http.purposes import GRANTED, IMPERSONAL
from shared.http.scopes import needs
from shared.http.server import Refusal, json_response, problems
from shared.runtime.protocols import Document
from shared.vault.fields import PERSONAL_OF_CONSUMER
from shared.vault.keys import Vault


def add_consumers(app: FastAPI, queries: Queries, presented: Redactor, vault: Vault | None) -> None:
    """Add the routes of consumers. ``vault`` finds them by sealed values."""

    @app.get("/v1/consumers/{consumer_id}", response_model=answers.Consumer, responses=NOT_FOUND | NOT_GRANTED)
    @needs(CONSUMERS_READ, purpose=GRANTED)
    @costs(Cost.DOCUMENT)
    def consumer(
        consumer_id: ConsumerId,
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        purpose: Purpose = None,
    ) -> Any:
        """The profile of a consumer."""
        found = _profile(queries, "consumers", tenant, consumer_id)
        if not queries.granted(tenant, consumer_id, caller.purpose):
            raise _unknown("consumers")
        _check(queries, tenant, consumer_id, purpose)
        shown, fields = presented(found, PERSONAL_OF_CONSUMER, caller)
        access.reading(caller, {"consumer_id": consumer_id}, fields)
        return json_response(shown)

    @app.get(
        "/v1/consumers",
        response_model=answers.ConsumerList,
        responses=FAILURES
        | problems(
            {
                400: "The query contains neither or both of email and phone.",
                403: "The credential lacks one of the scopes `personal:read` and `consumers:read`, or the field "
                "is hidden from it.",
                409: "Nothing is encrypted here (KITH_ENCRYPTION=off), so there is no index to search.",
            }
        ),
    )
    @needs(PERSONAL_READ, CONSUMERS_READ, purpose=GRANTED)
    def consumers(
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        email: Annotated[str | None, Query(max_length=1000, description="Case-insensitive.")] = None,
        phone: Annotated[
            str | None, Query(max_length=1000, description="Only digits and a leading + (or 00) count.")
        ] = None,
        limit: Limit = 100,
        purpose: Purpose = None,
    ) -> Any:
        """The consumers who have this e-mail address or phone number, by id. Needs `consumers:read`, too."""
        if (email is None) == (phone is None):
            raise HTTPException(400, "the query needs exactly one of email and phone")
        if vault is None:
            raise Refusal(NOT_ENCRYPTED, "nothing is encrypted here (KITH_ENCRYPTION=off), so there is no index")
        field, value = ("email", email) if email is not None else ("phone", phone)
        if hides(caller.masks, f"personal.{field}"):
            raise Refusal(HIDDEN_FIELD, f"{field} is hidden from this credential, and the answer would reveal it")
        word = vault.blind(tenant, field, value or "")
        found = queries.consumers(tenant, field, word, limit, caller.purpose)
        found = consenting(queries, tenant, found, caller, purpose)
        shown, fields = presented(found, PERSONAL_OF_CONSUMER, caller)
        # Recorded for an empty answer, too: that no consumer (or none who consented) has an address is
        # information.
        access.reading(caller, {"searched_by": field}, fields or [f"personal.{field}"])
        return json_response(shown)


def add_providers(app: FastAPI, queries: Queries) -> None:
    @app.get("/v1/providers/{provider_id}", response_model=answers.Provider, responses=NOT_FOUND)
    @needs(RELATIONS_READ, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def provider(provider_id: ProviderId, tenant: TenantOf) -> Any:
        """The profile of a provider."""
        return json_response(_profile(queries, "providers", tenant, provider_id))


def _profile(queries: Queries, collection: str, tenant: str, id: str) -> Document:
    if (found := queries.profile(collection, tenant, id)) is None:
        raise _unknown(collection)
    return found


def _unknown(collection: str) -> HTTPException:
    return HTTPException(404, f"no {collection[:-1]} is known under this id")


def _check(queries: Queries, tenant: str, consumer_id: str, purpose: str | None) -> None:
    page = {"items": [{"consumer_id": consumer_id}]}
    if queries.consenting(tenant, page, purpose).get("left_out"):
        raise Refusal(PURPOSE_NOT_GRANTED, f"the consumer has not granted the purpose {purpose}")
