"""Revenue KPIs: the edges that the catalogue names, by hand; and what has to hold whatever the data."""

from __future__ import annotations

import importlib.util
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import kpid_customer
import kpid_marketing
import kpid_revenue
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpid.analysis.periods import Calendar, period_from_label
from kpid.metrics.compose import define
from kpid.metrics.dialects import compile_statement
from kpid.metrics.measure import MetricsSetup, figures
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.statements import Setting, make_statement
from kpid.model import MeasurementState, SeriesNeed
from kpid.testing.kpis import open_warehouse
from tests.effort import on_worlds

_place = Path(__file__).parents[1] / "customer" / "naive.py"
_spec = importlib.util.spec_from_file_location("naive_revenue_edges", _place)
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

OWN = {kpi.id: kpi for kpi in kpid_revenue.kpid_kpis()}
KPIS = OWN | {kpi.id: kpi for module in (kpid_customer, kpid_marketing) for kpi in module.kpid_kpis()}
ZONE = ZoneInfo("Europe/Berlin")
CALENDAR = Calendar("Europe/Berlin")
NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)


@pytest.fixture
def measure(tmp_path):
    """``measure(rows)`` gives ``figure(id, label=..., by=..., **params)``."""
    opened = []

    def over(rows):
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        warehouse = open_warehouse(folder, rows, now=NOW)
        opened.append(warehouse)
        setup = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")

        def figure(name, label="2017-12", by=(), **params):
            period = period_from_label(None, label, CALENDAR)
            need = SeriesNeed(name, period.kind, tuple(by), tuple(sorted(params.items())))
            found = figures(need, setup, start=period.start, end=period.end, now=NOW, fill=not by)
            return found if by else found[0]

        return figure

    yield over
    for warehouse in opened:
        warehouse.close()


def at(month, day=1, hour=0, year=2017):
    return datetime(year, month, day, hour, tzinfo=ZONE).astimezone(UTC)


def order(number, amount=10, account="a", when=None, currency="EUR", status="paid"):
    amount = None if amount is None else Decimal(amount)
    return {
        "id": str(number), "account_id": account, "ordered_at": when or at(12, 5), "net_amount": amount, "currency": currency,
        "status": status,
    }  # fmt: skip


def refund(of, amount, when):
    return {"id": f"r{of}", "order_id": str(of), "refunded_at": when, "amount": Decimal(amount), "currency": "EUR"}


def subscription(number, amount, start, end=None, account="a", **more):
    return {
        "id": str(number), "account_id": account, "started_at": start, "ended_at": end, "status": "active", "interval": "month",
        "amount": Decimal(amount), "currency": "EUR", "discount": None, "discount_forever": None, "trial_end": None, **more,
    }  # fmt: skip


def test_refund_takes_away_from_its_own_month_or_from_that_of_its_order(measure):
    figure = measure({"orders": [order(1, 100, when=at(11, 5))], "refunds": [refund(1, 30, at(12, 9))]})
    found = {
        basis: [figure("net_revenue", f"2017-{m}", refund_basis=basis).value for m in (11, 12)]
        for basis in ("refund_date", "order_date")
    }
    assert found == {"refund_date": [100, -30], "order_date": [70, 0]}


def test_cancelled_orders_and_their_refunds_count_for_nothing(measure):
    figure = measure({"orders": [order(1, 100, status="cancelled"), order(2, 5)], "refunds": [refund(1, 100, at(12, 9))]})
    assert figure("net_revenue").value == 5


def test_refund_with_a_negative_sign_still_takes_away(measure):
    assert measure({"orders": [order(1, 100)], "refunds": [refund(1, -30, at(12, 9))]})("net_revenue").value == 70


def test_orders_without_an_amount_are_named(measure):
    found = measure({"orders": [order(1, 7), order(2, None)]})("net_revenue")
    assert (found.value, found.warnings) == (7, ("1 orders have no amount",))


def test_unknown_currency_is_an_error_and_never_a_number(measure):
    figure = measure({"orders": [order(1, 7), order(2, 9, currency="XXX")]})
    for name in ("net_revenue", "revenue_per_customer", "revenue_concentration", "customer_lifetime_value"):
        found = figure(name)
        assert (found.value, found.state) == (None, MeasurementState.ERROR), name
        assert "no exchange rate to EUR" in found.reason
    left_out = figure("net_revenue", missing_fx="exclude")
    assert left_out.value == 7
    assert "1 amount left out: no exchange rate" in left_out.warnings


