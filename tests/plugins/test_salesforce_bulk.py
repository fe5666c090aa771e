"""First reads of many records by Bulk API 2.0."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kpid.plugin import ConnectorError
from kpid.testing import MemorySync
from kpid.testing.crm_life import fill
from tests.vendors.salesforce import SalesforceBench


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench(bulk_above=0, entities=("deals",)) as bench:
        yield bench


def synced(bench, held=None, **options):
    held, stop = held or MemorySync(), options.pop("stop_after", None)
    connector = bench.connector(**options)
    try:
        held.run(connector, stop_after=stop)
    finally:
        connector.close()
    return held


def alike(value):
    """Bulk and queries write one instant in two ways."""
    return value.replace("+0000", "Z") if isinstance(value, str) else value


def asked(bench, word):
    return [request for request in bench.api.requests if word in request.path]


def test_a_first_read_by_bulk_gives_what_queries_give(bench):
    every = ("accounts", "contacts", "leads", "deals", "activities")
    fill(bench.crm, 60)
    by_bulk = synced(bench, entities=every)
    assert len(asked(bench, "/results")) == 8
    by_query = synced(bench, entities=every, bulk_above=10_000)
    for entity in (*every, "deal_stage_history", "deal_field_history"):
        bulk, query = by_bulk.rows[entity], by_query.rows[entity]
        assert bulk.keys() == query.keys()
        for key, row in bulk.items():
            assert {name: alike(value) for name, value in row.items()} == {
                name: alike(value) for name, value in query[key].items()
            }, (entity, key)
    assert bench.api.bulk.jobs == {}


def test_jobs_are_waited_for(bench):
    bench.add(5)
    bench.api.bulk.waits = 7
    assert len(synced(bench).live("deals")) == 5
    assert bench.clock.sleeps == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] * 2  # deals, then their history


def test_histories_come_by_bulk_and_no_deal_loses_a_part_of_its(bench):
    bench.chosen["page_size"] = 7
    fill(bench.crm, 40)
    held = synced(bench)
    for stop in (3, 9, 14):  # killed in the middle of the histories, too
        part = synced(bench, stop_after=stop)
        assert synced(bench, part).rows["deal_stage_history"] == held.rows["deal_stage_history"]
    found = {deal: [] for deal in bench.crm.living("deals")}
    for row in sorted(held.rows["deal_stage_history"].values(), key=lambda row: row["valid_from"]):
        found[row["deal_id"]].append(row["stage_id"])
    assert found == {deal: [stage for stage, *_ in bench.crm.intervals(deal)] for deal in found}
    asked_for = [request.arg("q") for request in bench.api.requests if "FROM OpportunityHistory" in (request.arg("q") or "")]
    assert all(query.count("006") <= 2 for query in asked_for)  # the edges of chunks alone


def test_where_bulk_knows_no_histories_queries_do(bench):
    fill(bench.crm, 30)
    bench.api.bulk.unsupported = {"OpportunityHistory"}
    held = synced(bench, page_size=20)
    assert held.rows["deal_stage_history"].keys() == synced(bench, bulk_above=10_000).rows["deal_stage_history"].keys()


def test_a_path_is_read_by_bulk_as_by_queries(bench):
    bench.api.own_fields["Opportunity"] = {"Account.Region__c", "AccountId"}
    bench.api.own_fields["Account"] = {"Region__c"}
    deal = bench.crm.add_deal(**{"Account.Region__c": "North"})
    fields = {"deals": {"region": "Account.Region__c"}}
    assert synced(bench, fields=fields).live("deals")[deal]["region"] == "North"
    assert synced(bench, fields=fields, bulk_above=10_000).live("deals")[deal]["region"] == "North"


def test_a_second_read_needs_no_job(bench):
    bench.add(5)
    held = synced(bench)
    bench.clock.advance(timedelta(hours=1))
    bench.api.requests.clear()
    synced(bench, held)
    assert asked(bench, "/jobs/") == []


def test_a_killed_read_goes_on_at_its_chunk(bench):
    many = 210
    bench.chosen["page_size"] = 100
    bench.crm.bulk("deals", many)
    held = synced(bench, stop_after=2)
    assert len(held.live("deals")) == 100
    synced(bench, held)
    assert len(held.live("deals")) == many
    assert len(asked(bench, "/results")) == 4 + 3  # the second one is asked for again; then come the histories
    assert bench.api.calls["POST /services/data/v66.0/jobs/query"] == 2


def test_a_job_that_is_forgotten_is_read_by_queries(bench):
    bench.add(50)
    held = synced(bench, stop_after=1)
    bench.clock.advance(timedelta(days=8))
    assert len(synced(bench, held).live("deals")) == 50


@pytest.mark.parametrize("trouble", ["unsupported", "fails", "slow"])
def test_where_bulk_does_not_help_queries_do(bench, trouble):
    bench.add(50)
    if trouble == "unsupported":
        bench.api.bulk.unsupported = {"Opportunity"}
    bench.api.bulk.fails = trouble == "fails"
    bench.api.bulk.waits = 10_000 if trouble == "slow" else 1
    assert len(synced(bench).live("deals")) == 50


def test_records_that_are_missing_are_an_error(bench):
    bench.add(50)
    bench.api.bulk.lie = 3
    with pytest.raises(ConnectorError, match="processed 53 records and given 50"):
        synced(bench)


def test_odd_texts_survive(bench):
    odd = 'a "quoted",\nbroken line; NUL: '
    deal = bench.crm.add_deal(name=odd + "\0")
    assert synced(bench).live("deals")[deal]["name"] == odd
