"""Amounts are what was meant, or refused: never a hundred times as much."""

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer.mapping import MappingError
from services.importer.numbers import Style, decimals_of, to_decimal, to_int
from services.importer.values import BadValue
from shared.measures.currencies import DIGITS
from tests.support.importer import Recorder, imported, rejected, visits

GERMAN = Style(",", ".", decimals=2, exponent=False)
ENGLISH = Style(".", ",", decimals=2, exponent=False)
EVERY_NEGATIVE = ("minus", "trailing", "brackets")


@pytest.mark.parametrize(
    ("text", "style", "number"),
    [
        ("1.355,90", GERMAN, "1355.90"),
        ("1355,9", GERMAN, "1355.9"),
        ("12.345.678", GERMAN, "12345678"),
        ("-1.355,90", GERMAN, "-1355.90"),
        ("+5", GERMAN, "5"),
        (",50", GERMAN, "0.50"),
        ("1 355,90", Style(",", " "), "1355.90"),
        ("1\u00a0355\u00a0000,90", Style(",", " "), "1355000.90"),
        ("1\u202f355,90", Style(",", "\u00a0"), "1355.90"),
        ("1\u202f355,90", Style(",", "\u202f"), "1355.90"),
        ("1’355.90", Style(".", "’"), "1355.90"),
        ("1'355.90", Style(".", "’"), "1355.90"),
        ("1_355", Style(".", "_"), "1355"),
        ("\u22125,00", Style(",", negative=EVERY_NEGATIVE), "-5"),
        ("5,00-", Style(",", negative=EVERY_NEGATIVE), "-5"),
        ("5,00\u2212", Style(",", negative=EVERY_NEGATIVE), "-5"),
        ("(1.355,90)", GERMAN._replace(negative=EVERY_NEGATIVE), "-1355.90"),
    ],
)
def test_numbers_as_they_are_written(text: str, style: Style, number: str) -> None:
    assert to_decimal(text, style) == Decimal(number)


@pytest.mark.parametrize("text", ["12.50", "110.7", "1.2.3.4,5", ",5.0", "1.35,90", "0.500", "01.355", "1355.900"])
@pytest.mark.parametrize("flipped", [False, True])
def test_what_is_no_group_of_three_is_refused(text: str, flipped: bool) -> None:
    style = GERMAN
    if flipped:
        text, style = text.translate(str.maketrans(".,", ",.")), ENGLISH
    with pytest.raises(BadValue, match="is not a number"):
        to_decimal(text, style)


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("12,345", GERMAN),
        ("12,500", GERMAN),
        ("1.355,", GERMAN),
        ("1.355,90 ", GERMAN),
        ("1,355,90", GERMAN),
        ("1 355\u00a0000", Style(",", " ")),
        ("1.355'000", Style(",", ".")),
        ("12,34,567", ENGLISH),
        ("1e3", ENGLISH),
        ("1.5E+2", ENGLISH),
        ("١٢", ENGLISH),
        ("１２", ENGLISH),
        ("1²", ENGLISH),
        ("\u22125", ENGLISH),
        ("5-", ENGLISH),
        ("(5)", ENGLISH),
        ("-5-", ENGLISH._replace(negative=EVERY_NEGATIVE)),
        ("(-5)", ENGLISH._replace(negative=EVERY_NEGATIVE)),
        ("-(5)", ENGLISH._replace(negative=EVERY_NEGATIVE)),
        ("(5", ENGLISH._replace(negative=EVERY_NEGATIVE)),
        ("--5", ENGLISH),
        ("-", ENGLISH._replace(negative=EVERY_NEGATIVE)),
        ("()", ENGLISH._replace(negative=EVERY_NEGATIVE)),
        ("", ENGLISH),
        (".", ENGLISH),
        ("0x1", ENGLISH),
        ("€5", ENGLISH),
    ],
)
def test_what_may_mean_another_number_is_refused(text: str, style: Style) -> None:
    with pytest.raises(BadValue):
        to_decimal(text, style)


NUMBERS = st.decimals(-(10**12), 10**12, places=2, allow_nan=False, allow_infinity=False)


