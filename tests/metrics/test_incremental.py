"""Measuring what changed leaves the same history as measuring everything anew, whatever changed."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from kpid.analysis.periods import Calendar
from kpid.metrics.measure import MetricsSetup, refresh
from kpid.model import SeriesNeed
from kpid.store import history
from kpid.store.engine import Store
from kpid.testing.kpis import open_warehouse, store_rows

NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
NEEDS = (
    SeriesNeed("won_amount", "month", ("team",), periods=4),
    SeriesNeed("won_amount", "month", ("owner",), (("missing_fx", "exclude"),), periods=4),
    SeriesNeed("won_deals", "month", ("account",), periods=3),
    SeriesNeed("won_deals", "month", ("region", "segment"), periods=3),
    SeriesNeed("won_deals", "week", (), (), (("owner", ("Ada Example",)),), periods=6),
    SeriesNeed("won_deals", "rolling_30d", ("country",), periods=5),
    SeriesNeed("pipeline_created", "month", (), (("missing_fx", "exclude"),), periods=4),
    SeriesNeed("pipeline_created", "mtd", ("segment",), (("missing_fx", "exclude"),), periods=4),
    SeriesNeed("pipeline_open_amount", "month", ("owner",), (("missing_fx", "exclude"),), periods=4),
    SeriesNeed("close_rate", "quarter", ("team",), periods=2),
    SeriesNeed("calls_per_sale", "month", ("team",), periods=3),
    SeriesNeed("ticket_backlog", "week", ("segment",), periods=6),
    SeriesNeed("nps", "quarter", ("segment",), periods=2),
)


class World:
    """A warehouse that changes, and a store that follows it."""

    def __init__(self, folder, kpis):
        self.folder, self.kpis = folder, kpis
        self.warehouse = open_warehouse(folder, {}, now=NOW)
        self.setup = MetricsSetup(self.warehouse, kpis, Calendar("Europe/Berlin"), "EUR")
        self.store = self.new_store("kept")

    def new_store(self, name):
        store = Store(f"sqlite:///{self.folder}/{name}.db")
        store.create()
        return store

    def refresh(self, now, *needs, store=None):
        found = refresh(needs or NEEDS, self.setup, store=store or self.store, now=now)
        assert found.problems == ()
        return found

    def facts(self, need, store=None):
        """What history says, by period and segment."""
        with (store or self.store).read() as conn:
            found = history.current(conn, need)
        return {
            (m.period.label, m.period.end, tuple((s.dimension, s.id) for s in m.dims)): (
                m.state.value, m.value, m.numerator, m.denominator, m.n, m.currency, m.warnings, m.reason,
                tuple(s.name for s in m.dims),
            )
            for m in found
        }  # fmt: skip

    def check(self, now, name):
        """The history that was kept says what an empty store says after measuring everything."""
        anew = self.new_store(name)
        self.refresh(now, store=anew)
        for need in NEEDS:
            kept, fresh = self.facts(need), self.facts(need, anew)
            ends = {end for _, end, _ in fresh}
            kept = {key: value for key, value in kept.items() if key[1] in ends}
            assert kept == fresh, need
        anew.close()

    def close(self):
        self.store.close()
        self.warehouse.close()


@pytest.fixture
def world(tmp_path, kpis):
    world = World(tmp_path, kpis)
    yield world
    world.close()


def random_change(rng, now):
    """Rows as a sync might bring them: new, edited, or with an id that is there already."""

    def instant(nulls=0.1):
        return None if rng.random() < nulls else now - timedelta(hours=rng.randrange(-24 * 10, 24 * 130))

    def marks():
        return {
            "deleted_at": rng.choice([None] * 8 + [now - timedelta(days=3), now + timedelta(days=3)]),
            "merged_into_id": rng.choice([None] * 12 + ["1"]),
            "is_test": rng.random() < 0.05,
            "owner_id": rng.choice(["ada", "bob", "cy", None]),
            "account_id": rng.choice(["a1", "a2", None]),
        }

    deals = [
        {
            "id": str(rng.randrange(25)),
            "state": (state := rng.choice(["open", "won", "won", "lost", None])),
            "created_at": instant(),
            "closed_at": instant() if state in ("won", "lost") else None,
            "amount": rng.choice([None, Decimal(rng.randrange(100))]),
            "currency": rng.choice(["EUR", "USD", "USD", "GBP", None]),
            "expected_close_date": rng.choice([None, date(2017, 11, 5), date(2018, 2, 1)]),
            **marks(),
        }
        for _ in range(rng.randrange(8))
    ]
    calls = [
        {"id": str(rng.randrange(15)), "type": "call", "direction": "outbound", "occurred_at": instant(), **marks()}
        for _ in range(rng.randrange(4))
    ]
    tickets = [
        {
            "id": str(rng.randrange(9)),
            "created_at": instant(),
            "status": (status := rng.choice(["open", "solved"])),
            "closed_at": instant() if status == "solved" else None,
            **marks(),
        }
        for _ in range(rng.randrange(3))
    ]
    answers = [
        {
            "id": str(rng.randrange(9)),
            "kind": "nps",
            "score": Decimal(rng.randrange(11)),
            "respondent_id": rng.choice(["r1", "r2"]),
            "wave_id": "w",
            "submitted_at": instant(),
            **marks(),
        }
        for _ in range(rng.randrange(3))
    ]
    found = {"deals": deals, "activities": calls, "tickets": tickets, "survey_responses": answers}
    if rng.random() < 0.5:
        number = rng.choice(["ada", "bob", "cy"])
        name = rng.choice(["Ada Example", "Bob Example", f"{number} renamed"])
        found["users"] = [{"id": number, "name": name, "team": rng.choice("ns"), "region": rng.choice(["EMEA", None])}]
    if rng.random() < 0.5:
        names = {"name": rng.choice(["Acme Example", "Beta Example", None]), "country": rng.choice(["DE", "FR"])}
        found["accounts"] = [{"id": rng.choice(["a1", "a2"]), "segment": rng.choice(["large", "small", None]), **names}]
    if rng.random() < 0.5:
        start = date(2017, rng.randrange(9, 13), 1)
        code = rng.choice(["USD", "GBP"])
        found["fx_rates"] = [
            {
                "id": f"{code}{start}",
                "from_currency": code,
                "to_currency": "EUR",
                "valid_from": start,
                "valid_to": rng.choice([None, start + timedelta(days=40)]),
                "rate": Decimal(rng.randrange(1, 200)) / 100,
                "deleted_at": rng.choice([None, None, now + timedelta(days=3)]),
            }
        ]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_equals_what_is_measured_anew(world, seed):
    rng, now = random.Random(seed), NOW
    for step in range(6):
        changed = random_change(rng, now)
        store_rows(world.warehouse, changed, now=now)
        world.refresh(now)
        if step % 3 == 2:
            world.check(now, f"anew{step}")
        now += timedelta(hours=rng.choice([1, 30, 24 * 8, 24 * 31]))


def won(number, **columns):
    closed = datetime(2017, 12, 10, tzinfo=UTC)
    return {"id": str(number), "state": "won", "owner_id": "ada", "closed_at": closed, "created_at": closed, **columns}


def test_row_deleted_just_after_the_measurement_is_gone_at_the_next(world):
    """A deletion carries the source's time, which may be later than the instant that is measured at."""
    need = SeriesNeed("won_deals", "month", periods=2)
    store_rows(world.warehouse, {"deals": [won(1), won(2)]}, now=NOW)
    with world.warehouse.batch() as batch:
        batch.tombstone("deals", [("crm:2", NOW + timedelta(seconds=5), "vanished", None)])
    world.refresh(NOW, need)
    world.refresh(NOW + timedelta(minutes=15), need)
    [december] = [m for key, m in world.facts(need).items() if key[0] == "2017-12"]
    assert december[1] == 1


