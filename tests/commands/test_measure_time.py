"""Figures of odd periods, through the whole engine: days that never were, hours that come twice, fiscal months of weeks."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from kpid.app import open_app
from kpid.commands.measure import instant_from_text, measure
from kpid.cycle import sync
from kpid.errors import KpidError
from kpid.testing import FakeClock

CONFIG = """\
{time}
currency: EUR
sources:
  crm: {{connector: files, path: data, every: 1h}}
receivers:
  team: {{notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}}
"""
HEAD = "native_id,created_at,closed_at,state,amount,currency\n"


@contextmanager
def company(folder, time: str, closings: list[str], now: str):
    (folder / "data").mkdir()
    rows = "".join(f"{number},2010-01-01,{at},won,10,EUR\n" for number, at in enumerate(closings))
    (folder / "data" / "deals.csv").write_text(HEAD + rows, encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG.format(time=time), encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text(now, None)))
    assert sync(app, "crm").error is None
    yield app
    app.close()


def values(app, kpi: str, period: str, start: str, end: str) -> dict[str, float | None]:
    found = measure(app, kpi=kpi, period=period, start=start, end=end, fill=True)
    assert len({one["period"]["label"] for one in found}) == len(found)
    return {one["period"]["label"]: one["value"] for one in found}


def test_day_that_never_was_has_nothing_and_no_rate(tmp_path):
    closings = ["2011-12-29T23:30:00-10:00", "2011-12-31T00:30:00+14:00", "2011-12-29T08:00:00-10:00"]
    with company(tmp_path, "timezone: Pacific/Apia", closings, "2012-03-01T00:00:00+00:00") as app:
        days = ("day", "2011-12-29", "2012-01-01")
        assert values(app, "won_deals", *days) == {"2011-12-29": 2, "2011-12-30": 0, "2011-12-31": 1}
        assert values(app, "win_rate", *days) == {"2011-12-29": 1, "2011-12-30": None, "2011-12-31": 1}
        found = measure(app, kpi="win_rate", period="2011-12-30", fill=True)
        assert [one["state"] for one in found] in ([], ["undefined"])
        assert values(app, "won_deals", "month", "2011-12-01", "2012-01-01") == {"2011-12": 3}


def test_hour_that_comes_twice_is_counted_twice_and_the_skipped_one_not_at_all(tmp_path):
    closings = [
        "2024-10-27T00:30:00+00:00",
        "2024-10-27T01:15:00+00:00",
        "2024-10-27T01:45:00+00:00",
        "2024-03-31T01:05:00+00:00",
    ]
    with company(tmp_path, "timezone: Europe/Berlin", closings, "2024-12-01T00:00:00+00:00") as app:
        autumn = values(app, "won_deals", "hour", "2024-10-27", "2024-10-28")
        assert len(autumn) == 25
        assert {hour: count for hour, count in autumn.items() if count} == {
            "2024-10-27 02:00+02:00": 1,
            "2024-10-27 02:00+01:00": 2,
        }
        spring = values(app, "won_deals", "hour", "2024-03-31", "2024-04-01")
        assert (len(spring), spring["2024-03-31 03:00"], "2024-03-31 02:00" in spring) == (23, 1, False)
        assert values(app, "won_deals", "day", "2024-10-27", "2024-10-28") == {"2024-10-27": 3}


LISTED = ", ".join(["2023-02-01", *(f"2023-{month:02}-02" for month in range(3, 13)), "2024-01-03"])


@pytest.mark.parametrize("pattern", ["gregorian", "4-4-5", "4-5-4", "5-4-4", f"custom\nfiscal_month_starts: [[{LISTED}]]"])
def test_fiscal_months_add_up_to_quarters_and_years_whatever_the_pattern(tmp_path, pattern):
    closings = [f"2023-{month:02}-{day:02}T12:00:00+00:00" for month in range(1, 13) for day in (1, 2, 8, 28)]
    closings.append("2023-01-30T12:00:00+00:00")  # in the next year of weeks, in this one of months
    time = f"timezone: UTC\nweek_start: sun\nfiscal_year: 2\nfiscal_label: start\nfiscal_pattern: {pattern}"
    with company(tmp_path, time, closings, "2024-06-01T00:00:00+00:00") as app:
        sums = {}
        for kind in ("fiscal_month", "fiscal_quarter", "fiscal_year"):
            found = values(app, "won_deals", kind, "2022-02-10", "2024-03-01")
            sums[kind] = {}
            for label, count in found.items():
                sums[kind][label[:6]] = sums[kind].get(label[:6], 0) + count
        assert sums["fiscal_month"] == sums["fiscal_quarter"] == sums["fiscal_year"]
        assert sum(sums["fiscal_year"].values()) == 49
        assert sums["fiscal_year"]["FY2022"] == (4 if "-" in pattern[:5] else 5)


def test_instant_at_a_boundary_belongs_to_the_period_that_begins(tmp_path):
    closings = ["2024-03-10T05:00:00+00:00", "2024-03-11T03:59:59.999999+00:00", "2024-03-11T04:00:00+00:00"]
    with company(tmp_path, "timezone: America/New_York", closings, "2024-04-01T12:00:00+00:00") as app:
        assert values(app, "won_deals", "day", "2024-03-09", "2024-03-12") == {"2024-03-09": 0, "2024-03-10": 2, "2024-03-11": 1}
        assert values(app, "won_deals", "2024-03-10..2024-03-11", "2024-03-10", "2024-03-11") == {"2024-03-10..2024-03-11": 2}


def test_another_zone_moves_the_boundaries_and_says_so(tmp_path):
    closings = ["2024-03-10T04:30:00+00:00", "2024-03-10T12:00:00+00:00", "2024-03-10T23:30:00+00:00"]
    with company(tmp_path, "timezone: Europe/Berlin", closings, "2024-04-01T12:00:00+00:00") as app:
        span = {"kpi": "won_deals", "period": "day", "start": "2024-03-09", "end": "2024-03-12", "fill": True}
        assert [one["value"] for one in measure(app, **span)] == [0, 2, 1]
        found = measure(app, **span, timezone="America/New_York")
        assert [(one["period"]["label"], one["value"]) for one in found] == [
            ("2024-03-09", 1),
            ("2024-03-10", 2),
            ("2024-03-11", 0),
        ]
        assert found[0]["warnings"] == ["days of America/New_York: totals need not add up"]
        with pytest.raises(KpidError, match="history is cut"):
            measure(app, **span, timezone="America/New_York", as_reported="first")
        with pytest.raises(KpidError, match="not a time zone"):
            measure(app, **span, timezone="America/Atlantis")
