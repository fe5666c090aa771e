"""Exact, approximate or unavailable: what each lack of a source does to a KPI, and what people are told."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from kpid.metrics.availability import SourceFacts, availability, leaves
from kpid.plugin import At, Balance, Definition, Kpi, Measure, Target, Use, count, entities, living, mean
from kpid.plugin.kpi import Param

deals, tickets = entities.deals, entities.tickets
CLOSED = Measure(deals, At(deals.c.closed_at), count())


def kpi(measures=None, name="x", **more):
    definition = more.pop("define", None) or Definition(measures or {"a": CLOSED}, lambda m: m.a)
    return Kpi(id=name, name=name, category="sales", unit="count", better="up", define=definition, **more)


def source(name="crm", *tables, columns=None, **capabilities):
    return SourceFacts(name, {**dict.fromkeys(tables, "full"), **capabilities}, columns or {})


def told(one, *sources, **more):
    found = availability(one, more.pop("params", {}), sources, **more)
    return found.state, found.reasons


def test_kpi_is_exact_when_a_source_brings_its_tables():
    assert told(kpi(), source("crm", "deals")) == ("exact", ())


def test_kpi_is_unavailable_when_no_source_brings_a_table():
    assert told(kpi(), source("desk", "tickets")) == ("unavailable", ("no source brings deals",))


def test_tables_below_subqueries_count():
    joined = select(living(deals)).join(tickets, tickets.c.account_id == deals.c.account_id).subquery("both")
    one = kpi({"a": Measure(joined, At(joined.c.closed_at), count())})
    assert told(one, source("crm", "deals"))[1] == ("no source brings tickets",)
    assert told(one)[1] == ("no source brings deals and tickets",)


def test_optional_tables_may_be_absent():
    joined = select(deals).outerjoin(tickets, tickets.c.account_id == deals.c.account_id).subquery("both")
    definition = Definition({"a": Measure(joined, At(joined.c.closed_at), count())}, lambda m: m.a, optional=("tickets",))
    assert told(kpi(define=definition), source("crm", "deals")) == ("exact", ())


def test_rates_and_opening_hours_need_not_be_there():
    rates = entities.fx_rates
    joined = select(deals).outerjoin(rates, rates.c.to_currency == deals.c.currency).subquery("both")
    one = kpi({"a": Measure(joined, At(joined.c.closed_at), count())}, degrades={"fx_dated": "old amounts move"})
    assert told(one, source("crm", "deals")) == ("approximate", ("old amounts move",))


def test_what_cannot_be_had_is_not_said_to_be_approximate_too():
    one = kpi(degrades={"merges": "duplicates count twice"})
    assert told(one, source("desk", "tickets"))[1] == ("no source brings deals",)


def test_history_that_kpid_has_seen_itself_is_approximate():
    history = entities.deal_stage_history
    one = kpi({"a": Measure(history, At(history.c.valid_from), count())})
    state, reasons = told(one, source("crm", "deals", deal_stage_history="since_sync"))
    assert (state, reasons) == ("approximate", ("deal_stage_history: known only since the first sync",))


@pytest.mark.parametrize(
    ("known", "state"), [("full", "exact"), ("since_sync", "approximate"), ("none", "unavailable"), (None, "unavailable")]
)
def test_required_capability_decides(known, state):
    given = {} if known is None else {"merges": known}
    assert told(kpi(requires=("merges",)), source("crm", "deals", **given))[0] == state


def test_lacking_capability_degrades_with_its_sentence():
    one = kpi(degrades={"owner_history": "closings count for today's owner"})
    assert told(one, source("crm", "deals")) == ("approximate", ("closings count for today's owner",))
    assert told(one, source("crm", "deals", "owner_history")) == ("exact", ())


def test_source_of_other_data_degrades_nothing():
    """The help desk knows no deletions of deals: it has none."""
    one = kpi(degrades={"deletes": "deleted deals still count"})
    assert told(one, source("crm", "deals", deletes="full"), source("desk", "tickets"))[0] == "exact"
    assert told(one, source("crm", "deals", deletes="full"), source("old", "deals"))[0] == "approximate"


def test_configuration_can_tell_what_sources_cannot():
    one = kpi(requires=("business_hours",))
    assert told(one, source("crm", "deals"))[0] == "unavailable"
    assert told(one, source("crm", "deals"), organisation={"business_hours": "full"})[0] == "exact"


def test_target_comes_from_the_configuration_or_a_source():
    one = kpi(define=Definition({"a": CLOSED}, lambda m: m.a / m.goal, targets={"goal": Target("won_amount")}))
    assert told(one, source("crm", "deals")) == ("unavailable", ("there is no target of won_amount",))
    assert told(one, source("crm", "deals"), organisation={"targets:won_amount": "full"})[0] == "exact"
    assert told(one, source("crm", "deals", "targets"))[0] == "exact"


def test_kpi_made_of_others_is_as_good_as_they_are():
    whole = kpi(name="whole", define=Definition({}, lambda m: m.part, uses={"part": Use("part")}))
    parts = {"part": kpi(name="part", degrades={"merges": "duplicates count twice"})}
    assert told(whole, source("crm", "deals"), kpis=parts) == ("approximate", ("part: duplicates count twice",))
    assert told(whole, source("desk", "tickets"), kpis=parts)[0] == "unavailable"
    assert told(whole, source("crm", "deals")) == ("unavailable", ("there is no KPI part",))


def test_kpis_that_use_each_other_do_not_go_round_for_ever():
    both = {
        name: kpi(name=name, define=Definition({"a": CLOSED}, lambda m: m.a, uses={"o": Use(other)}))
        for name, other in {"one": "two", "two": "one"}.items()
    }
    assert told(both["one"], source("crm", "deals"), kpis=both)[0] == "exact"


def test_parameters_count():
    def define(params):
        history = entities.deal_stage_history
        entity = history if params["by"] == "stage" else deals
        clock = At(history.c.valid_from if params["by"] == "stage" else deals.c.closed_at)
        return Definition({"a": Measure(entity, clock, count())}, lambda m: m.a)

    one = kpi(define=define, params={"by": Param(("deal", "stage"))})
    assert told(one, source("crm", "deals"))[0] == "exact"
    assert told(one, source("crm", "deals"), params={"by": "stage"})[0] == "unavailable"


# ---- columns
def test_column_that_the_clock_reads_must_be_filled():
    filled = source("crm", "deals", columns={"deals": frozenset({"amount"})})
    assert told(kpi(), filled) == ("unavailable", ("no source fills deals.closed_at",))
    assert told(kpi(), filled, source("other", "deals"))[0] == "exact", "the other may fill it"


def test_column_of_a_condition_makes_it_approximate():
    one = kpi({"a": Measure(deals, At(deals.c.closed_at), count(deals.c.loss_reason.is_(None)))})
    filled = source("crm", "deals", columns={"deals": frozenset({"closed_at"})})
    assert told(one, filled) == ("approximate", ("no source fills deals.loss_reason",))


def test_one_of_two_columns_is_enough():
    either = mean(deals.c.amount + deals.c.probability)
    one = kpi({"a": Measure(deals, At(deals.c.closed_at), either)})
    assert told(one, source("crm", "deals", columns={"deals": frozenset({"closed_at", "amount"})}))[0] == "exact"


def test_balance_without_its_start_is_right_for_now():
    one = kpi({"a": Measure(deals, Balance(deals.c.created_at, deals.c.closed_at), count())})
    assert told(one, source("crm", "deals", columns={"deals": frozenset({"closed_at"})}))[0] == "approximate"


def test_capability_may_be_a_column():
    one = kpi(requires=("deals.loss_reason",))
    assert told(one, source("crm", "deals"))[0] == "exact", "nobody says that it is not filled"
    assert told(one, source("crm", "deals", columns={"deals": frozenset({"closed_at"})}))[0] == "unavailable"


def test_columns_are_found_through_subqueries():
    inner = select(deals.c.id, (deals.c.amount * deals.c.probability).label("weighted")).subquery("inner")
    outer = select(inner.c.id, inner.c.weighted.label("value")).subquery("outer")
    assert leaves(outer.c.value) == {"deals.amount", "deals.probability"}
    assert leaves(living(deals).c.amount) == {"deals.amount"}


def test_parts_are_judged_with_the_companys_parameters():
    opened = Measure(tickets, At(tickets.c.created_at), count())
    part = kpi(
        name="part",
        define=lambda params: Definition({"a": opened if params["of"] == "tickets" else CLOSED}, lambda m: m.a),
        params={"of": Param(("deals", "tickets"))},
    )
    whole = kpi(name="whole", define=Definition({}, lambda m: m.part, uses={"part": Use("part")}))
    parts = {"kpis": {"part": part}}
    assert told(whole, source("crm", "deals"), **parts) == ("exact", ())
    set_otherwise = {"part": {"of": "tickets"}}
    reasons = ("part: no source brings tickets",)
    assert told(whole, source("crm", "deals"), **parts, settings=set_otherwise) == ("unavailable", reasons)
    whole = kpi(name="whole", define=Definition({}, lambda m: m.part, uses={"part": Use("part", {"of": "deals"})}))
    assert told(whole, source("crm", "deals"), **parts, settings=set_otherwise) == ("exact", ())
