"""The DuckDB warehouse: upserts, tombstones, changed days, snapshots, and files that are killed, held or broken."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from kpid.errors import BusyError, StoreError
from kpid.warehouse import Watermark
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb
from tests.warehouse.rows import NOON, deals, store


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDBWarehouse]:
    opened = open_duckdb(tmp_path / "crm.duckdb")
    yield opened
    opened.close()


def test_a_new_file_goes_on_beyond_the_positions_of_the_old_one(tmp_path: Path) -> None:
    positions = []
    for name in ("a", "b"):
        warehouse = open_duckdb(tmp_path / f"{name}.duckdb")
        for amount in range(3 if name == "a" else 1):
            store(warehouse, {"id": "crm:1", "amount": Decimal(amount)})
        positions.append(warehouse.changes(0).position)
        warehouse.close()
    assert positions[1] >= positions[0]


def test_an_older_file_gets_the_new_columns(tmp_path: Path) -> None:
    file = tmp_path / "crm.duckdb"
    warehouse = open_duckdb(file)
    store(warehouse, {"id": "crm:1", "created_at": NOON})
    with warehouse.batch() as batch:  # make it a file of an older version, by the same door
        batch._run("ALTER TABLE deals DROP COLUMN loss_competitor")
        batch._run("ALTER TABLE deals ADD COLUMN something_else VARCHAR")
        batch._run("DROP TABLE fx_rates")
    warehouse.close()
    again = open_duckdb(file)
    assert again.query("SELECT id, loss_competitor, something_else FROM deals").num_rows == 1
    assert again.query("SELECT * FROM fx_rates").num_rows == 0
    store(again, {"id": "crm:1", "loss_competitor": "Example Corp"})
    assert again.query("SELECT loss_competitor AS l FROM deals").to_pylist() == [{"l": "Example Corp"}]
    again.close()


COUNT_DEALS = """
import sys
from kpid.warehouse.duckdb import open_duckdb
print(open_duckdb(sys.argv[1], read_only=True).query("SELECT count(*) AS n FROM deals").to_pylist())
"""
HOLD = """
import sys
from kpid.warehouse.duckdb import open_duckdb
warehouse = open_duckdb(sys.argv[1])
print("open", flush=True)
input()
"""


def test_a_snapshot_is_read_beside_the_open_file(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    store(warehouse, {"id": "crm:1", "created_at": NOON})
    copy = tmp_path / "it's a copy" / "snapshot.duckdb"
    assert warehouse.snapshot_to(copy) == copy
    reader = open_duckdb(copy, read_only=True)
    store(warehouse, {"id": "crm:2"})
    copy.with_name(f"{copy.name}.1.new").touch()  # left by a process that was killed
    warehouse.snapshot_to(copy)
    newer = subprocess.run(
        [
            sys.executable,
            "-c",
            COUNT_DEALS,
            copy,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert newer.stdout.strip() == "[{'n': 2}]"
    assert reader.query("SELECT id FROM deals").to_pylist() == [{"id": "crm:1"}]
    with pytest.raises(StoreError, match="reading only"), reader.batch():
        pass
    reader.close()
    assert [p.name for p in copy.parent.iterdir()] == ["snapshot.duckdb"]


def test_a_file_held_by_another_process_is_busy(tmp_path: Path) -> None:
    file = tmp_path / "crm.duckdb"
    open_duckdb(file).close()
    with subprocess.Popen([sys.executable, "-c", HOLD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(BusyError, match=f"held by another process \\(PID {holder.pid}\\)"):
            open_duckdb(file)
        holder.communicate("\n")
    open_duckdb(file).close()


@pytest.mark.parametrize("content", [b"hello, world\n" * 1000, b"\0" * 40960])
def test_a_foreign_file_is_refused_with_the_cure(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "crm.duckdb"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"crm\.duckdb: .*(Correct `warehouse:`|Restore a copy)"):
        open_duckdb(file)


def test_an_empty_file_becomes_a_warehouse(tmp_path: Path) -> None:
    (tmp_path / "crm.duckdb").touch()
    open_duckdb(tmp_path / "crm.duckdb").close()
    assert [path.name for path in tmp_path.iterdir()] == ["crm.duckdb"]


def test_a_damaged_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "crm.duckdb"
    warehouse = open_duckdb(file)
    store(warehouse, *({"id": f"crm:{i}", "name": os.urandom(20).hex()} for i in range(5000)))
    warehouse.close()
    body = bytearray(file.read_bytes())
    for place in range(4096, min(len(body), 20480)):
        body[place] ^= 0x5A
    file.write_bytes(bytes(body))
    with pytest.raises(StoreError, match="Restore a copy"):
        open_duckdb(file)


def test_a_missing_file_is_not_made_for_readers(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="kpid sync"):
        open_duckdb(tmp_path / "crm.duckdb", read_only=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="permissions"):
        open_duckdb(tmp_path / "file" / "crm.duckdb")


KILLED = """
import sys
import pyarrow as pa
from kpid.warehouse import Watermark
from kpid.warehouse.duckdb import open_duckdb

