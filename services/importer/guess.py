"""Guesses the roles of a file's columns from their names and values. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date
from decimal import Decimal
from typing import Any, NamedTuple

from services.importer.numbers import Style, to_decimal
from services.importer.times import is_midnight, parse, to_time
from services.importer.values import BadValue, Unreadable
from shared.measures.currencies import DIGITS

#: Maps a role to words in column names, in English and German. The earlier role and the earlier word win.
_NAMES: Mapping[str, str] = {
    "changed": "updated updatedat updatedon modified modifiedat lastmodified changed changedat "
    "lastchanged geaendert",
    "time": "date time datetime timestamp orderdate orderedat ordered visited visitdate created "
    "createdat day when occurredat purchasedate invoicedate transactiondate bookingdate ts datum zeit "
    "zeitpunkt bestelldatum rechnungsdatum buchungsdatum",
    "email": "email mail emailaddress",
    "phone": "phone telephone mobile phonenumber tel telefon handy",
    "name": "name fullname customername firstname lastname vorname nachname surname",
    "address": "address street postcode zip zipcode postalcode adresse strasse plz",
    "consumer": "consumerid consumer customerid customerno customer clientid client userid user "
    "buyerid buyer memberid member guestid guest patientid contactid subscriberid who "
    "kundennr kundennummer kunde kundenid",
    "provider": "providerid provider shopid shop storeid store merchantid merchant vendorid vendor "
    "sellerid seller supplierid supplier restaurantid restaurant placeid place venueid "
    "venue branchid branch companyid company doctor where laden haendler filiale",
    "relation": "relationid orderid orderno ordernumber order invoiceid invoiceno invoice "
    "transactionid transaction reviewid visitid bookingid bestellnr bestellnummer "
    "rechnungsnr id no nr number nummer",
    "amount": "amount total totalamount amountvalue grandtotal ordertotal totalprice sum price revenue gross net "
    "betrag summe preis umsatz",
    "currency": "currency currencycode waehrung",
    "rating": "rating stars score bewertung sterne",
    "text": "comment review text note notes message remark kommentar bemerkung",
    "city": "city town ort stadt",
    "region": "region state province bundesland",
    "country": "country countrycode land",
    "lat": "lat latitude",
    "lon": "lon lng long longitude",
}
#: Roles that identify a person.
PERSONAL = ("name", "email", "phone", "address")
_FORMS = (
    None,
    *(
        f"{day}{clock}"
        for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y", "%m/%d/%y")
        for clock in ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
    ),
    "%Y%m%d",
    "unix",
    "unix_ms",
)
_STYLES = (
    Style(),
    Style(","),
    Style(".", ","),
    Style(",", "."),
    Style(",", " "),
    Style(".", "'"),
    Style(".", " "),
    Style(".", ",", indian=True),
)
_NEGATIVE = ("minus", "trailing", "brackets")
#: What stands beside amounts → the currency that it likely means. Dollars, pesos and crowns share theirs.
_SIGNS: Mapping[str, str] = {
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "₩": "KRW",
    "₺": "TRY",
    "₽": "RUB",
    "₴": "UAH",
    "₫": "VND",
    "₪": "ILS",
    "$": "USD",
    "zł": "PLN",
    "Kč": "CZK",
    "kr": "SEK",
    "Ft": "HUF",
    "Rs": "INR",
}
_BESIDE = re.compile(rf"\b[A-Z]{{3}}\b|{'|'.join(map(re.escape, _SIGNS))}")
_CODES = [*DIGITS, *(code.lower() for code in DIGITS if code not in ("ALL", "CUP", "MAD", "PEN", "TOP", "TRY"))]
#: The code or sign of a currency at the end of a column's name.
_CODED = re.compile(rf"(?<=[^A-Za-z])({'|'.join([*_CODES, *map(re.escape, _SIGNS)])})[\])]?\s*$")
_MISSING = ("?", "-", "--", "n/a", "N/A", "NA", "NULL", "null", "None", "nan", "NaN", "#N/A", "\\N")


class Number(NamedTuple):
    """The notation of a column's amounts. ``whole``: none of them has decimals. ``currency``: which one the sign
    beside most of them means. ``other``: a notation in which the amounts would be as many others."""

    style: Style
    strip: str
    whole: bool
    currency: str | None = None
    other: Style | None = None


def roles(columns: Sequence[str]) -> dict[str, list[str]]:
    """Maps a role to its likely columns, the likeliest first. Each column has one role at most."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for position, column in enumerate(columns):
        plain = re.sub(r"[^a-z0-9]", "", _latin(column.rpartition(".")[2]).casefold())
        whole = re.sub(r"[^a-z0-9]", "", _latin(column).casefold())
        named = {plain, whole}
        bare = re.sub(r"[^a-z0-9]", "", _latin(_CODED.sub("", column)).casefold())
        for role, words in _NAMES.items():
            known = named | {bare} if role == "amount" else named
            ranks = [rank for rank, word in enumerate(words.split()) if word in known]
            if ranks:
                found.setdefault(role, []).append((ranks[0], position, column))
                break
    return {role: [column for *_, column in sorted(ranked)] for role, ranked in found.items()}


