"""The one table of currencies, against ISO 4217 as published, and money as people read it."""

from decimal import Decimal
from pathlib import Path

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.analytics.dashboard as dashboard
from shared.measures.currencies import DIGITS, javascript, major, named

PUBLISHED = {currency.code: currency.exponent for currency in iso4217.Currency}


def test_the_table_is_that_of_iso_4217() -> None:
    assert {code: DIGITS.get(code) for code in PUBLISHED} == {
        # "N.A.": no minor unit, so that the unit itself is counted.
        code: digits or 0
        for code, digits in PUBLISHED.items()
    }
    withdrawn = {"ANG", "BGN", "BYR", "CUC", "HRK", "LTL", "MRO", "SLL", "STD", "VEF", "ZWL"}
    assert DIGITS.keys() - PUBLISHED.keys() == withdrawn


def test_the_page_has_the_same_table() -> None:
    file = Path(dashboard.__file__).parent / "static" / "currencies.js"
    assert file.read_text() == javascript(), f"python -m shared.measures.currencies > {file}"


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (362260, "EUR", "3,622.60"),
        (362260, "HUF", "3,622.60"),
        (362260, "IDR", "3,622.60"),
        (362260, "JPY", "362,260"),
        (362260, "KRW", "362,260"),
        (362260, "BHD", "362.260"),
        (362260, "KWD", "362.260"),
        (362260, "CLF", "36.2260"),
        (362260, "UYW", "36.2260"),
        (7, "XAU", "7"),
        (7, "XXX", "7"),
        (362260, "QQQ", "362,260"),
        (0, "EUR", "0.00"),
        (-5, "EUR", "-0.05"),
        (-5, "CLF", "-0.0005"),
        (-1_250_000, "CHF", "-12,500.00"),
        (3622.5, "EUR", "36.22"),
        (3622.51, "EUR", "36.23"),
        (-0.2, "EUR", "0.00"),
        (10**12, "EUR", "10,000,000,000.00"),
        (1250, None, "1,250"),
    ],
)
def test_money_has_the_digits_of_its_currency(minor: float, currency: str | None, shown: str) -> None:
    assert major(minor, currency) == shown


def test_an_unknown_currency_says_that_its_money_is_in_minor_units() -> None:
    assert named("EUR") == "EUR"
    assert named("XXX") == "XXX"
    assert named("QQQ") == "QQQ (minor units)"


@given(st.integers(-(10**18), 10**18), st.sampled_from(sorted(DIGITS)))
def test_whole_minor_units_are_shown_exactly(minor: int, currency: str) -> None:
    shown = major(minor, currency)
    assert Decimal(shown.replace(",", "")).scaleb(DIGITS[currency]) == minor
    assert len(shown.partition(".")[2]) == DIGITS[currency]
