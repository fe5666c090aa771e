from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from kpid.alerting.contracts import Opening
from kpid.alerting.windows import is_open, next_opening, openings_of
from kpid.analysis.workdays import WorkCalendar
from kpid.config.alerting import Window

MINUTE = timedelta(minutes=1)
ZONES = [
    "Africa/Cairo",
    "America/Anchorage",
    "America/Asuncion",
    "America/Bogota",
    "America/Caracas",
    "America/Havana",
    "America/Los_Angeles",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Dubai",
    "Asia/Gaza",
    "Asia/Hong_Kong",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Asia/Yangon",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Eucla",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "UTC",
]


def opening(timezone: str = "Europe/Berlin", **given: object) -> Opening:
    window = Window.model_validate({"days": "mon-fri", "times": "08:00-18:00", "outside": "defer", **given})
    return openings_of({"office": window}, {}, timezone)["office"]


def local(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_outside_is_explicit() -> None:
    with pytest.raises(ValidationError, match="outside"):
        Window.model_validate({"days": "mon-fri"})
    assert opening(outside="drop").outside == "drop"
    assert opening(outside="defer").outside == "defer"


@pytest.mark.parametrize("zone", ZONES)
def test_hours_are_local_in_34_zones(zone: str) -> None:
    office = opening(zone)
    for day in ("2026-01-15", "2026-07-15"):
        opens, closes = local(f"{day}T08:00", zone), local(f"{day}T18:00", zone)
        assert not is_open(office, opens - MINUTE)
        assert is_open(office, opens)
        assert is_open(office, closes - MINUTE)
        assert not is_open(office, closes)
        assert next_opening(office, opens - 3 * MINUTE) == opens
        assert next_opening(office, opens + MINUTE) == opens + MINUTE


def test_there_are_34_zones() -> None:
    assert len(ZONES) == 34


def test_friday_evening_waits_for_monday_morning() -> None:
    assert next_opening(opening(), local("2026-11-20T18:00")) == local("2026-11-23T08:00")


def test_holiday_of_berlin_is_none_in_bavaria() -> None:
    womens_day = local("2027-03-08T09:00")
    assert not is_open(opening(holidays=["DE-BE"]), womens_day)
    assert next_opening(opening(holidays=["DE-BE"]), womens_day) == local("2027-03-09T08:00")
    assert is_open(opening(holidays=["DE-BY"]), womens_day)


def test_night_without_an_hour_opens_when_the_clock_has_jumped() -> None:
    night = opening(days="sun", times="02:30-04:00")
    assert next_opening(night, local("2026-03-29T00:00")) == local("2026-03-29T03:00")
    assert not is_open(night, local("2026-03-29T01:59"))


def test_night_with_an_hour_twice_is_open_in_both() -> None:
    night = opening(days="sun", times="02:00-03:00")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert is_open(night, first)
    assert is_open(night, first + timedelta(hours=1))
    assert not is_open(night, first + timedelta(hours=2))


def test_window_may_be_one_of_the_companys_calendars() -> None:
    window = Window.model_validate({"calendar": "shop", "outside": "drop"})
    shop = WorkCalendar("Asia/Tokyo")
    assert openings_of({"w": window}, {"shop": shop}, "UTC")["w"].hours == shop
