"""History: append-only, newest revision first, nothing written twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from kpid.model import Measurement, MeasurementState, Period, Segment, SeriesNeed
from kpid.store import history
from kpid.store.engine import Store
from kpid.store.tables import measurements, metadata

NEED = SeriesNeed("win_rate", "month", ("owner",))
JAN = Period("month", datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC), "2018-01")
FEB = Period("month", datetime(2018, 2, 1, tzinfo=UTC), datetime(2018, 3, 1, tzinfo=UTC), "2018-02")
NOW = datetime(2018, 3, 5, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    with store.write() as conn:
        metadata.create_all(conn)
    yield store
    store.close()


def measured(period=JAN, owner="crm:ada", value="0.5", **changes):
    dims = (Segment("owner", owner, "Ada Example"),)
    whole = Measurement(
        "win_rate", period, MeasurementState.OK, Decimal(value), 8, dims, numerator=Decimal(4), denominator=Decimal(8),
        as_of=NOW, data_through=NOW, warnings=("late",), params=(("weight", "count"),),
    )  # fmt: skip
    return replace(whole, **changes)


def append(store, *found, periods=(JAN, FEB), now=NOW):
    with store.write() as conn:
        return history.append(conn, NEED, found, periods=periods, definition="d", now=now)


def read(store, **span):
    with store.read() as conn:
        return history.current(conn, NEED, **span)


def test_measurement_comes_back_exactly(store):
    value = Decimal("0.6315005215318134406198778125")
    given = measured(value=str(value), reason="because")
    assert append(store, given) == history.Appended(1, 0)
    assert read(store) == [given]


def test_no_value_and_no_segment_id_come_back_as_none(store):
    given = measured(owner=None, state=MeasurementState.UNDEFINED, reason="no closed deals")
    given = replace(given, value=None, numerator=None, denominator=None, n=0)
    append(store, given)
    assert read(store) == [given]
    assert read(store)[0].dims[0].id is None


def test_interval_comes_back_and_a_newer_one_restates_nothing(store):
    append(store, measured())
    sure = measured(low=Decimal("0.2152"), high=Decimal("0.7848"))
    assert append(store, sure) == history.Appended(1, 0)
    assert read(store) == [sure]
    assert append(store, sure) == history.Appended(0, 0)


def test_same_judgement_is_not_written_again(store):
    append(store, measured())
    assert append(store, measured(data_through=NOW.replace(day=6), value="0.50")) == history.Appended(0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "0.6"},
        {"state": MeasurementState.STALE},
        {"n": 9},
        {"numerator": Decimal(5)},
        {"denominator": Decimal(9)},
    ],
)
def test_changed_judgement_is_a_new_revision_and_the_old_one_stays(store, changes):
    append(store, measured())
    assert append(store, measured(**changes)) == history.Appended(1, 1)
    assert read(store) == [measured(**changes)]
    with store.read() as conn:
        assert conn.scalar(select(func.count()).select_from(measurements)) == 2


def test_revision_of_a_period_that_is_not_over_is_no_restatement(store):
    append(store, measured(), now=JAN.start)
    assert append(store, measured(n=9), now=JAN.start) == history.Appended(1, 0)


def test_segment_without_rows_any_more_is_withdrawn_and_may_come_back(store):
    append(store, measured(), measured(owner="crm:bob"))
    assert append(store, measured()) == history.Appended(1, 1)
    assert [m.dims[0].id for m in read(store)] == ["crm:ada"]
    assert append(store, measured()).revisions == 0
    append(store, measured(), measured(owner="crm:bob"))
    assert [m.dims[0].id for m in read(store)] == ["crm:ada", "crm:bob"]


def test_periods_that_were_not_measured_are_left_alone(store):
    append(store, measured(), measured(FEB))
    append(store, periods=(FEB,))
    assert [m.period for m in read(store)] == [JAN]


def test_periods_that_begin_together_are_told_apart_by_their_end(store):
    days = [Period("mtd", JAN.start, JAN.start.replace(day=day), f"MTD 2018-01-0{day - 1}") for day in (2, 3)]
    append(store, *(measured(period, value=str(n)) for n, period in enumerate(days)), periods=days)
    assert [(m.period.label, m.value) for m in read(store)] == [("MTD 2018-01-01", 0), ("MTD 2018-01-02", 1)]


def test_current_is_ordered_by_period_then_segment_and_can_be_cut(store):
    append(store, measured(FEB), measured(owner="crm:bob"), measured())
    assert [(m.period.label, m.dims[0].id) for m in read(store)] == [
        ("2018-01", "crm:ada"), ("2018-01", "crm:bob"), ("2018-02", "crm:ada"),
    ]  # fmt: skip
    assert [m.period for m in read(store, start=FEB.start)] == [FEB]
    assert [m.period for m in read(store, end=JAN.end)] == [JAN, JAN]


def test_family_is_the_need_without_its_depth(store):
    assert history.family_of(NEED) == history.family_of(replace(NEED, periods=99))
    assert history.family_of(NEED) != history.family_of(replace(NEED, by=()))
    with store.write() as conn:
        assert history.family(conn, NEED) is None
        history.save_family(conn, NEED, "d1", 5, NOW)
        history.save_family(conn, NEED, "d2", 7, NOW)
        assert history.family(conn, NEED) == history.Family("d2", 7, NOW)


def test_measured_periods_tell_the_states_of_their_segments(store):
    append(store, measured(), measured(owner="crm:bob", state=MeasurementState.STALE), measured(FEB))
    with store.read() as conn:
        found = history.measured_periods(conn, NEED)
    assert found == {(JAN.start, JAN.end): (JAN, frozenset({"ok", "stale"})), (FEB.start, FEB.end): (FEB, frozenset({"ok"}))}
