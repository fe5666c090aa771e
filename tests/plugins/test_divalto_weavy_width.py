"""Divalto weavy: lines of deals, orders in tables of the project's own, how many rows there are, and what check() names."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random

import pytest
from pydantic import ValidationError

from kpid.testing import faults
from kpid.testing.bench import connected, first_sync, later, sync_into
from kpid.testing.crm_life import fill
from kpid.testing.expecting import compare_rows
from kpid.testing.walks import Walk
from tests.vendors.weavy import WeavyBench

EVERYTHING = (*WeavyBench.usual, "leads", "products", "deal_lines", "activities", "tickets", "orders", "order_lines")


@pytest.fixture
def bench() -> Iterator[WeavyBench]:
    with WeavyBench() as bench:
        yield bench


def test_lines_and_orders_of_a_project_are_read_and_kept_up_to_date(bench):
    fill(bench.crm, 60)
    bench.entities = EVERYTHING
    held = first_sync(bench)
    order, line = (next(iter(bench.crm.living(kind))) for kind in ("orders", "lines"))
    bench.crm.edit("orders", order, status="cancelled")
    bench.crm.delete("lines", line, touch=True)
    later(bench)
    sync_into(bench, held, order_states={"Annulé": "cancelled"})
    for entity, truth in bench.truths().items():
        compare_rows(truth, held.live(entity), entity)
    row, item = held.live("orders")[order], held.live("order_lines")[order]
    assert (row["status"], row["currency"], row["tax"]) == ("cancelled", "EUR", 0)
    assert (item["order_id"], item["quantity"], item["unit_price"]) == (order, 1, Decimal("99.5"))
    assert line not in held.live("deal_lines")
    assert {one["status"] for key, one in held.live("orders").items() if key != order} == {"placed"}


def test_tables_that_have_no_published_name_have_to_be_named(bench):
    with pytest.raises(ValidationError, match="orders: <table>"):
        bench.connector(entities=["orders"], tables={})
    with pytest.raises(ValidationError, match=r"\{orders: <table>\}"):
        bench.connector(entities=["order_lines"], tables={"order_lines": "saleorderline"})


def test_fields_that_orders_are_of_no_use_without_are_named_by_check(bench):
    fill(bench.crm, 10)
    bench.api.hidden |= {("saleorder", "amount"), ("dealelement", "unitPrice")}
    bench.entities = ("deal_lines", "orders")
    with connected(bench.connector()) as connector:
        (told,) = [finding for finding in connector.check() if not finding.ok]
    assert (told.subject, told.text) == ("crm: orders", "the table saleorder has no field amount")
    assert "fields: {orders: ...}" in told.hint
    assert "taxAmount" in told.hint
    held = first_sync(bench)
    assert {row["net_amount"] for row in held.live("orders").values()} == {None}
    assert held.warnings == ["the table saleorder has no field amount: what it fills stays empty"]


def test_pick_lists_that_may_not_be_read_are_named_by_check(bench):
    bench.crm.edit("deals", bench.add(1)[0], status="OPPORTUNITY_STATUS-7")
    bench.lose_scope("pipelines")
    bench.api.forbidden = {"generictype"}
    with connected(bench.connector(pipelines=[], entities=["deals", "accounts"])) as connector:
        found = [(finding.subject, finding.text) for finding in connector.check() if not finding.ok]
    assert found == [("crm: deals", "codes are shown instead of labels: the user may not read the table generictype")]


# -- how many ----------------------------------------------------------------------------------------------------------------


def counted(bench, entity="deals", **options):
    with connected(bench.connector(**options)) as connector:
        before = len(bench.api.requests)
        return connector.count(entity), len(bench.api.requests) - before


@pytest.mark.parametrize("shape", ["array", "rows"])
def test_living_rows_are_counted(bench, shape):
    bench.weavy.shape = shape
    assert counted(bench)[0] == 0
    first = bench.add(1)
    assert counted(bench)[0] == 1
    first += bench.add(61)
    bench.delete(first[3])
    assert counted(bench, page_size=20)[0] == 61
    bench.crm.bulk("deals", 1700)
    number, asked = counted(bench)
    assert (number, asked <= 20) == (1761, True)
    bench.crm.edit("deals", first[0], deal_type="SERVICE")
    assert counted(bench, pipelines=["Services"])[0] == 1


def test_a_server_that_does_not_look_at_offsets_does_not_count(bench):
    bench.add(3)
    bench.api.fail(faults.status(200, [{"codedeal": "D1"}]), times=99, path="Select")
    number, asked = counted(bench)
    assert (number, asked < 20) == (None, True)


def test_a_total_that_is_the_page_s_own_is_not_believed(bench):
    bench.add(30)

    def own_total(request, answer):
        rows = answer.body
        return type(answer)(200, {"rows": rows, "count": len(rows)})

    bench.api.fail(own_total, times=99, path="Select")
    assert counted(bench)[0] == 30


def test_a_read_that_leaves_rows_out_is_told_by_the_count(bench, tmp_path):
    first = bench.add(40)
    with Walk(bench, tmp_path, Random(0)) as walk:

        def without_some(request, answer):
            named = request.json()
            if request.path.endswith("Select") and named["entityName"] == "deal" and named["limit"] > 1:
                kept = [row for row in answer.body if row.get("codedeal") not in first[:10]]
                return type(answer)(200, kept)
            return answer

        bench.api.fail(without_some, times=1000, path="Select")
        result = walk.sync_calmly()
        (deals,) = (one for one in result.entities if one.entity == "deals")
        assert any("counts" in text or "40" in text for text in deals.warnings)