@given(
    NUMBERS,
    st.sampled_from([(".", ","), (",", "."), (",", " "), (",", "\u00a0"), (",", "\u202f"), (".", "\u2019")]),
)
def test_a_number_in_any_style_is_the_same_number(number: Decimal, marks: tuple[str, str]) -> None:
    point, thousands = marks
    text = f"{number:,.2f}".translate(str.maketrans(".,", f"{point}{thousands}"))
    assert to_decimal(text, Style(point, thousands, decimals=2, exponent=False)) == number


@given(NUMBERS)
def test_a_number_in_the_other_style_is_refused_or_the_same(number: Decimal) -> None:
    for text in (f"{number:,.2f}", str(number)):
        with suppress(BadValue):
            assert to_decimal(text, GERMAN) == number


@given(st.text(alphabet="0123456789.,-()\u2212 \u00a0e", max_size=12))
def test_whatever_is_read_has_the_digits_that_were_written(text: str) -> None:
    try:
        number = to_decimal(text, GERMAN._replace(negative=EVERY_NEGATIVE))
    except BadValue:
        return
    assert f"{abs(number):f}".replace(".", "").strip("0") == "".join(c for c in text if c.isdigit()).strip("0")
    assert not number or number.is_signed() == (text.lstrip("+0123456789.,") != "")


def amount(folder: Path, cell: str, spec: str, currency: str = "EUR") -> int | str:
    (folder / "v.csv").write_text(f"who;where;total\nc;p;{cell}\n")
    fields = f'amount = {{ column = "total", {spec} }}\ncurrency = {{ const = "{currency}" }}'
    mapping = visits(folder, "v.csv", 'delimiter = ";"', fields)
    imported(mapping, recorder := Recorder())
    if recorder.messages:
        return int(recorder.events()[0]["data"]["amount"])
    (bad,) = rejected(mapping)
    assert (bad["field"], cell.strip("()-") in bad["detail"]) == ("data.amount", False)
    return str(bad["detail"])


@pytest.mark.parametrize(
    ("cell", "spec", "found"),
    [
        ("1.355,90", 'scale = 100, decimal = ",", thousands = "."', 135590),
        ("(1.355,90)", 'scale = 100, decimal = ",", thousands = ".", negative = ["brackets"]', -135590),
        ("12,50", 'scale = 100, decimal = ","', 1250),
        ("12.5", "scale = 100", 1250),
        ("($ 5.00)", 'scale = 100, strip = "$", negative = ["brackets"]', -500),
        ("-$5.00", 'scale = 100, strip = "$"', -500),
        ("$-5.00", 'scale = 100, strip = "$"', -500),
        ("- 5,00 €", 'scale = 100, strip = "€", decimal = ","', -500),
        ("1,00,000.50", 'scale = 100, thousands = ",", groups = "indian"', 10000050),
        ("12,34,56,789", 'scale = 100, thousands = ",", groups = "indian"', 12345678900),
        ("99,999", 'scale = 100, thousands = ",", groups = "indian"', 9999900),
        ("500", 'scale = 100, thousands = ",", groups = "indian"', 50000),
        ("12.345", "scale = 100, round = true", 1234),
        ("1250", "scale = 1", 1250),
    ],
)
def test_amounts(tmp_path: Path, cell: str, spec: str, found: int) -> None:
    assert amount(tmp_path, cell, spec) == found


@pytest.mark.parametrize(
    ("cell", "spec", "detail"),
    [
        ("12.500", "scale = 100", "has 3 decimals, but at most 2 are expected"),
        ("1.000", "scale = 1", "has 3 decimals, but at most 0 are expected"),
        ("12.50", 'scale = 100, decimal = ",", thousands = "."', "separates groups of three digits"),
        ("1.25E+3", "scale = 100", "a number with an exponent"),
        ("5-", "scale = 100", "where this is a negative one, set negative"),
        ("1,00,000.50", 'scale = 100, thousands = ","', 'needs groups = "indian"'),
        ("100,000", 'scale = 100, thousands = ",", groups = "indian"', "groups of two digits and a last one"),
        ("1,234,567", 'scale = 100, thousands = ",", groups = "indian"', "groups of two digits and a last one"),
        ("-($5.00)", 'scale = 100, strip = "$", negative = ["brackets"]', "is not a number"),
        ("5 $ 00", 'scale = 100, strip = "$"', "is not a number"),
    ],
)
def test_amounts_that_are_refused(tmp_path: Path, cell: str, spec: str, detail: str) -> None:
    assert detail in str(amount(tmp_path, cell, spec))


