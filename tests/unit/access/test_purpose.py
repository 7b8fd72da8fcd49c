"""Credentials that are bound to a purpose: what the guard does with their requests."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query

from shared.access.guard import Access, CallerOf
from shared.access.lineage import DerivedFrom
from shared.access.routes import secure
from shared.http.caller import ADMIN, CONSUMERS_READ, RELATIONS_READ, Caller
from shared.http.purposes import GRANTED, GRANTED_ITSELF, IMPERSONAL, SUMS
from shared.http.scopes import Scoped, needs
from shared.http.server import add_problem_handlers
from tests.support.routes import Found
from tests.unit.access.test_routes import ask


class Bound:
    """A bearer's text is its scopes and its purpose: ``relations:read/mail``."""

    async def caller(self, text: str) -> Caller:
        scopes, _, purpose = text.partition("/")
        masks = ("consent",) if "masked" in scopes else ()
        return Caller("acme", frozenset(scopes.split(",")), masks, purpose=purpose or None)


def app() -> FastAPI:
    made = FastAPI()
    add_problem_handlers(made)
    secure(made, Access(tokens=Bound()))
    Purpose = Annotated[str | None, DerivedFrom("consent"), Scoped(CONSUMERS_READ), Query()]

    @made.get("/granted")
    @needs(RELATIONS_READ, purpose=GRANTED)
    async def granted(kind: str = "", purpose: Purpose = None) -> dict[str, Any]:
        return {"purpose": purpose, "kind": kind}

    @made.get("/itself")
    @needs(RELATIONS_READ, purpose=GRANTED_ITSELF)
    async def itself(caller: CallerOf) -> dict[str, Any]:
        return {"purpose": caller.purpose}

    @made.get("/impersonal")
    @needs(RELATIONS_READ, purpose=IMPERSONAL)
    async def impersonal() -> dict[str, Any]:
        return {}

    @made.get("/sums")
    @needs(RELATIONS_READ, purpose=SUMS)
    async def sums() -> dict[str, Any]:
        return {}

    @made.get("/forgotten")
    @needs(RELATIONS_READ)
    async def forgotten() -> dict[str, Any]:
        return {}

    @made.get("/unsaid")
    async def unsaid() -> dict[str, Any]:
        return {}

    return made


APP = app()


def get(path: str, bearer: str = f"{RELATIONS_READ}/mail") -> httpx.Response:
    return ask(APP, Found("", "GET", path), bearer)


@pytest.mark.parametrize("path", ["/granted", "/granted?purpose=mail", "/granted?%70urpose=mail"])
def test_the_purpose_is_that_of_the_credential_whether_the_request_names_it_or_not(path: str) -> None:
    # The scope of the parameter is not needed: it is not the caller's choice.
    answer = get(path)
    assert (answer.status_code, answer.json()) == (200, {"purpose": "mail", "kind": ""})


def test_the_rest_of_the_request_stays() -> None:
    assert get("/granted?kind=a%26b").json() == {"purpose": "mail", "kind": "a&b"}
    assert get("/itself").json() == {"purpose": "mail"}
    assert get("/impersonal").json() == {}


@pytest.mark.parametrize("query", ["purpose=ads", "purpose=", "purpose=mail&purpose=ads", "%70urpose=ads"])
@pytest.mark.parametrize("path", ["/granted", "/itself", "/impersonal"])
def test_another_purpose_is_refused(path: str, query: str) -> None:
    answer = get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/purpose-bound")
    assert "mail" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/sums", "/forgotten", "/unsaid"])
def test_a_route_that_cannot_leave_anybody_out_is_refused(path: str) -> None:
    bearer = f"{RELATIONS_READ},{ADMIN}"
    answer = get(path, f"{bearer}/mail")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/purpose-bound")
    assert get(path, bearer).status_code == 200


def test_a_credential_without_a_purpose_is_asked_for_the_scope_of_the_parameter() -> None:
    assert get("/granted", RELATIONS_READ).json() == {"purpose": None, "kind": ""}
    assert get("/granted?purpose=mail", RELATIONS_READ).status_code == 403
    assert get("/granted?purpose=mail", f"{RELATIONS_READ},{CONSUMERS_READ}").json()["purpose"] == "mail"


def test_that_consents_are_masked_does_not_end_the_binding() -> None:
    assert get("/granted", f"{RELATIONS_READ},masked/mail").json()["purpose"] == "mail"
    assert get("/granted?purpose=mail", f"{RELATIONS_READ},{CONSUMERS_READ},masked").status_code == 403
