"""Business durations in SQL are those of the calendar in plain Python, second by second; other hours are another definition."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from kpid.analysis.periods import Calendar
from kpid.analysis.workdays import WorkCalendar, hours_from_text, week_from_texts
from kpid.metrics.due import definition_hash
from kpid.metrics.measure import MetricsSetup, _Run, figures
from kpid.model import SeriesNeed
from kpid.plugin import At, Definition, Kpi, Measure, count, entities, in_business_time, living, sum_
from kpid.testing.kpis import open_warehouse

NOW = datetime(2025, 3, 1, tzinfo=UTC)
CALENDARS = {
    "": WorkCalendar("Europe/Berlin", regions=(("DE", "BY"),), days=((date(2024, 12, 24), None), (date(2024, 12, 31), ()))),
    "split": WorkCalendar(
        "America/New_York", week_from_texts({"mon-fri": "08:00-12:00, 13:00-17:30", "sat": "09:00-12:00"}), (("US", ""),)
    ),
    "nights": WorkCalendar("Australia/Lord_Howe", (hours_from_text("00:00-06:00, 22:00-24:00"),) * 7),
}
_tickets = living(entities.tickets)
WAITS = in_business_time(_tickets, calendar=_tickets.c.schedule_id, wait=(_tickets.c.created_at, _tickets.c.first_reply_at))


OTHERS = {
    "fiscal_pattern": "gregorian",
    "year_rule": "last",
    "fiscal_start": 3,
    "long_month": 3,
    "year_starts": (date(2023, 1, 29),),
}


def kpi(definition: Definition) -> Kpi:
    return Kpi(
        "probe", "Probe", "test", "seconds", "down", definition, dimensions=("category",), formula_text="x", why="x", misleads="x"
    )


WAIT = kpi(Definition({"wait": Measure(WAITS, At(WAITS.c.created_at), sum_(WAITS.c.wait))}, lambda m: m.wait))
TICKETS = kpi(Definition({"n": Measure(entities.tickets, At(entities.tickets.c.created_at), count())}, lambda m: m.n))


def some_tickets(seed: int, count: int) -> list[dict[str, object]]:
    """Tickets of 2024, each a category of its own; many of them across a night on which some clock changes."""
    dice = random.Random(seed)
    nights = [datetime(2024, *day, tzinfo=UTC) for day in ((3, 10), (3, 31), (4, 6), (10, 5), (10, 27), (11, 3), (12, 23))]
    rows = []
    for number in range(count):
        start = dice.choice(nights) if number % 2 else datetime(2024, 1, 5, tzinfo=UTC) + timedelta(days=dice.randrange(350))
        created = start + timedelta(seconds=dice.randrange(200_000))
        replied = created + timedelta(seconds=dice.randrange(1 + dice.choice((60, 40_000, 4_000_000))))
        ticket = {"id": str(number), "category": f"c{number}", "schedule_id": dice.choice((None, "split", "nights"))}
        rows.append({**ticket, "created_at": created, "first_reply_at": replied})
    return rows


@pytest.fixture
def setup(tmp_path):
    rows = some_tickets(11, 240)
    warehouse = open_warehouse(tmp_path, {"tickets": rows}, now=NOW)
    kpis = {"probe": WAIT}
    yield MetricsSetup(warehouse, kpis, Calendar("Europe/Berlin"), "EUR", calendars=CALENDARS), rows
    warehouse.close()


def test_sql_counts_the_open_seconds_that_python_counts(setup):
    metrics, rows = setup
    year = Calendar("Europe/Berlin").midnight(date(2024, 1, 1)), Calendar("Europe/Berlin").midnight(date(2025, 1, 1))
    found = figures(SeriesNeed("probe", "year", ("category",)), metrics, start=year[0], end=year[1], now=NOW)
    told = {one.dims[0].id: one.value for one in found}
    meant = {}
    for row in rows:
        calendar = CALENDARS[row["schedule_id"] or ""]
        meant[row["category"]] = calendar.open_between(row["created_at"], row["first_reply_at"]).total_seconds()
    assert told == meant
    assert {value == 0 for value in meant.values()} == {True, False}


def test_other_hours_are_another_definition_of_what_counts_them_and_of_nothing_else(setup):
    metrics, _ = setup

    def definition(probe: Kpi, calendars: dict[str, WorkCalendar]) -> str:
        ask = _Run(replace(metrics, kpis={"probe": probe}), NOW).ask(SeriesNeed("probe", "month"))
        return definition_hash(ask, metrics.calendar, "EUR", "duckdb", calendars)

    other = {**CALENDARS, "": WorkCalendar("Europe/Berlin")}
    assert definition(WAIT, CALENDARS) != definition(WAIT, other)
    assert definition(WAIT, CALENDARS) == definition(WAIT, dict(CALENDARS))
    assert definition(TICKETS, CALENDARS) == definition(TICKETS, other)


def test_fiscal_years_of_weeks_are_another_definition(setup):
    metrics, _ = setup
    ask = _Run(metrics, NOW).ask(SeriesNeed("probe", "fiscal_month"))
    retail = Calendar("UTC", "sun", 2, fiscal_pattern="4-4-5")
    calendars = [retail, *(replace(retail, **{name: value}) for name, value in OTHERS.items())]
    assert len({definition_hash(ask, calendar, "EUR") for calendar in calendars}) == len(calendars)
