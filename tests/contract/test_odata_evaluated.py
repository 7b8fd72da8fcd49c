"""Any filter of the feed lets through the rows that a slow evaluator in Python does."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exports.odata.filters import parse
from services.exports.odata.terms import Call, Compare, In, Literal, Logic, Not, Property, Term
from tests.conftest import Addresses
from tests.support.analytics_driver import get
from tests.support.databases import fresh_database
from tests.support.exports_world import ExportsWorld

Row = Mapping[str, Any]
COMPARED = {
    "eq": lambda one, other: one == other,
    "ne": lambda one, other: one != other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
}
SEARCHED = {"contains": str.__contains__, "startswith": str.startswith, "endswith": str.endswith}


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    with fresh_database(servers) as database:
        yield ExportsWorld(database)


@pytest.fixture(scope="module")
def rows(world: ExportsWorld) -> list[Row]:
    body = get(world.app, "/odata/v1/Relations").json()
    assert "@odata.nextLink" not in body
    times = ("time", "event_time")
    return [
        {name: datetime.fromisoformat(value) if name in times else value for name, value in row.items()}
        for row in body["value"]
    ]


def value(term: Term, row: Row) -> Any:
    match term:
        case Literal(found):
            return found
        case Property(name):
            return row[name]
        case Call(name, arguments):
            first, *others = (value(argument, row) for argument in arguments)
            if name in SEARCHED:
                return first is not None and None not in others and SEARCHED[name](first, *others)
            return None if first is None else function(name, first)
        case Compare(operator, left, right):
            one, other = value(left, row), value(right, row)
            if operator in ("eq", "ne"):
                return COMPARED[operator](one, other)
            return None not in (one, other) and COMPARED[operator](one, other)
        case In(left, values):
            return value(left, row) in values
        case Logic("and", parts):
            return all(value(part, row) for part in parts)
        case Logic(_, parts):
            return any(value(part, row) for part in parts)
        case Not(part):
            return not value(part, row)
    raise AssertionError(term)


def function(name: str, of: Any) -> Any:
    match name:
        case "tolower" | "toupper":
            return of.lower() if name == "tolower" else of.upper()
        case "trim":
            return of.strip()
        case "length":
            return len(of)
        case "date":
            return of.date() if isinstance(of, datetime) else of
    at = of if isinstance(of, datetime) else datetime.combine(of, time(), UTC)
    return getattr(at, name)


def written(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return values.map(lambda each: f"'{each}'" if isinstance(each, str) else str(each))


DAYS = st.dates(date(2026, 8, 1), date(2026, 12, 1)).map(str)
TIMES = st.builds(lambda day, hour: f"{day}T{hour:02d}:00:00Z", DAYS, st.integers(0, 23))
TEXTS = written(st.sampled_from(["view", "purchase", "EUR", "USD", "c0", "p1", "e", "", "zz"]))
CASED = st.tuples(st.sampled_from(["tolower", "toupper"]), st.sampled_from(["kind", "currency", "trim(kind)"]))
PLAIN_TEXTS = st.sampled_from(["kind", "currency", "consumer_id", "provider_id", "trim(kind)", "trim(currency)"])
LOWERED = CASED.map(lambda pair: f"{pair[0]}({pair[1]})")
MOMENTS = st.just("time") | TIMES
NUMBERS = (
    st.sampled_from(["amount", "rating", "length(kind)", "length(trim(currency))"])
    | written(st.sampled_from([0, 1, 3, 4, 5, 8, 100, 1000, -50, 2.5, 9, 10, 11, 2026]))
    | st.builds(
        lambda part, of: f"{part}({of})",
        st.sampled_from(["year", "month", "day", "hour", "minute", "second"]),
        st.sampled_from(["time", "date(time)", "2026-10-09", "2026-10-09T08:07:06Z"]),
    )
)
#: Terms of one kind each, and literals of it.
KINDS = st.sampled_from(
    [
        (PLAIN_TEXTS, TEXTS),
        (NUMBERS, written(st.integers(0, 12))),
        (MOMENTS, TIMES),
        (st.sampled_from(["date(time)", "date(date(time))"]) | DAYS, DAYS),
    ]
)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    terms, literals = draw(KINDS)
    match draw(st.sampled_from(["compare", "null", "in", "search", "cased"])):
        case "compare":
            return f"{draw(terms)} {draw(st.sampled_from(sorted(COMPARED)))} {draw(terms | literals)}"
        case "null":
            return f"{draw(terms)} {draw(st.sampled_from(sorted(COMPARED)))} null"
        case "in":
            return f"{draw(terms)} in ({draw(literals)},{draw(literals | st.just('null'))})"
        case "search":
            searched = draw(st.sampled_from(sorted(SEARCHED)))
            return f"{searched}({draw(PLAIN_TEXTS | LOWERED)},{draw(TEXTS)})"
    return f"{draw(LOWERED)} {draw(st.sampled_from(sorted(COMPARED)))} {draw(TEXTS)}"


FILTERS = st.recursive(
    conditions(),
    lambda inner: (
        st.builds("({}) and ({})".format, inner, inner)
        | st.builds("{} or ({})".format, inner, inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=4,
)


def test_a_filter_lets_through_what_the_evaluator_does(world: ExportsWorld, rows: list[Row]) -> None:
    chosen: set[bool] = set()

    @settings(max_examples=150, deadline=None)
    @given(FILTERS)
    def check(text: str) -> None:
        expected = {row["id"] for row in rows if value(parse(text), row)}
        answer = get(world.app, "/odata/v1/Relations", {"$filter": text, "$select": "id"})
        assert answer.status_code == 200, (text, answer.text)
        assert {row["id"] for row in answer.json()["value"]} == expected, text
        chosen.add(0 < len(expected) < len(rows))

    check()
    assert True in chosen
