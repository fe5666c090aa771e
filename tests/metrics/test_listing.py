"""The records behind a count: as many as were counted, those of the segment, in the wanted order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from kpid.analysis.periods import Calendar, period_at
from kpid.config.alerting import RowsText
from kpid.errors import ConfigError
from kpid.metrics.dimensions import dimension_of
from kpid.metrics.listing import check_columns, counted_measure, rows_behind
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import Rows, SeriesNeed
from kpid.testing.kpis import open_warehouse, store_rows

NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
CALENDAR = Calendar("Europe/Berlin")
DECEMBER = period_at("month", datetime(2017, 12, 10, tzinfo=UTC), CALENDAR)
CLOSED = datetime(2017, 12, 10, 12, 30, tzinfo=UTC)
WON = SeriesNeed("won_deals", "month")
WON_BY_OWNER = SeriesNeed("won_deals", "month", ("owner",))
OPEN = SeriesNeed("pipeline_open_amount", "month", params=(("as", "count"),))
ROWS = {
    "users": [{"id": "ada", "name": "Ada Example", "team": "north"}, {"id": "bob", "name": "Bob Example", "team": "south"}],
    "accounts": [{"id": "acme", "name": "Acme Example", "industry": "tools"}],
}


def deal(number, state="won", owner="ada", amount=None, **columns):
    closed = CLOSED if state != "open" else None
    base = {"id": str(number), "name": f"Deal {number}", "state": state, "owner_id": owner, "closed_at": closed,
            "created_at": CLOSED - timedelta(days=30), "amount": amount, "currency": "EUR", "account_id": "acme"}  # fmt: skip
    return {**base, **columns}


@pytest.fixture
def setup(tmp_path, kpis):
    warehouse = open_warehouse(tmp_path, ROWS, now=NOW)
    store_rows(
        warehouse,
        {
            "deals": [
                *(deal(number, amount=Decimal(number * 1000), owner="ada" if number % 2 else "bob") for number in range(1, 8)),
                deal(20, closed_at=CLOSED - timedelta(days=60)),
                deal(21, "lost"),
                deal(30, "open", amount=Decimal(500), expected_close_date=date(2018, 2, 3)),
                deal(31, "open", owner=None, name=None),
            ]
        },
        now=NOW,
    )
    yield MetricsSetup(warehouse, kpis, CALENDAR, "EUR", {}, {"crm": timedelta(hours=2)})
    warehouse.close()


def listed(setup, need=WON, dims=(), *, show=("name",), **more) -> Rows:
    wanted = RowsText.model_validate({"show": list(show), **more})
    found = rows_behind(need, DECEMBER, dims, wanted, setup=setup, now=NOW)
    assert found is not None
    return found


def test_as_many_records_as_were_counted(setup) -> None:
    [figure] = figures(WON, setup, start=DECEMBER.start, end=DECEMBER.end, now=NOW)
    found = listed(setup)
    assert found.total == len(found.rows) == figure.value == 7
    assert set(found.rows) == {(f"Deal {number}",) for number in range(1, 8)}


def test_largest_first_and_no_more_than_wanted(setup) -> None:
    found = listed(setup, show=("name", "amount"), sort="-amount", limit=2)
    assert found == Rows(("name", "amount"), (("Deal 7", "€7,000"), ("Deal 6", "€6,000")), 7)


def test_segment_lists_its_own_records_only(setup) -> None:
    figured = figures(WON_BY_OWNER, setup, start=DECEMBER.start, end=DECEMBER.end, now=NOW)
    for figure in figured:
        found = listed(setup, WON_BY_OWNER, figure.dims, show=("owner", "name"))
        assert found.total == figure.value
        assert {row[0] for row in found.rows} == {figure.dims[0].name}


def test_names_stand_in_place_of_ids_and_instants_are_local(setup) -> None:
    found = listed(setup, show=("account", "account_id", "industry", "team", "closed_at"), sort="name", limit=1)
    assert found.rows == (("Acme Example", "crm:acme", "tools", "north", "2017-12-10 13:30"),)


def test_balance_lists_what_is_open_with_empty_cells_for_what_is_unknown(setup) -> None:
    found = listed(setup, OPEN, show=("name", "owner", "amount", "expected_close_at"), sort="expected_close_date")
    assert found.total == 2
    assert found.rows == (("Deal 30", "Ada Example", "€500", "2018-02-03"), ("", "", "", ""))


def test_nothing_counted_gives_no_rows(setup) -> None:
    wanted = RowsText(show=("name",))
    november = period_at("month", datetime(2017, 11, 10, tzinfo=UTC), CALENDAR)
    found = rows_behind(
        SeriesNeed("won_deals", "month", where=(("owner", ("bob",)),)), november, (), wanted, setup=setup, now=NOW
    )
    assert found == Rows(("name",), (), 0)


def test_unknown_column_is_refused_with_those_that_there_are(setup) -> None:
    kpi = setup.kpis["won_deals"]
    with pytest.raises(ConfigError, match="no column 'shoe_size'") as caught:
        check_columns(kpi, kpi.definition({}), RowsText(show=("shoe_size",)))
    assert "amount" in (caught.value.hint or "")


def test_records_that_cannot_be_read_say_why_and_keep_no_alert_back(setup) -> None:
    found = listed(setup, show=("shoe_size",))
    assert found.total == 0
    assert "no column 'shoe_size'" in found.rows[0][0]


@pytest.mark.parametrize("name", ["name", "owner", "amount", "expected_close_at", "reason", "account"])
def test_columns_of_deals_are_known_without_a_warehouse(kpis, name: str) -> None:
    kpi = kpis["won_deals"]
    check_columns(kpi, kpi.definition({}), RowsText(show=(name,), sort=f"-{name}"))


def test_every_kpi_that_counts_can_list_what_it_counted(setup, kpis) -> None:
    """Whatever the entity, plain or derived: its rows can be asked for, and there are no fewer columns than it has."""
    tried = 0
    for kpi in kpis.values():
        definition = kpi.definition({})
        name = counted_measure(definition)
        if name is None or kpi.unit != "count":
            continue
        columns = definition.measures[name].entity.c.keys()
        known = [column for column in columns if not column.endswith("_id") and column not in {"no", "extra"}][:3]
        shown = known + (["owner"] if dimension_of(definition.measures[name].entity, "owner") is not None else [])
        if not shown:
            continue
        wanted = RowsText(show=tuple(shown), limit=5)
        check_columns(kpi, definition, wanted)
        period = period_at(kpi.period, datetime(2017, 12, 10, tzinfo=UTC), CALENDAR)
        found = rows_behind(SeriesNeed(kpi.id, kpi.period), period, (), wanted, setup=setup, now=NOW)
        assert found is not None, kpi.id
        assert len(found.rows) <= found.total, kpi.id
        tried += 1
    assert tried >= 10