def test_renamed_owner_has_the_new_name_in_all_periods(world):
    need = SeriesNeed("won_deals", "month", ("owner",), periods=2)
    store_rows(world.warehouse, {"deals": [won(1)], "users": [{"id": "ada", "name": "Ada Example"}]}, now=NOW)
    world.refresh(NOW, need)
    store_rows(world.warehouse, {"users": [{"id": "ada", "name": "Ada Sample"}]}, now=NOW)
    result = world.refresh(NOW, need)
    assert [m[-1] for m in world.facts(need).values()] == [("Ada Sample",)]
    assert (result.appended, result.restated) == (1, 0)


def test_past_period_keeps_the_rate_of_its_end(world):
    """An open deal without an expected date is worth what it was at the end of the period, whenever that is measured."""
    need = SeriesNeed("pipeline_created", "month", periods=2)
    created = datetime(2017, 11, 10, tzinfo=UTC)
    deal = {"id": "1", "state": "open", "created_at": created, "amount": Decimal(10), "currency": "USD"}
    rates = [
        {"id": str(month), "from_currency": "USD", "to_currency": "EUR", "valid_from": day, "rate": Decimal(month)}
        for month, day in ((11, date(2017, 11, 1)), (12, date(2017, 12, 1)), (13, date(2018, 1, 1)))
    ]
    store_rows(world.warehouse, {"deals": [deal], "fx_rates": rates}, now=NOW)
    world.refresh(NOW, need)
    assert world.facts(need)["2017-11", datetime(2017, 11, 30, 23, tzinfo=UTC), ()][1] == 120
