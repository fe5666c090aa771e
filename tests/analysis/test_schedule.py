from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kpid.analysis.schedule import Position, due_runs, report_max_age, schedule_from_text
from kpid.errors import ConfigError

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Africa/Cairo"]
SPECS = [
    "mon 00:00",
    "day 1 00:00",
    "daily 00:00",
    "sun 02:30",
    "daily 01:30",
    "weekdays 08:00",
    "last day 18:00",
    "*/20 * * * *",
]
NIGHTS = {  # the nights on which the clocks change in 2026, forward and back
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
    "America/Santiago": ("2026-09-06", "2026-04-05"),
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local(text: str, zone: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def position_at(schedule, now):
    return due_runs(schedule, None, now, "latest", None).position


# ---- reading


@pytest.mark.parametrize(
    ("text", "words", "after", "expected"),
    [
        ("15m", "every 15 minutes", "2026-11-22T10:01", "2026-11-22T10:15"),
        ("1h", "every hour", "2026-11-22T10:00", "2026-11-22T11:00"),
        ("mon 07:30", "every Monday at 07:30 (Europe/Berlin)", "2026-11-22T10:00", "2026-11-23T07:30"),
        ("mon,thu 08:00", "every Monday and Thursday at 08:00 (Europe/Berlin)", "2026-11-23T08:00", "2026-11-26T08:00"),
        ("weekdays 08:00", "Monday to Friday at 08:00 (Europe/Berlin)", "2026-11-20T08:00", "2026-11-23T08:00"),
        ("daily 06:00", "every day at 06:00 (Europe/Berlin)", "2026-11-22T06:00", "2026-11-23T06:00"),
        ("day 1 07:00", "on day 1 of each month at 07:00 (Europe/Berlin)", "2026-11-22T06:00", "2026-12-01T07:00"),
        ("last day 18:00", "on the last day of each month at 18:00 (Europe/Berlin)", "2026-02-01T00:00", "2026-02-28T18:00"),
        ("0 8 * * 1", "cron 0 8 * * 1 (Europe/Berlin)", "2026-11-22T06:00", "2026-11-23T08:00"),
        ("0 8 1 * mon", "cron 0 8 1 * mon (Europe/Berlin)", "2026-11-24T06:00", "2026-11-30T08:00"),
    ],
)
def test_schedule_reads(text, words, after, expected):
    schedule = schedule_from_text(text, "Europe/Berlin")
    assert schedule.describe() == words
    assert schedule.next(at(after)) == at(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "often",
        "mon",
        "mon 7",
        "mon 25:00",
        "mon 07:60",
        "day 31 07:00",
        "day 0 07:00",
        "0m",
        "61 8 * * *",
        "0 0 30 2 *",
        "* * * *",
    ],
)
def test_schedule_refuses_what_is_none(text):
    with pytest.raises(ConfigError) as error:
        schedule_from_text(text, "Europe/Berlin")
    assert error.value.hint


def test_schedule_refuses_unknown_zone():
    with pytest.raises(ConfigError, match="Mars"):
        schedule_from_text("15m", "Mars/Olympus")


def test_spec_hash_follows_meaning():
    berlin = schedule_from_text("mon 07:30", "Europe/Berlin")
    assert berlin.spec_hash == schedule_from_text("  MON  07:30", "Europe/Berlin").spec_hash
    assert berlin.spec_hash != schedule_from_text("mon 07:30", "America/New_York").spec_hash
    assert schedule_from_text("60m", "Europe/Berlin").spec_hash == schedule_from_text("1h", "Asia/Kathmandu").spec_hash


# ---- the wall clock


def test_instant_in_gap_is_shifted_and_in_fold_is_the_first():
    schedule = schedule_from_text("daily 02:30", "Europe/Berlin")
    assert schedule.instant(at("2026-03-29T02:30")) == at("2026-03-29T01:30+00:00")  # 03:30 CEST
    assert schedule.instant(at("2026-10-25T02:30")) == at("2026-10-25T00:30+00:00")  # the first 02:30


@pytest.mark.parametrize("spec", SPECS)
def test_nominals_are_what_a_calendar_says(spec):
    schedule = schedule_from_text(spec, "Europe/Berlin")
    start, end = at("2026-03-01T00:00"), at("2026-04-20T00:00")
    minutes = [start + timedelta(minutes=m) for m in range(1, int((end - start) / timedelta(minutes=1)) + 1)]
    assert list(schedule.nominals(start, end, 10**6)) == [m for m in minutes if _naive_match(spec, m)]


def _naive_match(spec: str, moment: datetime) -> bool:
    if spec.startswith("*/20"):
        return moment.minute % 20 == 0
    day, clock = spec.rsplit(" ", 1)
    if f"{moment:%H:%M}" != clock:
        return False
    tomorrow = moment + timedelta(days=1)
    return {
        "mon": moment.weekday() == 0,
        "sun": moment.weekday() == 6,
        "daily": True,
        "weekdays": moment.weekday() < 5,
        "day 1": moment.day == 1,
        "last day": tomorrow.month != moment.month,
    }[day]


@pytest.mark.parametrize("zone", NIGHTS)
@pytest.mark.parametrize("night", [0, 1])
@pytest.mark.parametrize("spec", ["daily 00:00", "daily 00:30", "daily 01:30", "daily 02:00", "daily 02:30", "*/20 * * * *"])
def test_clock_change_loses_and_doubles_nothing(zone, night, spec):
    """A tick every 15 minutes over three days round the night: each nominal time is due once, never before its instant."""
    schedule = schedule_from_text(spec, zone)
    day = at(NIGHTS[zone][night])
    now = (day - timedelta(days=1)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) + timedelta(seconds=7)
    end = now + timedelta(days=3)
    position = position_at(schedule, now)
    start, seen = position.last, []
    while now < end:
        now += timedelta(minutes=15)
        due = due_runs(schedule, position, now, "all", None)
        assert not due.skipped
        for nominal in due.to_run:
            assert now - timedelta(minutes=75) <= schedule.instant(nominal) <= now
        seen += due.to_run
        position = due.position
    expected = schedule.nominals(start, seen[-1], 10**6)
    assert tuple(seen) == expected
    assert len(seen) >= 2


@given(
    zone=st.sampled_from(ZONES),
    spec=st.sampled_from([*SPECS, "15m", "7h"]),
    now=st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
)
@settings(max_examples=200, deadline=None)
def test_reach_separates_due_from_not_yet(zone, spec, now):
    schedule = schedule_from_text(spec, zone)
    reached = schedule.reach(now)
    before = schedule.newest(reached - timedelta(days=40), reached, 20)
    assert all(schedule.instant(nominal) <= now for nominal in before)
    assert schedule.instant(schedule.next(reached)) > now


@given(
    spec=st.sampled_from([*SPECS, "15m", "7h"]),
    start=st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 1)),
    days=st.integers(0, 90),
)
@settings(max_examples=60, deadline=None)
def test_walking_back_finds_the_same_as_walking_on(spec, start, days):
    schedule = schedule_from_text(spec, "Europe/Berlin")
    end = start + timedelta(days=days)
    forward = schedule.nominals(start, end, 10**6)
    assert schedule.newest(start, end, 10**6) == forward
    assert schedule.newest(start, end, 3) == forward[-3:]
    assert all(a < b for a, b in pairwise(forward))


