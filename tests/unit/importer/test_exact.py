"""Ids and numbers stay what they were: different ones stay different, or their rows are refused by name."""

import json
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.importer.draft import draft
from services.importer.json_rows import NotJson, read_json
from services.importer.numbers import multiply, to_decimal, to_int
from services.importer.times import parse
from services.importer.values import BadValue, to_id, to_plain, to_text
from tests.support.importer import Recorder, imported, rejected, visits


def lines(folder: Path, *texts: str, fields: str = "") -> tuple[Recorder, list[dict[str, object]]]:
    (folder / "v.jsonl").write_text("".join(f"{text}\n" for text in texts))
    mapping = visits(folder, "v.jsonl", fields=fields)
    report = imported(mapping, recorder := Recorder())
    assert report.read == len(texts)
    return recorder, rejected(mapping) if report.rejected else []


def test_ids_of_any_length_stay_different_and_floats_are_none(tmp_path: Path) -> None:
    ids = ["12345678901234567890123", "12345678901234567890124", "18446744073709551616", "1234", "007", '"007"']
    texts = [f'{{"who": {id}, "where": "p"}}' for id in ids if id != "007"]
    recorder, bad = lines(
        tmp_path, *texts, *(f'{{"who": {id}, "where": "p"}}' for id in ("1234.0", "1e3", "1.5", "true", "007"))
    )
    found = [one["data"]["consumer_id"] for one in recorder.events()]
    assert found == [id.strip('"') for id in ids if id != "007"]
    assert [(one["reason"], one["field"]) for one in bad] == [("invalid", "data.consumer_id")] * 4 + [
        ("not_json", None)
    ]


@pytest.mark.parametrize("field", ["traits.x = 'x'", "traits = 'all'"])
@pytest.mark.parametrize(
    ("number", "fits"),
    [
        ("9223372036854775807", True),
        ("9223372036854775808", False),
        ("-9223372036854775809", False),
        ("12345678901234567890.0", False),
        ("0.1", True),
        ("2.50", True),
        ("1e300", True),
        ("1e400", False),
        ("0.12345678901234567890123", False),
        ("[1, 12345678901234567890]", False),
        ('[1, "a", 2.5, true, null]', True),
    ],
)
def test_numbers_within_traits(tmp_path: Path, field: str, number: str, fits: bool) -> None:
    row = f'{{"who": "c", "where": "p", "x": {number}, "all": {{"x": {number}}}}}'
    recorder, bad = lines(tmp_path, row, fields=field)
    if fits:
        trait = recorder.events()[0]["data"]["traits"]["x"]
        expected = json.loads(number)
        assert trait in (
            expected,
            [one for one in expected if one is not None] if isinstance(expected, list) else None,
        )
    else:
        assert recorder.messages == []
        assert str(bad[0]["field"]).startswith("data.traits")
        assert "cannot be stored exactly" in str(bad[0]["detail"])
        assert "x" in f"{bad[0]['field']} {bad[0]['detail']}".replace("exactly", "")


@settings(max_examples=200)
@given(
    st.lists(
        st.integers() | st.decimals(allow_nan=False, allow_infinity=False), min_size=2, max_size=2, unique=True
    )
)
def test_two_numbers_never_become_one_id(pair: list[object]) -> None:
    found = []
    for number in pair:
        try:
            found.append(to_id(read_json(f"[{number}]")[0]))
        except BadValue:
            return
    assert found[0] != found[1]


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_kept_as_it_is_or_refused(number: float) -> None:
    try:
        kept = to_plain(read_json(json.dumps([number]))[0])
    except BadValue:
        assert isinstance(number, int)
        assert not -(2**63) <= number < 2**63
        return
    assert kept == number
    assert type(kept) is type(number)


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": "\\ud800"}',
        '{"a": 1} {"b": 2}',
        "{'a': 1}",
        '{"a": ' + "1" * 5_000 + "}",
        "[" * 100_000,
    ],
    ids=["twice", "NaN", "half a pair", "two", "quotes", "long", "deep"],
)
def test_what_has_no_one_meaning_is_no_json(line: str) -> None:
    with pytest.raises(NotJson):
        read_json(line)


