"""What ``kpid measure`` gives: exact numbers, names and ids, all periods if asked, and help with what is misspelt."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from kpid.app import open_app
from kpid.commands.measure import instant_from_text, measure
from kpid.commands.plain import number
from kpid.cycle import sync
from kpid.errors import KpidError
from kpid.testing import FakeClock

CONFIG = """\
timezone: Europe/Berlin
currency: EUR
sources:
  crm: {connector: files, path: data, every: 1h}
kpis:
  sales_cycle_days: {params: {outcome: all}}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
"""
DEALS = """\
native_id,created_at,closed_at,state,amount,currency,owner_id
1,2026-09-01,2026-10-05,won,10.10,EUR,ada
2,2026-09-01,2026-10-06,won,0.20,EUR,ada
3,2026-09-01,2026-10-07,lost,,EUR,ada
4,2026-09-01,2026-08-31,won,1234567890123.45,EUR,bob
5,2026-09-01,2026-10-31,lost,5,EUR,
6,2026-09-01,2026-11-01,won,,EUR,bob
"""
CAMPAIGNS = "native_id,name,starts_on\n1,Spring,2026-10-05\n2,Summer,2026-11-10\n"
LEADS = "native_id,created_at,campaign\n1,2026-10-04,Spring\n2,2026-10-05,Spring\n3,2026-11-09,Spring\n"
LEADS += "4,2026-11-10,Spring\n5,2026-10-09,X\n"
USERS = "native_id,name,team\nada,Ada Example,north\nbob,Bob Example,\n"
NOW = "2026-11-10T09:12:00+01:00"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    (folder / "data").mkdir()
    (folder / "data" / "deals.csv").write_text(DEALS, encoding="utf-8")
    (folder / "data" / "users.csv").write_text(USERS, encoding="utf-8")
    (folder / "data" / "campaigns.csv").write_text(CAMPAIGNS, encoding="utf-8")
    (folder / "data" / "leads.csv").write_text(LEADS, encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text(NOW, None)))
    assert sync(app, "crm").error is None
    yield app
    app.close()


def test_decimals_come_without_noise_and_whole_numbers_as_such(app):
    [october] = measure(app, kpi="won_amount", start="2026-10-01", end="2026-11-01")
    assert json.dumps([october["value"], october["n"], october["currency"]]) == '[10.3, 2, "EUR"]'
    [august] = measure(app, kpi="won_amount", start="2026-08-01", end="2026-09-01")
    assert json.dumps(august["value"]) == "1234567890123.45"


def test_ratio_has_fifteen_digits_and_the_exact_parts(app):
    [one] = measure(app, kpi="win_rate", period="fiscal_year", by=["team"], where={"owner": ["Ada Example"]}, start="2026-01-01")
    assert json.dumps([one["value"], one["numerator"], one["denominator"]]) == "[0.666666666666667, 2, 3]"
    assert one["dims"] == {"team": {"id": "north", "name": "north"}}
    assert one["period"] == {"start": "2026-01-01T00:00:00+01:00", "end": "2027-01-01T00:00:00+01:00", "label": "FY2026"}
    assert (one["state"], one["reason"]) == ("incomplete", "the period is not over")
    assert one["warnings"] == ["3 closed deals, at least 30 needed"]


def test_parameters_are_told_with_defaults_and_company_settings(app):
    [one] = measure(app, kpi="sales_cycle_days", params={"stat": "mean"}, start="2026-10-01", end="2026-11-01")
    assert one["params"].items() >= {"stat": "mean", "outcome": "all"}.items()
    assert one["n"] == 4


def test_segments_have_id_and_name_and_nobody_is_one_too(app):
    found = measure(app, kpi="lost_deals", by=["owner"], start="2026-10-01", end="2026-11-01")
    assert [one["dims"]["owner"] for one in found] == [{"id": "crm:ada", "name": "Ada Example"}, {"id": None, "name": None}]


def test_fill_gives_every_period_for_every_segment_seen(app):
    found = measure(app, kpi="won_deals", by=["owner"], start="2026-08-15", end="2026-11-02", fill=True)
    assert {(one["period"]["label"], one["dims"]["owner"]["name"]): one["value"] for one in found} == {
        ("2026-08", "Ada Example"): 0, ("2026-08", "Bob Example"): 1,
        ("2026-09", "Ada Example"): 0, ("2026-09", "Bob Example"): 0,
        ("2026-10", "Ada Example"): 2, ("2026-10", "Bob Example"): 0,
        ("2026-11", "Ada Example"): 0, ("2026-11", "Bob Example"): 1,
    }  # fmt: skip
    rates = measure(app, kpi="win_rate", by=["owner"], start="2026-09-01", end="2026-11-01", fill=True)
    empty = [one for one in rates if one["period"]["label"] == "2026-09"]
    assert [(one["value"], one["state"], one["n"]) for one in empty] == [(None, "undefined", 0)] * 2


def test_period_that_has_not_begun_has_no_figure(app):
    assert measure(app, kpi="won_deals", start="2027-01-01", end="2027-03-01", fill=True) == []
    labels = [one["period"]["label"] for one in measure(app, kpi="won_deals", start="2026-10-01", end="2027-03-01", fill=True)]
    assert labels == ["2026-10", "2026-11"]


def test_default_is_thirteen_complete_periods_and_the_current_one(app):
    found = measure(app, kpi="won_deals", fill=True)
    assert (len(found), found[0]["period"]["label"], found[-1]["period"]["label"]) == (14, "2025-10", "2026-11")


def test_name_that_nobody_has_is_undefined_not_zero(app):
    [one] = measure(app, kpi="won_deals", where={"owner": ["Ada Exampel"]}, start="2026-10-01", end="2026-11-01", fill=True)
    assert (one["value"], one["state"], one["reason"]) == (None, "undefined", "no owner is called 'Ada Exampel'")
    names = {"owner": ["Ada Exampel", "Ada Example"]}
    [one] = measure(app, kpi="won_deals", where=names, start="2026-10-01", end="2026-11-01", fill=True)
    assert (one["value"], one["state"], one["warnings"]) == (2, "ok", ["no owner is called 'Ada Exampel'"])
    [one] = measure(app, kpi="won_deals", where={"owner": ["crm:new"]}, start="2026-10-01", end="2026-11-01", fill=True)
    assert (one["value"], one["state"]) == (0, "ok")


def test_amounts_that_are_missing_are_said_to_be(app):
    [one] = measure(app, kpi="won_amount", start="2026-11-01", end="2026-12-01")
    assert (one["value"], one["n"]) == (0, 0)
    assert one["warnings"] == ["1 won deals have no amount"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kpi": "winrate"}, "Did you mean 'win_rate'?"),
        ({"kpi": "win_rate", "by": ["onwer"]}, "Did you mean 'owner'?"),
        ({"kpi": "win_rate", "where": {"onwer": ["x"]}}, "Did you mean 'owner'?"),
        ({"kpi": "win_rate", "params": {"wieght": "count"}}, "Did you mean 'weight'?"),
        ({"kpi": "win_rate", "params": {"weight": "amuont"}}, "Did you mean 'amount'?"),
        ({"kpi": "win_rate", "period": "quater"}, "Did you mean 'quarter'?"),
        ({"kpi": "win_rate", "period": "rolling_0d"}, "rolling_90d"),
        ({"kpi": "win_rate", "start": "2026-13-01"}, "2017-12-31"),
    ],
)
def test_what_is_misspelt_is_named_with_what_is_meant(app, wrong, says):
    with pytest.raises(KpidError) as refused:
        measure(app, **wrong)
    assert says in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("decimal", "json_text"),
    [
        ("3", "3"), ("3.000", "3"), ("-0.1", "-0.1"), ("12345678901234567890123", "12345678901234567890123"),
        ("0.6666666666666666666666666667", "0.666666666666667"), ("123456789012345.67", "123456789012345.67"), ("1E+3", "1000"),
    ],
)  # fmt: skip
def test_number_is_as_exact_as_json_can(decimal, json_text):
    assert json.dumps(number(Decimal(decimal))) == json_text


def test_campaign_to_date_ends_yesterday_or_before_a_day_and_goes_with_no_comparison(app):
    [spring] = measure(app, kpi="leads_created", period="campaign_to_date", by=["campaign"])
    assert (spring["period"]["label"], spring["value"], spring["state"]) == ("since 2026-10-05 to 2026-11-09", 2, "ok")
    [earlier] = measure(app, kpi="leads_created", period="campaign_to_date", by=["campaign"], end="2026-11-01")
    assert (earlier["period"]["label"], earlier["value"]) == ("since 2026-10-05 to 2026-10-31", 1)
    for wrong, says in (
        ({}, "Add --by campaign"),
        ({"by": ["campaign"], "vs": "previous"}, "--vs does not go with campaign_to_date"),
        ({"by": ["campaign"], "as_reported": "first"}, "--as-reported does not go"),
        ({"by": ["campaign"], "start": "2026-10-01"}, "--from does not go"),
        ({"by": ["campaign"], "kpi": "nps"}, "cannot be cut by 'campaign'"),
        ({"by": ["campaign"], "period": "campain_to_date"}, "campaign_to_date"),
    ):
        with pytest.raises(KpidError) as refused:
            measure(app, **{"kpi": "leads_created", "period": "campaign_to_date", **wrong})
        assert says in str(refused.value)