def test_customer_whose_orders_are_all_refunded_is_none(measure):
    figure = measure({"orders": [order(1, 100), order(2, 100, "b")], "refunds": [refund(2, 100, at(12, 9))]})
    assert figure("revenue_per_customer").value == 100


def test_revenue_per_customer_by_customers_at_the_end_and_on_average(measure):
    history = [
        {"id": str(n), "account_id": name, "status": "active", "valid_from": start, "valid_to": None}
        for n, (name, start) in enumerate([("a", at(1)), ("b", at(1)), ("c", at(12, 5)), ("d", at(12, 5))])
    ]
    figure = measure({"orders": [order(1, 120)], "account_status_history": history})
    found = [figure("revenue_per_customer", customers=which).value for which in ("active_in_period", "at_end", "average")]
    assert found == [120, 30, 40]


def test_concentration_of_the_largest_and_of_parents(measure):
    accounts = [
        {"id": name, "name": name, "parent_id": parent} for name, parent in (("a", "p"), ("b", "p"), ("c", None), ("p", None))
    ]
    figure = measure({"accounts": accounts, "orders": [order(1, 30, "a"), order(2, 30, "b"), order(3, 40, "c")]})
    assert figure("revenue_concentration", top_n="1").value == Decimal("0.4")
    assert figure("revenue_concentration", top_n="1", rollup="parent").value == Decimal("0.6")
    assert figure("revenue_concentration", **{"as": "hhi"}).value == Decimal("0.34")


def test_mrr_normalises_every_interval_to_the_month(measure):
    prices = {"week": 3, "month": 10, "quarter": 30, "half": 60, "year": 120}
    rows = [subscription(n, amount, at(1), interval=interval) for n, (interval, amount) in enumerate(prices.items())]
    assert measure({"subscriptions": rows})("mrr").value == 13 + 10 + 10 + 10 + 10
    assert measure({"subscriptions": rows})("mrr", annual="true").value == 12 * 53


def test_thirds_of_a_year_add_up_exactly(measure):
    figure = measure({"subscriptions": [subscription(n, "100.00", at(1), account=f"a{n}", interval="year") for n in range(3)]})
    assert figure("mrr").value == 25


def test_vendors_differ_about_discounts(measure):
    rows = [
        subscription(1, 100, at(1), discount=Decimal(10), discount_forever=True),
        subscription(2, 100, at(1), discount=Decimal(20), discount_forever=False),
    ]
    figure = measure({"subscriptions": rows})
    assert (figure("mrr").value, figure("mrr", discounts="forever_only").value) == (170, 190)


@pytest.mark.parametrize("change", [
    {"status": "trial"}, {"status": "paused"}, {"trial_end": at(12, year=2019)}, {"started_at": None}, {"ended_at": at(1)},
    {"discount": Decimal(500)}, {"started_at": at(1, 3, year=2018)},
])  # fmt: skip
def test_subscriptions_without_mrr(measure, change):
    assert measure({"subscriptions": [subscription(1, 10, at(1, 5)) | change, subscription(2, 1, at(1))]})("mrr").value == 1


def test_subscription_of_an_unknown_interval_is_named(measure):
    found = measure({"subscriptions": [subscription(1, 10, at(1), interval="fortnight"), subscription(2, 1, at(1))]})("mrr")
    assert (found.value, found.warnings) == (1, ("1 subscriptions left out: no amount, or an unknown interval",))


def five_movements():
    """a: new; b: 100 -> 150; c: 100 -> 40; d: leaves with 20; e: had left, comes back with 7."""
    return [
        subscription(1, 100, at(12, 5), account="a"),
        subscription(2, 100, at(1), at(12, 9), account="b"), subscription(3, 150, at(12, 9), account="b"),
        subscription(4, 100, at(1), at(12, 9), account="c"), subscription(5, 40, at(12, 9), account="c"),
        subscription(6, 20, at(1), at(12, 9), account="d"),
        subscription(7, 9, at(1), at(3), account="e"), subscription(8, 7, at(12, 9), account="e"),
    ]  # fmt: skip


def test_movements_of_recurring_revenue(measure):
    figure = measure({"subscriptions": five_movements()})
    kinds = ("new", "expansion", "contraction", "churn", "reactivation", "fx", "net")
    assert [figure("mrr_change", kind=kind).value for kind in kinds] == [100, 50, -60, -20, 7, 0, 77]
    assert (figure("mrr", "2017-11").value, figure("mrr").value) == (220, 297)
    assert figure("expansion_revenue").value == 50
    assert figure("quick_ratio").value == Decimal("1.875")


