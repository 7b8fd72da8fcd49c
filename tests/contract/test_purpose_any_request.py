"""For a credential that is bound to a purpose, nobody exists but the consumers who have granted it: an
installation without all others answers alike to any request, or refuses it alike.

The requests are drawn from the services' OpenAPI documents, as in test_masks_any_request.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings

from services.analytics.dashboard import live
from shared.contracts.events import Event
from shared.http.scopes import need_of
from tests.conftest import Addresses
from tests.contract.test_masks_any_request import READ, seen
from tests.support.analytics_driver import get
from tests.support.databases import fresh_databases
from tests.support.masked_worlds import POOLS, apps, base, operations, plain, requests
from tests.support.measures_world import store
from tests.support.routes import api_routes

PURPOSE = "mail"
_GRAPH = re.compile(r'"graph":\{[^{}]*\},')
Worlds = dict[str, dict[str, FastAPI]]


def granted(events: list[Event]) -> set[str]:
    return {
        one.data.consumer_id
        for one in events
        if one.type == "consumer.upserted" and (one.data.consent or {}).get(PURPOSE)
    }


def without_others(events: list[Event]) -> list[Event]:
    visible = granted(events)
    return [one for one in events if getattr(one.data, "consumer_id", None) in {None, *visible}]


@pytest.fixture(scope="module")
def worlds(servers: Addresses) -> Iterator[Worlds]:
    with fresh_databases(servers) as fresh, pytest.MonkeyPatch.context() as patched:
        patched.setattr(live, "LIFE_SECONDS", 0.0)
        made: Worlds = {}
        for name, events in (("everybody", base()), ("granted", without_others(base()))):
            database = fresh()
            kith = store(database, events, sealed=True)
            assert kith.vault is not None
            made[name] = apps(database, kith.vault)
        yield made


def admits(world: dict[str, FastAPI], service: str, path: str) -> bool:
    """Whether the route of a path lets credentials with a purpose in at all."""
    [route] = [each for each in api_routes(world[service]) if each.path_format == path]
    return need_of(route.endpoint).purpose.admits


def told(answer: httpx.Response) -> tuple[object, ...]:
    """What an answer tells, but for a consumer's place in the graph of all, which is a conclusion, too."""
    return tuple(_GRAPH.sub("", part) if isinstance(part, str) else part for part in seen(answer))


def next_of(answer: httpx.Response) -> str | None:
    """The cursor of the next page."""
    if answer.status_code != 200 or not answer.headers["content-type"].startswith("application/json"):
        return None
    found = answer.json()
    return found.get("next") if isinstance(found, dict) else None


@pytest.mark.parametrize("masks", ["", "amount", "consent"])
def test_whoever_has_not_granted_the_purpose_is_not_there(worlds: Worlds, masks: str) -> None:
    credential = {"Authorization": f"Bearer kith_{','.join((*READ, 'admin'))}/{masks}/{PURPOSE}"}
    # Their relationships still count in the scores of others, which docs/how-to/recommend.md says ("Purpose").
    known = [
        each
        for each in operations(worlds["everybody"])
        if each[0] != "intelligence" and admits(worlds["everybody"], *each[:2])
    ]
    answered: set[tuple[str, int]] = set()

    def alike(request: tuple[str, str, dict[str, str]]) -> None:
        service, path, query = request
        if query.get("purpose") == "ads":
            query = {name: value for name, value in query.items() if name != "purpose"}
        for _ in range(3):
            one, other = (get(worlds[name][service], path, query, credential) for name in worlds)
            answered.add((service, one.status_code))
            assert one.status_code < 500 or one.status_code == 501, one.text
            assert told(one) == told(other), request
            if (cursor := next_of(one)) is None:
                break
            query = {**query, "cursor": cursor}

    for request in plain(known):
        alike(request)
    assert {(service, 200) for service, *_ in known} <= answered
    settings(max_examples=150 if not masks else 40)(given(requests(known))(alike))()


def test_the_two_differ_for_whoever_is_not_bound(worlds: Worlds) -> None:
    """So that the comparison can fail: and there is something to see for whoever is bound."""
    everybody = granted(base())
    assert 2 < len(everybody) < len({*POOLS["consumer_id"]} | everybody)
    for service, path in (("exports", "/v1/export/relations"), ("relations", "/v1/relations?provider_id=p1")):
        for purpose, same in (("", False), (PURPOSE, True)):
            credential = {"Authorization": f"Bearer kith_{','.join(READ)}//{purpose}"}
            one, other = (get(worlds[name][service], path, None, credential) for name in ("everybody", "granted"))
            assert (one.status_code, other.status_code) == (200, 200)
            assert (one.text == other.text) == same
            assert any(consumer in one.text for consumer in everybody)