warehouse = open_duckdb(sys.argv[1])
number = int(sys.argv[2])
while True:
    number += 1
    with warehouse.batch() as batch:
        rows = pa.table({"id": [f"crm:{i}" for i in range(2000)], "name": [f"{number}-{i}" for i in range(2000)]})
        batch.upsert("deals", rows.slice(0, 1000))
        batch.save_watermark(Watermark("crm", "deals", {"number": number}, None, None))
        batch.upsert("deals", rows.slice(1000))
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_transactions(tmp_path: Path) -> None:
    file = tmp_path / "crm.duckdb"
    done = 0
    for kill in range(6):
        with subprocess.Popen([sys.executable, "-c", KILLED, file, str(done)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(1 + kill):
                done = int(writer.stdout.readline())
            threading.Event().wait(0.003 * kill)
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
            done = int(rest[-1]) if rest and rest[-1].isdigit() else done
        warehouse = open_duckdb(file)
        number = warehouse.watermarks()[0].cursor["number"]  # type: ignore[index]
        assert number in (done, done + 1), "what was reported is stored, and at most one batch more"
        found = warehouse.query(
            "SELECT split_part(name, '-', 1) AS batch, count(*) AS n, count(DISTINCT id) AS ids FROM deals GROUP BY 1"
        )
        assert found.to_pylist() == [{"batch": str(number), "n": 2000, "ids": 2000}]
        warehouse.close()
        done = number


def cached(warehouse: DuckDBWarehouse) -> int:
    """Bytes that the engine holds in memory."""
    return sum(row["bytes"] for row in warehouse.query("SELECT memory_usage_bytes AS bytes FROM duckdb_memory()").to_pylist())


def test_a_batch_leaves_no_working_tables_behind(warehouse: DuckDBWarehouse) -> None:
    store(warehouse, {"id": "crm:1", "closed_at": NOON})
    store(warehouse, {"id": "crm:1", "closed_at": NOON + timedelta(days=1)})
    assert warehouse.query("SELECT table_name FROM duckdb_tables() WHERE temporary").num_rows == 0


def test_memory_is_given_back_and_nothing_is_lost(warehouse: DuckDBWarehouse) -> None:
    store(warehouse, *({"id": f"crm:{number}", "name": f"A deal with a name of its own {number}"} for number in range(20_000)))
    total = warehouse.query("SELECT count(*) AS n, max(name) AS name FROM deals").to_pylist()
    before = cached(warehouse)
    warehouse.give_back_memory()
    assert cached(warehouse) <= before
    assert warehouse.query("SELECT current_setting('memory_limit') AS it").to_pylist() == [{"it": "610.3 MiB"}]
    assert warehouse.query("SELECT count(*) AS n, max(name) AS name FROM deals").to_pylist() == total
    store(warehouse, {"id": "crm:0", "name": "changed"})


def test_memory_is_not_taken_from_under_a_writer(warehouse: DuckDBWarehouse) -> None:
    with warehouse.batch() as batch:
        other = threading.Thread(target=warehouse.give_back_memory)
        other.start()
        other.join()
        batch.upsert("deals", deals(*({"id": f"crm:{number}"} for number in range(1000))))
    assert warehouse.query("SELECT count(*) AS n FROM deals").to_pylist() == [{"n": 1000}]


def _limit(warehouse: DuckDBWarehouse) -> str:
    return str(warehouse.query("SELECT current_setting('memory_limit') AS value").column("value")[0].as_py())


def test_a_sync_makes_do_with_little_and_others_do_not(warehouse: DuckDBWarehouse) -> None:
    usual = _limit(warehouse)
    with warehouse.sparing():
        store(warehouse, {"id": "crm:3"})
        assert _limit(warehouse) != usual, "the thread that stores"
        found = []
        other = threading.Thread(target=lambda: found.append(_limit(warehouse)))
        other.start()
        other.join()
        assert found == [usual], "somebody else reads: a report must not be slow for it"
    store(warehouse, {"id": "crm:4"})
    assert _limit(warehouse) == usual, "the sync is over"


def test_a_query_of_a_sync_that_needs_more_gets_it(warehouse: DuckDBWarehouse) -> None:
    large = "SELECT len(list(md5(i::VARCHAR))) AS n FROM range(1_500_000) r(i)"
    with warehouse.sparing():
        store(warehouse, {"id": "crm:3"})
        assert warehouse.query(large).column("n")[0].as_py() == 1_500_000


def test_a_sync_goes_through_whole_tables_with_little(warehouse: DuckDBWarehouse) -> None:
    store(warehouse, *({"id": f"crm:{number:09}", "name": f"A deal named {number}"} for number in range(300_000)))
    unlike = "SELECT count(*) AS n FROM deals a WHERE NOT EXISTS (SELECT 1 FROM deals b WHERE b.name = a.name || '!')"
    with warehouse.sparing():
        assert warehouse.query(unlike).column("n")[0].as_py() == 300_000
        least = _limit(warehouse)
        assert least == "30.5 MiB"
        with warehouse.batch() as batch:
            batch.upsert("deals", deals({"id": "crm:x"}))
            assert _limit(warehouse) != least, "not while rows are stored"


def test_what_each_batch_reads_lies_in_one_part_after_many(warehouse: DuckDBWarehouse) -> None:
    for day in range(40):
        with warehouse.batch() as batch:
            batch.upsert("deals", deals({"id": f"crm:{day}", "created_at": NOON + timedelta(days=day)}))
            batch.save_watermark(Watermark("crm", "deals", {"day": day}, NOON, NOON))
    for table, rows in (("touched", 40), ("watermarks", 1)):
        parts = f"SELECT count(DISTINCT row_group_id) AS n FROM pragma_storage_info('{table}')"
        assert warehouse.query(f"SELECT count(*) AS n FROM {table}").column("n")[0].as_py() >= rows
        assert warehouse.query(parts).column("n")[0].as_py() <= 2, table
    assert warehouse.watermarks()[0].cursor == {"day": 39}


def test_a_batch_of_long_texts_gets_the_memory_that_it_needs(warehouse: DuckDBWarehouse) -> None:
    for turn in "ab":  # stored, then changed
        with warehouse.sparing():
            store(warehouse, *({"id": f"crm:{n}", "extra": f'{{"note": "{(turn + str(n)) * 4000}"}}'} for n in range(4000)))
    assert warehouse.query("SELECT count(*) AS n FROM deals").to_pylist() == [{"n": 4000}]


def test_memory_of_a_closed_warehouse_is_nobodys(tmp_path: Path) -> None:
    opened = open_duckdb(tmp_path / "crm.duckdb")
    opened.close()
    opened.give_back_memory()
