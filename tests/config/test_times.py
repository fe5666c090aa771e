"""Time in the configuration: opening hours, holidays, fiscal years of weeks, targets; and mistakes with their place."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from kpid.analysis.periods import period_from_label
from kpid.analysis.workdays import OFFICE, WorkCalendar
from kpid.config.load import load_config
from kpid.config.times import calendar_of, company_target, target_period, work_calendars
from kpid.errors import ConfigError, KpidError

CONFIG = """\
timezone: Europe/Berlin
fiscal_year: 2
fiscal_label: start
week_start: sun
fiscal_pattern: 4-5-4
fiscal_year_starts: [2023-01-29, 2024-02-04]
calendar: office
calendars:
  office:
    hours: {mon-thu: "09:00-12:30, 13:30-18:00", fri: 09:00-15:00}
    holidays: [DE-BY, FR]
    days: {2026-12-24: half, 2026-12-31: closed, 2026-05-16: 10:00-14:00}
  support: {timezone: America/New_York, hours: {mon-sun: 00:00-24:00}}
kpis:
  won_amount:
    target: 400000
    target_period: quarter
    target_curve: [10%, 30%, 60%, 100%]
    targets:
      - {period: FY2026-Q4, value: 1_500_000, valid_from: 2026-10-01}
      - {period: month, value: 20%, where: {owner: Ada Example}}
