"""``kpid measure`` beyond plain figures: compared with another period, per working day, as reported; and what was restated."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from kpid.app import open_app
from kpid.commands.measure import instant_from_text, measure
from kpid.commands.reported import list_restated
from kpid.cycle import refresh, sync
from kpid.errors import KpidError
from kpid.testing import FakeClock

CONFIG = """\
timezone: Europe/Berlin
currency: EUR
calendar: office
calendars: {office: {days: {2024-03-29: closed}}}
sources:
  crm: {connector: files, path: data, every: 1h}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
rules:
  - {name: few wins, kpi: won_deals, period: month, by: owner, warn: "< 1", to: team}
  - {name: low rate, kpi: win_rate, period: month, warn: "< 1%", to: team}
"""
HEAD = "native_id,created_at,closed_at,state,amount,currency,owner_id\n"
NOW = "2024-04-10T09:12:00+02:00"


def deals(*rows: tuple[str, str, int]) -> str:
    """(day, state, how many); owners take turns."""
    lines, number = [], 0
    for day, state, count in rows:
        for _ in range(count):
            number += 1
            lines.append(f"{number},2022-01-01,{day},{state},10,EUR,{'ada' if number % 2 else 'bob'}\n")
    return HEAD + "".join(lines)


def made(folder, rows: str, now: str = NOW):
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "deals.csv").write_text(rows, encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text(now, None)))
    assert sync(app, "crm").error is None
    return app


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    rows = [("2023-02-27", "won", 4), ("2023-03-06", "won", 6), ("2023-03-06", "lost", 34), ("2023-03-31", "won", 4),
            ("2024-02-28", "won", 7), ("2024-02-29", "won", 3), ("2024-03-05", "won", 20), ("2024-03-05", "lost", 20),
            ("2024-04-02", "won", 5)]  # fmt: skip
    app = made(tmp_path_factory.mktemp("comparing"), deals(*rows))
    yield app
    app.close()


def test_month_is_compared_with_the_same_month_of_last_year(app):
    [march] = measure(app, kpi="won_deals", period="2024-03", vs="last_year")
    assert march["reference"] == {"label": "2023-03", "value": 10, "n": 10, "state": "ok"}
    assert (march["compared"], march["difference"], march["relative_change"], march["warnings"]) == (20, 10, 1, [])


def test_default_periods_are_each_compared_with_the_one_before(app):
    found = measure(app, kpi="won_deals", start="2024-02-01", end="2024-04-01", vs="previous")
    assert [(one["period"]["label"], one["reference"]["label"], one["difference"]) for one in found] == [
        ("2024-02", "2024-01", 10), ("2024-03", "2024-02", 10)]  # fmt: skip
    assert found[0]["reference"]["value"] == 0
    assert found[0]["relative_change"] is None  # from nothing there is no percentage


def test_rate_is_compared_in_points_with_an_interval_of_the_difference(app):
    [march] = measure(app, kpi="win_rate", period="2024-03", vs="last_year")
    assert json.dumps([march["compared"], march["reference"]["value"]]) == "[0.5, 0.227272727272727]"
    assert march["difference"] == pytest.approx(0.5 - 10 / 44)
    assert march["difference_low"] < march["difference"] < march["difference_high"]
    assert march["difference_low"] == pytest.approx(0.0677, abs=1e-3)


def test_counts_per_working_day_take_holidays_out(app):
    [march] = measure(app, kpi="won_deals", period="2024-03", vs="last_year", per_working_day=True)
    assert (march["compared"], march["reference"]["value"]) == (1, pytest.approx(10 / 23))  # 21 weekdays less Good Friday: 20
    assert march["relative_change"] == pytest.approx(1.3)


def test_running_month_per_working_day_counts_the_days_that_are_over(app):
    [april] = measure(app, kpi="won_deals", period="2024-04", vs="previous", per_working_day=True)
    over = 7 + Decimal(12) / 480  # 1 to 9 April, and 12 minutes of the 10th
    assert april["compared"] == pytest.approx(float(5 / over))
    [april] = measure(app, kpi="won_deals", period="2024-04", vs="previous")
    assert "the period is not over; 2024-03 is whole" in april["warnings"]


def test_leap_day_is_compared_with_the_28th_and_says_so(app):
    [day] = measure(app, kpi="won_deals", period="2024-02-29", vs="last_year")
    assert (day["reference"]["label"], day["warnings"]) == ("2023-02-28", ["2024-02-29 is compared with 2023-02-28"])


def test_month_to_date_may_be_aligned_by_working_days(app):
    [mtd] = measure(app, kpi="won_deals", period="MTD 2024-03-05", vs="last_year")
    assert (mtd["reference"]["label"], mtd["reference"]["value"]) == ("MTD 2023-03-05", 0)
    [mtd] = measure(app, kpi="won_deals", period="MTD 2024-03-06", vs="last_year", align="working_days")
    assert (mtd["reference"]["label"], mtd["reference"]["value"]) == ("MTD 2023-03-06", 6)


def test_balance_is_compared_instant_with_instant(app):
    [march] = measure(app, kpi="pipeline_open_amount", period="2024-03", vs="previous")
    assert (march["value"], march["reference"]["value"]) == (50, 450)
    with pytest.raises(KpidError, match="no count or sum"):
        measure(app, kpi="pipeline_open_amount", period="2024-03", vs="previous", per_working_day=True)


def test_segments_are_compared_with_themselves(app):
    found = measure(app, kpi="won_deals", period="2024-03", by=["owner"], vs="last_year")
    assert [(one["dims"]["owner"]["id"], one["value"], one["reference"]["value"]) for one in found] == [
        ("crm:ada", 10, 5), ("crm:bob", 10, 5)]  # fmt: skip


@pytest.mark.parametrize(
    ("period", "labels"),
    [
        ("last_complete_month", ["2024-03"]), ("last_complete_week", ["2024-W14"]), ("2024-W10", ["2024-W10"]),
        ("2024-02-01..2024-03-06", ["2024-02-01..2024-03-06"]), ("last_complete_rolling_7d", ["7d to 2024-04-09"]),
        ("90d to 2024-03-31", ["90d to 2024-03-31"]), ("2024-03-05", ["2024-03-05"]), ("FY2024-Q1", ["FY2024-Q1"]),
    ],
)  # fmt: skip
def test_one_period_may_be_named(app, period, labels):
    assert [one["period"]["label"] for one in measure(app, kpi="won_deals", period=period, fill=True)] == labels


def test_span_of_days_leaves_its_last_day_out(app):
    [one] = measure(app, kpi="won_deals", period="2024-02-28..2024-03-05")
    assert one["value"] == 10
    [one] = measure(app, kpi="won_deals", period="2024-02-28..2024-03-06", vs="previous")
    assert (one["value"], one["reference"]["label"]) == (30, "2024-02-21..2024-02-28")


def test_hours_of_a_day_add_up_to_it(app):
    found = measure(app, kpi="won_deals", period="hour", start="2024-03-05", end="2024-03-06", fill=True)
    assert (len(found), sum(one["value"] for one in found)) == (24, 20)


def test_campaign_to_date_grows_from_its_first_day(app):
    found = measure(app, kpi="won_deals", period="since_2024-02-28", start="2024-02-28", end="2024-03-06", fill=True)
    assert [one["value"] for one in found] == [7, 10, 10, 10, 10, 10, 30]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"vs": "last_yaer"}, "is not a comparison"),
        ({"vs": "same_weekday"}, "no same weekday"),
        ({"vs": "previous", "as_reported": "first"}, "data of today"),
        ({"as_reported": "yesterday"}, "neither a day nor an instant"),
        ({"period": "2024-13"}, "is not a kind of period"),
    ],
)
def test_what_makes_no_sense_is_refused(app, wrong, says):
    with pytest.raises(KpidError, match=says):
        measure(app, kpi="won_deals", **wrong)


@pytest.fixture
def told_twice(tmp_path):
    """March was told on 1 April with 20 wins; on 5 April two of them were gone and one of Bob's had become Ada's."""
    app = made(tmp_path, deals(("2024-03-05", "won", 20), ("2024-03-05", "lost", 20)), "2024-04-01T08:00:00+02:00")
    refresh(app, app.clock.now())
    app.close()
    rows = deals(("2024-03-05", "won", 20), ("2024-03-05", "lost", 20)).replace("2024-03-05,won", "2024-03-06,won")
    app = made(tmp_path, rows.replace("3,2022-01-01,2024-03-06,won", "3,2022-01-01,2024-04-02,won"), "2024-04-05T08:00:00+02:00")
    refresh(app, app.clock.now(), full=True)
    yield app
    app.close()


def test_as_reported_is_what_history_said_then(told_twice):
    def march(**how):
        return {one["dims"]["owner"]["id"]: one["value"] for one in measure(told_twice, kpi="won_deals", by=["owner"], **how)}

    assert march(period="2024-03")["crm:ada"] == 8
    assert march(period="2024-03", as_reported="first") == {"crm:ada": 10, "crm:bob": 10}
    assert march(period="2024-03", as_reported="2024-04-02")["crm:ada"] == 10
    assert march(period="2024-03", as_reported="2024-04-05")["crm:ada"] == 8
    assert march(period="2024-03", as_reported="2024-03-31") == {}
    one = measure(told_twice, kpi="won_deals", by=["owner"], period="2024-03", as_reported="first")[0]
    assert one["warnings"][-2:] == ["as reported 2024-04-01 08:00", "restated since"]


def test_history_that_nobody_keeps_is_said_to_be_missing(told_twice):
    with pytest.raises(KpidError, match="is not kept in history"):
        measure(told_twice, kpi="won_deals", period="2024-03", as_reported="first")


def test_restated_figures_are_listed_with_what_was_told(told_twice):
    found = list_restated(told_twice)
    ada = next(one for one in found if one["kpi"] == "won_deals" and one["segment"] == "crm:ada")
    assert (ada["period"], ada["from"], ada["to"], ada["change"], ada["because"]) == ("2024-03", 10, 8, -2, "data")
    assert (ada["told_at"], ada["changed_at"]) == ("2024-04-01T06:00:00+00:00", "2024-04-05T06:00:00+00:00")
    assert {one["kpi"] for one in list_restated(told_twice, kpi="win_rate")} == {"win_rate"}
    assert list_restated(told_twice, kpi="win_rate", tolerance="0.5") == []
    assert list_restated(told_twice, kpi="won_deals", units="2") == []
    assert list_restated(told_twice, kpi="won_deals", days=1) != []
    with pytest.raises(KpidError, match="no KPI"):
        list_restated(told_twice, kpi="wins")