def code_of(column: str) -> str | None:
    """The currency that a column's name ends with: EUR of "total_eur", "Total (EUR)" and "Total €"."""
    found = _CODED.search(column)
    return None if found is None else _SIGNS.get(found[1], found[1].upper())


def is_data(cells: Sequence[str]) -> bool:
    """Whether the first row of a file is more likely data than a header."""
    filled = _filled(cells)
    if not filled or roles(filled):
        return False
    return any("@" in cell or _is_number(cell) or any(_fits(cell, form) for form in _FORMS) for cell in filled)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?\d+[.,]\d+", cell, re.ASCII) is not None


def _latin(text: str) -> str:
    for letter, written in (
        ("ä", "ae"),
        ("ö", "oe"),
        ("ü", "ue"),
        ("ß", "ss"),
        ("Ä", "ae"),
        ("Ö", "oe"),
        ("Ü", "ue"),
    ):
        text = text.replace(letter, written)
    return text


def time_form(values: Iterable[Any]) -> tuple[str | None, tuple[str, ...]] | None:
    """The format that fits the most values (at least half), and others that fit as many; None if none does."""
    values = _filled(values)
    fitting = {form: sum(_fits(value, form) for value in values) for form in _FORMS}
    most = max(fitting.values())
    if not values or most * 2 < len(values):
        return None
    best = [form for form, count in fitting.items() if count == most]
    return best[0], tuple(str(form) for form in best[1:])


def are_midnights(values: Iterable[Any], form: str | None) -> bool:
    """Whether all times that are in ``form`` are midnight: likely days."""
    found = []
    for value in _filled(values):
        with suppress(BadValue):
            found.append(is_midnight(parse(value, form)))
    return bool(found) and all(found)


def _fits(value: Any, form: str | None) -> bool:
    if isinstance(value, date):
        return form is None
    if isinstance(value, bool) or (form not in ("unix", "unix_ms") and not isinstance(value, str)):
        return False
    try:
        # Before 2000 and after 2100, digits are more likely something else.
        return "2000" <= to_time(value, form, UTC) < "2100" or form not in ("unix", "unix_ms", "%Y%m%d")
    except BadValue:
        return False


def number_form(values: Iterable[Any], decimals: int = 2) -> Number | None:
    """The notation of a column's numbers, if at least half of its values are numbers. ``decimals`` is the number
    of decimals that they have at most."""
    values = _filled(values)
    sign = _commonest(found for value in values if isinstance(value, str) for found in _BESIDE.findall(value))
    beside = f"{sign or ''} \u00a0\u202f"
    cells = [value.strip(beside) if isinstance(value, str) else value for value in values]
    fitting: dict[Style, list[Decimal]] = {}
    for style in _STYLES:
        written = style._replace(decimals=decimals, zeros=True, signs=beside)
        fitting[style] = [number for cell in cells if (number := _number(cell, written)) is not None]
    best = max(_STYLES, key=lambda style: len(fitting[style]))  # the first of those that fit as many
    numbers = fitting[best]
    if not numbers or len(numbers) * 2 < len(values):
        return None
    whole = all(number == int(number) for number in numbers)
    return Number(best, sign or "", whole, _SIGNS.get(sign or "", sign), _other(cells, best, numbers, beside))


def _other(cells: list[Any], best: Style, numbers: list[Decimal], beside: str) -> Style | None:
    """Another notation, perhaps with three decimals, in which as many cells are numbers, and some are others."""
    for style in _STYLES:
        written = style._replace(decimals=3, signs=beside)
        found = [number for cell in cells if (number := _number(cell, written)) is not None]
        if style != best and len(found) >= len(numbers) and sum(found) != sum(numbers):
            return style
    return None


def _commonest(signs: Iterable[str]) -> str | None:
    """The commonest sign or code of a currency."""
    counted = Counter(sign for sign in signs if sign in _SIGNS or sign in DIGITS)
    return counted.most_common(1)[0][0] if counted else None


def _number(value: Any, style: Style) -> Decimal | None:
    try:
        return to_decimal(value, style._replace(negative=_NEGATIVE, exponent=False))
    except BadValue:
        return None


def negatives(values: Iterable[Any]) -> list[str]:
    """The negative notations besides ``-5`` in a column."""
    text = [value.strip() for value in values if isinstance(value, str)]
    found = {
        "minus": any("\u2212" in value for value in text),
        "trailing": any(re.fullmatch(r".*\d\s*[-\u2212]", value) for value in text),
        "brackets": any(re.fullmatch(r"\(.*\d.*\)", value) for value in text),
    }
    return [form for form, there in found.items() if there]


def missing(cells: Iterable[Any]) -> list[str]:
    """The values that likely mean a missing one, the empty one first."""
    seen = {
        cell.text if isinstance(cell, Unreadable) else cell.strip()
        for cell in cells
        if isinstance(cell, str | Unreadable)
    }
    return ["", *(word for word in _MISSING if word in seen)]


def _filled(values: Iterable[Any]) -> list[Any]:
    found = [value.strip() if isinstance(value, str) else value for value in values]
    return [
        value
        for value in found
        if value is not None and value != "" and value not in _MISSING and not isinstance(value, Unreadable)
    ]