def test_mrr_churn_gross_net_and_daily(measure):
    figure = measure({"subscriptions": five_movements()})
    gross, net = figure("mrr_churn_rate"), figure("mrr_churn_rate", method="net")
    assert (gross.numerator * 220, gross.n) == (80 * gross.denominator, 3)
    assert net.numerator / net.denominator == Decimal(80 - 50 - 7) / 220
    assert figure("mrr_churn_rate", method="daily").value == Decimal(80) / 320


def test_net_mrr_churn_may_be_negative(measure):
    rows = [subscription(1, 100, at(1), at(12, 9)), subscription(2, 150, at(12, 9))]
    assert measure({"subscriptions": rows})("mrr_churn_rate", method="net").value == Decimal("-0.5")


def test_revenue_retention_leaves_out_who_was_not_there_at_the_start(measure):
    figure = measure({"subscriptions": five_movements()})
    assert figure("revenue_retention").value == Decimal(190) / 220
    assert figure("revenue_retention", method="gross").value == Decimal(140) / 220


def test_recorded_movements_are_taken_as_they_are(measure):
    moves = [
        {"id": "1", "account_id": "a", "at": at(1), "kind": "new", "amount": Decimal(100), "currency": "EUR"},
        {"id": "2", "account_id": "a", "at": at(12, 5), "kind": "fx", "amount": Decimal(-3), "currency": "EUR"},
    ]
    figure = measure({"mrr_movements": moves})
    assert (figure("mrr", movements="recorded").value, figure("mrr_change", movements="recorded", kind="fx").value) == (97, -3)


def customers_and_costs(*costs, new=4):
    accounts = [
        {"id": f"n{n}", "name": f"N{n}", "lifecycle": "customer", "became_customer_at": at(12, 5), "lead_source": "web"}
        for n in range(new)
    ]
    rows = [
        {
            "id": str(n),
            "date": first,
            "last_day": last,
            "amount": Decimal(amount),
            "currency": "EUR",
            "scope": scope,
            "channel": "web",
        }
        for n, (first, last, amount, scope) in enumerate(costs)
    ]
    return {"accounts": accounts, "campaign_costs": rows}


def test_cac_is_spend_over_new_customers_and_sales_cost_if_asked(measure):
    figure = measure(customers_and_costs((date(2017, 12, 1), None, 100, "marketing"), (date(2017, 12, 31), None, 60, "sales")))
    assert (figure("cac").value, figure("cac", scope="full").value) == (25, 40)
    assert [(m.dims[0].id, m.value) for m in figure("cac", by=("lead_source",))] == [("web", 25)]


def test_monthly_costs_are_spread_over_their_days(measure):
    figure = measure(customers_and_costs((date(2017, 11, 16), date(2017, 12, 15), 300, "marketing")))
    assert figure("cac").value == Decimal("37.5")


def test_lag_days_shift_costs_to_the_customers_that_they_won(measure):
    figure = measure(customers_and_costs((date(2017, 11, 30), None, 100, "marketing")))
    assert figure("cac").state is MeasurementState.UNDEFINED
    assert figure("cac", lag_days="1").value == 25


@pytest.mark.parametrize(("rows", "reason"), [
    (customers_and_costs(), "no costs"), (customers_and_costs((date(2017, 12, 1), None, 9, None), new=0), "no new customers"),
])  # fmt: skip
def test_cac_without_costs_or_customers_is_undefined_not_0(measure, rows, reason):
    found = measure(rows)("cac")
    assert (found.value, found.state, found.reason) == (None, MeasurementState.UNDEFINED, reason)


def subscribers(lost):
    return [subscription(n, 100, at(1), at(12, 9) if n < lost else None, account=f"a{n}") for n in range(10)]


def test_predictive_lifetime_value_is_margin_by_churn(measure):
    figure = measure({"subscriptions": subscribers(1)})
    found = figure("customer_lifetime_value", method="predictive", basis="subscription", gross_margin="0.8")
    assert found.value == 100 * Decimal("0.8") / Decimal("0.1")


