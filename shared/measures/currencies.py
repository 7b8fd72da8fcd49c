"""How many decimals money has: the one table of ISO 4217, for commands, services and the page. Pure.

Kith keeps money in minor units. The number of digits between a minor unit and its currency differs between
currencies, and between sources: browsers and CLDR round by custom (HUF, IDR, ISK …), ISO 4217 says what a minor
unit is. Source: list one of ISO 4217, published on 2026-01-01. ``tests/unit/measures/test_currencies.py`` holds
the table equal to the package ``iso4217``, and the page's table equal to this one.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

#: Codes by the digits of their minor unit.
_BY_DIGITS: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE"
    " CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD"
    " HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK"
    " MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD"
    " RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH"
    " USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
#: Metals, units of account and codes without money. ISO 4217 gives them no minor unit ("N.A."), so the unit itself
#: is counted.
_WITHOUT = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"
#: Withdrawn since 2014, with the digits of the last list that had them: data of those years contains them.
_WITHDRAWN: Mapping[int, str] = {0: "BYR", 2: "ANG BGN CUC HRK LTL MRO SLL STD VEF ZWL"}

#: Currency → digits of its minor unit. A missing code is unknown to ISO 4217, and so are its digits.
DIGITS: Mapping[str, int] = {
    **{
        code: digits
        for table in (_WITHDRAWN, _BY_DIGITS)
        for digits, codes in table.items()
        for code in codes.split()
    },
    **dict.fromkeys(_WITHOUT.split(), 0),
}


def major(minor: int | float, currency: str | None) -> str:
    """Money of ``currency`` as people write it: 362260 is "3,622.60" in EUR, "362,260" in JPY, "362.260" in BHD.

    Whole minor units are shown exactly. A mean is rounded to the minor unit, half to even. Money of an unknown
    currency is shown in minor units, and ``named`` states that.
    """
    digits = DIGITS.get(currency or "", 0)
    shown = Decimal(minor).scaleb(-digits).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    # Zero has no sign: −0.004 EUR is 0.00.
    return f"{shown if shown else abs(shown):,f}"


def named(currency: str) -> str:
    """The label of a currency beside its money: ``EUR``, or ``QQQ (minor units)`` if ISO 4217 has no QQQ."""
    return currency if currency in DIGITS else f"{currency} (minor units)"


def javascript() -> str:
    """The table as a module of the page: ``python -m shared.measures.currencies`` prints it."""
    lines = "".join(f"  {code}: {digits},\n" for code, digits in sorted(DIGITS.items()))
    return (
        "// Digits of minor units by currency, as ISO 4217 has them (Intl has CLDR's, which differ).\n"
        "// Made by `python -m shared.measures.currencies`; a test holds it equal to that table.\n"
        "// A code that is not here is unknown: its money is shown in minor units.\n"
        f"export const DIGITS = Object.freeze({{\n{lines}}});\n"
    )


if __name__ == "__main__":
    print(javascript(), end="")
