"""What history said at an earlier time, against a list of everything that was ever told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.periods import Calendar, period_from_label
from kpid.model import Measurement, MeasurementState, Segment, SeriesNeed
from kpid.store import history
from kpid.store.engine import Store
from kpid.store.revisions import as_reported, is_kept, is_material, material, restatements

CALENDAR = Calendar("UTC")
NEED = SeriesNeed("won_deals", "month", by=("owner",))
MARCH, APRIL = (period_from_label(None, name, CALENDAR) for name in ("2024-03", "2024-04"))
EVERY = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
OK, INCOMPLETE = MeasurementState.OK, MeasurementState.INCOMPLETE


def at(day: int, month: int = 4) -> datetime:
    return datetime(2024, month, day, 8, tzinfo=UTC)


def figure(period, value, owner="ada", state=OK) -> Measurement:
    number = None if value is None else Decimal(value)
    return Measurement("won_deals", period, state, number, value or 0, (Segment("owner", owner, owner.title()),))


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    yield store
    store.close()


def tell(store: Store, now: datetime, *found: Measurement, periods=(MARCH,), definition="d") -> None:
    with store.write() as conn:
        history.append(conn, NEED, found, periods=periods, definition=definition, now=now)
        history.save_family(conn, NEED, definition, 0, now)


def reported(store: Store, then: datetime | None) -> dict[str, int | None]:
    with store.read() as conn:
        found = as_reported(conn, NEED, start=EVERY[0], end=EVERY[1], then=then)
    return {f"{one.measurement.period.label} {one.measurement.dims[0].id}": one.measurement.value for one in found}


def test_each_instant_has_the_figures_of_its_day(store):
    tell(store, at(20, 3), figure(MARCH, 5, state=INCOMPLETE))
    tell(store, at(1), figure(MARCH, 20), figure(MARCH, 3, "bob"))
    tell(store, at(5), figure(MARCH, 18))
    assert reported(store, at(19, 3)) == {}
    assert reported(store, at(20, 3)) == {"2024-03 ada": 5}
    assert reported(store, at(1)) == {"2024-03 ada": 20, "2024-03 bob": 3}
    assert reported(store, at(5)) == {"2024-03 ada": 18}  # Bob's rows have gone
    assert reported(store, None) == {"2024-03 ada": 20, "2024-03 bob": 3}


def test_restatement_tells_first_and_newest_and_leaves_the_unsettled_out(store):
    tell(store, at(20, 3), figure(MARCH, 5, state=INCOMPLETE))
    tell(store, at(1), figure(MARCH, 9, state=INCOMPLETE), figure(MARCH, 3, "bob"))
    tell(store, at(2), figure(MARCH, 20), figure(MARCH, 3, "bob"))
    tell(store, at(5), figure(MARCH, 18), figure(MARCH, 3, "bob"), definition="e")
    tell(store, at(9), figure(MARCH, 17), definition="e")
    with store.read() as conn:
        ada, bob = restatements(conn)
        assert restatements(conn, since=at(10)) == []
        assert restatements(conn, kpi="lost_deals") == []
        assert [one.dims for one in restatements(conn, since=at(9))] == [ada.dims, bob.dims]
    assert (ada.first.value, ada.newest.value, ada.change, ada.revisions) == (20, 17, -3, 2)
    assert (ada.told_at, ada.changed_at, ada.by_definition) == (at(2), at(9), True)
    assert (bob.first.value, bob.newest, bob.change, bob.by_definition) == (3, None, None, True)


def test_new_words_are_no_restatement(store):
    tell(store, at(1), figure(MARCH, 20))
    renamed = Measurement("won_deals", MARCH, OK, Decimal(20), 20, (Segment("owner", "ada", "Ada Example"),), warnings=("odd",))
    tell(store, at(2), renamed)
    with store.read() as conn:
        assert restatements(conn) == []


def test_family_that_was_never_measured_is_not_kept(store):
    tell(store, at(1), figure(MARCH, 20))
    with store.read() as conn:
        assert is_kept(conn, NEED)
        assert not is_kept(conn, SeriesNeed("won_deals", "month"))


@pytest.mark.parametrize(
    ("old", "new", "counts", "matters"),
    [(100, 102, True, True), (100, 101, True, False), (3, 4, True, False), (3, 5, True, True), (1000, 1005, True, False),
     (None, 4, True, True), (4, None, True, True), (None, None, True, False), (100, 102, False, True), (100, 101, False, False),
     (0, 1, False, True), (-100, -103, True, True)],
)  # fmt: skip
def test_what_matters_is_more_than_a_percent_and_more_than_a_unit(old, new, counts, matters):
    first, newest = (figure(MARCH, value) for value in (old, new))
    if not counts:
        first = Measurement("rate", MARCH, OK, Decimal(old), 9, denominator=Decimal(9))
    assert is_material(first, newest) is matters
    assert is_material(first, None) is (old is not None)


tales = st.lists(
    st.tuples(
        st.sampled_from([MARCH, APRIL]),
        st.sampled_from(["ada", "bob"]),
        st.none() | st.integers(0, 4),
        st.sampled_from([OK, INCOMPLETE]),
    ),
    min_size=1,
    max_size=12,
)


@given(tales, st.integers(0, 14))
@settings(max_examples=40, deadline=None)
def test_history_gives_back_what_was_told(tmp_path_factory, tales, asked):
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('tale')}/kpid.db")
    store.create()
    start, state, known = datetime(2024, 3, 27, tzinfo=UTC), {}, {}
    for step, (period, owner, value, kind) in enumerate(tales):
        now = start + step * timedelta(days=3)
        state[period, owner] = figure(period, value, owner, kind)
        tell(store, now, *state.values(), periods={one.period: None for one in state.values()})
        known[now] = {f"{one.period.label} {one.dims[0].id}": one.value for one in state.values()}
    then = start + asked * timedelta(days=3)
    days = [day for day in known if day <= then]
    assert reported(store, then) == (known[days[-1]] if days else {})
    with store.read() as conn:
        for one in material(restatements(conn), share=Decimal(0), units=Decimal(0)):
            assert one.first != one.newest
            assert one.told_at >= one.period.end
            newest = state[one.period, one.dims[0].id]
            assert newest.state is INCOMPLETE or one.newest.value == newest.value
    store.close()
