"""Nothing that is hidden can be reconstructed: installations that differ only in what a credential may not see
answer alike to any request that it may send, or refuse it alike.

The requests are drawn from the services' OpenAPI documents: routes, filters, orders, limits, searches, periods.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings

from services.analytics.dashboard import live
from shared.http.caller import SCOPES
from tests.conftest import Addresses
from tests.support.analytics_driver import get
from tests.support.databases import fresh_databases
from tests.support.masked_worlds import CHANGES, apps, base, changed, operations, plain, requests
from tests.support.measures_world import store

#: No answer over data reflects the host either.
FORGED = {
    "Host": "evil-host.example",
    "X-Forwarded-Host": "evil-host.example",
    "Forwarded": "host=evil-host.example",
}
REFLECTED = re.compile("evil-host")
Worlds = Mapping[str, Mapping[str, FastAPI]]
READ = ("relations:read", "consumers:read", "personal:read", "analytics:read", "intelligence:read")


def but(*scopes: str) -> str:
    return ",".join(scope for scope in READ if scope not in scopes)


#: What differs, and a credential that may not see it.
CASES = [
    ("amount", f"{but()}/amount"),
    ("rating", f"{but()}/rating"),
    ("currency", f"{but()}/currency"),
    ("kind", f"{but()}/kind"),
    ("time", f"{but()}/time"),
    ("place", f"{but()}/location.city,location.lat,location.lon"),
    ("place", f"{but()}/location"),
    ("country", f"{but()}/location.country"),
    ("region", f"{but()}/location.region"),
    ("email", f"{but()}/personal.email"),
    ("trait", f"{but()}/traits.tier"),
    ("personal", f"{but()}/personal"),
    ("personal", f"{but()}/personal.email,personal.name,personal.phone"),
    ("text", f"{but()}/text"),
    ("traits", f"{but()}/traits"),
    ("consent", f"{but()}/consent"),
    ("name", f"{but()}/name"),
    ("categories", f"{but()}/categories"),
    ("what is personal", but("personal:read")),
    ("consent", but("consumers:read")),
    ("country", but("consumers:read", "relations:read")),
    ("categories", but("relations:read")),
]


@pytest.fixture(scope="module")
def worlds(servers: Addresses) -> Iterator[Worlds]:
    with fresh_databases(servers) as fresh, pytest.MonkeyPatch.context() as patched:
        # A stream ends after its first figures.
        patched.setattr(live, "LIFE_SECONDS", 0.0)
        made = {}
        for name, change in CHANGES.items():
            database = fresh()
            kith = store(database, changed(base(), change), sealed=True)
            assert kith.vault is not None
            made[name] = apps(database, kith.vault)
        yield made


def seen(answer: httpx.Response) -> tuple[Any, ...]:
    """What a client sees, without what differs between any two moments."""
    # A token of the feed contains the moment of its first page.
    text = re.sub(r"(skiptoken=)[^\"&]+", r"\1…", answer.text)
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("kith-as-of", "content-length", "date")
    }
    return answer.status_code, headers, text


@pytest.mark.parametrize(("differs", "credential"), CASES)
def test_installations_that_differ_in_what_is_hidden_answer_alike(
    worlds: Worlds, differs: str, credential: str
) -> None:
    one, other = worlds["as it is"], worlds[differs]
    known = operations(one)
    statuses: set[int] = set()

    def alike(request: tuple[str, str, dict[str, str]]) -> None:
        service, path, query = request
        answers = [
            get(world[service], path, query, {**FORGED, "Authorization": f"Bearer kith_{credential}"})
            for world in (one, other)
        ]
        statuses.add(answers[0].status_code)
        assert answers[0].status_code < 500 or answers[0].status_code == 501, answers[0].text
        assert not REFLECTED.search(answers[0].text), request
        assert seen(answers[0]) == seen(answers[1]), request

    for request in plain(known):
        alike(request)
    assert 200 in statuses
    settings(max_examples=25)(given(requests(known))(alike))()


def test_without_anything_hidden_every_world_answers_differently(worlds: Worlds) -> None:
    """So that the comparison can fail."""
    everything = {"Authorization": f"Bearer kith_{','.join(SCOPES)}"}
    asked = [
        ("privacy", "/v1/consumers/c01/export"),
        ("exports", "/v1/export/relations"),
        ("exports", "/v1/export/providers"),
    ]
    for name, world in worlds.items():
        answers = [get(world[service], path, None, everything) for service, path in asked]
        assert {answer.status_code for answer in answers} == {200}
        plain = [get(worlds["as it is"][service], path, None, everything) for service, path in asked]
        assert (name == "as it is") == ([each.text for each in answers] == [each.text for each in plain]), name
