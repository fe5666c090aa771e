from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.calendar import Calendar
from kpid.analysis.wording import (
    age_text,
    better_word,
    change_text,
    count_text,
    exact_text,
    limit_text,
    noun_text,
    period_text,
    share_text,
    short_period,
    value_text,
    when_text,
)
from kpid.model import Period

BERLIN = Calendar("Europe/Berlin", "mon", 4, "end")


def _period(kind: str, start: str, end: str, label: str = "") -> Period:
    return Period(kind, datetime.fromisoformat(start), datetime.fromisoformat(end), label)


@pytest.mark.parametrize(
    ("value", "unit", "currency", "text"),
    [
        ("0.632", "ratio", None, "63.2%"),
        ("3.24", "times", None, "3.2×"),
        ("3", "times", None, "3×"),
        ("0.5", "times", None, "0.5×"),
        ("1", "ratio", None, "100.0%"),
        ("0", "ratio", None, "0.0%"),
        ("0.004", "ratio", None, "0.40%"),
        ("12.5", "ratio", None, "1,250%"),
        ("-0.021", "ratio", None, "−2.1%"),
        ("412345", "currency", "EUR", "€412k"),
        ("1180", "currency", "EUR", "€1,180"),
        ("9999.70", "currency", "EUR", "€10k"),
        ("1234567", "currency", "USD", "$1.23M"),
        ("2000000000", "currency", "GBP", "£2bn"),
        ("12.5", "currency", "EUR", "€12.50"),
        ("-14000", "currency", "CHF", "−CHF\u00a014k"),
        ("1180", "currency", None, "1,180"),
        ("47", "days", None, "47 days"),
        ("1", "days", None, "1 day"),
        ("3.44", "days", None, "3.4 days"),
        ("41.3", "score", None, "41"),
        ("-12", "score", None, "−12"),
        ("-0.004", "score", None, "0.00"),
        ("1246", "count", None, "1,246"),
        ("12.44", "count", None, "12.4"),
        ("7200", "seconds", None, "2 h"),
        ("86400000000000", "seconds", None, "999,999,999 days"),
    ],
)
def test_value_text_reads_as_people_write_it(value: str, unit: str, currency: str | None, text: str) -> None:
    assert value_text(Decimal(value), unit, currency) == text


def test_value_text_of_nothing_is_not_zero() -> None:
    assert value_text(None, "count") == "n/a"
    assert exact_text(None, Decimal(1), "count") == "n/a"
    assert limit_text(None, "ratio") == "n/a"


@pytest.mark.parametrize(
    ("value", "limit", "unit", "text"),
    [
        ("0.313", "0.4", "ratio", "31.3%"),
        ("0.39996", "0.4", "ratio", "39.996%"),
        ("0.4", "0.4", "ratio", "40.0%"),
        ("412345", "400000", "currency", "€412k"),
        ("399999", "400000", "currency", "€399,999"),
        ("399999.5", "400000", "currency", "€399,999.5"),
        ("47.4", "47", "days", "47.4 days"),
        ("19", "20", "count", "19"),
        ("2.96", "3", "times", "2.96×"),
    ],
)
def test_exact_text_shows_on_which_side_of_the_limit(value: str, limit: str, unit: str, text: str) -> None:
    currency = "EUR" if unit == "currency" else None
    assert exact_text(Decimal(value), Decimal(limit), unit, currency) == text


@settings(max_examples=200, deadline=None)
@given(
    st.decimals(0, 1, places=6),
    st.decimals(0, 1, places=2),
)
def test_exact_text_never_crosses_the_limit(value: Decimal, limit: Decimal) -> None:
    shown = Decimal(exact_text(value, limit, "ratio").rstrip("%")) / 100
    assert (shown < limit, shown > limit) == (value < limit, value > limit)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [("0.4", "ratio", "40%"), ("0.375", "ratio", "37.5%"), ("400000", "currency", "€400k"), ("45.0", "days", "45 days")],
)
def test_limit_text_has_no_empty_digits(value: str, unit: str, text: str) -> None:
    assert limit_text(Decimal(value), unit, "EUR") == text


@pytest.mark.parametrize(
    ("new", "old", "unit", "text"),
    [
        ("0.228", "0.249", "ratio", "−2.1 pt"),
        ("0.2281", "0.228", "ratio", "+0.01 pt"),
        ("412000", "398000", "currency", "+€14k"),
        ("48", "47", "days", "+1 day"),
        ("39", "41", "score", "−2"),
        ("47.2", "55.9", "score", "−9"),
        ("41.2", "41", "score", "+0.2"),
        ("74.4", "71.9", "days", "+3 days"),
        ("5.3", "7", "count", "−1.7"),
        ("7200", "3600", "seconds", "+1 h"),
        ("1300", "54", "count", "+1,246"),
        ("5", "5", "count", "no change"),
    ],
)
def test_change_text_is_in_the_units_own_words(new: str, old: str, unit: str, text: str) -> None:
    assert change_text(Decimal(new), Decimal(old), unit, "EUR") == text


def test_change_text_of_an_undefined_side_is_not_a_number() -> None:
    assert change_text(None, Decimal(1), "count") == "n/a"
    assert change_text(Decimal(1), None, "count") == "n/a"


def test_better_word_follows_the_good_direction() -> None:
    assert better_word(Decimal(2), Decimal(1), "up") == "better"
    assert better_word(Decimal(2), Decimal(1), "down") == "worse"
    assert better_word(Decimal(1), Decimal(1), "up") == ""
    assert better_word(Decimal(2), Decimal(1), "none") == ""
    assert better_word(None, Decimal(1), "up") == ""


