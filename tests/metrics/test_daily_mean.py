"""``snap=avg``: the mean of a balance over the days of a period."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import kpid_pipeline
import kpid_sales
import pytest

from kpid.analysis.periods import Calendar
from kpid.errors import ConfigError
from kpid.metrics.compose import define
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import MeasurementState, SeriesNeed
from kpid.plugin import Definition, Kpi, Use
from kpid.testing.kpis import open_warehouse

KPIS = {kpi.id: kpi for module in (kpid_sales, kpid_pipeline) for kpi in module.kpid_kpis()}
BERLIN = Calendar("Europe/Berlin")
NOW = datetime(2017, 12, 4, 12, tzinfo=UTC)
AVERAGE = (("snap", "avg"),)


def on(month: int, day: int) -> datetime:
    return datetime(2017, month, day, 12, tzinfo=UTC)


def deal(number: int, created: datetime, closed: datetime | None, amount: int | None, **more: object) -> dict[str, object]:
    state = "open" if closed is None else "won"
    return {
        "id": str(number), "state": state, "created_at": created, "closed_at": closed,
        "amount": None if amount is None else Decimal(amount), "currency": "EUR", **more,
    }  # fmt: skip


ROWS = {
    "deals": [
        deal(1, on(10, 1), on(11, 11), 300, product="x"),  # open at the end of the first ten days of November
        deal(2, on(11, 16), None, 60, product="y"),  # at the end of the last fifteen, and since
        deal(3, on(11, 2), on(11, 2), 999, product="x"),  # at the end of no day
    ]
}


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    warehouse = open_warehouse(tmp_path_factory.mktemp("mean"), ROWS, now=NOW)
    yield MetricsSetup(warehouse, KPIS, BERLIN, "EUR")
    warehouse.close()


def november(setup, kind="month", by=(), name="pipeline_open_amount", params=AVERAGE, now=NOW):
    need = SeriesNeed(name, kind, by, params)
    return figures(need, setup, start=on(11, 20), end=on(11, 21), now=now)


def test_mean_of_a_month_is_that_of_the_ends_of_its_days(setup):
    [found] = november(setup)
    assert found.value == Decimal(10 * 300 + 15 * 60) / 30
    assert (found.state, found.numerator, found.denominator, found.low) == (MeasurementState.OK, None, None, None)
    assert found.params == (("snap", "avg"),)
    [at_end] = november(setup, params=())
    assert at_end.value == 60


def test_means_of_segments_add_up_to_that_of_all(setup):
    found = {one.dims[0].id: one.value for one in november(setup, by=("product",))}
    assert found == {"x": Decimal(100), "y": Decimal(30)}


def test_mean_of_a_day_is_the_value_at_its_end(setup):
    means, ends = november(setup, "day"), november(setup, "day", params=())
    assert [one.value for one in means] == [one.value for one in ends] == [60, 60]


def test_of_a_month_that_is_not_over_the_days_so_far_count_and_it_is_incomplete(setup):
    [found] = figures(SeriesNeed("pipeline_open_amount", "month", (), AVERAGE), setup, start=on(12, 1), end=on(12, 2), now=NOW)
    assert (found.value, found.state) == (60, MeasurementState.INCOMPLETE)
    [then] = november(setup, now=datetime(2017, 11, 15, 22, 59, tzinfo=UTC))
    assert then.value == Decimal(10 * 300) / 15


def test_a_count_is_a_mean_too(setup):
    [found] = november(setup, params=(("as", "count"), ("snap", "avg")))
    assert (found.value, found.n) == (Decimal(25) / 30, 1)


def test_a_segment_without_rows_is_nothing_on_average(setup):
    need = SeriesNeed("pipeline_open_amount", "month", (), AVERAGE, (("product", ("z",)),))
    [found] = figures(need, setup, start=on(11, 20), end=on(11, 21), now=NOW, fill=True)
    assert found.value == 0


def test_missing_rates_of_one_day_make_the_mean_an_error(tmp_path):
    rows = {"deals": [*ROWS["deals"], deal(4, on(11, 3), on(11, 5), 10) | {"currency": "USD"}]}
    warehouse = open_warehouse(tmp_path, rows, now=NOW)
    [found] = november(MetricsSetup(warehouse, KPIS, BERLIN, "EUR"))
    assert (found.state, found.value, found.reason) == (MeasurementState.ERROR, None, "no exchange rate to EUR for 1 amount")
    warehouse.close()


def test_what_is_to_be_said_of_many_days_is_said_once(tmp_path):
    rows = {"deals": [*ROWS["deals"], deal(4, on(11, 3), None, None), deal(5, on(11, 9), None, None)]}
    warehouse = open_warehouse(tmp_path, rows, now=NOW)
    [found] = november(MetricsSetup(warehouse, KPIS, BERLIN, "EUR"))
    assert found.warnings == ("2 open deals have no amount",)
    warehouse.close()


def test_hours_have_no_days(setup):
    with pytest.raises(ConfigError, match="an hour has no days"):
        november(setup, "hour")


@pytest.mark.parametrize(("name", "why"), [("win_rate", "whole periods"), ("stale_deal_share", "is no share")])
def test_what_is_no_balance_refuses_it_and_says_why(setup, name, why):
    with pytest.raises(ConfigError, match="no parameter 'snap'") as refused:
        november(setup, name=name)
    assert why in str(refused.value.hint)


def test_parts_of_formulas_are_taken_at_the_end_whatever_the_company_prefers(setup):
    made = Kpi(
        "double", "", "", "currency", "up", Definition({}, lambda m: 2 * m.open, uses={"open": Use("pipeline_open_amount")})
    )
    definition = define(made, {}, KPIS, lambda _: {"snap": "avg"})
    assert not definition.is_daily_mean
    asked = Definition({}, lambda m: m.open, uses={"open": Use("pipeline_open_amount", {"snap": "avg"})})
    with pytest.raises(ConfigError, match="snap=avg"):
        define(Kpi("same", "", "", "currency", "up", asked), {}, KPIS, lambda _: {})