"""


MONTHS = ", ".join(["2025-12-26", *(f"2026-{month:02}-26" for month in range(1, 12))])


def loaded(folder, text):
    file = folder / "kpid.yml"
    file.write_text(text, encoding="utf-8")
    return load_config(file).config


def test_calendars_holidays_and_fiscal_years_are_read(tmp_path):
    config = loaded(tmp_path, CONFIG)
    calendar = calendar_of(config)
    assert (calendar.fiscal_pattern, calendar.year_starts) == ("4-5-4", (date(2023, 1, 29), date(2024, 2, 4)))
    calendars = work_calendars(config)
    assert calendars[""] == calendars["office"]
    assert calendars["office"].regions == (("DE", "BY"), ("FR", ""))
    assert calendars["office"].weight(date(2026, 12, 24)) == Fraction(1, 2)
    assert calendars["office"].weight(date(2026, 12, 31)) == 0
    assert calendars["office"].hours(date(2026, 5, 16)) == ((36_000, 50_400),)
    assert calendars["office"].weight(date(2026, 7, 14)) == 0  # a holiday in France
    assert (calendars["support"].timezone, calendars["support"].weekly[6]) == ("America/New_York", ((0, 86_400),))


def test_fiscal_months_of_ones_own_are_read(tmp_path):
    config = loaded(tmp_path, f"timezone: UTC\nfiscal_pattern: custom\nfiscal_month_starts: [[{MONTHS}]]\n")
    found = target_period("FY2026-M02", config)
    assert (found.label, f"{found.start:%Y-%m-%d}", f"{found.end:%Y-%m-%d}") == ("FY2026-M02", "2026-01-26", "2026-02-26")


def test_without_calendars_the_company_works_in_office_hours_of_its_zone(tmp_path):
    config = loaded(tmp_path, "timezone: Europe/Berlin\n")
    assert work_calendars(config) == {"": WorkCalendar("Europe/Berlin")}
    assert work_calendars(config)[""].hours(date(2026, 5, 1)) == OFFICE


def test_targets_have_a_period_a_segment_and_a_first_day(tmp_path):
    config = loaded(tmp_path, CONFIG)
    settings = config.kpis["won_amount"]
    assert settings.target_curve == (Decimal("0.1"), Decimal("0.3"), Decimal("0.6"), Decimal(1))
    quarter, month = settings.targets
    assert (quarter.value, quarter.valid_from) == (1_500_000, date(2026, 10, 1))
    assert target_period(quarter.period, config).label == "FY2026-Q4"
    assert (target_period(month.period, config), month.where) == ("month", {"owner": "Ada Example"})


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("calendars: {a: {hours: {mon: 9-17}}}", 2, "09:00-12:30"),
        ("calendars: {a: {hours: {mon: 22:00-06:00}}}", 2, "split it"),
        ("calendars: {a: {holidays: XX}}", 2, "country 'XX'"),
        ("calendars: {a: {holidays: [DE-XX]}}", 2, "region 'XX' of DE"),
        ("calendars: {a: {days: {2026-02-30: closed}}}", 2, "day value"),
        ("calendars: {a: {days: {2026-02-20: often}}}", 2, "often"),
        ("calendars: {a: {timezone: Europe/Atlantis}}", 2, "not a time zone"),
        ("calendars: {office: {}}\ncalendar: ofice", 3, "there is no calendar 'ofice'"),
        ("fiscal_year_starts: [2023-01-02]", 2, "goes with a pattern"),
        ("fiscal_pattern: 4-4-5\nfiscal_year_starts: [2023-01-02, 2024-01-02]", 3, "52 or 53 weeks"),
        ("fiscal_pattern: 4-4-4", 2, "4-4-5"),
        ("fiscal_label: end\nfiscal_pattern: custom", 3, "needs fiscal_month_starts"),
        (f"fiscal_pattern: custom\nfiscal_month_starts:\n  - [{MONTHS}]\n  - [2027-01-01]", 5, "twelve months, not 1"),
        (f"fiscal_pattern: custom\nfiscal_year: 4\nfiscal_month_starts: [[{MONTHS}]]", 4, "not near the first of month 4"),
        (f"fiscal_month_starts: [[{MONTHS}]]", 2, "goes with fiscal months of one's own"),
        ("fiscal_pattern: custom\nfiscal_month_starts: [[2026-02-30]]", 3, "day value"),
        ("kpis: {won_amount: {targets: [{period: 2026-Q5, value: 1}]}}", 2, "2026-Q5"),
        ("kpis: {won_amount: {target_curve: quadratic}}", 2, "target_curve"),
        ("kpis: {won_amount: {target_curve: [50%, 40%, 100%]}}", 2, "must grow"),
        ("kpis: {won_amount: {target_curve: [50%, 90%]}}", 2, "end with 100%"),
        ("rules: [{name: a, kpi: won_deals, period: 2017-01-01..2017-02-01, warn: '< 1', to: x}]", 2, "comes only once"),
    ],
)
def test_mistake_is_told_with_its_place(tmp_path, text, line, says):
    with pytest.raises(KpidError) as refused:
        loaded(tmp_path, f"timezone: Europe/Berlin\n{text}\n")
    errors = getattr(refused.value, "errors", (refused.value,))
    [found] = [error for error in errors if says in f"{error.what} {error.hint}"]
    assert str(found.where).endswith(f"kpid.yml:{line}")
    assert isinstance(refused.value, ConfigError)


VERSIONS = """\
timezone: Europe/Berlin
kpis:
  won_deals:
    targets:
      - {period: month, value: 40}
      - {period: month, value: 50, valid_from: 2026-06-01}
      - {period: 2026-11, value: 70, valid_from: 2026-11-10}
      - {period: 2026-11, value: 90, where: {owner: Ada Example}}
      - {period: 2026-Q4, value: 200}
"""


@pytest.mark.parametrize(
    ("label", "now", "value"),
    [
        ("2026-04", "2026-12-01", 40),  # what was judged keeps its target
        ("2026-05", "2026-12-01", 40),  # ends when the new version begins
        ("2026-10", "2026-12-01", 50),
        ("2026-11", "2026-12-01", 70),
        ("2026-11", "2026-11-05", 50),  # does not hold yet
        ("2026-Q4", "2026-12-01", 200),
        ("2026-W45", "2026-12-01", None),
        ("2027-Q1", "2026-12-01", None),
    ],
)
def test_target_of_a_period_is_the_version_that_held_at_its_end(tmp_path, label, now, value):
    config = loaded(tmp_path, VERSIONS)
    calendar = calendar_of(config)
    period = period_from_label(None, label, calendar)
    found = company_target(config.kpis["won_deals"].targets, period, calendar, calendar.midnight(date.fromisoformat(now)))
    assert found == value