def test_share_text_needs_a_positive_base() -> None:
    assert share_text(Decimal(112), Decimal(100)) == "+12%"
    assert share_text(Decimal(1), Decimal(0)) == ""
    assert share_text(Decimal(1), None) == ""


@pytest.mark.parametrize(
    ("period", "text", "short"),
    [
        (_period("week", "2026-11-08T23:00Z", "2026-11-15T23:00Z", "2026-W46"), "week 46, 9–15 Nov 2026", "W46"),
        (_period("week", "2026-11-29T23:00Z", "2026-12-06T23:00Z", "x"), "week of 30 Nov – 6 Dec 2026", "30 Nov"),
        (_period("week", "2026-12-27T23:00Z", "2027-01-03T23:00Z", "2026-W53"), "week 53, 28 Dec 2026 – 3 Jan 2027", "W53"),
        (_period("month", "2017-11-30T23:00Z", "2017-12-31T23:00Z", "2017-12"), "December 2017", "Dec"),
        (_period("quarter", "2017-09-30T22:00Z", "2017-12-31T23:00Z", "2017-Q4"), "Q4 2017", "Q4"),
        (_period("day", "2017-12-01T23:00Z", "2017-12-02T23:00Z", "2017-12-02"), "Sat 2 Dec 2017", "2 Dec"),
        (_period("year", "2016-12-31T23:00Z", "2017-12-31T23:00Z", "2017"), "2017", "2017"),
        (_period("rolling_90d", "2017-10-02T22:00Z", "2017-12-31T23:00Z", "r"), "90 days to 31 Dec 2017", "31 Dec"),
        (_period("mtd", "2026-10-31T23:00Z", "2026-11-14T23:00Z", ""), "1–14 Nov 2026", "14 Nov"),
        (_period("iso_week", "2026-12-27T23:00Z", "2027-01-03T23:00Z", "2026-W53"), "week 53, 28 Dec 2026 – 3 Jan 2027", "W53"),
        (_period("rolling_90d_today", "2017-10-02T22:00Z", "2017-12-31T23:00Z", "r"), "90 days to 31 Dec 2017", "31 Dec"),
        (_period("2026-11-01..2026-11-15", "2026-10-31T23:00Z", "2026-11-14T23:00Z", "x"), "1–14 Nov 2026", "x"),
        (_period("hour", "2026-11-01T07:00Z", "2026-11-01T08:00Z", "2026-11-01 08:00"), "2026-11-01 08:00", "08:00"),
        (_period("wtd", "2026-11-15T23:00Z", "2026-11-18T23:00Z", "x"), "week 47 to 18 Nov 2026", "18 Nov"),
        (_period("qtd", "2026-09-30T22:00Z", "2026-11-22T23:00Z", "x"), "Q4 to 22 Nov 2026", "22 Nov"),
        (_period("ytd", "2025-12-31T23:00Z", "2026-11-22T23:00Z", "x"), "2026 to 22 Nov", "22 Nov"),
        (_period("fmtd", "2026-10-31T23:00Z", "2026-11-22T23:00Z", "x"), "FY2027-M08 to 22 Nov 2026", "22 Nov"),
        (_period("fqtd", "2026-09-30T22:00Z", "2026-11-22T23:00Z", "x"), "FY2027-Q3 to 22 Nov 2026", "22 Nov"),
        (_period("fytd", "2026-03-31T22:00Z", "2026-11-22T23:00Z", "x"), "FY2027 to 22 Nov 2026", "22 Nov"),
    ],
)
def test_period_text_names_the_period_in_local_days(period: Period, text: str, short: str) -> None:
    assert period_text(period, BERLIN) == text
    assert short_period(period, BERLIN) == short


def test_when_text_is_the_companys_wall_clock() -> None:
    instant = datetime(2026, 11, 16, 6, 0, tzinfo=UTC)
    assert when_text(instant, "Europe/Berlin") == "Mon 16 Nov, 07:00 CET"
    assert when_text(instant, "Europe/Berlin", datetime(2027, 1, 1, tzinfo=UTC)) == "Mon 16 Nov 2026, 07:00 CET"


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(seconds=45), "45 s"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(hours=3, minutes=20), "3 h 20 min"),
        (timedelta(hours=26), "26 h"),
        (timedelta(days=2), "2 days"),
    ],
)
def test_age_text_keeps_to_the_first_unit_that_matters(delta: timedelta, text: str) -> None:
    assert age_text(delta) == text


def test_count_text_minds_the_plural() -> None:
    assert count_text(1, "deal") == "1 deal"
    assert count_text(1246, "deal") == "1,246 deals"
    assert count_text(2, "reply", "replies") == "2 replies"


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [("2214", "2312.24", "−€98"), ("300400", "240000", "+€60k"), ("2214.20", "2214", "+€0.20"), ("50", "40.5", "+€9.50")],
)
def test_change_text_of_amounts_has_no_more_digits_than_they_have(new: str, old: str, text: str) -> None:
    assert change_text(Decimal(new), Decimal(old), "currency", "EUR") == text


@pytest.mark.parametrize(
    ("number", "many", "noun"),
    [
        (1, "closed deals", "closed deal"),
        (1, "won deals with an amount", "won deal with an amount"),
        (1, "activities", "activity"),
        (1, "records", "record"),
        (0, "answers", "answers"),
        (2, "closed deals", "closed deals"),
    ],
)
def test_noun_goes_with_its_number(number: int, many: str, noun: str) -> None:
    assert noun_text(number, many) == noun
