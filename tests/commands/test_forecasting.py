"""``kpid forecast``: figures by hand, targets of the configuration by segment and version, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from kpid.app import open_app
from kpid.commands.forecasting import forecast_kpi
from kpid.commands.measure import instant_from_text
from kpid.cycle import sync
from kpid.errors import KpidError
from kpid.testing import FakeClock

CONFIG = """\
timezone: Europe/Berlin
currency: EUR
sources:
  crm: {connector: files, path: data, every: 1h}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
kpis:
  won_deals:
    target: 60
    target_period: month
    targets:
      - {period: month, value: 40, where: {owner: Ada Example}}
      - {period: 2024-03, value: 80, valid_from: 2024-03-04}
      - {period: 2024-03, value: 90, valid_from: 2024-03-30}
      - {period: 2024-Q1, value: 130, where: {owner: crm:bob}}
  won_amount: {target: 3000, target_period: quarter, target_curve: seasonal}
  win_rate: {target: 50%}
"""
HEAD = "native_id,created_at,closed_at,state,amount,currency,owner_id\n"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """From 2023 on Ada wins a deal each working day and two on the last of the month; Bob one each Monday, from 2024 on."""
    folder = tmp_path_factory.mktemp("forecast")
    (folder / "data").mkdir()
    lines, day = [], date(2023, 1, 1)
    while day <= date(2024, 3, 15):
        wins = ["ada"] * (day.weekday() < 5) + ["ada"] * ((day + timedelta(days=1)).day == 1)
        wins += ["bob"] * (day.weekday() == 0 and day.year == 2024)
        lines += [f"{day}-{number},2022-01-01,{day},won,10,EUR,{owner}\n" for number, owner in enumerate(wins)]
        lines += [f"{day}-lost,2022-01-01,{day},lost,10,EUR,ada\n"] * (day.weekday() < 5)
        day += timedelta(days=1)
    (folder / "data" / "deals.csv").write_text(HEAD + "".join(lines), encoding="utf-8")
    (folder / "data" / "users.csv").write_text("native_id,name\nada,Ada Example\nbob,Bob Example\n", encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text("2024-03-15T18:00:00+01:00", None)))
    assert sync(app, "crm").error is None
    yield app
    app.close()


def test_month_is_forecast_from_the_shares_of_earlier_months(app):
    [march] = forecast_kpi(app, kpi="won_deals", where={"owner": ["Ada Example"]})
    assert (march["period"]["label"], march["value"], march["progress"]) == ("2024-03", 11, "11 of 21 working days")
    # in each earlier month 11 of 21 working days gave 11/21 W of W + 1 wins
    assert 21 <= march["forecast"] <= 23
    assert march["forecast_low"] <= march["forecast"] <= march["forecast_high"]
    assert march["forecast_from"] == 12


def test_pace_is_judged_against_the_version_of_the_target_that_holds(app):
    [march] = forecast_kpi(app, kpi="won_deals")
    assert (march["value"], march["target"]) == (13, 80)  # the company's; that of 30 March does not hold yet
    assert march["expected"] == pytest.approx(80 * 11 / 21)
    assert march["pace"] == pytest.approx(13 / (80 * 11 / 21))
    assert march["projected"] == pytest.approx(13 * 21 / 11)
    assert march["standing"] == "far behind"
    [february] = forecast_kpi(app, kpi="won_deals", period="2024-02")
    assert (february["target"], february["forecast"], february["notes"]) == (60, None, ["the period is over"])


def test_segments_have_targets_of_their_own_or_their_part_of_a_longer_one(app):
    ada, bob = forecast_kpi(app, kpi="won_deals", by=["owner"])
    assert (ada["target"], bob["target"]) == (40, pytest.approx(130 * 21 / 65))
    assert "its part of the target for 2024-Q1, by working days" in bob["notes"]
    assert "no forecast: 1 whole earlier periods with figures, 4 needed" in bob["notes"]
    assert bob["forecast"] is None  # the period in which his figures begin says nothing of how they come together
    assert bob["projected"] == pytest.approx(2 * 21 / 11)


def test_seasonal_curve_follows_last_year(app):
    [quarter] = forecast_kpi(app, kpi="won_amount", period="quarter")
    assert quarter["target"] == 3000
    share = (65 * 55 / 65 + 2) / (65 + 3)  # 55 of 65 working days are over; last year had two of three ends of months by then
    assert quarter["expected"] == pytest.approx(3000 * share, rel=0.02)
    [month] = forecast_kpi(app, kpi="won_amount", period="month")
    assert month["target"] == pytest.approx(3000 * 21 / 65)
    [january] = forecast_kpi(app, kpi="won_amount", period="2023-01")
    assert "last year has no shape to follow: no pace" in january["notes"]


def test_rate_has_a_distance_to_its_target_and_no_pace(app):
    [march] = forecast_kpi(app, kpi="win_rate", period="quarter")
    assert (march["pace"], march["forecast"], march["target"]) == (None, None, 0.5)
    assert march["distance"] == pytest.approx(march["value"] - 0.5)
    assert any("no pace" in note for note in march["notes"])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"period": "day"}, "nothing is forecast for a day"),
        ({"period": "rolling_30d"}, "nothing is forecast"),
        ({"period": "2025-01"}, "has not begun"),
        ({"period": "fortnight"}, "fortnight"),
        ({"kpi": "wins"}, "there is no KPI"),
        ({"by": ["onwer"]}, "onwer"),
    ],
)
def test_what_makes_no_sense_is_refused(app, wrong, says):
    with pytest.raises(KpidError, match=says):
        forecast_kpi(app, **{"kpi": "won_deals", **wrong})