@pytest.mark.parametrize(
    ("cell", "detail"),
    [
        ("4.91701E+11", "a spreadsheet has shortened"),
        ("4,91701E+11", "a spreadsheet has shortened"),
        ("5E+15", "a spreadsheet has shortened"),
        ("1.5e10", "a spreadsheet has shortened"),
        *(
            (number, "is a whole number written with decimals")
            for number in ("1234.0", "1234.00", "1234,0", "-5,000")
        ),
        ("#N/A", "is #N/A, which a spreadsheet shows"),
        ("#NV", "is #NV, which"),
        ("#DIV/0!", "is #DIV/0!, which"),
        ("########", "is ####, which"),
        *(
            (word, "is what stands for a missing value")
            for word in (
                "NULL",
                "nan",
                "None",
                "undefined",
                "N/A",
                "\\N",
                "(null)",
                "[object Object]",
                "-",
                "???",
                "--",
            )
        ),
    ],
)
def test_what_a_spreadsheet_has_spoilt_is_no_id(tmp_path: Path, cell: str, detail: str) -> None:
    (tmp_path / "v.csv").write_text(f"who;where\n{cell};p\n")
    mapping = visits(tmp_path, "v.csv", 'delimiter = ";"')
    assert imported(mapping).rejected == 1
    (bad,) = rejected(mapping)
    assert bad["field"] == "data.consumer_id"
    assert detail in bad["detail"]


@pytest.mark.parametrize(
    "cell",
    [
        "491701",
        "0049170",
        "12E4",
        "E10",
        "1.2.3",
        "a1E+5",
        "#17",
        "1e5",
        "nano",
        "Nul",
        "NA",
        "0",
        "-1",
        "😀",
        "…",
    ],
)
def test_what_only_looks_a_little_like_it_is_one(tmp_path: Path, cell: str) -> None:
    (tmp_path / "v.csv").write_text(f"who,where\n{cell},p\n", encoding="utf-8")
    imported(visits(tmp_path, "v.csv"), recorder := Recorder())
    assert recorder.events()[0]["data"]["consumer_id"] == cell


def test_a_mapping_may_say_that_it_is_text(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where\n1234.0,p\n4.9E+11,p\nNULL,p\n")
    mapping = visits(tmp_path, "v.csv")
    mapping.write_text(mapping.read_text().replace('"who"', '{ column = "who", type = "text" }'))
    assert imported(mapping).accepted == 3
    mapping.write_text(mapping.read_text().replace('"where"', '{ const = "-" }'))
    assert imported(mapping).accepted == 3, "the mapping's own word is what it means"
    mapping.write_text(mapping.read_text().replace('{ const = "-" }', '{ column = "where", map = { p = "n/a" } }'))
    assert imported(mapping).accepted == 3, "as is that of its map"


def test_a_telephone_number_that_lost_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("no,phone\n1,4.91701E+11\n2,+49 170 1\n")
    (tmp_path / "m.toml").write_text(
        '[[source]]\npath = "v.csv"\ntype = "consumer.upserted"\n'
        '[source.fields]\nconsumer_id = "no"\npersonal.phone = "phone"\n'
    )
    assert (imported(tmp_path / "m.toml").accepted, rejected(tmp_path / "m.toml")[0]["field"]) == (
        1,
        "data.personal.phone",
    )


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,25})?", fullmatch=True)


@given(NUMBERS)
@example("1e99999999999999999999")
@example("1e9999999")
@example("1e-999999999")
@example("0e9999999")
def test_any_number_is_kept_or_refused_in_every_field(text: str) -> None:
    try:
        value = read_json(text)
    except NotJson:
        return
    for factor in ("1", "100"):
        try:
            number = to_int(multiply(to_decimal(value), Decimal(factor)))
        except BadValue:
            continue
        # A Fraction of 0e9999999 would be made of a number with as many digits.
        assert number == (Fraction(text) * int(factor) if value else 0)
    for convert in (to_plain, to_id, to_text, partial(parse, form="unix")):
        with suppress(BadValue):
            convert(value)


def test_a_number_with_any_exponent_rejects_its_row_only_and_can_be_drafted(tmp_path: Path) -> None:
    rows = [
        f'{{"who": "c", "where": "p", "total": {number}}}'
        for number in ("1e99999999999999999999", "1e9999999", "5")
    ]
    fields = "amount = 'total'\ncurrency = { const = 'EUR' }"
    recorder, bad = lines(tmp_path, *rows, fields=fields)
    assert [one["data"]["amount"] for one in recorder.events()] == [5]
    assert [(one["reason"], one["field"]) for one in bad] == [("not_json", None), ("invalid", "data.amount")]
    assert "total" in draft(tmp_path / "v.jsonl")


@pytest.mark.parametrize("levels", [90, 101, 500, 900, 5_000, 100_000])
def test_a_deep_row_is_rejected_and_not_the_file(tmp_path: Path, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    recorder, bad = lines(
        tmp_path,
        f'{{"who": "c", "where": "p", "x": {deep}}}',
        '{"who": "d", "where": "p"}',
        fields="traits = { column = 'x' }",
    )
    assert [one["data"]["consumer_id"] for one in recorder.events()] == ["d"]
    assert [one["number"] for one in bad] == [1]
