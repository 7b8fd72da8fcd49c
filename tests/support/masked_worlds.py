"""Installations that differ in one field only, and requests of all kinds to compare them by."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from fastapi import FastAPI
from hypothesis import strategies as st

from services.analytics.api import create_app as analytics_app
from services.analytics.dashboard.figures import FiguresReader
from services.analytics.dashboard.live import add_live
from services.analytics.measures.source import Measures as AnalyticsMeasures
from services.analytics.queries import AnalyticsQueries
from services.exports.api import create_app as exports_app
from services.exports.decryption import decryptor
from services.exports.odata.metadata import SETS
from services.exports.source import Exports
from services.intelligence.api import create_app as intelligence_app
from services.privacy.api import create_app as privacy_app
from services.privacy.people import People
from services.relations.api import create_app as relations_app
from services.relations.cache import QueryCache
from services.relations.measures.source import Measures as RelationsMeasures
from services.relations.queries import Queries
from shared.access.cursor_key import OwnKey
from shared.access.guard import Access
from shared.contracts.events import Event
from shared.measures.computing import here
from shared.vault.keys import Vault
from tests.support.builders import STRENGTH, TOPICS, event
from tests.support.credentials import Journal, Keys
from tests.support.intelligence import over as intelligence_over
from tests.support.measures_world import NOW, market
from tests.support.relations_driver import Mongo

#: The same for all, so that their cursors can be compared.
CURSOR_KEY = OwnKey()
Json = dict[str, Any]
Change = Callable[[Json], None]


def base() -> list[Event]:
    """A small market whose consumers have names and addresses, whose providers have names, and whose facts have
    texts."""
    events = market(5, relations=140)
    for n in range(8):
        consumer: Json = {
            "consumer_id": f"c0{n}",
            "personal": {"name": f"Name {n % 3}", "email": f"c{n % 4}@example.org", "phone": f"+41 7{n % 4} 00"},
            "traits": {"tier": f"t{n % 2}", "age": 20 + n},
            "consent": {"mail": n % 2 == 0, "ads": n % 3 == 0},
        }
        events.append(event("consumer.upserted", f"who-{n}", "2026-02-01T00:00:00Z", consumer))
        provider: Json = {"provider_id": f"p{n}", "name": f"Firm {n}", "traits": {"stars": n % 5}}
        events.append(event("provider.upserted", f"firm-{n}", "2026-02-01T00:00:00Z", provider))
        fact: Json = {
            "relation_id": f"t{n}",
            "consumer_id": f"c0{n}",
            "provider_id": f"p{n % 3}",
            "kind": "review",
        }
        fact |= {"rating": 1 + n % 5, "text": f"text {n}", "traits": {"channel": f"ch{n % 2}"}}
        events.append(event("relation.recorded", f"text-{n}", f"2026-11-0{1 + n}T08:00:00Z", fact))
    return events


def _amount(given: Json) -> None:
    data = given["data"]
    if (amount := data.get("amount")) is not None:
        # Signs differ, too: a refund is no order.
        data["amount"] = -(amount // 2) - 3 if _coin(given["id"]) else 3 * abs(amount) + 7


def _rating(given: Json) -> None:
    if (rating := given["data"].get("rating")) is not None:
        given["data"]["rating"] = {1: 4, 2: 1, 3: 5, 4: 2, 5: 3}[rating]


def _currency(given: Json) -> None:
    if given["data"].get("currency") is not None:
        given["data"]["currency"] = "USD" if _coin(given["id"]) else "CHF"


def _kind(given: Json) -> None:
    if (kind := given["data"].get("kind")) is not None:
        given["data"]["kind"] = {"purchase": "view", "view": "refund", "refund": "review", "review": "purchase"}[
            kind
        ]


def _time(given: Json) -> None:
    if given["type"].startswith("relation."):
        # All events of a fact alike, so that the same one wins.
        back = timedelta(days=31 if _coin(given["data"]["relation_id"]) else 3, hours=5)
        given["time"] = (datetime.fromisoformat(given["time"]) - back).astimezone(UTC).isoformat()
        if (occurred := given["data"].get("occurred_at")) is not None:
            given["data"]["occurred_at"] = (datetime.fromisoformat(occurred) - back).isoformat()


def _place(given: Json) -> None:
    if (place := given["data"].get("location")) is not None:
        moved = {"lat": -place["lat"] / 2, "lon": place["lon"] + 1} if place.get("lat") is not None else {}
        # Not everybody who was in one city is in another one together.
        city = f"{place['city'][::-1]}{_coin(given['id'])}"
        given["data"]["location"] = {**place, "city": city, **moved}


def _country(given: Json) -> None:
    if (place := given["data"].get("location")) is not None:
        given["data"]["location"] = {**place, "country": "Peru" if place["country"] == "France" else "Chile"}


def _region(given: Json) -> None:
    if (place := given["data"].get("location")) is not None:
        given["data"]["location"] = {**place, "region": "Savoie" if _coin(given["id"]) else "Var"}


def _trait(given: Json) -> None:
    if (traits := given["data"].get("traits")) is not None and "tier" in traits:
        given["data"]["traits"] = {**traits, "tier": f"other {traits['tier']}"}


def _email(given: Json) -> None:
    if (personal := given["data"].get("personal")) is not None:
        given["data"]["personal"] = {**personal, "email": personal["email"][::-1]}


def _personal(given: Json) -> None:
    if (personal := given["data"].get("personal")) is not None:
        given["data"]["personal"] = {name: f"{value[::-1]}" for name, value in personal.items()}


def _text(given: Json) -> None:
    if (text := given["data"].get("text")) is not None:
        given["data"]["text"] = text[::-1]


def _traits(given: Json) -> None:
    if (traits := given["data"].get("traits")) is not None:
        given["data"]["traits"] = {name: f"other {value}" for name, value in traits.items()}


def _consent(given: Json) -> None:
    if (consent := given["data"].get("consent")) is not None:
        given["data"]["consent"] = {name: not value for name, value in consent.items()}


def _name(given: Json) -> None:
    if given["data"].get("name") is not None:
        given["data"]["name"] = given["data"]["name"][::-1]


def _categories(given: Json) -> None:
    if given["data"].get("categories") is not None:
        given["data"]["categories"] = ["garage", "café"] if _coin(given["id"]) else ["bakery"]


def _personal_place_and_text(given: Json) -> None:
    _personal(given)
    _text(given)
    if given["type"] == "consumer.upserted":
        _place(given)


def _coin(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 3 == 0


CHANGES: Mapping[str, Change] = {
    "as it is": lambda _: None,
    "amount": _amount,
    "rating": _rating,
    "currency": _currency,
    "kind": _kind,
    "time": _time,
    "place": _place,
    "country": _country,
    "region": _region,
    "trait": _trait,
    "email": _email,
    "personal": _personal,
    "text": _text,
    "traits": _traits,
    "consent": _consent,
    "name": _name,
    "categories": _categories,
    "what is personal": _personal_place_and_text,
}


def changed(events: list[Event], change: Change) -> list[Event]:
    found: list[Event] = []
    for one in events:
        given = one.model_dump(mode="json", exclude_none=True)
        change(given)
        found.append(type(one).model_validate_json(orjson.dumps(given)))
    return found


def apps(database: Mongo, vault: Vault) -> dict[str, FastAPI]:
    nothing: Any = None
    access = Access(Keys(), audit=Journal(), cursor_key=CURSOR_KEY)
    clock = lambda: NOW  # noqa: E731
    found = {
        "relations": relations_app(
            Queries(database, STRENGTH, QueryCache("off", 1)),
            STRENGTH,
            list,
            clock,
            here(RelationsMeasures(database, str, clock, vault).of),
            access=access,
            vault=vault,
        ),
        "analytics": analytics_app(
            AnalyticsQueries(database), list, here(AnalyticsMeasures(database, str, str, clock).of), access=access
        ),
        "exports": exports_app(Exports(database, decryptor(vault)), list, access=access),
        "intelligence": intelligence_app(*intelligence_over(database), list, access=access),
        "privacy": privacy_app(
            nothing,
            People(database, str, vault),
            nothing,
            nothing,
            TOPICS,
            list,
            clock,
            access=access,
            vault=vault,
        ),
    }
    add_live(found["analytics"], FiguresReader(database, str, str, clock))
    return found


#: Values that occur, by the name of a parameter; others are drawn by their schema.
POOLS: Mapping[str, list[str]] = {
    "consumer_id": ["c00", "c01", "c03", "c05", "c12", "nobody"],
    "provider_id": ["p0", "p1", "p2", "p7"],
    "kind": ["purchase", "review", "view", "refund", "none"],
    "category": ["café", "garage", "bakery"],
    "purpose": ["mail", "ads"],
    "currency": ["EUR", "USD", "CHF"],
    "email": ["c0@example.org", "c1@example.org", "gro.elpmaxe@1c"],
    "phone": ["+41 71 00", "0041 7000", "00 17 14+"],
    "side": ["consumer", "provider"],
    "id": ["c01", "p1", "p7", "nobody"],
    "name": ["none"],
    "key": ["purchase", "view", "p1", "c01", "p1:view", "p2:purchase"],
    "from": ["2026-01-01", "2026-05-01", "2026-10-01", "2026-11-10"],
    "to": ["2026-06-01", "2026-11-01", "2026-11-15"],
    "lowest": ["1", "2"],
    "highest": ["4", "5"],
    "positive_from": ["2", "3", "5"],
    "segment": ["champions", "hibernating", "at_risk"],
    "format": ["csv", "jsonl"],
    "half_life_months": ["0.5", "12"],
    "personal": ["true", "false"],
}
#: Values of parameters that mean something else elsewhere.
_ENDS = ["consumer:c01", "consumer:c05", "provider:p1", "provider:p7"]
_POOLS_OF: Mapping[str, Mapping[str, list[str]]] = {"/v1/paths": {"from": _ENDS, "to": _ENDS}}
#: Not compared here: an erasure is of a consumer and not of a fact (see test_lineage for its declarations).
_LEFT_OUT = re.compile(
    r"/v1/erasures|/v1/audit|/v1/operations|/v1/dead-letters|/health|/v1/export$|/v1/export/measures|/odata|json$"
)
_TERMS = [
    *("amount gt {n}", "amount lt {n}", "amount eq null", "rating ge {d}", "rating in ({d},2)", "count ge {d}"),
    *("currency eq 'EUR'", "kind eq 'view'", "kind ne 'view'", "startswith(kind,'re')", "length(kind) gt {d}"),
    *(
        "time gt 2026-0{d}-01T00:00:00Z",
        "month(time) eq {d}",
        "day(first) lt {d}",
        "last lt 2026-0{d}-01T00:00:00Z",
    ),
    *("event_time lt 2026-0{d}-01T00:00:00Z", "rating_sum gt {d}", "score lt -{d}", "day lt 2026-0{d}-01"),
    *("city eq 'Lyon'", "contains(city,'o')", "lat gt {n}", "lon lt {d}", "country eq 'France'", "region ne null"),
    *("name eq 'Firm {d}'", "contains(tolower(name),'{d}')", "categories/any(c:c eq 'café')", "closed eq true"),
    *("consumer_id eq 'c0{d}'", "provider_id eq 'p{d}'", "by eq 'kind'", "key eq 'view'", "erased eq null"),
    *("traits ne null", "consent ne null", "amounts ne null", "currency ne null", "not (rating lt {d})"),
]
_ORDERS = [
    "amount",
    "rating",
    "time",
    "kind",
    "currency",
    "name",
    "city",
    "lat",
    "score",
    "count",
    "day",
    "country",
]


@st.composite
def feeds(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A request of the feed."""
    path = f"/odata/v1/{draw(st.sampled_from(sorted(SETS)))}{draw(st.sampled_from(['', '', '', '/$count']))}"
    given: dict[str, str] = {}
    numbers = st.integers(1, 9)

    def term() -> str:
        n = draw(numbers)
        return draw(st.sampled_from(_TERMS)).format(d=n, n=n * draw(st.sampled_from([1, 100, 1000])))

    if draw(st.booleans()):
        given["$filter"] = f" {draw(st.sampled_from(['and', 'or']))} ".join(
            term() for _ in range(draw(st.integers(1, 2)))
        )
    if not path.endswith("$count"):
        if draw(st.booleans()):
            given["$orderby"] = f"{draw(st.sampled_from(_ORDERS))} {draw(st.sampled_from(['asc', 'desc']))}"
        if draw(st.booleans()):
            given["$top"] = str(draw(numbers))
        if draw(st.booleans()):
            given["$count"] = "true"
        if draw(st.integers(0, 4)) == 0:
            given["$select"] = draw(st.sampled_from(["amount", "kind,rating", "*", "city,name", "count,currency"]))
        if draw(st.integers(0, 3)) == 0:
            given["$skip"] = str(draw(numbers))
    if draw(st.integers(0, 3)) == 0:
        given["purpose"] = draw(st.sampled_from(POOLS["purpose"]))
    if draw(st.integers(0, 6)) == 0:
        given["$search"] = "Lyon"
    return path, given


