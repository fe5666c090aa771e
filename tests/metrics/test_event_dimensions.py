"""Events count for the owner and the team of then."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from kpid.analysis.periods import Calendar
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.testing.kpis import NOW, open_warehouse

CALENDAR = Calendar("Europe/Berlin")
JUNE = datetime(2017, 6, 15, tzinfo=UTC)
CHANGE = datetime(2017, 7, 1, tzinfo=UTC)
USERS = [
    {"id": "ada", "name": "Ada Example", "team": "now-ada", "region": "EMEA"},
    {"id": "bob", "name": "Bob Example", "team": "now-bob", "region": "APAC"},
]


def deal(number, closed_at, owner="bob", created_at=datetime(2017, 1, 2, tzinfo=UTC)):
    return {
        "id": str(number), "state": "won", "owner_id": owner, "created_at": created_at, "closed_at": closed_at,
        "amount": Decimal(1),
    }  # fmt: skip


def owned(number, owner, start, end=None):
    return {"id": f"{number}-{owner}-{start}", "object_type": "deals", "object_id": f"crm:{number}", "owner_id": owner,
            "valid_from": start, "valid_to": end}  # fmt: skip


def member(user, team, start, end=None, primary=True, number=0):
    return {"id": f"{user}-{team}-{number}", "user_id": user, "team_id": team, "valid_from": start, "valid_to": end,
            "is_primary": primary}  # fmt: skip


def measured(kpis, tmp_path, rows, by, kpi="won_deals", **setup):
    warehouse = open_warehouse(tmp_path, {"users": USERS, **rows})
    try:
        need = SeriesNeed(kpi, "year", (by,))
        setting = MetricsSetup(warehouse, kpis, CALENDAR, "EUR", **setup)
        found = figures(need, setting, start=datetime(2017, 1, 1, tzinfo=UTC), end=NOW, now=NOW)
        return {m.dims[0].label: int(m.value) for m in found if m.period.label == "2017"}
    finally:
        warehouse.close()


HANDED_OVER = {
    "deals": [deal(1, JUNE), deal(2, datetime(2017, 8, 1, tzinfo=UTC)), deal(3, JUNE)],
    "owner_history": [
        owned(1, "ada", datetime(2017, 1, 1, tzinfo=UTC), CHANGE), owned(1, "bob", CHANGE),
        owned(2, "ada", datetime(2017, 1, 1, tzinfo=UTC), CHANGE), owned(2, "bob", CHANGE),
    ],
}  # fmt: skip


def test_a_closing_counts_for_the_owner_of_then(kpis, tmp_path):
    assert measured(kpis, tmp_path, HANDED_OVER, "owner") == {"Ada Example": 1, "Bob Example": 2}


def test_the_current_owner_counts_if_the_company_wants_it_so(kpis, tmp_path):
    assert measured(kpis, tmp_path, HANDED_OVER, "owner", owner_basis="current") == {"Bob Example": 3}


def test_team_and_region_follow_the_owner_of_then(kpis, tmp_path):
    assert measured(kpis, tmp_path, HANDED_OVER, "region") == {"EMEA": 1, "APAC": 2}


def test_owner_team_and_region_of_then_at_once(kpis, tmp_path):
    rows = {**HANDED_OVER, "team_memberships": [member("ada", "north", datetime(2017, 1, 1, tzinfo=UTC))]}
    warehouse = open_warehouse(tmp_path, {"users": USERS, **rows})
    need = SeriesNeed("won_deals", "year", ("owner", "team", "region"))
    setting = MetricsSetup(warehouse, kpis, CALENDAR, "EUR")
    found = figures(need, setting, start=datetime(2017, 1, 1, tzinfo=UTC), end=NOW, now=NOW)
    warehouse.close()
    counted = {tuple(segment.label for segment in sorted(m.dims, key=lambda s: s.dimension)): int(m.value) for m in found}
    assert counted == {("Ada Example", "EMEA", "crm:north"): 1, ("Bob Example", "APAC", "now-bob"): 2}


def test_who_hands_a_deal_over_as_it_closes_has_closed_it(kpis, tmp_path):
    rows = {"deals": [deal(1, CHANGE)], "owner_history": HANDED_OVER["owner_history"][:2]}
    assert measured(kpis, tmp_path, rows, "owner") == {"Ada Example": 1}


@pytest.mark.parametrize("end", [None, datetime(2017, 12, 1, tzinfo=UTC)])
def test_overlapping_histories_neither_lose_nor_multiply(kpis, tmp_path, end):
    rows = {
        "deals": HANDED_OVER["deals"],
        "owner_history": [owned(1, "ada", datetime(2017, 1, 1, tzinfo=UTC), end), owned(1, "bob", CHANGE)],
    }
    assert measured(kpis, tmp_path, rows, "owner") == {"Ada Example": 1, "Bob Example": 2}


def test_open_deals_belong_to_whom_they_belong_now(kpis, tmp_path):
    rows = {"deals": [{**deal(1, None), "state": "open"}], "owner_history": HANDED_OVER["owner_history"][:2]}
    need = SeriesNeed("pipeline_open_amount", "day", ("owner",))
    warehouse = open_warehouse(tmp_path, {"users": USERS, **rows})
    try:
        setup = MetricsSetup(warehouse, kpis, CALENDAR, "EUR")
        [found] = figures(need, setup, start=datetime(2017, 2, 1, tzinfo=UTC), end=datetime(2017, 2, 1, 12, tzinfo=UTC), now=NOW)
        assert found.dims[0].label == "Bob Example"
    finally:
        warehouse.close()


def test_a_team_is_that_of_the_membership_of_then(kpis, tmp_path):
    start = datetime(2016, 1, 1, tzinfo=UTC)
    rows = {
        "deals": [deal(1, JUNE), deal(2, datetime(2017, 8, 1, tzinfo=UTC)), deal(3, JUNE, owner="ada")],
        "teams": [{"id": "north", "name": "North"}, {"id": "south", "name": "South"}],
        "team_memberships": [
            member("bob", "north", start, CHANGE), member("bob", "south", CHANGE), member("bob", "nowhere", start, primary=False),
        ],
    }  # fmt: skip
    assert measured(kpis, tmp_path, rows, "team") == {"North": 1, "South": 1, "now-ada": 1}