# ---- catching up

WEEKLY = schedule_from_text("mon 07:30", "Europe/Berlin")


def test_first_start_runs_nothing():
    due = due_runs(WEEKLY, None, at("2026-11-24T10:00+00:00"), "latest", None)
    assert (due.to_run, due.skipped) == ((), ())
    assert due.position.last < at("2026-11-30T07:30")


def test_changed_schedule_does_not_back_fill():
    old = Position("something else", at("2026-01-05T07:30"))
    due = due_runs(WEEKLY, old, at("2026-11-24T10:00+00:00"), "all", None)
    assert (due.to_run, due.skipped) == ((), ())


def test_latest_runs_the_newest_and_names_the_others():
    position = Position(WEEKLY.spec_hash, at("2026-11-09T07:30"))
    now = at("2026-11-24T10:00+00:00")
    due = due_runs(WEEKLY, position, now, "latest", report_max_age(WEEKLY, at("2026-11-23T07:30")))
    assert due.to_run == (at("2026-11-23T07:30"),)
    assert [skip.nominal for skip in due.skipped] == [at("2026-11-16T07:30")]
    assert "2026-11-23 07:30" in due.skipped[0].reason
    assert due_runs(WEEKLY, due.position, now, "latest", None).to_run == ()


def test_too_old_is_skipped_with_the_reason():
    position = Position(WEEKLY.spec_hash, at("2026-11-09T07:30"))
    due = due_runs(WEEKLY, position, at("2026-11-21T10:00+00:00"), "latest", timedelta(days=3.5))
    assert due.to_run == ()
    assert due.skipped[0].reason == "found 5.1 days late; the limit is 3.5 days"
    assert due.position.last == at("2026-11-16T07:30")