def test_without_churn_lifetime_value_is_undefined_and_no_rate_stands_in(measure):
    found = measure({"subscriptions": subscribers(0)})("customer_lifetime_value", method="predictive", basis="subscription")
    assert (found.value, found.state, found.reason) == (None, MeasurementState.UNDEFINED, "no churn observed")
    assert "revenue LTV: no gross margin is given" in found.warnings


def test_quarterly_churn_is_taken_per_month(measure):
    found = measure({"subscriptions": subscribers(3)})(
        "customer_lifetime_value", "2017-Q4", method="predictive", basis="subscription"
    )
    assert found.value == 1000


def test_historic_lifetime_value_by_account_mean_and_median(measure):
    figure = measure(
        {
            "orders": [
                order(1, 10, "a"),
                order(2, 20, "a", at(3)),
                order(3, 6, "b"),
                order(4, 3, "c"),
                order(5, 9, "d", at(1, year=2018)),
            ]
        }
    )
    assert {m.dims[0].id: m.value for m in figure("customer_lifetime_value", by=("account",))} == {
        "crm:a": 30,
        "crm:b": 6,
        "crm:c": 3,
    }
    assert (figure("customer_lifetime_value").value, figure("customer_lifetime_value", stat="median").value) == (13, 6)
    assert figure("customer_lifetime_value", method="aov").value == 13


def test_ltv_cac_ratio_is_the_one_by_the_other(measure):
    rows = {
        **customers_and_costs((date(2017, 12, 1), None, 1000, None), new=0),
        "subscriptions": [*subscribers(1), subscription(99, 100, at(12, 5), account="z")],
    }
    figure = measure(rows)
    value = figure("customer_lifetime_value", method="predictive", basis="subscription").value
    assert figure("ltv_cac_ratio", basis="subscription").value == value / 1000


@pytest.mark.parametrize("dialect", ["duckdb", "postgresql", "spark", "clickhouse", "trino", "snowflake", "bigquery"])
def test_all_are_written_for_every_engine(dialect):
    period = period_from_label(None, "2017-12", CALENDAR)
    for name, kpi in OWN.items():
        for choice in ({}, {"movements": "recorded"}, {"method": "predictive"}, {"kind": "cross_sell"}):
            if any(key not in kpi.params or kpi.params[key].problem(value) for key, value in choice.items()):
                continue
            params = kpi.params_from(choice)
            ask = Ask(SeriesNeed(name, "month"), kpi, define(kpi, params, KPIS, lambda _: {}), params, 0, (period,))
            for scan in make_plan([ask]).scans:
                statement = make_statement(scan, Setting(NOW, "Europe/Berlin", "EUR", frozenset()))
                assert compile_statement(statement.select, dialect, statement.values)[0]


@given(st.integers(0, 10**6))
@on_worlds(2, 8)
def test_books_of_revenue_balance(tmp_path_factory, seed):
    """Start + movements = end to the last digit; CAC x new customers = spend; the share of the n largest grows with n."""
    warehouse = open_warehouse(tmp_path_factory.mktemp("books"), naive.random_rows(seed), now=naive.NOW)
    setup = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")

    def series(name, **params):
        need = SeriesNeed(name, "month", (), tuple(sorted(params.items())))
        return figures(need, setup, start=at(8), end=naive.NOW, now=naive.NOW, fill=True)

    def exact(one):
        return Fraction(one.value) if one.value is not None else None

    try:
        for more in ({}, {"discounts": "forever_only", "churn_date": "cancellation"}, {"movements": "recorded"}):
            arr = series("mrr", annual="true", **more)
            kinds = [
                series("mrr_change", kind=kind, **more)
                for kind in ("new", "expansion", "contraction", "churn", "reactivation", "fx")
            ]
            net = series("mrr_change", **more)
            for n in range(1, len(arr)):
                moved = sum(12 * exact(kind[n]) for kind in kinds)
                assert abs(exact(arr[n - 1]) + moved - exact(arr[n])) < Fraction(1, 10**15), (more, arr[n])
                assert abs(12 * exact(net[n]) - moved) < Fraction(1, 10**15)
        for cac, spend, new in zip(series("cac"), series("marketing_spend"), series("new_customers"), strict=True):
            if cac.value is not None:
                assert abs(cac.value * new.value - spend.value) < Decimal("0.001"), (cac, spend, new)
        shares = [series("revenue_concentration", top_n=str(n)) for n in (1, 2, 5, 100)]
        for same in zip(*shares, strict=True):
            values = [one.value for one in same if one.value is not None]
            assert values == sorted(values)
    finally:
        warehouse.close()
