"""Derived entities: one row per period and thing, amounts in the reporting currency and business hours inside them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import and_, case, func, select

from kpid.analysis.periods import Calendar, period_from_label
from kpid.analysis.workdays import WorkCalendar
from kpid.config.model import KpiSettings
from kpid.metrics.measure import MetricsSetup, figures
from kpid.metrics.results import tables_of
from kpid.model import MeasurementState, SeriesNeed
from kpid.plugin import (
    PERIODS,
    At,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Quantity,
    Target,
    Use,
    converted,
    count,
    entities,
    holds_at,
    in_business_time,
    living,
    mean,
    quantile,
    sum_,
    top_sum,
)  # fmt: skip
from kpid.testing.kpis import NOW, measure_rows, open_warehouse

P = PERIODS.c
_statuses = living(entities.account_status_history)
_s = _statuses.c
CUSTOMERS = (
    select(
        P.no,
        _s.account_id,
        func.max(case((holds_at(_s.valid_from, _s.valid_to, P.starts), 1), else_=0)).label("at_start"),
        func.max(case((holds_at(_s.valid_from, _s.valid_to, P.until), 1), else_=0)).label("at_end"),
        func.max(case((and_(_s.valid_from >= P.starts, _s.valid_from < P.until), 1), else_=0)).label("began"),
    )
    .select_from(_statuses.join(PERIODS, _s.valid_from < P.until))
    .where(_s.status == "active")
    .group_by(P.no, _s.account_id)
    .subquery("customers")
)
_c = CUSTOMERS.c


def customers(where, label="customers"):
    return Measure(CUSTOMERS, InPeriod(_c.no), count(where), label=label)


LOST = customers(and_(_c.at_start == 1, _c.at_end == 0), "lost customers")
AT_START = customers(_c.at_start == 1, "customers at the start")
CHURN = Definition({"lost": LOST, "start": AT_START}, lambda m: m.lost / m.start, sample="start")

_orders = living(entities.orders)
_in_euro = converted(_orders, net=(_orders.c.net_amount, _orders.c.currency, _orders.c.ordered_at))
_o = _in_euro.c
REVENUE = (
    select(P.no, _o.account_id, func.sum(_o.net).label("net"), func.max(case((_o.net_lacks, 1), else_=0)).label("lacks"))
    .select_from(_in_euro.join(PERIODS, and_(_o.ordered_at >= P.starts, _o.ordered_at < P.until)))
    .group_by(P.no, _o.account_id)
    .subquery("revenue")
)
_r = REVENUE.c

_tickets = living(entities.tickets)
WAITS = in_business_time(_tickets, calendar=_tickets.c.schedule_id, wait=(_tickets.c.created_at, _tickets.c.first_reply_at))


def kpi(definition, unit="ratio", dimensions=("account", "segment"), **more):
    return Kpi(
        "probe", "Probe", "test", unit, "up", definition, dimensions=dimensions, formula_text="x", why="x", misleads="x", **more
    )


def at(*parts):
    return datetime(*parts, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def status(number, account, start, end=None):
    return {"id": str(number), "account_id": account, "status": "active", "valid_from": start, "valid_to": end}


def measured(definition, rows, tmp_path, label="2017-12", *, setup=None, now=NOW, **more):
    warehouse = open_warehouse(tmp_path, rows, now=now)
    try:
        probe = kpi(definition, **more)
        setting = MetricsSetup(warehouse, {"probe": probe}, Calendar("Europe/Berlin"), "EUR", **(setup or {}))
        period = period_from_label(None, label, setting.calendar)
        [found] = figures(SeriesNeed("probe", period.kind), setting, start=period.start, end=period.end, now=now, fill=True)
        return found
    finally:
        warehouse.close()


def test_a_population_is_looked_at_on_both_ends_of_a_period(tmp_path):
    rows = {
        "account_status_history": [
            status(1, "stays", at(2017, 1, 1)),
            status(2, "leaves", at(2017, 1, 1), at(2017, 12, 5)),
            status(3, "leaves at the start", at(2017, 1, 1), at(2017, 12, 1)),
            status(4, "leaves at the end", at(2017, 1, 1), at(2018, 1, 1)),
            status(5, "comes", at(2017, 12, 1)),
            status(6, "pauses", at(2017, 1, 1), at(2017, 12, 10)),
            status(7, "pauses", at(2017, 12, 11)),
        ]
    }
    found = measured(CHURN, rows, tmp_path)
    assert (found.numerator, found.denominator, found.n, found.state) == (2, 5, 5, MeasurementState.OK)


def test_slices_of_a_derived_entity_add_up(tmp_path):
    rows = {
        "accounts": [{"id": str(n), "name": f"Account {n}", "segment": "big" if n % 3 else "small"} for n in range(9)],
        "account_status_history": [
            status(n, str(n), at(2017, 1, 1), at(2017, 12, 5) if n < 4 else None) for n in range(9)
        ],
    }  # fmt: skip
    whole = measure_rows(kpi(CHURN), rows, "2017-12", folder=tmp_path)[0]
    (tmp_path / "cut").mkdir()
    parts = measure_rows(kpi(CHURN), rows, "2017-12", folder=tmp_path / "cut", by=["segment"])
    assert len(parts) == 2
    assert (sum(p.numerator for p in parts), sum(p.denominator for p in parts)) == (whole.numerator, whole.denominator)


def orders(*amounts, currency="EUR"):
    return [
        {
            "id": f"{currency}{n}",
            "account_id": str(n),
            "ordered_at": at(2017, 12, 3),
            "net_amount": Decimal(amount),
            "currency": currency,
        }
        for n, amount in enumerate(amounts)
    ]


CONCENTRATION = Definition(
    {
        "top": Measure(REVENUE, InPeriod(_r.no), top_sum(2, _r.net), lacks=_r.lacks == 1),
        "all": Measure(REVENUE, InPeriod(_r.no), sum_(_r.net), lacks=_r.lacks == 1, label="revenue"),
    },
    lambda m: m.top / m["all"],
)


def test_the_largest_values_are_summed_within_each_segment(tmp_path):
    found = measured(CONCENTRATION, {"orders": orders(1, 2, 3, 4)}, tmp_path)
    assert (found.numerator, found.denominator) == (7, 10)


def test_amounts_inside_a_derived_entity_are_converted(tmp_path):
    rates = [
        {"id": "1", "from_currency": "USD", "to_currency": "EUR", "valid_from": date(2017, 1, 1), "rate": Decimal("0.8")},
        {"id": "2", "from_currency": "USD", "to_currency": "EUR", "valid_from": date(2017, 12, 1), "rate": Decimal("0.5")},
        {"id": "3", "from_currency": "USD", "to_currency": "EUR", "valid_from": date(2017, 12, 4), "rate": Decimal("0.7")},
    ]
    found = measured(CONCENTRATION, {"orders": [*orders(1, 2), *orders(4, currency="USD")], "fx_rates": rates}, tmp_path)
    assert found.denominator == 5
    assert "fx_rates" in tables_of(REVENUE)


RATES = [
    {"id": "1", "from_currency": "USD", "to_currency": "EUR", "valid_from": date(2017, 1, 1), "rate": Decimal("0.8")},
    {"id": "2", "from_currency": "USD", "to_currency": "EUR", "valid_from": date(2017, 12, 1), "rate": Decimal("0.5")},
]


@pytest.mark.parametrize(
    ("rate_day", "total"),
    [(None, "5"), (date(2017, 11, 30), "6.2"), (date(2017, 12, 1), "5"), (date(2016, 12, 31), None)],
)
def test_rates_of_one_day_may_hold_for_all_amounts(tmp_path, rate_day, total):
    rows = {"orders": [*orders(1, 2), *orders(4, currency="USD")], "fx_rates": RATES}
    revenue = Definition({"all": CONCENTRATION.measures["all"]}, lambda m: m["all"])
    found = measured(revenue, rows, tmp_path, setup={"rate_day": rate_day}, unit="currency")
    assert (str(found.value) if found.value is None else found.value) == (Decimal(total) if total else "None"), found
    assert (found.state is MeasurementState.ERROR) == (total is None), "no rate covers that day"


def test_an_amount_without_a_rate_is_an_error_not_a_zero(tmp_path):
    found = measured(CONCENTRATION, {"orders": [*orders(1, 2), *orders(4, currency="USD")]}, tmp_path)
    assert (found.state, found.value) == (MeasurementState.ERROR, None)
    assert found.reason == "no exchange rate to EUR for 1 amount"


def reply(number, start, end, schedule=None):
    return {"id": str(number), "created_at": start, "first_reply_at": end, "schedule_id": schedule}


WAIT = Definition(
    {"wait": Measure(WAITS, At(WAITS.c.created_at), quantile(0.5, WAITS.c.wait), label="tickets")}, lambda m: m.wait
)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (at(2017, 12, 4, 7), at(2017, 12, 4, 11), 2),
        (at(2017, 12, 4, 16), at(2017, 12, 5, 10), 2),
        (at(2017, 12, 8, 16), at(2017, 12, 11, 10), 2),
        (at(2017, 12, 9, 10), at(2017, 12, 10, 10), 0),
        (at(2017, 12, 4, 9), at(2017, 12, 4, 9), 0),
    ],
)
def test_business_time_counts_opening_hours_only(tmp_path, start, end, hours):
    assert measured(WAIT, {"tickets": [reply(1, start, end)]}, tmp_path, unit="seconds").value == hours * 3600


def test_an_unknown_calendar_is_the_companys_not_nothing(tmp_path):
    rows = {"tickets": [reply(1, at(2017, 12, 4, 7), at(2017, 12, 4, 11), "deleted-in-the-crm")]}
    assert measured(WAIT, rows, tmp_path, unit="seconds").value == 2 * 3600


def test_each_row_has_its_own_calendar(tmp_path):
    always = WorkCalendar("Asia/Tokyo", tuple(((0, 86_400),) for _ in range(7)))
    calendars = {"": WorkCalendar("Europe/Berlin"), "always": always}
    rows = {"tickets": [reply(1, at(2017, 12, 9, 10), at(2017, 12, 10, 10), "always")]}
    assert measured(WAIT, rows, tmp_path, setup={"calendars": calendars}, unit="seconds").value == 24 * 3600


def test_a_cohort_is_incomplete_until_it_has_been_followed(tmp_path):
    definition = Definition(CHURN.measures, CHURN.formula, "start", horizon=timedelta(days=90))
    rows = {"account_status_history": [status(1, "a", at(2017, 1, 1))]}
    found = measured(definition, rows, tmp_path)
    assert (found.state, found.value) == (MeasurementState.INCOMPLETE, 0)
    assert found.reason == "the period's cases are followed until 2018-03-31"
    (tmp_path / "early").mkdir()
    assert measured(definition, rows, tmp_path / "early", "2017-09").state is MeasurementState.OK


def test_doubts_and_remarks_of_a_definition(tmp_path):
    definition = Definition(
        CHURN.measures, CHURN.formula, "start", doubts=lambda m: "too many undecided" if m.start.value else None,
        remarks=lambda m: [f"{m.start.value} at the start"],
    )  # fmt: skip
    rows = {"account_status_history": [status(1, "a", at(2017, 1, 1))]}
    found = measured(definition, rows, tmp_path)
    assert (found.state, found.reason, found.warnings) == (MeasurementState.INCOMPLETE, "too many undecided", ("1 at the start",))


def test_remarks_that_fail_are_the_measurements_error(tmp_path):
    found = measured(Definition(CHURN.measures, CHURN.formula, "start", remarks=lambda m: 1 / 0), {}, tmp_path)
    assert found.state is MeasurementState.ERROR


def test_a_settled_figure_has_no_value_and_is_well(tmp_path):
    found = measured(Definition(CHURN.measures, lambda m: Quantity.settled("target met"), "start"), {}, tmp_path)
    assert (found.state, found.value, found.warnings) == (MeasurementState.OK, None, ("target met",))


def test_optional_tables_need_not_be_delivered(tmp_path):
    refunds = living(entities.refunds)
    both = select(_o.ordered_at, (_o.net - func.coalesce(refunds.c.amount, 0)).label("net")).select_from(
        _in_euro.outerjoin(refunds, refunds.c.order_id == _o.id)
    ).subquery("both")  # fmt: skip
    measure = Measure(both, At(both.c.ordered_at), sum_(both.c.net))
    warehouse = open_warehouse(tmp_path, {"orders": orders(5)})
    with warehouse.batch() as batch:
        batch.forget_seen("crm", "refunds")
    warehouse._writer.execute("DELETE FROM watermarks WHERE entity = 'refunds'")
    for optional, state in (((), MeasurementState.INCOMPLETE), (("refunds",), MeasurementState.OK)):
        probe = kpi(Definition({"net": measure}, lambda m: m.net, optional=optional), "currency", ())
        setup = MetricsSetup(warehouse, {"probe": probe}, Calendar("Europe/Berlin"), "EUR")
        period = period_from_label(None, "2017-12", setup.calendar)
        [found] = figures(SeriesNeed("probe", "month"), setup, start=period.start, end=period.end, now=NOW)
        assert found.state is state
    warehouse.close()


# ---- KPIs made of KPIs

WON = Kpi(
    "won", "Won", "test", "count", "up", Definition({"won": Measure(entities.deals, At(entities.deals.c.closed_at), count())},
    lambda m: m.won), dimensions=("owner",), formula_text="x", why="x", misleads="x",
)  # fmt: skip


def composed(tmp_path, definition, label="2017-12-20", kind="day", rows=None, settings=None, more=None, **setup):
    warehouse = open_warehouse(tmp_path, rows or {"deals": [{"id": str(n), "closed_at": at(2017, 12, n + 1)} for n in range(28)]})
    try:
        kpis = {"won": WON, "probe": kpi(definition, dimensions=("owner",)), **(more or {})}
        setting = MetricsSetup(warehouse, kpis, Calendar("Europe/Berlin"), "EUR", settings or {}, **setup)
        period = period_from_label(kind, label, setting.calendar)
        [found] = figures(SeriesNeed("probe", kind), setting, start=period.start, end=period.end, now=NOW, fill=True)
        return found
    finally:
        warehouse.close()


def test_a_formula_uses_the_results_of_other_kpis(tmp_path):
    uses = {"today": Use("won"), "fortnight": Use("won", trailing_days=14)}
    found = composed(tmp_path, Definition({}, lambda m: m.today / m.fortnight, uses=uses, sample="fortnight"))
    assert (found.numerator, found.denominator, found.n) == (1, 14, 14)


def test_a_kpi_that_is_made_of_itself_is_refused(tmp_path):
    with pytest.raises(Exception, match="made of itself: probe -> probe"):
        composed(tmp_path, Definition({}, lambda m: m.x, uses={"x": Use("probe")}))


def test_a_kpi_made_of_one_that_is_missing_says_so(tmp_path):
    with pytest.raises(Exception, match="made of 'nothing', which is not installed"):
        composed(tmp_path, Definition({}, lambda m: m.x, uses={"x": Use("nothing")}))


def parts_with(**told):
    """Two uses of a KPI that says something about its own measure, under another name than the whole knows it by."""
    own = replace(WON.define, **told)
    inner = replace(WON, id="inner", define=own)
    nested = replace(WON, id="nested", define=Definition({}, lambda m: m.part, uses={"part": Use("inner")}))
    return {"inner": inner, "nested": nested}


BOTH = Definition({}, lambda m: m.a + m.b, uses={"a": Use("nested"), "b": Use("inner", trailing_days=14)})


def test_a_part_that_is_still_followed_leaves_the_whole_incomplete(tmp_path):
    found = composed(tmp_path, replace(BOTH, horizon=timedelta(days=3)), more=parts_with(horizon=timedelta(days=30)))
    assert (found.state, found.reason) == (MeasurementState.INCOMPLETE, "the period's cases are followed until 2018-01-19")


def test_a_parts_doubts_are_about_its_own_values(tmp_path):
    parts = parts_with(doubts=lambda m: f"{m.won.value} are not decided" if m.won.exact > 1 else None)
    found = composed(tmp_path, BOTH, more=parts)
    assert (found.state, found.reason) == (MeasurementState.INCOMPLETE, "14 are not decided")
    whole = replace(BOTH, doubts=lambda m: f"{m.a.value} and {m.b.value}")
    assert composed(tmp_path, whole, more=parts).reason == "1 and 14"


def test_remarks_of_all_parts_are_told_once(tmp_path):
    whole = replace(BOTH, remarks=lambda m: [f"{m.a.value} and {m.b.value}", "as usual"])
    found = composed(tmp_path, whole, more=parts_with(remarks=lambda m: ["as usual", f"{m.won.value} in all"]))
    assert found.warnings == ("1 and 14", "as usual", "1 in all", "14 in all")


# ---- targets

ATTAINMENT = Definition({}, lambda m: m.won / m.goal, uses={"won": Use("won")}, targets={"goal": Target("won")})


def goal(number, value, *, since=None, dims=None, kind="month", start=date(2017, 12, 1)):
    return {"id": str(number), "kpi": "won", "period_kind": kind, "period_start": start, "value": Decimal(value),
            "valid_from": since, "dims": dims}  # fmt: skip


def test_without_a_target_attainment_is_undefined_not_full(tmp_path):
    found = composed(tmp_path, ATTAINMENT, "2017-12", "month")
    assert (found.state, found.reason) == (MeasurementState.UNDEFINED, "won has no target for this month")


@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        ([goal(1, 56)], Decimal("0.5")),
        ([goal(1, 56), goal(2, 28, since=at(2017, 12, 20))], 1),
        ([goal(1, 56), goal(2, 28, since=at(2018, 1, 1, 0, 1))], Decimal("0.5")),
        ([goal(1, 56, kind="quarter"), goal(2, 28, start=date(2017, 11, 1))], None),
        ([goal(1, 56, dims='{"owner": "ada"}')], None),
        ([goal(1, 0)], None),
    ],
)
def test_the_target_of_the_same_period_that_was_valid_then_counts(tmp_path, goals, expected):
    rows = {"deals": [{"id": str(n), "closed_at": at(2017, 12, n + 1)} for n in range(28)], "targets": goals}
    assert composed(tmp_path, ATTAINMENT, "2017-12", "month", rows).value == expected


# ---- intervals


def test_intervals_follow_from_the_measures(tmp_path):
    days = [{"id": str(n), "closed_at": at(2017, 12, 1), "amount": Decimal(n)} for n in range(20)]
    deals, clock = entities.deals, At(entities.deals.c.closed_at)
    for number, (agg, low, high) in enumerate(
        [(mean(deals.c.amount), 6.73, 12.27), (quantile(0.5, deals.c.amount), 4.6, 14.4), (sum_(deals.c.amount), None, None)]
    ):
        (tmp_path / str(number)).mkdir()
        definition = Definition({"x": Measure(deals, clock, agg)}, lambda m: m.x)
        found = measured(definition, {"deals": days}, tmp_path / str(number), unit="count")
        if low is None:
            assert (found.low, found.high) == (None, None)
        else:
            assert found.low <= found.value <= found.high
            assert float(found.low) == pytest.approx(low, abs=1.5)
            assert float(found.high) == pytest.approx(high, abs=1.5)


def test_a_definitions_own_interval_comes_first(tmp_path):
    found = measured(Definition(CHURN.measures, CHURN.formula, "start", interval=lambda m: (0.25, 0.75)),
                     {"account_status_history": [status(1, "a", at(2017, 1, 1))]}, tmp_path)  # fmt: skip
    assert (found.low, found.high) == (Decimal("0.25"), Decimal("0.75"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([("month", "56")], Decimal("0.5")),
        ([("month", "56"), ("2017-12", "28")], 1),
        ([("2017-11", "28")], None),
        ([("2017-12", "56"), ("2017-12", "28", "2017-12-20")], 1),
        ([("2017-12", "56"), ("2017-12", "28", "2018-01-02")], Decimal("0.5")),
    ],
)
def test_targets_of_the_configuration_have_periods_and_versions(tmp_path, texts, expected):
    targets = [dict(zip(("period", "value", "valid_from"), text, strict=False)) for text in texts]
    settings = {"won": KpiSettings.model_validate({"targets": targets})}
    assert composed(tmp_path, ATTAINMENT, "2017-12", "month", settings=settings).value == expected