def test_the_scale_says_how_many_decimals_there_may_be() -> None:
    found = [decimals_of(Decimal(text)) for text in ("1", "10", "100", "1E+3", "0.1", "50", "-100")]
    assert found == [0, 1, 2, 3, None, None, None]
    assert to_int(Decimal("12.0")) == 12


CURRENCIES = sorted(DIGITS.items())


def by_currency(folder: Path, cells: dict[str, str], scale: str) -> tuple[dict[str, int], dict[str, str]]:
    """The amounts of a file with one row per currency, and why the other rows are rejected."""
    lines = "".join(f"c;p;{cell};{code}\n" for code, cell in cells.items())
    (folder / "v.csv").write_text("who;where;total;code\n" + lines)
    fields = f'amount = {{ column = "total", scale = {scale} }}\ncurrency = "code"'
    mapping = visits(folder, "v.csv", 'delimiter = ";"', fields)
    report = imported(mapping, recorder := Recorder())
    bad = {one["row"]["code"]: one["detail"] for one in rejected(mapping)} if report.rejected else {}
    return {one["data"]["currency"]: one["data"]["amount"] for one in recorder.events()}, bad


def test_the_scale_of_a_currency_is_its_own(tmp_path: Path) -> None:
    cells = {code: "12." + "345678"[:digits] if digits else "12" for code, digits in CURRENCIES}
    found, bad = by_currency(tmp_path, cells, '"currency"')
    assert found == {code: int(cell.replace(".", "")) for code, cell in cells.items()}
    assert not bad
    # One decimal more than a currency has is another number than was meant, and QQQ is no currency.
    more = {code: f"12.{'345678'[: digits + 1]}" for code, digits in CURRENCIES} | {"QQQ": "12"}
    found, bad = by_currency(tmp_path, more, '"currency"')
    assert not found
    assert bad.keys() == more.keys()
    assert "no currency of ISO 4217" in bad["QQQ"]


def test_hundredths_of_every_currency_are_its_minor_units_as_in_tables_of_sap(tmp_path: Path) -> None:
    cells = {"JPY": "15.00", "KWD": "123.45", "EUR": "12.50", "HUF": "1500"}
    found, bad = by_currency(tmp_path, cells, '"hundredths"')
    assert (found, bad) == ({"JPY": 1_500, "KWD": 12_345, "EUR": 1_250, "HUF": 150_000}, {})
    _, bad = by_currency(tmp_path, {"KWD": "12.345"}, '"hundredths"')
    assert set(bad) == {"KWD"}


def test_two_decimals_for_every_currency_are_read(tmp_path: Path) -> None:
    """As databases write them: 1500.00 JPY. Three zeros may be a group of thousands, and a fixed scale says itself
    how many decimals there are."""
    cells = {"JPY": "1500.00", "KRW": "7.0", "VND": "12.000", "ISK": "5.50"}
    found, bad = by_currency(tmp_path, cells, '"currency"')
    assert found == {"JPY": 1500, "KRW": 7}
    assert bad.keys() == {"VND", "ISK"}
    assert "has 2 decimals" in str(amount(tmp_path, "1500.00", "scale = 1"))


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_one_scale_for_other_currencies_is_refused(tmp_path: Path, digits: int) -> None:
    """1500 JPY times 100 would be 150,000 JPY. What is meant is money in thousands, or ten thousands, of a
    currency without minor units."""
    found, bad = by_currency(tmp_path, {code: "15" for code, _ in CURRENCIES}, str(10**digits))
    meant = {code for code, has in CURRENCIES if digits == 1 or has == digits or (has == 0 and digits > 2)}
    assert found == dict.fromkeys(meant, 15 * 10**digits)
    assert bad.keys() == DIGITS.keys() - meant
    assert all('set scale = "currency"' in detail for detail in bad.values())


@pytest.mark.parametrize(
    "fields",
    [
        'traits.x = { column = "total", type = "int", scale = "currency" }',
        'amount = { column = "total", scale = "currency" }',
    ],
)
def test_only_an_amount_has_the_scale_of_its_currency(tmp_path: Path, fields: str) -> None:
    with pytest.raises(MappingError, match=r"is for fields\.amount beside fields\.currency"):
        imported(visits(tmp_path, "v.csv", "", fields))
