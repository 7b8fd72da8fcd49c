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
from services.cli.contract.compare import Undecidable, differences
from services.cli.contract.expectations import read_expectations, schema_of_example, schema_of_fields, verdicts
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
