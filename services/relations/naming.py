"""``GET /v1/names``: the names of consumers and providers, for pages and programs that hold their ids."""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field

from services.relations.queries import Queries
from services.relations.redaction import Redactor
from shared.access.guard import AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom, Label
from shared.http.caller import CONSUMERS_READ, RELATIONS_READ, forbidden
from shared.http.paths import QueryId
from shared.http.purposes import GRANTED_ITSELF
from shared.http.scopes import needs
from shared.http.server import json_response, problems
from shared.runtime.protocols import Document

#: Most ids of one request, so that its URL stays within the length that servers accept.
MAX_IDS = 50
_PERSONAL = ("personal.name",)


class PersonalName(BaseModel):
    name: Annotated[str | None, DerivedFrom("personal.name")] = None


class Named(BaseModel):
    """One of ``consumer_id`` and ``provider_id``, with the name."""

    consumer_id: str | None = None
    provider_id: str | None = None
    name: str | None = Field(None, description="Of a provider.")
    personal: PersonalName | None = Field(None, description="Of a consumer.")


class Names(BaseModel):
    items: list[Named] = Field(description="Those that have a name, consumers first, by id.")
    masked: list[Label] | None = Field(None, description="Fields that the credential may not see, shown as •••.")


def add_names(app: FastAPI, queries: Queries, presented: Redactor) -> None:
    @app.get(
        "/v1/names",
        response_model=Names,
        responses=problems(
            {
                400: f"No id, or more than {MAX_IDS}.",
                403: "The credential lacks `relations:read`, or `consumers:read` for the names of consumers.",
                422: "A parameter is malformed; detail names it.",
                503: "MongoDB is unavailable. Retry after the seconds in Retry-After.",
            }
        ),
    )
    @needs(RELATIONS_READ, purpose=GRANTED_ITSELF)
    def names(
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        consumer_id: Annotated[
            list[QueryId], Query(description="Consumers; may be repeated."), DerivedFrom("consumer_id")
        ] = [],  # noqa: B006
        provider_id: Annotated[
            list[QueryId], Query(description="Providers; may be repeated."), DerivedFrom("provider_id")
        ] = [],  # noqa: B006
    ) -> Any:
        """Names of consumers and providers by id, at most 50 in one request. Ids without a known name are left
        out. Consumers need `consumers:read`; without `personal:read` their names are masked. The audit records
        each consumer's name that is shown."""
        if not 0 < len(consumer_id) + len(provider_id) <= MAX_IDS:
            raise HTTPException(400, f"state 1 to {MAX_IDS} ids, as consumer_id or provider_id")
        if consumer_id and not caller.may(CONSUMERS_READ):
            raise forbidden(CONSUMERS_READ)
        ids = [id for id in sorted(set(consumer_id)) if queries.granted(tenant, id, caller.purpose)]
        people = [person for id in ids if (person := _consumer(queries, tenant, id))]
        shown, fields = presented({"items": people}, _PERSONAL, caller)
        for person in shown["items"]:
            if person.get("personal"):
                access.reading(caller, {"consumer_id": person["consumer_id"]}, fields)
        firms = [firm for id in sorted(set(provider_id)) if (firm := _provider(queries, tenant, id))]
        return json_response({**shown, "items": [*shown["items"], *firms]})


def _consumer(queries: Queries, tenant: str, id: str) -> Document | None:
    found = queries.profile("consumers", tenant, id) or {}
    name = found.get("personal", {}).get("name")
    return None if name is None else {"consumer_id": id, "personal": {"name": name}}


def _provider(queries: Queries, tenant: str, id: str) -> Document | None:
    found = queries.profile("providers", tenant, id) or {}
    return None if found.get("name") is None else {"provider_id": id, "name": found["name"]}
