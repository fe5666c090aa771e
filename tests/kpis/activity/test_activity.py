"""Edges of the activity KPIs that the catalogue names, on tables written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import kpid_activity
import pytest

from kpid.model import MeasurementState
from kpid.testing.kpis import measure_rows

KPIS = {kpi.id: kpi for kpi in kpid_activity.kpid_kpis()}
MONDAY = datetime(2017, 12, 4, 10, tzinfo=UTC)
SELLERS = [{"id": name, "name": name, "role": "seller", "is_active": True} for name in ("ada", "bob")]


def one(kpi, rows, folder, label="2017-12", **options):
    [measurement] = measure_rows(KPIS[kpi], rows, label, folder=folder, **options)
    return measurement


def call(key, at=MONDAY, **more):
    return {"id": key, "type": "call", "direction": "outbound", "occurred_at": at, "owner_id": "ada", **more}


def meeting(key, at=MONDAY, **more):
    return {"id": key, "type": "meeting", "ended_at": at, "owner_id": "ada", **more}


def won(key, at=MONDAY, **more):
    return {"id": key, "state": "won", "closed_at": at, "owner_id": "ada", **more}


def test_cancelled_missed_and_future_meetings_never_count(tmp_path):
    later = datetime(2018, 1, 3, tzinfo=UTC)
    rows = [meeting("1"), meeting("2", status="cancelled"), meeting("3", status="no_show"), meeting("4", status="planned")]
    assert one("meetings_held", {"activities": [*rows, meeting("5", later)]}, tmp_path).value == 2
    assert one("meetings_held", {"activities": [meeting("5", later)]}, tmp_path / "b", label="2018-01").value == 0


@pytest.fixture(autouse=True)
def more_folders(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()


def test_connected_calls_go_by_outcome_and_else_by_length(tmp_path):
    rows = [
        call("1", outcome="Connected"),
        call("2", outcome="busy", duration_s=9),
        call("3", duration_s=9),
        call("4", duration_s=0),
    ]
    assert one("calls_made", {"activities": rows}, tmp_path, params={"connected_only": "true"}).value == 2


def test_seller_without_a_call_stays_in_the_denominator(tmp_path):
    found = one("calls_per_rep", {"activities": [call("1"), call("2"), call("3")], "users": SELLERS}, tmp_path)
    assert (found.numerator, found.denominator, found.n) == (3, 2, 2)


def test_no_sellers_is_undefined(tmp_path):
    found = one("calls_per_rep", {"activities": [call("1")], "users": [SELLERS[0] | {"role": "manager"}]}, tmp_path)
    assert (found.state, found.reason) == (MeasurementState.UNDEFINED, "no active sellers")


def test_seller_of_a_single_weekend_was_not_active(tmp_path):
    saturday = datetime(2017, 12, 9, tzinfo=UTC)
    weekend = {"id": "eve", "role": "seller", "active_from": saturday, "active_to": saturday + timedelta(days=1)}
    found = one("calls_per_rep", {"activities": [call("1")], "users": [*SELLERS, weekend]}, tmp_path)
    assert found.denominator == 2


def test_seller_who_left_counts_in_the_periods_before(tmp_path):
    gone = SELLERS[1] | {"is_active": False, "active_to": datetime(2017, 12, 1, tzinfo=UTC)}
    rows = {"activities": [call("1"), call("2", datetime(2017, 11, 6, tzinfo=UTC))], "users": [SELLERS[0], gone]}
    assert one("calls_per_rep", rows, tmp_path).denominator == 1
    assert one("calls_per_rep", rows, tmp_path / "b", label="2017-11").denominator == 2


def test_calls_per_working_day_of_a_seller(tmp_path):
    found = one(
        "calls_per_rep", {"activities": [call("1")], "users": SELLERS}, tmp_path, label="2017-W49", params={"per": "working_day"}
    )
    assert (found.numerator, found.denominator) == (1, 10)


def test_calls_per_sale_is_the_inverse_of_efficiency(tmp_path):
    rows = {
        "activities": [call("1", deal_id="1"), call("2"), call("3", account_id="x")],
        "deals": [won("1"), won("2", account_id="x")],
    }
    for link, folder in (("any", tmp_path), ("linked", tmp_path / "b")):
        (folder / "x").mkdir()
        per_sale = one("calls_per_sale", rows, folder, params={"link": link})
        success = one("call_success_rate", rows, folder / "x", params={"link": link})
        assert per_sale.numerator * success.numerator == per_sale.denominator * success.denominator == (6 if link == "any" else 4)


def test_calls_per_sale_without_sales_is_undefined(tmp_path):
    found = one("calls_per_sale", {"activities": [call("1")]}, tmp_path)
    assert (found.state, found.value) == (MeasurementState.UNDEFINED, None)


def test_linked_call_belongs_to_the_next_sale_of_its_account_alone(tmp_path):
    deals = [won("1", MONDAY, account_id="x"), won("2", MONDAY + timedelta(days=9), account_id="x")]
    calls = [call("1", MONDAY - timedelta(days=40), account_id="x"), call("2", MONDAY + timedelta(days=1), account_id="x"),
             call("3", MONDAY + timedelta(days=10), account_id="x")]  # fmt: skip
    found = one("calls_per_sale", {"activities": calls, "deals": deals}, tmp_path, params={"link": "linked"})
    assert (found.numerator, found.denominator) == (2, 2)


def test_more_sales_than_calls_are_told(tmp_path):
    found = one("call_success_rate", {"activities": [call("1")], "deals": [won("1"), won("2")]}, tmp_path)
    assert found.value == 2
    assert "above 100 %: more sales than calls" in found.warnings


def test_efficiency_without_calls_is_undefined(tmp_path):
    assert one("call_success_rate", {"deals": [won("1")]}, tmp_path).state is MeasurementState.UNDEFINED


def test_meeting_that_was_booked_and_cancelled_was_booked(tmp_path):
    booked = {"id": "9", "type": "meeting", "created_at": MONDAY, "status": "cancelled"}
    found = one("call_success_rate", {"activities": [call("1"), call("2"), booked]}, tmp_path, params={"outcome": "meeting"})
    assert (found.numerator, found.denominator) == (1, 2)


def test_meeting_with_a_customer_of_today_was_with_a_prospect_then(tmp_path):
    account = {"id": "x", "name": "Acme Example", "lifecycle": "customer", "became_customer_at": MONDAY + timedelta(days=2)}
    meetings = [meeting("1", account_id="x"), meeting("2", MONDAY + timedelta(days=3), account_id="x")]
    rows = {"activities": meetings, "accounts": [account], "deals": [won("1")]}
    assert one("prospect_meeting_share", rows, tmp_path).value * 2 == 1
    assert one("meeting_to_sale_ratio", rows, tmp_path / "b").denominator == 1


def test_meeting_with_prospect_and_customer_counts_as_prospect(tmp_path):
    accounts = [{"id": "p", "name": "P", "lifecycle": "prospect"}, {"id": "c", "name": "C", "lifecycle": "customer"}]
    link = {"id": "1", "activity_id": "1", "object_type": "accounts", "object_id": "crm:p"}
    rows = {"activities": [meeting("1", account_id="c")], "accounts": accounts, "activity_links": [link]}
    assert one("prospect_meeting_share", rows, tmp_path).value == 1


def test_internal_meetings_are_no_meetings_with_customers(tmp_path):
    accounts = [{"id": "us", "name": "Us", "lifecycle": "internal"}]
    rows = {"activities": [meeting("1", direction="internal"), meeting("2", account_id="us"), meeting("3")], "accounts": accounts}
    found = one("prospect_meeting_share", rows, tmp_path)
    assert (found.numerator, found.denominator) == (0, 1)
    assert "1 meetings name no account, contact or lead: taken for meetings with customers" in found.warnings


def test_calls_and_sellers_of_a_team_are_of_the_same_team(tmp_path):
    joined = {"id": "1", "team_id": "t", "user_id": "ada", "valid_from": datetime(2017, 1, 1, tzinfo=UTC)}
    users = [user | {"team": "south"} for user in SELLERS]
    rows = {"activities": [call("1")], "users": users, "teams": [{"id": "t", "name": "north"}], "team_memberships": [joined]}
    found = measure_rows(KPIS["calls_per_rep"], rows, "2017-12", folder=tmp_path, by=["team"])
    assert {m.dims[0].id: (m.numerator, m.denominator) for m in found} == {"north": (1, 1), "south": (0, 1)}
