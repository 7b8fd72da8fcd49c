"""The parser of $filter, its translation, and the model of the feed."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from services.exports.datasets import DATASETS
from services.exports.odata.answers import Resource, resource_of, style_of
from services.exports.odata.errors import ODataError
from services.exports.odata.expressions import NOTHING
from services.exports.odata.filters import literal, parse
from services.exports.odata.kinds import kind_of
from services.exports.odata.metadata import SETS, metadata
from services.exports.odata.mongo import Translator, after
from services.exports.odata.options import Token, options_of
from services.exports.odata.terms import Call, Compare, In, Literal, Logic, Member, Not, Property
from shared.access.cursor_key import OwnKey
from shared.http.cursors import Cursors
from tests.support.paths import DATA

ODATA = DATA / "odata"
A, B, C = Property("a"), Property("b"), Property("c")


def translated(dataset: str, text: str) -> Any:
    columns = DATASETS[dataset].visible(personal=False)
    return Translator(DATASETS[dataset], columns, "default").condition(parse(text))


def tried(dataset: str, text: str) -> tuple[Any, int]:
    """The condition, or None, and the status of the answer."""
    try:
        return translated(dataset, text), 200
    except ODataError as refused:
        return None, refused.status


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("a eq 1", Compare("eq", A, Literal(1))),
        ("a eq -1.5e3", Compare("eq", A, Literal(-1500.0))),
        ("a eq 'it''s'", Compare("eq", A, Literal("it's"))),
        ("a eq null", Compare("eq", A, Literal(None))),
        ("a ge 2026-11-21", Compare("ge", A, Literal(date(2026, 11, 21)))),
        (
            "a lt 2026-11-21T07:00:00.1234567Z",
            Compare("lt", A, Literal(datetime(2026, 11, 21, 7, 0, 0, 123456, UTC))),
        ),
        ("a or b and c", Logic("or", (A, Logic("and", (B, C))))),
        ("(a or b) and c", Logic("and", (Logic("or", (A, B)), C))),
        ("not a eq 1 and b", Logic("and", (Not(Compare("eq", A, Literal(1))), B))),
        ("not (a and b)", Not(Logic("and", (A, B)))),
        ("a in ('x','y')", In(A, ("x", "y"))),
        ("contains(tolower(a),'x')", Call("contains", (Call("tolower", (A,)), Literal("x")))),
        ("year(a) eq 2026", Compare("eq", Call("year", (A,)), Literal(2026))),
        ("c/any(t:t eq 'x')", Member("c", ("x",))),
        ("c/any()", Member("c", None)),
        ("a/any(t:t in ('x','y'))", Member("a", ("x", "y"))),
        ("true", Literal(True)),
    ],
)
def test_expressions(text: str, term: Any) -> None:
    assert parse(text) == term


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("a eq", 400),
        ("a eq 1 b", 400),
        ("(a eq 1", 400),
        ("a eq 'open", 400),
        ("a eq $x", 400),
        ("a eq 2026-02-30", 400),
        ("a eq 99999999999999999999", 400),
        ("contains(a)", 400),
        ("c/any(t:u eq 'x')", 400),
        ("a eq \0", 400),
        ("(" * 50 + "a" + ")" * 50, 400),
        ("not " * 50 + "a", 400),
        ("trim(" * 100 + "a" + ")" * 100 + " eq 'x'", 400),
        ("trim(" * 900 + "a", 400),
        ("date(date(" * 30 + "a" + "))" * 30 + " eq null", 400),
        ("a gt 0001-01-01T00:00:00+14:00", 400),
        ("a lt 9999-12-31T23:59:59-14:00", 400),
        ("year(9999-12-31T23:59:59-14:00) eq 9999", 400),
        ("a eq 1 or " * 2000 + "a eq 1", 400),
        ("a add 1 eq 2", 501),
        ("substringof('x',a)", 501),
        ("geo.distance(a,b) lt 5", 501),
        ("c/all(t:t eq 'x')", 501),
        ("c/any(t:t ne 'x')", 501),
    ],
)
def test_what_is_wrong_is_400_and_what_is_not_known_501(text: str, status: int) -> None:
    with pytest.raises(ODataError) as refused:
        parse(text)
    assert refused.value.status == status


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ODataError):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_can_be_a_literal(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert literal(quoted, "key") == text
    assert resource_of(f"Relations({quoted})") == Resource("Relations", text)


@pytest.mark.parametrize(
    ("dataset", "text", "wanted"),
    [
        ("relations", "kind eq 'view'", {"kind": {"$eq": "view"}}),
        ("relations", "5 lt amount", {"amount": {"$gt": 5}}),
        ("relations", "id eq 'ada:r1'", {"_id": {"$eq": "default:ada:r1"}}),
        (
            "relations",
            "event_time gt 2026-01-01T00:00:00.000001Z",
            {"version.time": {"$gt": 1_767_225_600_000_001}},
        ),
        ("providers", "categories/any(c:c eq 'café')", {"categories": {"$in": ["café"]}}),
        ("providers", "closed", {"closed": {"$eq": True}}),
        ("providers", "endswith(name,'a$b')", {"name": {"$regex": r"a\$b\z", "$options": "s"}}),
        ("aggregates", "day ge 2026-05-01", {"day": {"$gte": "2026-05-01"}}),
        ("aggregates", "id eq 'provider:2026-05-01:a:b'", {"by": "provider", "day": "2026-05-01", "key": "a:b"}),
    ],
)
def test_conditions(dataset: str, text: str, wanted: Any) -> None:
    assert translated(dataset, text) == wanted


@pytest.mark.parametrize(
    ("dataset", "text", "status"),
    [
        ("relations", "tenant eq 'acme'", 400),
        ("relations", "retracted eq true", 400),
        ("relations", "version eq 'x'", 400),
        ("relations", "text eq 'x'", 400),  # a personal field, which the feed never has
        ("consumers", "city eq 'Lyon'", 400),
        ("relations", "amount eq '5'", 400),
        ("relations", "kind gt 5", 400),
        ("relations", "time ge 2026-01-01", 400),
        ("relations", "kind", 400),
        ("relations", "contains(amount,'1')", 400),
        ("relations", "contains(kind,5)", 400),
        ("relations", "contains(kind,currency)", 501),
        ("relations", "traits eq 'x'", 501),
        ("relationships", "amount gt 5", 501),
        ("relations", "length(id) gt 3", 501),
        ("relations", "year(event_time) eq 2026", 501),
    ],
)
def test_what_cannot_be_asked_of_a_dataset(dataset: str, text: str, status: int) -> None:
    with pytest.raises(ODataError) as refused:
        translated(dataset, text)
    assert refused.value.status == status


#: Kind → terms of that kind over relations, all of which are supported in comparisons.
TERMS = {
    "text": ["kind", "currency", "'a'", "trim(kind)", "trim('a ')", "event_source"],
    "number": ["amount", "rating", "5", "-1.5", "year(time)", "length(kind)", "hour(2026-05-01T00:00:00Z)"],
    "time": ["time", "2026-05-01T07:00:00Z"],
    "date": ["2026-05-01", "date(time)", "date(date(time))", "date(2026-05-01T00:00:00Z)"],
    "boolean": ["true", "false"],
    "null": ["null"],
}
LITERALS = {"text": "'a'", "number": "5", "time": "2026-05-01T07:00:00Z", "date": "2026-05-01", "boolean": "true"}
OPERATORS = st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le"])
FUNCTIONS_OF = {"text": ["length({}) gt 1", "contains({},'a')", "tolower({}) eq 'a'"]}
FUNCTIONS_OF |= {kind: ["year({}) eq 1", "date({}) eq 2026-05-01"] for kind in ("time", "date")}
KINDS = st.sampled_from(list(LITERALS))


def term_of(draw: st.DrawFn, kind: str) -> str:
    return draw(st.sampled_from(TERMS[kind]))


@st.composite
def conditions(draw: st.DrawFn, fits: bool) -> str:
    """A condition whose parts fit together, or one of whose parts does not."""
    kind = draw(KINDS)
    other = draw(st.just(kind) | st.just("null") if fits else KINDS.filter(lambda each: each != kind))
    match draw(st.sampled_from(["compare", "in", "function", "truth"])):
        case "compare":
            pair = draw(st.permutations([term_of(draw, kind), term_of(draw, other)]))
            return f"{pair[0]} {draw(OPERATORS)} {pair[1]}"
        case "in":
            values = draw(st.permutations([LITERALS[kind], LITERALS.get(other, "null")]))
            return f"{term_of(draw, kind)} in ({','.join(values)})"
        case "function":
            takes = draw(st.sampled_from(list(FUNCTIONS_OF)))
            suiting = {takes, "null"} | ({"time", "date"} if takes in ("time", "date") else set())
            given_kind = draw(st.sampled_from([each for each in TERMS if (each in suiting) == fits]))
            return draw(st.sampled_from(FUNCTIONS_OF[takes])).format(term_of(draw, given_kind))
    return "true" if fits else term_of(draw, draw(KINDS.filter(lambda each: each != "boolean")))


@given(conditions(fits=True), conditions(fits=True), st.sampled_from(["{} and {}", "not ({}) or {}"]))
def test_what_fits_together_is_translated(one: str, other: str, form: str) -> None:
    translated("relations", form.format(one, other))


@given(conditions(fits=False), conditions(fits=True), st.sampled_from(["{}", "{} and {}", "not (({}) or {})"]))
def test_what_does_not_fit_together_is_refused(one: str, other: str, form: str) -> None:
    with pytest.raises(ODataError) as refused:
        translated("relations", form.format(one, other))
    assert (refused.value.status, refused.value.target) == (400, "$filter")


@pytest.mark.parametrize(
    "text",
    [
        "year(time) lt '2026'",
        "date(time) gt 5",
        "date(time) ge 2026-01-01T00:00:01Z",
        "date(time) in (2026-01-01T00:00:00-01:00)",
        "amount lt kind",
        "length(kind) lt 'a'",
        "tolower(kind) gt 5",
        "year(time) in (2026,'2027')",
        "contains(kind,'a') eq 5",
        "year(time) eq true",
        "trim(amount) eq '5'",
        "5 and true",
        "not 5",
        "length(kind)",
        "5",
    ],
)
def test_two_kinds_are_not_compared(text: str) -> None:
    with pytest.raises(ODataError) as refused:
        translated("relations", text)
    assert refused.value.status == 400


@pytest.mark.parametrize("midnight", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00Z"])
def test_a_day_of_a_function_is_compared_with_its_midnight(midnight: str) -> None:
    for form in ("date(time) ge {}", "{} lt date(time)", "date(time) in ({})"):
        assert translated("relations", form.format(midnight)) == translated("relations", form.format("2026-01-01"))


@pytest.mark.parametrize("levels", [2, 38])
def test_the_time_for_an_in_within_others_does_not_grow_by_the_power_of_its_depth(levels: int) -> None:
    text = "(" * levels + "kind in ('x','y','z')" + ") in (true,false,true)" * levels
    asked: list[str] = []

    def column(name: str) -> Any:
        asked.append(name)
        return next(each for each in DATASETS["relations"].columns if each.name == name)

    assert kind_of(parse(text), column) == "boolean"
    assert asked == ["kind"]
    assert tried("relations", text) == (None, 501)


def test_two_kinds_are_named() -> None:
    message = r"year\(…\) is a number, and '2026' is a text: they cannot be compared"
    with pytest.raises(ODataError, match=message):
        translated("relations", "year(time) lt '2026'")


@pytest.mark.parametrize("function", ["tolower({}) eq '{}'", "contains(kind,'{1}')", "contains(toupper({}),'{}')"])
def test_a_text_that_makes_too_long_a_pattern_is_refused(function: str) -> None:
    """MongoDB takes patterns of 32 KB."""
    for letter in ("a", "K", ".", "\N{GRINNING FACE}"):
        found, status = tried("relations", function.format("kind", letter * 7_900))
        assert status == 501 or len(str(found).encode()) < 33_000


def depth_of(document: Any) -> int:
    parts = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + max(map(depth_of, parts), default=0)


@pytest.mark.parametrize(
    ("head", "middle", "tail"),
    [
        ("trim(", "kind", ")"),
        ("not ", "true", ""),
        ("not (", "true", ")"),
        ("true and (true or (", "true", "))"),
        ("(", "true", ")"),
    ],
)
def test_no_condition_is_deeper_than_mongodb_takes(head: str, middle: str, tail: str) -> None:
    """200 levels."""
    for times in range(1, 45):
        text = head * times + middle + tail * times
        found, status = tried("relations", f"length({text}) gt 5" if "trim" in head else text)
        assert depth_of(found) < 120 if status == 200 else (status == 400 and times > 12)


def test_no_id_is_null() -> None:
    assert translated("relations", "id eq null") == NOTHING
    assert translated("relations", "id ne null") == {}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("time gt 2026-03-02", "time is of the type time, and 2026-03-02 is not (write"),
        ("time in (2026-03-02)", "time is of the type time, and 2026-03-02 is not (write 2026-11-21T00:00:00Z)"),
        ("amount eq 'O''Neil'", "amount is of the type integer, and 'O''Neil' is not"),
        ("amount eq true", "amount is of the type integer, and true is not"),
        ("kind eq 5", "kind is of the type choice, and 5 is not"),
    ],
)
def test_a_value_that_does_not_fit_is_shown_as_it_was_written(text: str, written: str) -> None:
    with pytest.raises(ODataError, match=re.escape(written)):
        translated("relations", text)


def test_the_hint_for_a_day_is_a_day() -> None:
    with pytest.raises(ODataError, match=r"day is of the type day, and .* is not \(write 2026-11-21\)$"):
        translated("aggregates", "day ge 2026-05-01T00:00:00Z")


def test_after_a_place_in_an_order_with_nulls() -> None:
    order = [("a", -1), ("_id", 1)]
    assert after(order, (None, "x")) == {"$or": [{"$and": [{"a": {"$eq": None}}, {"_id": {"$gt": "x"}}]}]}
    assert after(order, (5, "x")) == {
        "$or": [
            {"$or": [{"a": {"$lt": 5}}, {"a": {"$eq": None}}]},
            {"$and": [{"a": {"$eq": 5}}, {"_id": {"$gt": "x"}}]},
        ]
    }


CURSORS = Cursors(OwnKey(), ["of a test"], "$skiptoken")


@pytest.mark.parametrize(
    "place",
    ['[{"$regularExpression": {"pattern": "x", "options": ""}}]', '[{"$gt": ""}]', "{}", "[1, 2]", "x", "5"],
)
def test_a_token_holds_nothing_but_values(place: str) -> None:
    dataset = DATASETS["relations"]
    columns = dataset.visible(personal=False)
    token = CURSORS.encode([1, 1, place, None, None])
    assert token is not None
    with pytest.raises(ODataError) as refused:
        options_of({"$skiptoken": token}, dataset, columns, Translator(dataset, columns, "default"), None, CURSORS)
    assert refused.value.target == "$skiptoken"


@pytest.mark.parametrize(("left", "count"), [(-1, None), (None, -5), (1.5, None), ("1", None)])
def test_a_token_counts_no_rows_that_there_cannot_be(left: Any, count: Any) -> None:
    dataset = DATASETS["relations"]
    columns = dataset.visible(personal=False)
    token = CURSORS.encode([1, 1, '["x"]', left, count])
    with pytest.raises(ODataError) as refused:
        options_of(
            {"$skiptoken": token or ""}, dataset, columns, Translator(dataset, columns, "default"), None, CURSORS
        )
    assert (refused.value.status, refused.value.target) == (400, "$skiptoken")


def test_a_token_brings_its_place_back() -> None:
    dataset = DATASETS["relations"]
    columns = dataset.visible(personal=False)
    place = (datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC), None, "default:ada:r1")
    token = Token(Timestamp(5, 6), place, 7, 8)
    given = {"$skiptoken": token.text(CURSORS), "$orderby": "time desc, amount"}
    options = options_of(given, dataset, columns, Translator(dataset, columns, "default"), None, CURSORS)
    assert options.token == token
    assert options.order == (("time", -1), ("amount", 1), ("_id", 1))


def test_the_model_follows_the_schema_of_the_standard() -> None:
    schema = etree.XMLSchema(etree.parse(ODATA / "edmx.xsd"))
    document = etree.fromstring(metadata())
    assert schema.validate(document), schema.error_log
    document.find(".//{*}Key").getparent().remove(document.find(".//{*}Key"))
    document.find(".//{*}Property").attrib.pop("Name")
    assert not schema.validate(document)  # the check can fail


def test_the_model_keeps_the_rules_that_a_schema_cannot_say() -> None:
    """CSDL 4.0: names that are simple identifiers and unique, keys of properties that are never null, types and
    annotation paths that exist."""
    document = etree.fromstring(metadata())
    types = {one.get("Name"): one for one in document.iter("{*}EntityType")}
    sets = {one.get("Name"): one for one in document.iter("{*}EntitySet")}
    assert set(sets) == set(SETS) == {"Relations", "Relationships", "Consumers", "Providers", "Aggregates"}
    for entities in sets.values():
        entity = types[entities.get("EntityType").removeprefix("Kith.")]
        properties = {one.get("Name"): one for one in entity.iter("{*}Property")}
        assert len(properties) == len(list(entity.iter("{*}Property")))
        assert all(re.fullmatch(r"[A-Za-z_]\w{0,127}", name) for name in [*properties, entity.get("Name")])
        for key in entity.iter("{*}PropertyRef"):
            assert properties[key.get("Name")].get("Nullable") == "false"
        for path in entities.iter("{*}PropertyPath"):
            assert path.text in properties
        assert {one.get("Type") for one in properties.values()} <= {
            *("Edm.String", "Edm.Int64", "Edm.Double", "Edm.Boolean", "Edm.DateTimeOffset", "Edm.Date"),
            "Collection(Edm.String)",
        }
    assert b"personal" not in metadata()


@pytest.mark.parametrize(
    ("accept", "format", "media_type"),
    [
        (None, None, "application/json;odata.metadata=minimal;charset=utf-8"),
        ("application/json;odata.metadata=none", None, "application/json;odata.metadata=none;charset=utf-8"),
        ("application/atom+xml, application/json;q=0.5", None, None),
        ("application/xml", "json", "application/json;odata.metadata=minimal;charset=utf-8"),
        (
            "application/json;odata.metadata=minimal;IEEE754Compatible=true",
            None,
            "application/json;odata.metadata=minimal;IEEE754Compatible=true;charset=utf-8",
        ),
    ],
)
def test_the_form_of_the_answer(accept: str | None, format: str | None, media_type: str | None) -> None:
    assert style_of(accept, format).media_type == (media_type or style_of(None, None).media_type)


def test_who_takes_no_json_is_refused() -> None:
    with pytest.raises(ODataError) as refused:
        style_of("application/atom+xml", None)
    assert refused.value.status == 406