def operations(all_apps: Mapping[str, FastAPI]) -> list[tuple[str, str, list[Json]]]:
    """Every GET of every service that consumers' data can be read from, with its parameters, by its OpenAPI."""
    return [
        (service, path, item["get"].get("parameters", []))
        for service, app in all_apps.items()
        for path, item in app.openapi()["paths"].items()
        if "get" in item and not _LEFT_OUT.search(path)
    ]


def plain(known: list[tuple[str, str, list[Json]]]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Every operation once, with what it requires and nothing else: what is compared whatever is drawn."""
    for service, path, parameters in known:
        pools = {**POOLS, **_POOLS_OF.get(path, {})}
        values = {one["name"]: pools.get(one["name"], ["1"])[0] for one in parameters if one.get("required")}
        query = {name: value for name, value in values.items() if f"{{{name}}}" not in path}
        yield service, path.format_map(values), query


@st.composite
def requests(draw: st.DrawFn, known: list[tuple[str, str, list[Json]]]) -> tuple[str, str, dict[str, str]]:
    """A service, a path and a query."""
    if draw(st.integers(0, 4)) == 0:
        return ("exports", *draw(feeds()))
    service, path, parameters = draw(st.sampled_from(known))
    pools = {**POOLS, **_POOLS_OF.get(path, {})}
    given: dict[str, str] = {}
    for one in parameters:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", draw(st.sampled_from(pools[one["name"]])))
        elif one["in"] == "query" and (one.get("required") or draw(st.integers(0, 2)) == 0):
            given[one["name"]] = draw(_values(pools, one["name"], one["schema"]))
    return service, path, given


def _values(pools: Mapping[str, list[str]], name: str, schema: Json) -> st.SearchStrategy[str]:
    if name in pools:
        return st.sampled_from(pools[name])
    for one in schema.get("anyOf", [schema]):
        if "enum" in one:
            return st.sampled_from([str(each) for each in one["enum"]])
        if one.get("type") == "integer":
            return st.integers(one.get("minimum", 1), min(one.get("maximum", 20), 20)).map(str)
        if one.get("type") == "number":
            return st.floats(one.get("minimum", 0), min(one.get("maximum", 5), 5)).map(str)
        if one.get("type") == "boolean":
            return st.sampled_from(["true", "false"])
    return st.text("ab1", max_size=2)
