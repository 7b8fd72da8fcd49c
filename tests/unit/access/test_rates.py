"""What is taken for a rate: one number of requests in one period, which then holds."""

import pytest
from limits import parse

from shared.access.keys import check_limit
from shared.contracts.errors import ConfigurationError


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("100/second", 100, 1),
        ("5000/hour", 5_000, 3_600),
        ("10 per 2 minutes", 10, 120),
        (" 1 / 90 Seconds ", 1, 90),
        ("7 per day", 7, 86_400),
    ],
)
def test_one_rate_is_taken_and_holds(rate: str, amount: int, seconds: int) -> None:
    check_limit(rate)
    assert (parse(rate).amount, parse(rate).get_expiry()) == (amount, seconds)


@pytest.mark.parametrize(
    "rate",
    [
        # Of several only the first would hold.
        *("10/second;5/hour", "10/second,5/hour", "10/second|5/hour", "10/second:;5/hour", "5/hour;10/second"),
        # 0 periods would be one.
        *("10 per 0 second", "10/00 hours", "0/second", "00/hour"),
        *(
            "",
            "none",
            "often",
            "10",
            "/second",
            "10/s",
            "-1/second",
            "1.5/second",
            "10/second per hour",
            "10//second",
        ),
        # Numbers that no clock and no counter can have.
        *(f"{10**400}/second", f"1/{10**400} seconds", f"{'9' * 5_000}/second"),
    ],
)
def test_what_would_not_hold_as_it_is_stated_is_refused(rate: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a rate such as 100/second or 5000/hour"):
        check_limit(rate)
