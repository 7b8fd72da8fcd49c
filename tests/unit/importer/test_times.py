"""What looks like a time but is not in the stated form is refused; a day stays that day."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer.times import check_form, to_time
from services.importer.values import BadValue

DIGITS = st.text(alphabet="0123456789-:T Z+.", min_size=1, max_size=25)
UNIX = ["unix", "unix_ms", "unix_us"]
ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("20260302", None),
        ("1772445600", None),
        ("2026-W10-1", None),
        ("2026-061", None),
        ("2026-03", None),
        ("20260302T100000Z", None),
        ("2026-03-02T10", None),
        ("2026-3-2", None),
        ("02.03.2026", None),
        ("2026-03-02T10:00:00+01:00:30", None),
        ("2026-02-30", None),
        ("2026-03-02T24:01", None),
        ("٢٠٢٦-٠٣-٠٢", None),
        ("2026-03-02 ", None),
        ("46083", None),
        ("2026312", "%Y%m%d"),
        ("2026-03-02", "%Y%m%d"),
        ("٢٠٢٦0302", "%Y%m%d"),
        ("20260302", "unix"),
        *((digits, form) for digits in ("20260302", "202603021000", "20260302100000") for form in UNIX),
        ("1.7E+09", "unix"),
        ("1772445600", "unix_ms"),
        ("1/2/26", "%d.%m.%y"),
        *((days, form) for days in ("46083", "46083.4166", "25569") for form in (None, *UNIX)),
        ("2026-03-02T10:00", "%Y-%m-%d"),
    ],
)
def test_other_forms_are_refused(text: str, form: str | None) -> None:
    with pytest.raises(BadValue):
        to_time(text, form, ZoneInfo("UTC"))


@given(DIGITS)
def test_only_one_form_is_read_without_a_format(text: str) -> None:
    try:
        found = to_time(text, None, UTC)
    except BadValue:
        return
    assert text[4] == text[7] == "-"
    assert abs(datetime.fromisoformat(found).date() - date.fromisoformat(text[:10])) <= timedelta(days=1)


@given(st.text(alphabet="0123456789", max_size=14))
def test_digits_alone_are_no_time_without_a_format(text: str) -> None:
    with pytest.raises(BadValue):
        to_time(text, None, UTC)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - whose zone does not matter
    st.sampled_from(["%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S"]),
    st.sampled_from(UNIX),
    st.booleans(),
)
def test_a_day_or_a_time_without_separators_is_no_count(
    written: datetime, form: str, unix: str, as_number: bool
) -> None:
    text = written.strftime(form)
    with pytest.raises(BadValue):
        to_time(int(text) if as_number else text, unix)


@given(st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)), st.sampled_from(UNIX))  # noqa: DTZ001
def test_a_count_is_read(written: datetime, unix: str) -> None:
    at = written.replace(tzinfo=UTC, microsecond=0)
    count = int(at.timestamp()) * {"unix": 1, "unix_ms": 10**3, "unix_us": 10**6}[unix]
    assert datetime.fromisoformat(to_time(str(count), unix)) == at


@given(
    st.integers(0, 7_000_000_000),
    st.sampled_from(
        [
            "%d.%m.%Y %H:%M:%S",
            "%Y%m%d%H%M%S",
            "%m/%d/%Y %I:%M:%S %p",
            "%d %b %Y %H:%M:%S.%f",
            "%Y-%m-%dT%H:%M:%S%z",
        ]
    ),
)
def test_what_a_pattern_writes_it_reads(seconds: int, form: str) -> None:
    micros = timedelta(microseconds=seconds % 1_000_003 if "%f" in form else 0)
    aware = datetime.fromtimestamp(seconds, UTC).replace(microsecond=0) + micros
    assert datetime.fromisoformat(to_time(aware.strftime(form), form, UTC)) == aware


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("5/7/2024", "%d/%m/%Y"),
        ("05/07/2024", "%d/%m/%Y"),
        ("5 jul 2024", "%d %b %Y"),
        ("5 JUL 2024", "%d %b %Y"),
        ("20240705", "%Y%m%d"),
    ],
)
def test_zeros_in_front_and_case_do_not_matter(text: str, form: str) -> None:
    assert to_time(text, form, UTC) == "2024-07-05T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-05T10:00:00+02:00",
        "2024-07-05 10:00:00+02",
        "2024-07-05 10:00:00 +0200",
        "2024-07-05T08:00:00z",
        "2024-07-05T08:00Z",
    ],
)
def test_offsets(text: str) -> None:
    assert to_time(text) == "2024-07-05T08:00:00+00:00"


@given(st.dates(date(1971, 1, 1), date(2100, 1, 1)), st.sampled_from(ZONES))
def test_a_day_is_that_day_in_its_zone_and_in_reports(day: date, zone: str) -> None:
    for value, form in ((day, None), (day.isoformat(), None), (day.strftime("%d.%m.%Y"), "%d.%m.%Y")):
        found = datetime.fromisoformat(to_time(value, form, ZoneInfo(zone)))
        assert found.astimezone(UTC).date() == day, "reports count UTC days"
        assert found.astimezone(ZoneInfo(zone)).date() == day


def test_a_time_of_day_is_that_time() -> None:
    assert to_time("2024-03-01 00:00", None, ZoneInfo("Europe/Berlin")) == "2024-02-29T23:00:00+00:00"
    assert to_time("01.03.2024 00:00", "%d.%m.%Y %H:%M", ZoneInfo("Europe/Berlin")) == "2024-02-29T23:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2026-03-29 02:00", "Europe/Berlin"),
        ("2026-03-29 02:30", "Europe/Berlin"),
        ("2026-03-08 02:59:59", "America/New_York"),
        ("2026-10-04 02:15", "Australia/Lord_Howe"),
    ],
)
def test_a_time_that_clocks_skipped_is_in_another_zone(text: str, zone: str) -> None:
    with pytest.raises(BadValue, match="skipped"):
        to_time(text, None, ZoneInfo(zone))
    assert to_time(text, None, UTC) == datetime.fromisoformat(f"{text}+00:00").isoformat()


def test_a_time_that_clocks_show_twice_is_the_first_and_a_skipped_midnight_is_its_day() -> None:
    assert to_time("2026-10-25 02:30", None, ZoneInfo("Europe/Berlin")) == "2026-10-25T00:30:00+00:00"
    assert to_time("2018-11-04 00:00", None, ZoneInfo("America/Sao_Paulo")) == "2018-11-04T03:00:00+00:00"


@given(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)), st.sampled_from(ZONES))  # noqa: DTZ001 - local
def test_a_time_of_a_zone_is_what_its_clocks_showed_or_is_rejected(local: datetime, zone: str) -> None:
    there = ZoneInfo(zone)
    try:
        found = datetime.fromisoformat(to_time(local.isoformat(" "), None, there))
    except BadValue:
        around = (local.replace(tzinfo=there, fold=fold).astimezone(UTC).astimezone(there) for fold in (0, 1))
        assert all(each.replace(tzinfo=None) != local for each in around)
    else:
        shown = found.astimezone(there).replace(tzinfo=None)
        assert shown == local or (local.hour, local.minute) == (0, 0)


@pytest.mark.parametrize("form", ["%H:%M", "%d.%m.", "%Y-%m", "DD.MM.YYYY", "%Q", "%"])
def test_a_pattern_says_year_month_and_day(form: str) -> None:
    with pytest.raises(ValueError, match="format"):
        check_form(form)


@pytest.mark.parametrize("form", ["unix", "unix_ms", "%d.%m.%y", "%Y%m%d", "%c", "%Y-%j", "%d %B %Y %H:%M %z"])
def test_patterns_that_do(form: str) -> None:
    check_form(form)
