"""Measuring into history: what is measured again, what is not, and states."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import literal
from sqlalchemy.sql import quoted_name

from kpid.analysis.periods import Calendar
from kpid.config.model import KpiSettings
from kpid.errors import ConfigError
from kpid.metrics.measure import MetricsSetup, figures, refresh
from kpid.model import MeasurementState, SeriesNeed
from kpid.plugin import At, Definition, Kpi, Measure, Target, Use, count, count_distinct, entities
from kpid.store import history
from kpid.store.engine import Store
from kpid.store.tables import metadata
from kpid.testing.kpis import open_warehouse, store_rows
from kpid.warehouse import Watermark

NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
DECEMBER = datetime(2017, 12, 10, 12, tzinfo=UTC)
WIN_RATE = SeriesNeed("win_rate", "month", periods=3)
WON_BY_OWNER = SeriesNeed("won_deals", "month", ("owner",), periods=3)
OPEN_COUNT = SeriesNeed("pipeline_open_amount", "month", params=(("as", "count"),), periods=3)
NEEDS = (
    WIN_RATE, WON_BY_OWNER, OPEN_COUNT,
    SeriesNeed("won_deals", "week", ("team",), periods=5),
    SeriesNeed("close_rate", "month", ("owner",), periods=3),
    SeriesNeed("won_amount", "rolling_30d", periods=4),
    SeriesNeed("won_deals", "mtd", periods=4),
    SeriesNeed("sales_cycle_days", "quarter", ("region",), (("stat", "mean"),), periods=2),
)  # fmt: skip
USERS = [{"id": "ada", "name": "Ada Example", "team": "north"}, {"id": "bob", "name": "Bob Example", "team": "south"}]


def deal(number, state="won", owner="ada", closed=DECEMBER, created=DECEMBER - timedelta(days=30), **columns):
    closed = closed if state != "open" else None
    return {"id": str(number), "state": state, "owner_id": owner, "closed_at": closed, "created_at": created, **columns}


class World:
    """A warehouse, a store and the KPIs."""

    def __init__(self, folder, kpis, name="w"):
        (folder / name).mkdir()
        self.warehouse = open_warehouse(folder / name, {"users": USERS}, now=NOW)
        self.store = Store(f"sqlite:///{folder}/{name}/kpid.db")
        with self.store.write() as conn:
            metadata.create_all(conn)
        self.setup = MetricsSetup(self.warehouse, kpis, Calendar("Europe/Berlin"), "EUR", {}, {"crm": timedelta(hours=2)})

    def put(self, *deals, now=NOW):
        store_rows(self.warehouse, {"deals": deals}, now=now)

    def refresh(self, *needs, now=NOW):
        return refresh(needs or NEEDS, self.setup, store=self.store, now=now)

    def read(self, need):
        with self.store.read() as conn:
            return history.current(conn, need)

    def value(self, need, label):
        [found] = [m for m in self.read(need) if m.period.label == label]
        return found

    def close(self):
        self.warehouse.close()
        self.store.close()


@pytest.fixture
def world(tmp_path, kpis):
    world = World(tmp_path, kpis)
    yield world
    world.close()


def test_history_reaches_back_as_far_as_needed_and_holds_the_current_period(world):
    world.put(deal(1), deal(2, "lost"))
    assert world.refresh(WIN_RATE).families == 1
    assert [m.period.label for m in world.read(WIN_RATE)] == ["2017-09", "2017-10", "2017-11", "2017-12", "2018-01"]


def test_second_refresh_without_changes_writes_nothing(world):
    world.put(deal(1), deal(2, "lost"))
    world.refresh()
    assert world.refresh().appended == 0


def test_change_restates_its_period_and_no_other(world):
    world.put(deal(1), deal(2, "lost"))
    world.refresh(WIN_RATE)
    world.put(deal(2, "won"))
    result = world.refresh(WIN_RATE)
    assert (result.appended, result.restated) == (1, 1)
    assert world.value(WIN_RATE, "2017-12").value == 1


def test_deal_that_moves_to_another_month_restates_both(world):
    world.put(deal(1), deal(2))
    world.refresh(WIN_RATE)
    world.put(deal(2, closed=DECEMBER - timedelta(days=30)))
    assert world.refresh(WIN_RATE).restated == 2
    assert [world.value(WIN_RATE, label).n for label in ("2017-11", "2017-12")] == [1, 1]


def test_segment_that_loses_its_rows_is_withdrawn(world):
    world.put(deal(1), deal(2, owner="bob"))
    world.refresh(WON_BY_OWNER)
    world.put(deal(2, owner="ada"))
    world.refresh(WON_BY_OWNER)
    assert [(m.dims[0].name, m.value) for m in world.read(WON_BY_OWNER)] == [("Ada Example", 2)]


def test_deleted_deal_counts_no_more(world):
    world.put(deal(1), deal(2))
    world.refresh(WIN_RATE)
    with world.warehouse.batch() as batch:
        batch.tombstone("deals", [("crm:2", NOW - timedelta(hours=1), "deleted", None)])
    world.refresh(WIN_RATE)
    assert world.value(WIN_RATE, "2017-12").n == 1


def test_seller_who_changes_team_moves_history_by_team(world):
    need = SeriesNeed("won_deals", "month", ("team",), periods=2)
    world.put(deal(1))
    world.refresh(need)
    store_rows(world.warehouse, {"users": [USERS[0] | {"team": "east"}]}, now=NOW)
    world.refresh(need)
    assert [m.dims[0].id for m in world.read(need)] == ["east"]


def test_earlier_closing_changes_the_balances_since_then(world):
    world.put(deal(1, "open", created=datetime(2017, 10, 5, tzinfo=UTC)))
    world.refresh(OPEN_COUNT)
    assert [m.value for m in world.read(OPEN_COUNT)] == [0, 1, 1, 1, 1]
    world.put(deal(1, "won", created=datetime(2017, 10, 5, tzinfo=UTC), closed=datetime(2017, 11, 5, tzinfo=UTC)))
    world.refresh(OPEN_COUNT)
    assert [m.value for m in world.read(OPEN_COUNT)] == [0, 1, 0, 0, 0]


def test_period_that_has_closed_is_measured_again_without_changes(world):
    world.put(deal(1))
    world.refresh(WIN_RATE)
    assert world.value(WIN_RATE, "2018-01").state is MeasurementState.INCOMPLETE
    later = datetime(2018, 2, 1, 8, tzinfo=UTC)
    world.put(now=later)
    world.refresh(WIN_RATE, now=later)
    assert world.value(WIN_RATE, "2018-01").state is MeasurementState.UNDEFINED


def test_new_minimum_sample_is_a_new_definition(world):
    world.put(deal(1), deal(2, "lost"))
    world.refresh(WIN_RATE)
    assert world.value(WIN_RATE, "2017-12").reason == "2 closed deals, at least 30 needed"
    settings = {"win_rate": KpiSettings(target=None, min_sample=2)}
    world.setup = replace(world.setup, settings=settings)
    world.refresh(WIN_RATE)
    assert world.value(WIN_RATE, "2017-12").state is MeasurementState.OK


def test_rates_of_one_day_make_money_anew(world):
    amount = SeriesNeed("won_amount", "month", periods=2)
    rates = [
        {"id": str(n), "from_currency": "USD", "to_currency": "EUR", "valid_from": day, "rate": Decimal(rate)}
        for n, (day, rate) in enumerate([(date(2017, 1, 1), "0.8"), (date(2017, 12, 1), "0.5")])
    ]
    store_rows(world.warehouse, {"deals": [deal(1, amount=Decimal(10), currency="USD")], "fx_rates": rates}, now=NOW)
    world.refresh(amount)
    assert world.value(amount, "2017-12").value == 5
    world.setup = replace(world.setup, rate_day=date(2017, 6, 1))
    world.refresh(amount)
    assert world.value(amount, "2017-12").value == 8
    assert world.setup.money == "EUR at the rates of 2017-06-01"


def test_need_for_more_periods_reaches_further_back(world):
    world.put(deal(1, closed=datetime(2017, 6, 5, tzinfo=UTC)))
    world.refresh(WIN_RATE)
    world.refresh(WIN_RATE, replace(WIN_RATE, periods=8))
    assert world.value(WIN_RATE, "2017-06").value == 1


@pytest.mark.parametrize("seed", range(4))
def test_refresh_after_changes_equals_measuring_everything_anew(tmp_path, kpis, seed):
    rng = random.Random(seed)
    world, anew = World(tmp_path, kpis), World(tmp_path, kpis, "anew")
    rows = {}
    for step in range(4):
        for _ in range(rng.randrange(1, 12)):
            number = rng.randrange(25)
            rows[number] = deal(
                number,
                rng.choice(["open", "won", "lost"]),
                rng.choice(["ada", "bob", None]),
                DECEMBER - timedelta(hours=rng.randrange(-24 * 30, 24 * 100)),
                rng.choice([None, DECEMBER - timedelta(hours=rng.randrange(-24 * 20, 24 * 150))]),
                amount=Decimal(rng.randrange(100)),
            )
        now = NOW + timedelta(days=step * 9)
        world.put(*rows.values(), now=now)
        assert world.refresh(now=now).problems == ()
    anew.put(*rows.values(), now=now)
    anew.refresh(now=now)
    for need in NEEDS:
        known = {(m.period, m.dims): m for m in world.read(need)}
        for m in anew.read(need):
            was = known.pop((m.period, m.dims))
            assert (was.state, was.value, was.numerator, was.denominator, was.n) == (
                m.state,
                m.value,
                m.numerator,
                m.denominator,
                m.n,
            )
        fresh = {m.period for m in anew.read(need)}
        assert not [key for key in known if key[0] in fresh]
    world.close()
    anew.close()


# ---- targets that come, change and go later

ATTAINED = SeriesNeed("quota_attainment", "month", params=(("kpi", "won_deals"),), periods=3)


def goal(number, value, start, **columns):
    return {
        "id": str(number),
        "kpi": "won_deals",
        "period_kind": "month",
        "period_start": start,
        "value": Decimal(value),
        **columns,
    }


def attained(world, *goals, now=NOW):
    """The attainments of November and December, and how many revisions that took."""
    if goals:
        store_rows(world.warehouse, {"targets": goals}, now=now)
    written = world.refresh(ATTAINED, now=now).appended
    return [world.value(ATTAINED, label).value for label in ("2017-11", "2017-12")], written


def test_target_that_comes_later_is_what_its_closed_period_is_measured_against(world):
    world.put(*(deal(n) for n in range(4)), deal(9, closed=DECEMBER - timedelta(days=30)))
    assert attained(world)[0] == [None, None]
    assert attained(world) == ([None, None], 0)
    assert attained(world, goal(1, 8, date(2017, 12, 1))) == ([None, Decimal("0.5")], 1)
    assert attained(world, goal(2, 2, date(2017, 11, 1))) == ([Decimal("0.5"), Decimal("0.5")], 1)
    assert attained(world, goal(1, 4, date(2017, 12, 1))) == ([Decimal("0.5"), 1], 1)


def test_target_that_is_deleted_is_gone_from_its_closed_period(world):
    world.put(*(deal(n) for n in range(4)))
    attained(world, goal(1, 8, date(2017, 12, 1)))
    with world.warehouse.batch() as batch:
        batch.tombstone("targets", [("crm:1", NOW - timedelta(hours=1), "deleted", None)])
    assert attained(world) == ([None, None], 1)


def test_target_that_is_deleted_after_the_measurement_is_gone_at_the_next(world):
    world.put(*(deal(n) for n in range(4)))
    later = goal(1, 8, date(2017, 12, 1), deleted_at=NOW + timedelta(minutes=5))
    assert attained(world, later)[0] == [None, Decimal("0.5")]
    assert attained(world, now=NOW + timedelta(minutes=10))[0] == [None, None]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"target": "8", "target_period": "month"}, [Decimal("0.125"), Decimal("0.5")]),
        ({"target": "8", "target_period": "quarter"}, [None, None]),
        ({"targets": [{"period": "2017-12", "value": "8"}]}, [None, Decimal("0.5")]),
        ({"targets": [{"period": "month", "value": "4"}, {"period": "2017-11", "value": "2"}]}, [Decimal("0.5"), 1]),
    ],
)
def test_target_that_is_configured_later_is_what_closed_periods_are_measured_against(world, texts, expected):
    world.put(*(deal(n) for n in range(4)), deal(9, closed=DECEMBER - timedelta(days=30)))
    assert attained(world)[0] == [None, None]
    world.setup = replace(world.setup, settings={"won_deals": KpiSettings.model_validate(texts)})
    assert attained(world)[0] == expected
    assert attained(world)[1] == 0
    world.setup = replace(world.setup, settings={})
    assert attained(world)[0] == [None, None]


# ---- states


def state(world, need=WIN_RATE, label="2017-12", now=NOW):
    world.refresh(need, now=now)
    found = world.value(need, label)
    return found.state, found.reason


def test_old_source_makes_its_measurements_stale(world):
    world.put(*(deal(n) for n in range(30)))
    found = state(world, now=NOW + timedelta(hours=3))
    assert found == (MeasurementState.STALE, "crm has delivered deals up to 2018-01-02 08:00 UTC only")


def test_source_that_stopped_before_the_end_leaves_the_period_incomplete(world):
    world.put(*(deal(n) for n in range(30)))
    with world.warehouse.batch() as batch:
        batch.save_watermark(Watermark("crm", "deals", None, datetime(2017, 12, 30, tzinfo=UTC), NOW))
    world.setup = replace(world.setup, max_ages={})
    assert state(world)[0] is MeasurementState.INCOMPLETE
    world.put()
    assert state(world)[0] is MeasurementState.OK


def test_kpi_without_a_source_is_incomplete_not_zero_calls(world):
    with world.warehouse.batch() as batch:
        batch.save_watermark(Watermark("crm", "activities", None, None, None))
    need = SeriesNeed("calls_made", "month", periods=2)
    assert state(world, need) == (MeasurementState.INCOMPLETE, "crm has not delivered activities yet")
    assert world.value(need, "2017-12").value is None


def test_source_that_is_configured_no_more_makes_nothing_stale(world):
    world.put(deal(1))
    with world.warehouse.batch() as batch:
        batch.save_watermark(Watermark("old", "deals", None, datetime(2016, 1, 1, tzinfo=UTC), NOW))
    assert state(world)[0] is MeasurementState.INCOMPLETE
    world.setup = replace(world.setup, sources=("crm",))
    assert state(world)[0] is MeasurementState.INSUFFICIENT_SAMPLE


def test_gravest_state_wins_and_the_others_become_warnings(world):
    world.put(deal(1))
    late = NOW + timedelta(hours=3)
    world.refresh(WIN_RATE, now=late)
    found = world.value(WIN_RATE, "2018-01")
    assert found.state is MeasurementState.STALE
    assert found.warnings == ("the period is not over", "no closed deals")


def test_future_closing_does_not_count_yet(world):
    world.put(deal(1, closed=NOW + timedelta(days=3)), deal(2, closed=NOW))
    world.refresh(WIN_RATE)
    assert world.value(WIN_RATE, "2018-01").n == 1


# ---- faults of plugins and configurations


deals = entities.deals
WON = {"won": Measure(deals, At(deals.c.closed_at), count())}

NAMELESS = {"won": replace(WON["won"], agg=count_distinct(literal(quoted_name("won", None))))}


def broken(name, formula=lambda m: m.won, **parts):
    measure = Measure(entities.deals, At(entities.deals.c.closed_at), count())
    definition = Definition({"won": measure}, formula)
    return Kpi(name, name, "test", "count", "up", **{"define": definition, **parts})


def test_formula_that_raises_is_the_error_of_its_kpi_alone(world):
    world.setup = replace(world.setup, kpis={**world.setup.kpis, "bad": broken("bad", lambda m: m.lost)})
    world.put(deal(1))
    bad = SeriesNeed("bad", "month", periods=1)
    world.refresh(bad, WIN_RATE)
    assert world.value(bad, "2017-12").state is MeasurementState.ERROR
    assert "no measure 'lost'" in world.value(bad, "2017-12").reason
    assert world.value(WIN_RATE, "2017-12").value == 1


def test_definition_that_the_warehouse_refuses_is_a_problem_of_its_kpi_alone(world):
    from sqlalchemy import column

    nonsense = Definition(
        {"won": Measure(entities.deals, At(entities.deals.c.closed_at), count(column("nonsense") > 1))}, lambda m: m.won
    )
    world.setup = replace(world.setup, kpis={**world.setup.kpis, "bad": broken("bad", define=nonsense)})
    world.put(deal(1))
    result = world.refresh(SeriesNeed("bad", "month", periods=1), WIN_RATE)
    assert [kpi for kpi, _ in result.problems] == ["bad"]
    assert world.value(WIN_RATE, "2017-12").value == 1


def test_definition_that_raises_and_unknown_kpi_are_problems(world):
    world.setup = replace(world.setup, kpis={**world.setup.kpis, "bad": broken("bad", define=lambda params: 1 / 0)})
    result = world.refresh(SeriesNeed("bad", "month"), SeriesNeed("nothing", "month"), WIN_RATE)
    assert [kpi for kpi, _ in result.problems] == ["bad", "nothing"]


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        (Definition(WON, lambda m: m.won, sample="closed"), "KPI bad has no measure 'closed' for its sample"),
        (Definition({}, lambda m: m.rate, sample="rates", uses={"rate": Use("win_rate")}), "KPI bad has no measure 'rates'"),
        (Definition({}, lambda m: m.goal, targets={"goal": Target("won_deals")}), "KPI bad measures nothing"),
        (Definition(NAMELESS, lambda m: m.won), "No literal value renderer"),
        (lambda params: None, "KPI bad is defined by a NoneType, not by a Definition"),
    ],
)
def test_definition_that_cannot_be_measured_is_a_problem_of_its_kpi_alone(world, definition, problem):
    world.setup = replace(world.setup, kpis={**world.setup.kpis, "bad": broken("bad", define=definition)})
    world.put(deal(1))
    result = world.refresh(SeriesNeed("bad", "month", periods=1), WIN_RATE)
    [(kpi, told)] = result.problems
    assert kpi == "bad"
    assert problem in told
    assert world.value(WIN_RATE, "2017-12").value == 1


def test_sample_size_that_raises_is_the_error_of_its_kpi_alone(world):
    definition = Definition(WON, lambda m: m.won, size=lambda m: m.closed)
    world.setup = replace(world.setup, kpis={**world.setup.kpis, "bad": broken("bad", define=definition)})
    world.put(deal(1))
    bad = SeriesNeed("bad", "month", periods=1)
    world.refresh(bad, WIN_RATE)
    found = world.value(bad, "2017-12")
    assert (found.state, found.value) == (MeasurementState.ERROR, None)
    assert found.reason.startswith("the sample size of bad failed: no measure 'closed'")
    assert world.value(WIN_RATE, "2017-12").value == 1


def ask(world, need, **options):
    return figures(need, world.setup, start=datetime(2017, 9, 30, 22, tzinfo=UTC), end=NOW, now=NOW, **options)


def test_unknown_dimension_is_refused_with_those_there_are(world):
    with pytest.raises(ConfigError, match=r"cannot be cut by 'colour'. It can be cut by owner, team"):
        ask(world, SeriesNeed("win_rate", "month", ("colour",)))


def test_unknown_parameter_and_value_are_refused(world):
    with pytest.raises(ConfigError, match="no parameter 'wheight'"):
        ask(world, SeriesNeed("win_rate", "month", params=(("wheight", "count"),)))
    with pytest.raises(ConfigError, match="Use one of count, amount"):
        ask(world, SeriesNeed("win_rate", "month", params=(("weight", "size"),)))


def test_where_takes_ids_and_names(world):
    world.put(deal(1), deal(2, owner="bob"), deal(3, owner=None))
    for owner, value in (("Ada Example", 1), ("crm:bob", 1), ("", 1), ("Nobody", None)):
        found = ask(world, SeriesNeed("won_deals", "month", where=(("owner", (owner,)),)))
        assert [m.value for m in found] == ([value] if value else [])


def test_figures_leave_out_periods_without_rows_unless_filled(world):
    world.put(deal(1), deal(2, owner=None, closed=DECEMBER - timedelta(days=30)))
    need = SeriesNeed("won_deals", "month", ("owner",))
    assert [(m.period.label, m.dims[0].label, m.value) for m in ask(world, need)] == [
        ("2017-11", "no owner", 1), ("2017-12", "Ada Example", 1),
    ]  # fmt: skip
    assert len(ask(world, need, fill=True)) == 4 * 2
    assert [m.value for m in ask(world, SeriesNeed("won_deals", "month"), fill=True)] == [0, 1, 1, 0]


def test_progress_is_told(world):
    told = []
    refresh([WIN_RATE], world.setup, store=world.store, now=NOW, progress=lambda *report: told.append(report))
    assert told == [("measure", 0, 1), ("measure win_rate", 1, 1)]


def two_sources(world):
    store_rows(world.warehouse, {"deals": [deal(9)]}, now=NOW - timedelta(days=9), source="old")
    world.put(deal(1))
    world.setup = replace(world.setup, max_ages={"crm": timedelta(hours=2), "old": timedelta(hours=2)})


def test_stale_source_spoils_the_total_and_its_own_segment_but_no_other(world):
    two_sources(world)
    [total] = ask(world, SeriesNeed("won_deals", "month"))
    assert (total.state, total.value) == (MeasurementState.STALE, 2)
    crm, old = ask(world, SeriesNeed("won_deals", "month", ("source",)))
    assert (crm.dims[0].id, crm.state, crm.value, crm.data_through) == ("crm", MeasurementState.OK, 1, NOW)
    assert (old.dims[0].id, old.state) == ("old", MeasurementState.STALE)
    assert old.reason.startswith("old has delivered deals up to 2017-12-24")


@pytest.mark.parametrize(("source", "state"), [("crm", MeasurementState.OK), ("old", MeasurementState.STALE)])
def test_figures_of_one_source_depend_on_that_source(world, source, state):
    two_sources(world)
    [found] = ask(world, SeriesNeed("won_deals", "month", where=(("source", (source,)),)))
    assert found.state is state
    [found] = ask(world, SeriesNeed("won_deals", "month", ("owner",), where=(("source", (source,)),)))
    assert found.state is state


def test_age_of_the_data_is_that_of_the_configured_sources(world):
    two_sources(world)
    need = SeriesNeed("data_freshness", "day")
    today = {"start": NOW.replace(hour=0), "end": NOW + timedelta(days=1), "now": NOW}
    assert [m.value for m in figures(need, world.setup, **today)] == [9 * 86400]
    world.setup = replace(world.setup, sources=frozenset({"crm"}))
    assert [m.value for m in figures(need, world.setup, **today)] == [0]


def test_source_read_after_the_measuring_instant_is_as_fresh_as_can_be(world):
    world.put(now=NOW + timedelta(seconds=40))
    [found] = figures(
        SeriesNeed("data_freshness", "day"), world.setup, start=NOW.replace(hour=0), end=NOW + timedelta(days=1), now=NOW
    )
    assert (found.value, found.state) == (0, MeasurementState.OK)


def test_rule_about_a_person_who_is_not_there_has_no_value(world):
    need = SeriesNeed("won_deals", "month", periods=2, where=(("owner", ("Cy Example",)),))
    world.put(deal(1, owner="cy"))
    world.refresh(need)
    found = world.value(need, "2017-12")
    assert (found.value, found.state, found.reason) == (None, MeasurementState.UNDEFINED, "no owner is called 'Cy Example'")
    store_rows(world.warehouse, {"users": [{"id": "cy", "name": "Cy Example"}]}, now=NOW)
    world.refresh(need)
    assert world.value(need, "2017-12").value == 1
