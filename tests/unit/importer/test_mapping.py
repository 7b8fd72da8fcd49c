"""Mistakes in a mapping are told with file, table and key; the schema's paths are all known."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from services.importer.mapping import MappingError, load
from services.importer.targets import CONTAINERS, data_model, target_of
from shared.contracts.events import EVENT_TYPES, ConsumerLocation, Location
from tests.support.importer import visits, write_mapping


def error_of(path: Path) -> str:
    with pytest.raises(MappingError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        (
            "delimeter = ';'",
            "",
            "1 (v.csv): delimeter: is not a key of this table; did you mean delimiter?",
        ),
        ("delimiter = ';;'", "", "delimiter: String should have at most 1 character"),
        ("encoding = 'latin-99'", "", "encoding: is not a known encoding"),
        ("encoding = 'rot13'", "", "encoding: is not a known encoding"),
        ("encoding = 'hex'", "", "encoding: is not a known encoding"),
        ("encoding = 'zlib_codec'", "", "encoding: is not a known encoding"),
        ("encoding = 'undefined'", "", "encoding: is not a known encoding"),
        ("format = 'xml'", "", "format: should be 'csv', 'debezium', 'jsonl', 'parquet', 'sqlite' or 'xlsx'"),
        ("format = 'sqlite'", "", "SQLite needs either table or query"),
        ("table = 't'", "", "table and query are for SQLite only"),
        ("header_row = 0", "", "header_row: should be greater than or equal to 1"),
        (
            "header = false\nheader_row = 2\ncolumns = ['a']",
            "",
            "header_row is for CSV and Excel files with a header",
        ),
        ("format = 'jsonl'\nshort_rows = true", "", "short_rows is for CSV files only"),
        ("header = false", "", "a file without a header line (header = false) needs columns"),
        ("tenant = 'No Spaces'", "", "tenant: String should match pattern"),
        ("timezone = 'Mars/Base'", "", "timezone: is not a time zone"),
        ("", "rating = { colum = 'x' }", "fields.rating.colum: is not a key of this table; did you mean column?"),
        ("", "rating = { column = 'x', const = 3 }", "needs exactly one of column, const, template and collect"),
        ("", "rating = {}", "fields.rating: needs exactly one of"),
        ("", "rate = 'x'", "fields.rate: relation.recorded has no rate; it has relation_id, kind"),
        ("", "rating.food = 'x'", "fields.rating.food: is not a key of this table"),
        ("", "'rating.food' = 'x'", "fields.rating.food: rating has no parts"),
        ("", "location.city = 'x'", "fields.location.city: relation.recorded has no location"),
        ("", "traits.'a b' = 'x'", "fields.traits.a b: a name is a letter followed by"),
        ("", "'traits.a' = 'x'\ntraits.a = 'y'", "fields: traits.a appears twice"),
        ("", "traits = 'x'\n'traits.a' = 'y'", "fields.traits.a: traits is given as a whole as well"),
        ("", "rating = { column = 'x', type = 'text' }", "fields.rating: type: this field is always int"),
        ("", "traits.a = { column = 'x', scale = 2 }", "fields.traits.a: multiply, scale, round"),
        (
            "",
            "traits.a = { column = 'x', format = '%Y' }",
            "fields.traits.a: format, timezone and day are for times",
        ),
        ("", "traits.a = { collect = 'c' }", "fields.traits.a: there is no [source.collect.c]"),
        ("", "text = { column = 'x', map = 'm' }", "fields.text.map: there is no [maps.m]"),
        ("", "text = { column = 'x', unmapped = 'reject' }", "fields.text: ignore_case and unmapped need a map"),
        ("", "text = { template = 'x' }", "fields.text: template: names no {column}"),
        ("", "text = { column = 'x', decimal = ',', thousands = ',' }", "are the same character"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, options: str, fields: str, message: str) -> None:
    assert message in error_of(visits(tmp_path, "v.csv", options, fields))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[source", "is not TOML in UTF-8"),
        ("", "source: is required"),
        ("source = []", "source: List should have at least 1 item"),
        ("sauce = 1", "sauce: is not a key of this table; did you mean source?"),
        ("[defaults]\ndelim = ';'", "defaults.delim: is not a key of this table"),
        (
            "[[source]]\npath = 'a.xls'",
            '(a.xls): the ending ".xls" of path is unknown (save it as .xlsx)',
        ),
        ("[[source]]\npath = 'a.csv'\ntype = 'x'", "[[source]] 1 (a.csv): type: is not one of consumer.upserted"),
        ("[[source]]\npath = 'a.csv'", "[[source]] 1 (a.csv): fields: is required"),
        (
            "[[source]]\npath = 'a.csv'\ntime = 'x'\ntype = 'relation.recorded'\nfields.kind = 'x'",
            "[[source]] 1 (a.csv): fields.consumer_id: relation.recorded needs it",
        ),
    ],
)
def test_mistakes_of_the_whole(tmp_path: Path, text: str, message: str) -> None:
    assert message in error_of(write_mapping(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert error_of(tmp_path / "no.toml").endswith("no.toml: cannot be read: No such file or directory")


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    text = visits(tmp_path, "v.csv").read_text()
    assert 'two sources are called "v"' in error_of(write_mapping(tmp_path, text + text))


def test_defaults_hold_unless_a_source_or_a_collection_says_otherwise(tmp_path: Path) -> None:
    options = """
    missing = ["-"]
    [source.collect.tags]
    path = "tags.tsv"
    key = "k"
    value = "v"
    delimiter = "|"
    """
    mapping = visits(tmp_path, "v.csv", options, "traits.tags = { collect = 'tags' }")
    defaults = "[defaults]\ndelimiter = ';'\nencoding = 'cp1252'\ntenant = 'acme'\nmissing = ['?']\n"
    source = load(write_mapping(tmp_path, defaults + mapping.read_text())).source[0]
    assert (source.delimiter, source.encoding, source.missing) == (";", "cp1252", ["-"])
    assert (source.tenant, source.name, source.source) == ("acme", "v", "mapping/v")
    tags = source.collect["tags"]
    assert (tags.path, tags.delimiter, tags.encoding, tags.missing) == (
        tmp_path / "tags.tsv",
        "|",
        "cp1252",
        ["-"],
    )


def kind_in_schema(schema: dict[str, Any]) -> str:
    """The kind of value that a property of a JSON Schema takes, apart from null and what Kith has sealed."""
    schemas = [
        one
        for one in schema.get("anyOf", [schema])
        if one.get("type") != "null" and not one.get("pattern", "").startswith("^kith1")
    ]
    assert len(schemas) == 1
    if schemas[0].get("format") == "date-time":
        return "time"
    names = {"string": "text", "integer": "int", "number": "float", "boolean": "bool", "array": "list"}
    return names.get(schemas[0].get("type", ""), "object")


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_kinds_of_all_fields_are_those_of_the_schema(event_type: str) -> None:
    for name, schema in data_model(event_type).model_json_schema()["properties"].items():
        assert target_of(name) == kind_in_schema(schema), name
        assert (name in CONTAINERS) == (target_of(name) == "object"), name


def _properties(model: type[BaseModel]) -> list[tuple[str, dict[str, Any]]]:
    return list(model.model_json_schema()["properties"].items())


def test_the_kinds_of_a_location_are_those_of_the_schema() -> None:
    for name, schema in [*_properties(Location), *_properties(ConsumerLocation)]:
        assert target_of(f"location.{name}") == kind_in_schema(schema), name
