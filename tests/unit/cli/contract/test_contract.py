"""`kith contract`: what is published keeps what it promised, and a broken promise is found and named."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.cli.contract.command import contract_app
from services.cli.contract.compare import differences
from services.cli.contract.expectations import read_expectations, schema_of_example, schema_of_fields, verdicts
from services.cli.contract.keywords import Undecidable
from services.cli.contract.published import Published, read_folder, write_folder
from shared.access.apps.compliance import TOPICS
from shared.access.guard import Access
from shared.contracts.asyncapi import document
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import Topics
from tests.support.paths import ROOT
from tests.support.routes import bare

RELEASED = sorted((ROOT / "tests/data/expectations").glob("*/*"))
Json = dict[str, Any]


@pytest.fixture(scope="module")
def published() -> Published:
    """What the code of today publishes."""
    services = {name: app.openapi() for name, app in bare(Access()).items()}
    # As it is sent: without tuples.
    sent: Json = json.loads(json.dumps({"topics": document(Topics("kith"), "0.1.0"), "services": services}))
    return Published(sent["topics"], sent["services"])


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_was_expected_of_a_released_version_still_holds(file: Path, published: Published) -> None:
    found = list(verdicts(read_expectations(file), published))
    assert found
    assert {each.what: each.problems for each in found if each.problems} == {}


def test_every_version_has_examples_of_its_own() -> None:
    assert {file.parent.name for file in RELEASED} >= {"0.1.0"}


def test_every_answer_is_what_it_promises(published: Published) -> None:
    """The comparison knows whatever is published, and finds no difference where there is none."""
    for name, contract in published.contracts().items():
        if name not in ("topic consumers", "topic providers", "topic relations"):  # patternProperties of traits
            assert differences(contract.schema, contract.schema, contract.root, contract.root) == [], name


def test_every_type_of_delivery_is_published(published: Published) -> None:
    described = published.services["webhooks"]["webhooks"]
    changes = ("relation.changed", "consumer.changed", "provider.changed", "webhook.disabled", "webhook.test")
    types = (*changes, *TOPICS)
    assert set(described) == set(types)
    for type in types:
        names = {each["name"] for each in described[type]["post"]["parameters"]}
        assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= names


#: What happens to a promise, and what is said of it.
BROKEN = [
    (lambda p: p["properties"].pop("count"), "count: does not exist"),
    (lambda p: p["required"].remove("count"), "count: may be missing"),
    (lambda p: p["properties"].update(count={"type": "string"}), "count: may be string, and integer is expected"),
    (
        lambda p: p["properties"].update(count={"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}),
        "count: may be null, and integer is expected",
    ),
    (lambda p: p["properties"].update(kind={"type": "string"}), "kind: may have other values than 'a', 'b'"),
    (lambda p: p["properties"].update(kind={"enum": ["a", "b", "c"]}), "kind: may be 'c', too"),
    (lambda p: p["properties"]["at"].pop("format"), "at: format date-time is expected, and nothing is promised"),
    (
        lambda p: p["properties"]["items"]["items"]["properties"].pop("id"),
        "items[].id: does not exist",
    ),
    (lambda p: p["properties"]["count"].update(minimum=-1), "count: minimum 0 is expected, and it is -1"),
]
PROMISE: Json = {
    "type": "object",
    "required": ["count", "kind"],
    "properties": {
        "count": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["a", "b"]},
        "at": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
    },
    "$defs": {
        "Item": {"type": "object", "properties": {"id": {"type": "string"}, "of": {"$ref": "#/$defs/Item"}}}
    },
}
EXPECTED: Json = {
    "type": "object",
    "required": ["count"],
    "properties": {
        "count": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["a", "b"]},
        "at": {"format": "date-time", "type": "string"},
        "items": {"type": "array", "items": {"properties": {"id": {"type": "string"}}, "type": "object"}},
    },
}


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_broken_promise_is_named(change: Any, said: str) -> None:
    assert differences(EXPECTED, PROMISE, PROMISE, EXPECTED) == []
    changed = copy.deepcopy(PROMISE)
    changed["properties"]["items"]["items"] = copy.deepcopy(changed["$defs"]["Item"])
    change(changed)
    assert list(map(str, differences(EXPECTED, changed, changed, EXPECTED))) == [said]


def test_a_new_member_is_no_broken_promise() -> None:
    changed = copy.deepcopy(PROMISE)
    changed["properties"]["more"] = {"type": "string"}
    changed["required"].append("more")
    assert differences(EXPECTED, changed, changed, EXPECTED) == []
    closed = {**EXPECTED, "additionalProperties": False}
    said = [str(each) for each in differences(closed, changed, changed, closed)]
    assert said == ["more: exists, and no other members are expected"]


def test_a_member_that_a_part_of_the_promise_excludes_does_not_exist() -> None:
    parts: list[Json] = [
        {"properties": {"a": {}}, "additionalProperties": False},
        {"properties": {"b": {"type": "string"}}},
    ]
    promise: Json = {"type": "object", "allOf": parts}
    for word in ({"properties": {"b": {"type": "string"}}}, {"required": ["b"]}):
        expected: Json = {"type": "object", **word}
        said = [str(each) for each in differences(expected, promise, promise, expected)]
        assert said == ["b: does not exist"]
    closed: Json = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    assert differences(closed, promise, promise, closed) == []


def test_what_cannot_be_compared_is_refused_and_never_passes() -> None:
    wrong: list[Json] = [{"not": {"type": "string"}}, {"properties": {"a": {"contains": {}}}}, {"$ref": "o.json"}]
    for schema in wrong:
        with pytest.raises(Undecidable):
            differences(schema, {"type": "object", "properties": {"a": {"type": "array"}}}, {}, schema)


def test_an_example_and_names_say_what_is_read() -> None:
    example = schema_of_example({"count": 1, "at": None, "items": [{"id": "x"}]})
    assert differences(example, PROMISE, PROMISE, example, lenient=True) == []
    names = schema_of_fields(["items[].id", "kind"])
    assert differences(names, PROMISE, PROMISE, names, lenient=True) == []
    wrong = schema_of_fields(["items[].name", "kind.of"])
    said = [str(each) for each in differences(wrong, PROMISE, PROMISE, wrong, lenient=True)]
    assert said == ["items[].name: does not exist", "kind: may be string, and object is expected"]


SCALARS = st.sampled_from(["integer", "number", "string", "boolean", "null"])


def schemas(depth: int = 2) -> st.SearchStrategy[Json]:
    """Small schemas of the kind that is published."""
    simple = st.one_of(
        st.builds(lambda type: {"type": type}, SCALARS),
        st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-2, 2)),
        st.builds(lambda values: {"enum": sorted(values)}, st.sets(st.sampled_from("abc"), min_size=1)),
        st.builds(lambda type: {"type": ["null", type]}, SCALARS.filter(lambda type: type != "null")),
    )
    if depth == 0:
        return simple
    inner = schemas(depth - 1)
    objects = st.builds(
        lambda members, required: {
            "type": "object",
            "properties": members,
            "required": sorted(required & set(members)),
            "additionalProperties": False,
        },
        st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
        st.sets(st.sampled_from("xyz")),
    )
    return st.one_of(
        simple,
        objects,
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    )


def documents(schema: Json) -> st.SearchStrategy[Any]:
    """Documents that such a schema describes."""
    if "anyOf" in schema:
        return st.one_of(*map(documents, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if isinstance(schema["type"], list):
        return st.one_of(*(documents({"type": type}) for type in schema["type"]))
    if schema["type"] == "array":
        return st.lists(documents(schema["items"]), max_size=2)
    if schema["type"] == "object":
        members = {name: documents(each) for name, each in schema["properties"].items()}
        needed = {name: each for name, each in members.items() if name in schema["required"]}
        return st.fixed_dictionaries(needed, optional={n: m for n, m in members.items() if n not in needed})
    return {
        "integer": st.integers(schema.get("minimum", -3), 5),
        "number": st.floats(-3, 3),
        "string": st.sampled_from(["a", "b", "long"]),
        "boolean": st.booleans(),
        "null": st.none(),
    }[schema["type"]]


@given(schemas(), schemas(), st.data())
def test_what_holds_holds_of_every_document(promise: Json, other: Json, data: st.DataObject) -> None:
    """By another implementation of JSON Schema: no document of a promise breaks an expectation that holds."""
    expected = data.draw(st.sampled_from([other, {"anyOf": [other, promise]}, promise]))
    one = data.draw(documents(promise))
    assert jsonschema_rs.is_valid(promise, one)
    if differences(expected, promise, promise, expected) == []:
        assert jsonschema_rs.is_valid(expected, one)
    if expected is promise:
        assert differences(expected, promise, promise, expected) == []


#: What describes more than the expectation, in a way that the comparison might not see.
WIDER: list[tuple[str, Json, Any]] = [
    # Values that are known are held to bounds.
    (
        "maxLength 3 is expected, and it may be 'approved'",
        {"type": "string", "maxLength": 3},
        {"enum": ["approved"]},
    ),
    ("minLength 2 is expected, and it may be 'é'", {"minLength": 2}, {"enum": ["éa", "é"]}),
    ("minimum 10 is expected, and it may be 5", {"type": "integer", "minimum": 10}, {"const": 5}),
    ("exclusiveMaximum 5 is expected, and it may be 5", {"exclusiveMaximum": 5}, {"type": "integer", "const": 5}),
    ("multipleOf 0.1 is expected, and it may be 0.25", {"multipleOf": 0.1}, {"enum": [0.3, 0.25]}),
    ("pattern ^x is expected, and it may be 'ax'", {"pattern": "^x"}, {"enum": ["x", "ax"]}),
    ("format date is expected, and nothing is promised", {"format": "date"}, {"enum": ["2026-01-01"]}),
    ("maxItems 1 is expected, and it may be [1, 2]", {"maxItems": 1}, {"const": [1, 2]}),
    (
        "uniqueItems True is expected, and it may be [1, 1.0]",
        {"uniqueItems": True},
        {"enum": [[1, True], [1, 1.0]]},
    ),
    ("maxProperties 0 is expected, and it may be {'a': 1}", {"maxProperties": 0}, {"const": {"a": 1}}),
    ("maxLength 3 is expected, and it may be 'long'", {"maxLength": 3}, {"enum": ["long"], "minLength": 2}),
    # Of two that are stated of one place, both hold.
    (
        "minimum 5 is expected, and it is 1",
        {"allOf": [{"minimum": 1}, {"minimum": 5}]},
        {"type": "integer", "minimum": 1},
    ),
    (
        "maxLength 3 is expected, and it is 5",
        {"$ref": "#/$defs/Five", "maxLength": 3},
        {"type": "string", "maxLength": 5},
    ),
    ("may be 2, too", {"allOf": [{"enum": [1, 2]}, {"enum": [1, 3]}]}, {"enum": [1, 2]}),
    ("may be integer, and nothing is expected", {"const": 1, "enum": [2]}, {"const": 1}),
    (
        "a: may be integer, and nothing can be what is expected",
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "anyOf": [{"properties": {"a": {"type": "integer"}}}],
        },
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    ),
    (
        "b: may be string, and integer is expected",
        {
            "type": "object",
            "allOf": [
                {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
                {"properties": {"b": {}}},
            ],
        },
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
    ),
    (
        "[]: minimum 5 is expected, and it is 3",
        {"type": "array", "items": {"minimum": 3}, "anyOf": [{"items": {"minimum": 5}}]},
        {"type": "array", "items": {"type": "integer", "minimum": 3}},
    ),
    # True is not 1, wherever it is.
    ("may be [True], too", {"enum": [[1]]}, {"const": [True]}),
    # What may be beside the members that are named.
    (
        "*: may be anything, and nothing can be what is expected",
        {"additionalProperties": False},
        {"type": "object"},
    ),
    (
        "*: may be anything, and nothing can be what is expected",
        {"type": "object", "additionalProperties": False},
        {"type": "object", "properties": {}, "patternProperties": {"^x": True}, "additionalProperties": False},
    ),
    (
        "[]: may be string, and integer is expected",
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
    ),
    ("may be string, and nothing can be what is expected", {"type": []}, {"type": "string"}),
    ("may be 'b', too", {"enum": ["a"]}, {"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "a", "c"]}]}),
]
DEFS: Json = {"$defs": {"Five": {"type": "string", "maxLength": 5}}}


@pytest.mark.parametrize(
    ("said", "expected", "promise"), WIDER, ids=lambda each: each if isinstance(each, str) else ""
)
def test_what_is_wider_than_the_expectation_never_holds(said: str, expected: Json, promise: Json) -> None:
    found = differences(expected, promise, promise, expected | DEFS)
    assert [str(each).removeprefix("the document: ") for each in found] == [said]


@pytest.mark.parametrize(
    ("expected", "promise"),
    [
        ({"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"}, {"enum": ["a", "abc"]}),
        ({"type": "string", "format": "date"}, {"enum": ["2026-01-01"], "format": "date"}),
        ({"type": "number", "multipleOf": 0.1, "minimum": 0.3}, {"enum": [0.3, 1, 2.0]}),
        ({"enum": [1]}, {"const": 1.0, "type": "integer"}),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"allOf": [{"minimum": 1}, {"minimum": 5}, {"type": ["number"]}]}, {"type": "integer", "minimum": 5}),
        ({"type": "integer"}, {"allOf": [{"type": "number"}, {"type": "integer"}]}),
        ({"type": "array", "uniqueItems": True, "maxItems": 2}, {"const": [1, True]}),
        (
            {"type": "object", "properties": {"a": False}},
            {"type": "object", "properties": {"b": {"type": "string"}}},
        ),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"type": ["string", "null"]}),
        (
            {"oneOf": [{"type": "object", "properties": {"t": {"const": of}}, "required": ["t"]} for of in "ab"]},
            {"type": "object", "properties": {"t": {"const": "b"}}, "required": ["t"]},
        ),
    ],
)
def test_what_is_as_narrow_as_the_expectation_holds(expected: Json, promise: Json) -> None:
    assert differences(expected, promise, promise, expected) == []


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf of alternatives that may overlap"),
        ({"oneOf": [{"type": "object", "properties": {"t": {"const": of}}} for of in "ab"]}, "may overlap"),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "pattern is stated twice"),
        ({"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}, "too deep"),
        ({"$ref": "#/$defs/List", "$defs": {"List": []}}, "leads to no schema"),
        ({"maxLength": "3"}, "maxLength cannot be '3'"),
        ({"type": "text"}, "type cannot be 'text'"),
        ({"properties": {"a": 5}}, "properties cannot be"),
        ({"type": "string", "pattern": "(?!"}, "pattern '"),
        ({"type": "string", "pattern": r"\w"}, "is not compared with 'é'"),
    ],
)
def test_what_cannot_be_decided_of_known_words_is_refused(expected: Json, said: str) -> None:
    promise = {"enum": ["é"]} if expected.get("type") == "string" else {"type": "number"}
    with pytest.raises(Undecidable, match=re.escape(said)):
        differences(expected, promise, {}, expected)


VALUES = [
    None,
    True,
    0,
    1,
    1.0,
    2,
    2.5,
    "",
    "a",
    "ab",
    "long",
    [],
    [1],
    [True, 1],
    ["a", "a"],
    {},
    {"x": 1},
    {"x": "a", "y": 2},
]
_BOUNDS: list[Json] = [
    *(
        {word: bound}
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        for bound in (1, 2)
    ),
    *(
        {word: bound}
        for word in ("minLength", "maxLength", "minItems", "maxItems", "maxProperties")
        for bound in (1, 2)
    ),
    *({"pattern": "^a"}, {"multipleOf": 2}, {"uniqueItems": True}),
]


def any_schemas(depth: int = 2) -> st.SearchStrategy[Any]:
    """Schemas of all words that are compared, sensible or not."""
    simple = st.one_of(
        st.booleans(),
        st.builds(lambda type: {"type": type}, SCALARS),
        st.builds(lambda types: {"type": types}, st.lists(SCALARS, min_size=1, max_size=2, unique=True)),
        st.sampled_from(_BOUNDS),
        st.builds(lambda value: {"const": value}, st.sampled_from(VALUES)),
        st.builds(lambda values: {"enum": values}, st.lists(st.sampled_from(VALUES), max_size=3)),
    )
    if depth == 0:
        return simple
    inner = any_schemas(depth - 1)
    several = st.lists(inner, min_size=1, max_size=2)
    parts = st.one_of(
        simple,
        st.builds(lambda word, each: {word: each}, st.sampled_from(["anyOf", "oneOf", "allOf"]), several),
        st.builds(lambda each: {"type": "array", "items": each}, inner),
        st.builds(
            lambda members, needed, others: {
                "type": "object",
                "properties": members,
                "required": needed,
                "additionalProperties": others,
            },
            st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
            st.lists(st.sampled_from("xy"), max_size=1),
            inner,
        ),
    )
    both = st.builds(
        lambda one, other: other if isinstance(one, bool) else one if isinstance(other, bool) else one | other,
        parts,
        parts,
    )
    return st.one_of(parts, both)


@given(any_schemas(), any_schemas())
def test_nothing_that_holds_is_broken_by_a_value(promise: Any, other: Any) -> None:
    for expected in (other, promise, {"anyOf": [other, promise]}):
        try:
            found = differences(expected, promise, {}, {})
        except Undecidable:
            continue
        if not found:
            for value in VALUES:
                if jsonschema_rs.is_valid(promise, value):
                    assert jsonschema_rs.is_valid(expected, value), (expected, promise, value)


def test_the_command_checks_a_saved_version(tmp_path: Path, published: Published) -> None:
    write_folder(published, tmp_path / "saved")
    assert read_folder(tmp_path / "saved") == published
    run = CliRunner().invoke
    good = run(contract_app, ["check", *map(str, RELEASED), "--from", str(tmp_path / "saved")])
    assert good.exit_code == 0, good.output
    assert "holds   webhook relation.changed" in good.output
    expected = {
        "reads": [{"contract": "topic relation-change", "fields": ["x"]}],
        "sends": [{"example": {"id": "1"}}],
    }
    (tmp_path / "wrong.json").write_text(json.dumps(expected))
    bad = run(contract_app, ["check", str(tmp_path / "wrong.json"), "--from", str(tmp_path / "saved"), "--json"])
    assert bad.exit_code == 1
    [first, second] = json.loads(bad.output)["expectations"]
    assert first["problems"] == ["there is no such contract; did you mean 'topic relation-changes'?"]
    assert second["problems"]
    listed = run(contract_app, ["list", "--from", str(tmp_path / "saved")]).output.split("\n")
    assert "relations GET /v1/relationships/{consumer_id}/{provider_id}" in listed


def test_expectations_of_another_team_control_no_terminal(tmp_path: Path, published: Published) -> None:
    write_folder(published, tmp_path / "saved")
    hostile = "ada\x1b[2J\x9b5A"
    reads = [
        {"contract": f"topic {hostile}", "fields": ["x"]},
        {"contract": "topic relation-changes", "fields": [hostile]},
    ]
    (tmp_path / "theirs.json").write_text(json.dumps({"reader": hostile, "reads": reads}))
    theirs = [str(tmp_path / "theirs.json"), "--from", str(tmp_path / "saved")]
    told = CliRunner().invoke(contract_app, ["check", *theirs])
    assert (told.exit_code, told.output.count("broken")) == (1, 2), told.output
    assert told.output.count("ada") >= 3
    assert not {"\x1b", "\x9b"} & set(told.output)


def test_the_file_of_the_guide_holds(tmp_path: Path, published: Published) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/how-to/contracts.md").read_text(), re.DOTALL)
    (tmp_path / "billing.toml").write_text(block)
    found = list(verdicts(read_expectations(tmp_path / "billing.toml"), published))
    assert {each.what: each.problems for each in found if each.problems} == {}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "neither `reads` nor `sends`"),
        ("{", "neither TOML .* nor JSON"),
        ('{"reads": {}}', "reads is no list"),
        ('{"reads": [{"fields": ["a"]}]}', r"reads\[0\] names no contract"),
        ('{"reads": [{"contract": "x"}]}', r"reads\[0\] has to have contract, and one of fields"),
        ('{"reads": [{"contract": "x", "fields": "a"}]}', r"reads\[0\]: fields is no list"),
        ('{"sends": [{}]}', r"sends\[0\] has to be"),
        ('{"sends": [], "more": 1}', "more is unknown"),
    ],
)
def test_a_file_that_is_no_expectation_is_refused_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "expected.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_expectations(file)
