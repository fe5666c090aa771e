"""What follows from what a connector reads; and that every capability that a KPI names can be told by somebody."""

from __future__ import annotations

import pytest

from kpid.plugin.capabilities import derived_capabilities, is_capability
from kpid.plugin.connector import EntityReads
from kpid.registry import load_plugins


def test_tables_that_are_read_or_carried_are_known():
    found = derived_capabilities([EntityReads("deals", deletes="pass", history="full", carries=("deal_stage_history",))])
    assert (found["deals"], found["deal_stage_history"], found["deletes"]) == ("full", "full", "full")
    assert "tickets" not in found


def test_stage_history_that_kpid_observes_is_known_since_the_first_sync():
    assert derived_capabilities([EntityReads("deals", history="since_sync")])["deal_stage_history"] == "since_sync"
    assert "deal_stage_history" not in derived_capabilities([EntityReads("deals")])


def test_history_that_a_source_fills_is_known_in_full():
    reads = [EntityReads("deals", history="since_sync"), EntityReads("deal_stage_history", history="since_sync")]
    assert derived_capabilities(reads)["deal_stage_history"] == "full"


@pytest.mark.parametrize(
    ("kinds", "known"),
    [(["pass", "inline"], "full"), (["pass", "absence"], "since_sync"), (["pass", "none"], "none"), ([], "none")],
)
def test_deletions_are_told_as_well_as_by_the_worst(kinds, known):
    reads = [EntityReads(name, deletes=kind) for name, kind in zip(("deals", "tickets"), kinds, strict=False)]
    assert derived_capabilities([EntityReads("users"), *reads])["deletes"] == known


@pytest.mark.parametrize(
    ("table", "capability"),
    [
        ("fx_rates", "fx_dated"),
        ("email_sends", "email_events"),
        ("attributions", "attribution"),
        ("calendar_intervals", "business_hours"),
    ],
)
def test_capabilities_follow_from_their_tables(table, capability):
    assert derived_capabilities([EntityReads(table)])[capability] == "full"
    assert derived_capabilities([EntityReads("deals")])[capability] == "none"


@pytest.mark.parametrize("name", ["deals", "deals.loss_reason", "merges", "business_hours"])
def test_capability_is_a_table_a_column_or_one_of_the_list(name):
    assert is_capability(name)


@pytest.mark.parametrize("name", ["dreams", "deals.dreams", ""])
def test_other_names_are_none(name):
    assert not is_capability(name)


def test_every_capability_that_a_kpi_names_exists():
    wrong = {
        f"{kpi.id}: {name}"
        for kpi in load_plugins().kpis.values()
        for name in (*kpi.requires, *kpi.degrades)
        if not is_capability(name)
    }
    assert wrong == set()
