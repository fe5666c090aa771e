"""Customer KPIs: the edges that the catalogue names, by hand; and what has to hold whatever the data."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import kpid_customer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpid.analysis.periods import Calendar, period_from_label, periods_between
from kpid.metrics.dialects import compile_statement
from kpid.metrics.measure import MetricsSetup, figures_at
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.statements import Setting, make_statement
from kpid.model import MeasurementState, SeriesNeed
from kpid.testing.kpis import measure_rows, open_warehouse
from tests.effort import on_worlds

_spec = importlib.util.spec_from_file_location("naive_customer_edges", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

KPIS = {kpi.id: kpi for kpi in kpid_customer.kpid_kpis()}
ZONE = ZoneInfo("Europe/Berlin")
CALENDAR = Calendar("Europe/Berlin")
NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)


def at(month, day=1, hour=0, year=2017):
    return datetime(year, month, day, hour, tzinfo=ZONE).astimezone(UTC)


def one(name, rows, folder, label="2017-12", **params):
    [found] = measure_rows(KPIS[name], rows, label, folder=folder, params=params, now=NOW)
    return found


def status(account, start, end=None, kind="active"):
    return {"id": f"{account}{start}{kind}", "account_id": account, "status": kind, "valid_from": start, "valid_to": end}


def with_history(*rows):
    names = dict.fromkeys(row["account_id"] for row in rows)
    return {"accounts": [{"id": name, "name": name} for name in names], "account_status_history": list(rows)}


def order(number, account="a", when=None, **more):
    return {
        "id": str(number),
        "account_id": account,
        "ordered_at": when or at(12, 5),
        "net_amount": Decimal(10),
        "status": "paid",
        **more,
    }


def test_basis_is_printed_with_every_figure(tmp_path):
    found = one("active_customers", {"orders": [order(1)]}, tmp_path, basis="orders", lookback_days="30")
    assert (found.value, found.warnings) == (1, ("customers by a purchase in the last 30 days",))


def test_customer_who_joins_and_leaves_in_the_period_is_in_gross_churn_on_neither_side(tmp_path):
    rows = with_history(status("a", at(1)), status("b", at(12, 5), at(12, 20)))
    assert one("customer_churn_rate", rows, tmp_path).value == 0


@pytest.mark.parametrize(("params", "expected"), [
    ({"method": "start_plus_new"}, Fraction(1, 2)), ({"same_window": "include"}, Fraction(1)), ({"method": "net"}, Fraction(0)),
])  # fmt: skip
def test_vendors_differ_about_who_joins_and_leaves_in_one_period(tmp_path, params, expected):
    rows = with_history(status("a", at(1)), status("b", at(12, 5), at(12, 20)))
    assert one("customer_churn_rate", rows, tmp_path, **params).value == Decimal(expected.numerator) / expected.denominator


def test_second_churn_after_reactivation_counts_again(tmp_path):
    rows = with_history(status("a", at(1), at(12, 3)), status("a", at(12, 5), at(12, 9)))
    assert one("lost_customers", rows, tmp_path).value == 2


def test_reactivated_customer_raises_the_formula_and_not_the_cohort(tmp_path):
    rows = with_history(status("a", at(1), at(11)), status("a", at(12, 5)), status("b", at(1)))
    assert one("customer_retention_rate", rows, tmp_path).value == 1
    (tmp_path / "2").mkdir()
    found = one("customer_retention_rate", rows, tmp_path / "2", method="formula")
    assert found.value == 2
    assert any("outside 0 to 100 %" in warning for warning in found.warnings)


def test_retention_of_nobody_is_undefined(tmp_path):
    found = one("customer_retention_rate", with_history(status("a", at(12, 5))), tmp_path)
    assert (found.value, found.state, found.reason) == (None, MeasurementState.UNDEFINED, "no customers at the start")


def test_a_year_is_the_twelfth_power_of_a_month_not_twelve_times_it(tmp_path):
    rows = with_history(*(status(f"c{n}", at(1), at(12, 9) if n == 0 else None) for n in range(10)))
    assert one("customer_retention_rate", rows, tmp_path, annualise="true").value == Decimal("0.9") ** 12


def test_current_period_is_incomplete(tmp_path):
    found = one("customer_churn_rate", with_history(status("a", at(1))), tmp_path, "2018-01")
    assert (found.value, found.state) == (0, MeasurementState.INCOMPLETE)


def test_past_due_subscription_is_a_customer_until_it_ends(tmp_path):
    subscription = {
        "id": "1",
        "account_id": "a",
        "started_at": at(1),
        "status": "past_due",
        "interval": "month",
        "amount": Decimal(9),
    }
    assert one("active_customers", {"subscriptions": [subscription]}, tmp_path, basis="subscription").value == 1


@pytest.mark.parametrize(("change", "expected"), [
    ({"status": "trial"}, 0), ({"amount": Decimal(0)}, 0), ({"discount": Decimal(9)}, 0), ({"amount": None}, 0),
    ({"status": None}, 1), ({"status": "ended"}, 0), ({"trial_end": at(12, 31, year=2018)}, 0),
    ({"started_at": None}, 0), ({"ended_at": at(1)}, 0),
])  # fmt: skip
def test_subscriptions_that_make_no_customer(tmp_path, change, expected):
    subscription = {
        "id": "1",
        "account_id": "a",
        "started_at": at(1),
        "status": "active",
        "interval": "month",
        "amount": Decimal(9),
        **change,
    }
    assert one("active_customers", {"subscriptions": [subscription]}, tmp_path, basis="subscription").value == expected


def test_vendors_differ_about_the_date_of_churn(tmp_path):
    """Notice on 20 November, paid until 30 November midnight."""
    subscription = {
        "id": "1", "account_id": "a", "started_at": at(1), "status": "active", "interval": "month", "amount": Decimal(9),
        "cancel_requested_at": at(11, 20), "ended_at": at(11, 30, 23),
    }  # fmt: skip
    found = {}
    for choice in ("term_end", "cancellation", "day_after"):
        for label in ("2017-11", "2017-12"):
            folder = tmp_path / f"{choice}{label}"
            folder.mkdir()
            found[choice, label] = one(
                "lost_customers", {"subscriptions": [subscription]}, folder, label, basis="subscription", churn_date=choice
            ).value
    assert {key for key, value in found.items() if value} == {
        ("term_end", "2017-11"), ("cancellation", "2017-11"), ("day_after", "2017-12"),
    }  # fmt: skip


def test_without_a_history_the_date_of_the_crm_counts(tmp_path):
    rows = {"accounts": [{"id": "a", "name": "A", "lifecycle": "customer", "became_customer_at": at(12, 5)}]}
    assert one("new_customers", rows, tmp_path).value == 1


def test_observed_history_does_not_make_old_customers_new(tmp_path):
    rows = with_history(status("a", at(12, 5)))
    rows["accounts"][0] |= {"lifecycle": "customer", "became_customer_at": at(3, year=2015)}
    assert one("new_customers", rows, tmp_path).value == 0


def test_customers_of_an_unknown_date_are_named_and_make_the_figure_incomplete(tmp_path):
    found = one("active_customers", {"accounts": [{"id": "a", "name": "A", "lifecycle": "customer"}]}, tmp_path)
    assert (found.value, found.state) == (0, MeasurementState.INCOMPLETE)
    assert found.reason == "1 customers left out: nobody knows since when they are customers"


@pytest.mark.parametrize("change", [{"is_test": True}, {"deleted_at": at(12, 1)}, {"lifecycle": "internal"}])
def test_accounts_that_are_no_customers(tmp_path, change):
    rows = with_history(status("a", at(1)), status("b", at(1)))
    rows["accounts"][0] |= change
    assert one("active_customers", rows, tmp_path).value == 1


def test_merged_accounts_are_one_customer(tmp_path):
    rows = with_history(status("a", at(1), at(12, 9)), status("b", at(12, 9)))
    rows["accounts"][0] |= {"merged_into_id": "b", "deleted_at": at(12, 20), "deleted_reason": "merged"}
    assert one("lost_customers", rows, tmp_path).value == 0
    (tmp_path / "2").mkdir()
    assert one("active_customers", rows, tmp_path / "2").value == 1


def test_won_deal_makes_a_customer_until_it_is_marked_lost(tmp_path):
    rows = {
        "deals": [{"id": "1", "account_id": "a", "state": "won", "closed_at": at(3)}],
        "account_status_history": [status("a", at(12, 9), kind="churned")],
        "accounts": [{"id": "a", "name": "A", "lifecycle": "former"}],
    }
    assert one("lost_customers", rows, tmp_path, basis="deal").value == 1


@pytest.mark.parametrize("change", [{"valid_from": None}, {"valid_from": at(12, 9), "valid_to": at(12, 1)}])
def test_impossible_spans_count_for_nothing(tmp_path, change):
    rows = with_history(status("a", at(1)) | change, status("b", at(1)))
    assert one("active_customers", rows, tmp_path).value == 1


def test_fully_refunded_and_cancelled_orders_are_no_purchases(tmp_path):
    rows = {
        **with_history(*(status(name, at(1)) for name in "abcd")),
        "orders": [order(1, "a"), order(2, "b"), order(3, "c", status="cancelled"), order(4, "d")],
        "refunds": [
            {"id": "1", "order_id": "2", "refunded_at": at(12, 9), "amount": Decimal(10)},
            {"id": "2", "order_id": "4", "refunded_at": at(12, 9), "amount": Decimal("9.99")},
        ],
    }
    found = one("repurchase_rate", rows, tmp_path)
    assert (found.numerator, found.denominator) == (2, 4)


def test_orders_of_one_day_are_one_purchase_with_dedupe(tmp_path):
    rows = {"orders": [order(n, when=at(12, 5, n)) for n in range(3)]}
    assert one("loyal_customer_share", rows, tmp_path).value == 1
    (tmp_path / "2").mkdir()
    assert one("loyal_customer_share", rows, tmp_path / "2", dedupe="day").value == 0


def test_cross_sell_needs_a_product_that_is_new_to_a_customer_of_the_start(tmp_path):
    def line(number, of, product, quantity=1):
        return {
            "id": str(number),
            "order_id": str(of),
            "product_id": product,
            "quantity": Decimal(quantity),
            "net_amount": Decimal(1),
        }

    rows = {
        **with_history(status("a", at(1)), status("b", at(1)), status("c", at(12, 5))),
        "orders": [order(1, "a", at(3)), order(2, "a"), order(3, "b", at(3)), order(4, "b"), order(5, "c")],
        "order_lines": [line(1, 1, "p"), line(2, 2, "q"), line(3, 3, "p"), line(4, 4, "p", 5), line(5, 5, "p")],
        "products": [{"id": "q", "name": "Quince", "category": "fruit"}, {"id": "p", "name": "Pear", "category": "fruit"}],
    }
    found = {}
    for name, params in {"cross": {}, "up": {"kind": "upsell"}, "category": {"level": "category"}}.items():
        (tmp_path / name).mkdir()
        found[name] = one("cross_sell_rate", rows, tmp_path / name, **params).value
    assert found == {"cross": Decimal("0.5"), "up": Decimal("0.5"), "category": 0}
    (tmp_path / "product").mkdir()
    by = measure_rows(KPIS["cross_sell_rate"], rows, "2017-12", folder=tmp_path / "product", by=["product"], now=NOW)
    assert {m.dims[0].id: (m.numerator, m.denominator) for m in by if m.value} == {"Quince": (1, 2)}


@pytest.mark.parametrize(("day", "week"), [
    (at(1, 1), "01"), (at(1, 8), "02"), (at(3, 31), "13"), (at(4, 1), "01"), (at(9, 30), "14"), (at(12, 31), "14"),
    (at(2, 29, year=2016), "09"), (at(3, 4, year=2016), "10"), (at(3, 4), "09"),
])  # fmt: skip
def test_week_of_quarter(tmp_path, day, week):
    label = f"{day.astimezone(ZONE):%Y-%m}"
    [found] = measure_rows(
        KPIS["repeat_order_share"], {"orders": [order(1, when=day)]}, label, folder=tmp_path, by=["week_of_quarter"], now=NOW
    )
    assert found.dims[0].id == week


@pytest.mark.parametrize("dialect", ["duckdb", "postgresql", "spark", "clickhouse", "trino", "snowflake", "bigquery"])
def test_all_are_written_for_every_engine(dialect):
    period = period_from_label(None, "2017-12", CALENDAR)
    for name, kpi in KPIS.items():
        for basis in naive.BASES:
            params = kpi.params_from({"basis": basis} if "basis" in kpi.params else {})
            definition = kpi.definition(params)
            ask = Ask(SeriesNeed(name, "month"), kpi, definition, params, 0, (period,))
            for scan in make_plan([ask]).scans:
                setting = Setting(NOW, "Europe/Berlin", "EUR", frozenset())
                statement = make_statement(scan, setting)
                assert compile_statement(statement.select, dialect, statement.values)[0]


def naive_period(label):
    from kpid.analysis.periods import period_from_label

    return period_from_label(None, label, CALENDAR)


@given(st.integers(0, 10**6))
@on_worlds(3, 12)
def test_books_of_customers_balance(tmp_path_factory, seed):
    """At the end = at the start + new + reactivated - lost, and churn + retention = 1, for every basis and period."""
    warehouse = open_warehouse(tmp_path_factory.mktemp("books"), naive.random_rows(seed), now=naive.NOW)
    setup = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")

    parts = (
        ("active_customers", {"at": "start"}), ("active_customers", {"at": "end"}), ("new_customers", {}),
        ("reactivated_customers", {}), ("lost_customers", {}), ("customer_churn_rate", {}), ("customer_retention_rate", {}),
    )  # fmt: skip
    periods = [one for kind in ("month", "quarter") for one in periods_between(kind, at(8), naive.NOW, CALENDAR)]
    needs = [
        SeriesNeed(name, "month", (), tuple(sorted({"basis": basis, **params}.items())))
        for basis in naive.BASES
        for name, params in parts
    ]
    try:
        found = figures_at(needs, setup, periods, now=naive.NOW)
        assert {len(some) for some in found} == {len(periods)}
        for number, basis in enumerate(naive.BASES):
            for start, end, new, back, lost, churn, kept in zip(*found[7 * number : 7 * number + 7], strict=True):
                assert end.value == start.value + new.value + back.value - lost.value, (basis, start)
                if churn.value is not None:
                    assert churn.numerator + kept.numerator == churn.denominator == kept.denominator
    finally:
        warehouse.close()
