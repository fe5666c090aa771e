"""Values that no column was made for: each is stored, or counted with a place to look, and never stops or harms the rest."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from kpid.ingest.sync import SyncResult
from kpid.plugin import EntityReads
from kpid.store import problems
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse
from tests.ingest.scripted import ScriptedConnector, deal, page

Sync = Callable[..., SyncResult]
CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "row",
    [
        deal("\ud800"),
        deal("a\x00b"),
        deal(1, name="\ud800\udc00 and \ud83d"),
        deal(1, name="a\x00b"),
        deal(1, name="x" * 1_000_000),
        deal(1, extra={"score": float("nan"), "best": float("inf"), "odd": "\ud800", "zero": "a\x00b"}),
        deal(1, extra={("a", 1): 2}),
        deal(1, extra=CIRCLE),
        deal(1, extra=float("-inf")),
        deal(1, amount=float("nan")),
        deal(1, amount="1e999999"),
        deal(1, amount=10**400),
        deal(1, amount=Decimal("sNaN")),
        deal(1, created_at=10**12),
        deal(1, created_at="9999-12-31T23:59:59-12:00"),
        deal(1, expected_close_date="0001-01-01"),
        deal(1, is_test="perhaps"),
        deal(1, name={"first": "Ada"}),
        deal(1, state=["open"]),
        deal(1, owner_id=object()),
        deal(1, stage_id=b"\xff"),
        deal(1, owner_id=True),
        deal(True),
    ],
    ids=lambda row: repr(row)[:60].encode("ascii", "replace").decode(),
)
def test_a_value_that_nobody_expected_harms_no_other_row(sync: Sync, warehouse: DuckDBWarehouse, row: dict[str, Any]) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.script["deals"] = [page(deal("before", amount=5), row, deal("after", amount=7), cursor={"n": 1})]
    result = sync(crm)
    assert result.ok, result
    found = warehouse.query("SELECT native_id, amount FROM deals WHERE native_id IN ('before', 'after') ORDER BY id").to_pylist()
    assert found == [{"native_id": "after", "amount": 7}, {"native_id": "before", "amount": 5}]
    assert sync(crm).changed == 0, "what was stored once is the same when it comes again"


def test_a_value_that_cannot_even_be_shown_stops_its_entity_alone(sync: Sync, store: Store) -> None:
    odd = type("Odd", (), {"__str__": lambda self: 1 / 0})()
    crm = ScriptedConnector(EntityReads("deals"), EntityReads("users"))
    crm.script = {"deals": [page(deal(1, amount=odd))], "users": [page({"native_id": "7"}, entity="users")]}
    assert [entity.state for entity in sync(crm).entities] == ["failed", "done"]
    with store.read() as connection:
        (problem,) = problems.list_problems(connection)
    assert (problem.subject, "ZeroDivisionError" in problem.text) == ("source:crm/deals", True)


def test_numbers_that_json_does_not_have_are_null_in_it(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.script["deals"] = [page(deal(1, extra={"score": float("nan"), "region": "North", "seen": [float("inf"), 1]}))]
    sync(crm)
    assert warehouse.query("SELECT extra->>'region' AS r, extra->'seen' AS s FROM deals").to_pylist() == [
        {"r": "North", "s": "[null,1]"}
    ]


@pytest.mark.parametrize(
    "amount", ["N/A", "$1,200", "1.234,56", "-", "1,200", "0x10", "1 200", "1_200", "NaN", "12 EUR", "#REF!"]
)
def test_a_text_that_is_no_number_is_null_and_counted_never_0(
    sync: Sync, warehouse: DuckDBWarehouse, store: Store, amount: str
) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.script["deals"] = [page(deal(1, amount=amount), deal(2, amount="5"), cursor={"n": 1})]
    assert sync(crm).ok
    assert [row["amount"] for row in warehouse.query("SELECT amount FROM deals ORDER BY id").to_pylist()] == [None, 5]
    with store.read() as connection:
        (problem,) = [p for p in problems.list_problems(connection) if p.subject == "data:crm:deals/amount"]
    assert amount in problem.text
    assert "for example 1" in problem.text
    assert "--full" in problem.hint


@pytest.mark.parametrize("value", ["0x10", "1_0", "ten", "1e300"])
def test_a_whole_number_is_read_as_people_write_them(sync: Sync, warehouse: DuckDBWarehouse, value: str) -> None:
    crm = ScriptedConnector(EntityReads("stages"))
    crm.script["stages"] = [page({"native_id": "a", "sort_order": value}, entity="stages", cursor={"n": 1})]
    assert "stages.sort_order: not a whole number" in sync(crm).entities[0].warnings[0]
    assert warehouse.query("SELECT sort_order FROM stages").to_pylist() == [{"sort_order": None}]
