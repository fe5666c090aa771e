"""The invented CRM: what was done in it is what is so, and reads show it in order, late if they are to."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from kpid.testing import FakeClock
from kpid.testing.crm import Crm
from kpid.testing.crm_doer import Doer
from kpid.testing.crm_life import fill

MINUTE = timedelta(minutes=1)


@pytest.fixture
def crm():
    return Crm(FakeClock())


def shown(crm, kind="deals"):
    return {record.id for record in crm.kinds[kind].after(None, 10**6)}


def test_a_filled_crm_has_the_traps_of_real_ones(crm):
    fill(crm, 400)
    deals = [record.values for record in crm.living("deals").values()]
    assert len(deals) > 400
    assert {values["currency"] for values in deals} == {"EUR", "USD", "CHF"}
    assert any(values["amount"] is None for values in deals)
    entered = [[value for name, value, _ in record.log if name == "stage_id"] for record in crm.living("deals").values()]
    assert any(len(stages) != len(set(stages)) for stages in entered)
    assert any(record.values["direction"] is None for record in crm.living("calls").values())
    assert any(not record.values["is_active"] for record in crm.living("users").values())
    assert any(record.values["status"] == "converted" for record in crm.living("leads").values())
    assert all(len(crm.living(kind)) for kind in crm.kinds)


def test_the_same_seed_gives_the_same_crm():
    one, other = Crm(FakeClock(), seed=3), Crm(FakeClock(), seed=3)
    fill(one, 30)
    fill(other, 30)
    assert one.living("deals") == other.living("deals")


def test_ids_are_the_vendors():
    crm = Crm(FakeClock(), ids=lambda kind, number: f"{kind[:3]}-{number:04}")
    assert [crm.add_deal(), crm.add_deal()] == ["dea-0001", "dea-0002"]
    assert crm.stage_ids["first"] == "sta-0001"


def test_changes_are_read_in_the_order_of_instant_and_id(crm):
    first, same = crm.add_deal(), crm.bulk("deals", 5)
    crm.clock.advance(MINUTE)
    crm.edit("deals", first, name="Edited")
    deals = crm.kinds["deals"]
    everything = deals.changed(None, None, None, 100)
    assert [record.id for record in everything] == [*sorted(same), first]
    place, read = None, []
    while page := deals.changed(None, None, place, 2):
        read += page
        place = page[-1].key
    assert read == list(everything)
    start = everything[-1].modified
    assert [record.id for record in deals.changed(start, None, None, 100)] == [first]
    assert {record.id for record in deals.changed(None, start, None, 100)} == set(same)
    assert [record.id for record in deals.after(same[0], 2)] == sorted([first, *same])[
        sorted([first, *same]).index(same[0]) + 1 :
    ][:2]


def test_late_changes_show_late_and_with_their_time(crm):
    old = crm.add_deal(name="Old")
    crm.clock.advance(MINUTE)
    crm.hide_for(5 * MINUTE)
    new = crm.add_deal()
    crm.edit("deals", old, name="New")
    at = crm.clock.now()
    assert shown(crm) == {old}
    assert crm.kinds["deals"].get(old).values["name"] == "Old"
    assert crm.living("deals").keys() == {old, new}
    crm.clock.advance(5 * MINUTE)
    assert shown(crm) == {old, new}
    assert crm.kinds["deals"].get(old).values["name"] == "New"
    assert crm.kinds["deals"].get(new).modified == at


def test_what_is_deleted_is_in_the_log_as_far_as_it_reaches_and_may_come_back(crm):
    deal, other = crm.add_deal(), crm.add_deal()
    crm.clock.advance(MINUTE)
    crm.delete("deals", deal)
    assert shown(crm) == {other}
    assert len(crm.kinds["deals"]) == 1
    assert [record.id for record in crm.kinds["deals"].after(None, 9, gone=True)] == [deal, other]
    assert [record.id for record in crm.gone("deals", crm.clock.now())] == [deal]
    crm.clock.advance(timedelta(days=20))
    assert crm.gone("deals", reach=timedelta(days=15)) == []
    crm.restore("deals", deal)
    assert shown(crm) == {deal, other}
    crm.purge("deals", other)
    assert crm.living("deals").keys() == {deal}
    assert crm.kinds["deals"].get(other) is None


def test_children_follow_a_merge_without_a_change_of_their_time(crm):
    winner, loser = (crm.create("accounts", {"name": name}) for name in "ab")
    deal = crm.add_deal(account_id=loser)
    before = crm.kinds["deals"].true(deal).modified
    crm.clock.advance(MINUTE)
    crm.merge("accounts", winner, loser)
    after = crm.kinds["deals"].true(deal)
    assert (after.values["account_id"], after.modified) == (winner, before)
    assert crm.kinds["accounts"].true(loser).merged_into == winner
    assert crm.living("accounts").keys() == {winner}


def test_the_intervals_of_a_deal_touch(crm):
    deal = crm.add_deal()
    instants = [crm.clock.now()]
    for stage in ("offer", "won"):
        crm.clock.advance(MINUTE)
        crm.move(deal, stage)
        instants.append(crm.clock.now())
    ids = crm.stage_ids
    first, offer, won = instants
    assert crm.intervals(deal) == [(ids["first"], first, offer), (ids["offer"], offer, won), (ids["won"], won, None)]
    assert crm.kinds["deals"].true(deal).values["closed_at"] == won


def test_a_converted_lead_names_what_it_became(crm):
    lead = crm.create("leads", {"name": "Ada Example", "company": "Example", "status": "new"})
    account, contact, deal = crm.convert_lead(lead)
    values = crm.living("leads")[lead].values
    assert (values["converted_account_id"], values["converted_contact_id"], values["converted_deal_id"]) == (
        account,
        contact,
        deal,
    )


@pytest.mark.parametrize("seed", range(5))
def test_whatever_people_do_the_crm_stays_whole(seed):
    crm = Crm(FakeClock(), seed=seed)
    fill(crm, 20)
    everything = frozenset({"merges", "restore", "purge", "listing"})
    doer = Doer(crm, random.Random(seed), can=everything)
    for _ in range(150):
        doer.do_something()
        crm.clock.advance(MINUTE)
    deals = crm.kinds["deals"]
    assert [record.id for record in deals.after(None, 10**6)] == sorted(crm.living("deals"))
    assert len(deals.changed(None, None, None, 10**6)) == len(deals) == len(crm.living("deals"))
    assert all(record.deleted_at is None for record in deals.after(None, 10**6))