def test_all_runs_everything_within_the_limit():
    position = Position(WEEKLY.spec_hash, at("2026-11-02T07:30"))
    due = due_runs(WEEKLY, position, at("2026-11-24T10:00+00:00"), "all", timedelta(days=10))
    assert due.to_run == (at("2026-11-16T07:30"), at("2026-11-23T07:30"))
    assert [skip.nominal for skip in due.skipped] == [at("2026-11-09T07:30")]


@pytest.mark.parametrize(("late", "runs"), [(timedelta(minutes=1), 1), (timedelta(minutes=6), 0)])
def test_skip_runs_only_on_time(late, runs):
    position = Position(WEEKLY.spec_hash, at("2026-11-16T07:30"))
    due = due_runs(WEEKLY, position, local("2026-11-23T07:30", "Europe/Berlin") + late, "skip", None)
    assert (len(due.to_run), len(due.skipped)) == (runs, 1 - runs)


def test_a_year_of_minutes_is_not_enumerated():
    schedule = schedule_from_text("* * * * *", "Europe/Berlin")
    position = position_at(schedule, at("2025-11-24T10:00+00:00"))
    due = due_runs(schedule, position, at("2026-11-24T10:00+00:00"), "all", None)
    assert len(due.to_run) == 50
    assert [skip.nominal for skip in due.skipped] == [due.to_run[0] - timedelta(minutes=1)]
    assert "all earlier ones after 2025-11-24 11:00" in due.skipped[0].reason


def test_clock_set_back_goes_on_from_there():
    """A position far in the future (a wrong clock, put right since) must not silence the schedule for a year."""
    position = position_at(WEEKLY, at("2027-11-24T10:00+00:00"))
    due = due_runs(WEEKLY, position, at("2026-11-24T10:00+00:00"), "latest", None)
    assert due.to_run == ()
    assert due_runs(WEEKLY, due.position, at("2026-11-30T06:30:01+00:00"), "latest", None).to_run == (at("2026-11-30T07:30"),)


@pytest.mark.parametrize(
    ("text", "expected"), [("mon 07:30", 3.5), ("day 1 07:00", 15), ("daily 06:00", 1), ("weekdays 08:00", 1), ("1h", 1)]
)
def test_report_max_age_is_half_the_interval(text, expected):
    schedule = schedule_from_text(text, "Europe/Berlin")
    nominal = schedule.next(at("2026-10-31T12:00"))
    assert abs(report_max_age(schedule, nominal) - timedelta(days=expected)) <= timedelta(days=0.5)


class Planned(RuleBasedStateMachine):
    """Ticks, crashes before and after the commit, downtime, and a clock set back, against one promise:

    each nominal time since the first start is recorded exactly once (run or skipped), never before its instant.
    """

    @initialize(
        zone=st.sampled_from(ZONES),
        spec=st.sampled_from(SPECS[:-1]),
        start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC)),
    )
    def begin(self, zone, spec, start):
        self.schedule = schedule_from_text(spec, zone)
        self.now = start
        self.latest = start
        self.rows: dict[datetime, str] = {}
        self.position = due_runs(self.schedule, None, start, "latest", None).position
        self.first = self.lowest = self.position.last

    def _plan(self, *, crash: bool) -> None:
        due = due_runs(self.schedule, self.position, self.now, "latest", timedelta(days=3))
        if crash:
            return  # nothing of the transaction is there
        for nominal in due.to_run:
            assert self.schedule.instant(nominal) <= self.now
            self.rows.setdefault(nominal, "run")
        for skip in due.skipped:
            self.rows.setdefault(skip.nominal, skip.reason)
        self.position = due.position
        self.lowest = min(self.lowest, due.position.last)
        self.latest = max(self.latest, self.now)

    @rule(seconds=st.integers(1, 90))
    def tick(self, seconds):
        self.now += timedelta(seconds=seconds)
        self._plan(crash=False)

    @rule(hours=st.integers(1, 24 * 28), crash=st.booleans())
    def pause(self, hours, crash):
        self.now += timedelta(hours=hours)
        self._plan(crash=crash)
        self._plan(crash=False)

    @rule(hours=st.integers(1, 24))
    def set_back(self, hours):
        self._plan(crash=False)
        self.now -= timedelta(hours=hours)
        self._plan(crash=False)

    def teardown(self):
        if not hasattr(self, "schedule"):
            return
        expected = self.schedule.nominals(self.first, self.position.last, 10**6)
        assert [nominal for nominal in expected if nominal not in self.rows] == []
        assert set(self.rows) <= set(self.schedule.nominals(self.lowest, self.schedule.reach(self.latest), 10**6))


Planned.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestPlanned = Planned.TestCase
