"""What every warehouse that syncs write into promises: DuckDB and PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import make_url

from kpid.errors import StoreError
from kpid.plugin.entities import ENTITIES
from kpid.warehouse import Warehouse, Watermark
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.postgres import open_postgres
from kpid.warehouse.types import arrow_schema
from tests.warehouse.rows import NOON, deals, store


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    if request.param == "duckdb":
        opened: Warehouse = open_duckdb(tmp_path / "crm.duckdb")
    else:
        url = make_url(request.getfixturevalue("postgres")).update_query_dict({"schema": f"t{abs(hash(request.node.name))}"})
        opened = open_postgres(url)
    yield opened
    opened.close()


def test_a_new_file_has_every_canonical_table(warehouse: Warehouse) -> None:
    for name, table in ENTITIES.items():
        found = warehouse.query(f'SELECT * FROM "{name}"')
        assert found.schema.equals(arrow_schema(name)), name
        assert found.column_names == [column.name for column in table.columns]


def test_values_come_back_as_they_went_in(warehouse: Warehouse) -> None:
    row = {
        "id": "crm:1",
        "name": "Ümlaut 'quoted' \"twice\"",
        "created_at": datetime(2026, 3, 5, 23, 59, 59, 999999, tzinfo=UTC),
        "amount": Decimal("12345678901234.123456"),
        "crm_close_date": date(2026, 3, 31),
        "extra": '{"a": [1, null]}',
    }
    store(warehouse, row)
    found = warehouse.query("SELECT * FROM deals").to_pylist()[0]
    assert {name: found[name] for name in row} == row


def test_the_last_row_of_a_batch_wins(warehouse: Warehouse) -> None:
    store(warehouse, {"id": "crm:1", "name": "old"}, {"id": "crm:2"}, {"id": "crm:1", "name": "new"})
    assert warehouse.query("SELECT id, name FROM deals ORDER BY id").to_pylist() == [
        {"id": "crm:1", "name": "new"},
        {"id": "crm:2", "name": None},
    ]


def test_an_equal_row_is_left_alone(warehouse: Warehouse) -> None:
    store(warehouse, {"id": "crm:1", "amount": Decimal("1.5"), "created_at": NOON, "extra": '{"x": 1}'})
    position = warehouse.changes(0).position
    written = store(
        warehouse,
        {"id": "crm:1", "amount": Decimal("1.5"), "created_at": NOON, "extra": '{"x": 1}', "synced_at": NOON + timedelta(days=1)},
    )
    assert (written.rows, written.changed) == (1, 0)
    assert warehouse.changes(position).days == {}
    assert warehouse.query("SELECT synced_at FROM deals").to_pylist() == [{"synced_at": NOON}]


def test_a_change_touches_the_old_and_the_new_day(warehouse: Warehouse) -> None:
    store(warehouse, {"id": "crm:1", "created_at": NOON}, {"id": "crm:2", "created_at": NOON - timedelta(days=9)})
    first = warehouse.changes(0)
    assert first.days["deals", "created_at"] == {date(2026, 3, 5), date(2026, 2, 24)}
    assert first.days["deals", "closed_at"] == {None}
    written = store(warehouse, {"id": "crm:1", "created_at": NOON, "closed_at": NOON + timedelta(days=1)}, {"id": "crm:2"})
    assert written.changed == 2
    second = warehouse.changes(first.position)
    assert second.position > first.position
    assert second.days["deals", "closed_at"] == {None, date(2026, 3, 6)}
    assert second.days["deals", "created_at"] == {date(2026, 3, 5), date(2026, 2, 24), None}
    assert warehouse.changes(second.position).days == {}


def test_changes_since_the_beginning_hold_everything(warehouse: Warehouse) -> None:
    for day in range(5):
        store(warehouse, {"id": f"crm:{day}", "created_at": NOON + timedelta(days=day)})
    assert len(warehouse.changes(0).days["deals", "created_at"]) == 5


def test_a_tombstone_marks_and_a_live_row_clears_it(warehouse: Warehouse) -> None:
    store(warehouse, {"id": "crm:1", "created_at": NOON}, {"id": "crm:2", "created_at": NOON})
    position = warehouse.changes(0).position
    with warehouse.batch() as batch:
        assert batch.tombstone("deals", [("crm:1", NOON, "merged", "crm:2"), ("crm:9", NOON, "deleted", None)]) == 1
    assert warehouse.changes(position).days["deals", "created_at"] == {date(2026, 3, 5)}
    marked = "SELECT deleted_at, deleted_reason, merged_into_id FROM deals WHERE id = 'crm:1'"
    assert warehouse.query(marked).to_pylist() == [{"deleted_at": NOON, "deleted_reason": "merged", "merged_into_id": "crm:2"}]
    with warehouse.batch() as batch:
        assert batch.tombstone("deals", [("crm:1", NOON, "deleted", None)]) == 0
    store(warehouse, {"id": "crm:1", "created_at": NOON})
    assert warehouse.query(marked).to_pylist() == [{"deleted_at": None, "deleted_reason": None, "merged_into_id": None}]


def test_what_a_full_read_has_met_is_remembered_until_it_is_over(warehouse: Warehouse) -> None:
    with warehouse.batch() as batch:
        for source, entity in (("crm", "deals"), ("crm", "accounts"), ("erp", "deals")):
            batch.mark_seen(source, entity, "r1", pa.array(["crm:1", "crm:2"]))
    with warehouse.batch() as batch:
        batch.forget_seen("crm", "deals")
    left = warehouse.query("SELECT DISTINCT source_id, entity FROM seen ORDER BY source_id").to_pylist()
    assert [tuple(row.values()) for row in left] == [("crm", "accounts"), ("erp", "deals")]


def test_days_that_are_touched_again_are_told_once_and_as_new(warehouse: Warehouse) -> None:
    positions = [0]
    for turn in range(3):
        store(warehouse, {"id": "crm:1", "created_at": NOON, "name": f"turn {turn}"}, {"id": f"crm:new{turn}"})
        changes = warehouse.changes(positions[-1])
        assert changes.position > positions[-1]
        assert changes.days["deals", "created_at"] == {NOON.date(), None}
        positions.append(changes.position)
    known = warehouse.query("SELECT count(*) AS n, count(DISTINCT (entity, clock, day)) AS days FROM touched").to_pylist()[0]
    assert known["n"] == known["days"]


def test_a_batch_that_raises_leaves_nothing(warehouse: Warehouse) -> None:
    mark = Watermark("crm", "deals", {"page": 2}, NOON, NOON)

    def write_and_fail() -> None:
        with warehouse.batch() as batch:
            batch.upsert("deals", deals({"id": "crm:1"}))
            batch.save_watermark(mark)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert warehouse.query("SELECT * FROM deals").num_rows == 0
    assert warehouse.watermarks() == []
    assert warehouse.changes(0).days == {}
    with warehouse.batch() as batch:
        batch.save_watermark(mark)
        batch.save_watermark(mark)
    assert warehouse.watermarks() == [mark]


def test_partial_tables_are_filled_up_and_foreign_columns_refused(warehouse: Warehouse) -> None:
    with warehouse.batch() as batch:
        batch.upsert("users", pa.table({"id": ["crm:u1"], "name": ["Ada Example"]}))
    assert warehouse.query("SELECT name, is_test FROM users").to_pylist() == [{"name": "Ada Example", "is_test": False}]
    with pytest.raises(StoreError, match="no column 'nmae'"), warehouse.batch() as batch:
        batch.upsert("users", pa.table({"id": ["crm:u1"], "nmae": ["x"]}))
    with pytest.raises(StoreError, match="no canonical table 'dealz'"), warehouse.batch() as batch:
        batch.upsert("dealz", pa.table({"id": ["crm:u1"]}))


def test_parameters_are_bound(warehouse: Warehouse) -> None:
    store(warehouse, {"id": "crm:1", "name": "'; DROP TABLE deals; --", "created_at": NOON})
    found = warehouse.query("SELECT id FROM deals WHERE name = $1 AND created_at <= $2", ["'; DROP TABLE deals; --", NOON])
    assert found.to_pylist() == [{"id": "crm:1"}]
    with pytest.raises(StoreError, match="refused a query"):
        warehouse.query("SELECT nonsense FROM deals")


def test_readers_see_whole_batches_while_a_writer_writes(warehouse: Warehouse) -> None:
    stop = threading.Event()
    odd: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            count = warehouse.query("SELECT count(*) AS n FROM deals").to_pylist()[0]["n"]
            if count % 100:
                odd.append(count)

    readers = [threading.Thread(target=watch) for _ in range(2)]
    for reader in readers:
        reader.start()
    for batch_no in range(10):
        with warehouse.batch() as batch:
            for half in range(2):
                batch.upsert("deals", deals(*({"id": f"crm:{batch_no}-{half}-{i}"} for i in range(50))))
    stop.set()
    for reader in readers:
        reader.join()
    assert not odd
    assert warehouse.query("SELECT count(*) AS n FROM deals").to_pylist() == [{"n": 1000}]
