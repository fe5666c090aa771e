"""Files as they come: each oddity is read rightly, or named with its file and line; the rows that are there already stay."""

import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kpid_files import CHUNK, FilesConnector, FilesSettings

from kpid.clock import SystemClock
from kpid.errors import ConnectorError, SchemaError
from kpid.ingest.sync import SyncResult, sync_source
from kpid.plugin import Page, SourceContext
from kpid.store import problems
from kpid.store.engine import Store
from kpid.warehouse.duckdb import open_duckdb

BERLIN = ZoneInfo("Europe/Berlin")
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


class Folder:
    """A folder of exports, and a warehouse that follows it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.warehouse = open_duckdb(place / "crm.duckdb")
        self.store = Store(f"sqlite:///{place}/kpid.db")
        self.store.create()
        self.exports = place / "exports"
        self.exports.mkdir()

    def connector(self, **settings: Any) -> FilesConnector:
        context = SourceContext("crm", BERLIN, self.place, SystemClock())
        return FilesConnector(FilesSettings(path=Path("exports"), **settings), context)

    def put(self, name: str, content: str | bytes) -> Path:
        file = self.exports / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def sync(self, **settings: Any) -> SyncResult:
        connector = self.connector(**settings)
        return sync_source("crm", connector, warehouse=self.warehouse, store=self.store, clock=SystemClock())

    def deals(self, columns: str = "native_id, amount") -> list[tuple[Any, ...]]:
        found = self.warehouse.query(f"SELECT {columns} FROM deals WHERE deleted_at IS NULL ORDER BY id").to_pylist()
        return [tuple(row.values()) for row in found]

    def trouble(self) -> dict[str, str]:
        with self.store.read() as connection:
            found = problems.list_problems(connection)
        return {p.subject: f"{p.text} | {p.hint}" for p in found if not p.subject.startswith("data:deals")}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.warehouse.close()
    made.store.close()


def rows(connector: FilesConnector) -> list[dict[str, Any]]:
    pages: list[Page] = list(connector.pages("deals", None, UNTIL))
    return [dict(row) for page in pages for row in page.rows.get("deals", ())]


@pytest.mark.parametrize(
    ("settings", "content"),
    [
        ({}, b'\xef\xbb\xbfnative_id,name,amount\r\n1,"Ada\nExample",5\r\n'),
        ({}, b'native_id;name;amount\n1;"Ada\nExample";5\n'),
        ({}, b'native_id,name,amount,,\n1,"Ada\nExample",5,,,,\n'),
        ({}, b'native_id,name,amount\n\n1,"Ada\nExample",5\n\n'),
        ({"encoding": "utf-16"}, 'native_id\tname\tamount\n1\t"Ada\nExample"\t5\n'.encode("utf-16")),
        ({"encoding": "cp1252"}, b'native_id,name,amount,note\n1,"Ada\nExample",5,\x80\n'),
    ],
)
def test_spellings_of_a_csv_file(folder: Folder, settings: dict[str, Any], content: bytes) -> None:
    folder.put("deals.csv", content)
    assert folder.sync(**settings).ok
    assert folder.deals("native_id, name, amount") == [("1", "Ada\nExample", 5)]


def test_a_very_long_cell_and_a_zero_byte_are_kept(folder: Folder) -> None:
    folder.put("deals.csv", f"native_id,name,amount\n1,{'x' * 1_000_000},1\n2,a\0b,2\n3,c,3\n")
    assert folder.sync().ok
    assert folder.deals("length(name), amount") == [(1_000_000, 1), (3, 2), (1, 3)]


BROKEN = [
    (b"", r"deals\.csv: the file has no header"),
    (b"\n\n", r"deals\.csv: the file has no header"),
    (b"native_id,amount\n1,5\n2\n", r"deals\.csv:3: the line has 1 values, the header has 2"),
    (b"native_id,amount\n1,5\n2,3,4\n", r"deals\.csv:3: the line has 3 values, the header has 2"),
    (b'native_id,amount\n1,5\n2,"3\n4,5\n', r"deals\.csv:4: it cannot be read: unexpected end of data.*quotation mark"),
    (b'native_id,amount\n1,5\n2,"3"x\n', r"deals\.csv:3: it cannot be read"),
    (b"native_id,amount\n1,5\nM\xfcller,4\n", r"deals\.csv:3: this is not utf-8-sig.*cp1252"),
    (b"native_id,amount,amount\n1,5,6\n", r"deals\.csv: there is more than one column 'amount'.*name of its own"),
    (b"id,amount\n1,5\n", r"deals\.csv: there is no column 'native_id'.*There are: id, amount"),
    (b"native_id,amount\n", r"gave no deals at all, though 2 are stored.*--full"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_broken_export_is_named_and_the_rows_stay(folder: Folder, content: bytes, message: str) -> None:
    folder.put("deals.csv", "native_id,amount\n1,5\n9,7\n")
    folder.put("users.csv", "native_id,name\n7,Ada Example\n")
    assert folder.sync().ok
    folder.put("deals.csv", content)
    folder.put("users.csv", "native_id,name\n7,Ada Other\n")
    folder.sync()
    trouble = folder.trouble()
    assert trouble.keys() == {"source:crm/deals"}
    assert re.search(message, trouble["source:crm/deals"].replace("\n", " ")), trouble
    assert ("9", 7) in folder.deals(), "what was there stays until a whole file says otherwise"
    assert folder.warehouse.query("SELECT name FROM users").to_pylist() == [{"name": "Ada Other"}], "other files are read"
    folder.put("deals.csv", "native_id,amount\n1,6\n")
    assert folder.sync().ok
    assert folder.deals() == [("1", 6)]
    assert folder.trouble() == {}


@pytest.mark.parametrize("settings", [{}, {"entities": {"deals": {"file": "deals.csv"}, "users": {"file": "users.csv"}}}])
def test_a_file_that_is_missing_for_a_while_deletes_nothing_and_is_said(folder: Folder, settings: dict[str, Any]) -> None:
    file = folder.put("deals.csv", "native_id,amount\n1,5\n")
    folder.put("users.csv", "native_id,name\n7,Ada Example\n")
    assert folder.sync(**settings).ok
    file.unlink()
    folder.sync(**settings)
    assert folder.deals() == [("1", 5)]
    assert folder.trouble().keys() == {"source:crm/deals"}
    folder.put("deals.csv", "native_id,amount\n1,5\n")
    assert folder.sync(**settings).ok
    assert folder.trouble() == {}


@pytest.mark.parametrize("settings", [{}, {"entities": {"deals": {"file": "deals.csv"}}}])
def test_a_missing_folder_deletes_nothing_and_is_said(folder: Folder, settings: dict[str, Any]) -> None:
    folder.put("deals.csv", "native_id,amount\n1,5\n")
    assert folder.sync(**settings).ok
    folder.exports.rename(folder.place / "elsewhere")
    assert not folder.sync(**settings).ok
    assert folder.deals() == [("1", 5)]
    assert any("exports" in text for text in folder.trouble().values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_no_fault_of_the_plugin(folder: Folder) -> None:
    folder.put("deals.csv", "native_id,amount\n1,5\n").chmod(0)
    folder.sync()
    assert "Permission denied" in folder.trouble()["source:crm/deals"]


def test_a_path_that_cannot_be_looked_at_is_named(folder: Folder) -> None:
    """A name that is too long fails like a folder that one may not look into, for every user."""
    folder.sync(entities={"deals": {"file": "x" * 300 + ".csv"}})
    (text,) = folder.trouble().values()
    assert "xxx.csv: it cannot be read: File name too long" in text
    assert "may read it" in text
    (finding,) = folder.connector(entities={"deals": {"file": "x" * 300 + ".csv"}}).check()
    assert (finding.ok, "too long" in finding.text) == (False, True)


def test_a_file_replaced_while_it_is_read_is_read_again(folder: Folder) -> None:
    lines = "\n".join(f"{n},{n}" for n in range(CHUNK + 10))
    file = folder.put("deals.csv", f"native_id,amount\n{lines}\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    pages = folder.connector().pages("deals", None, UNTIL)
    next(pages)
    folder.put("deals.csv", f"native_id,amount\n{lines}\n".replace("1,1\n", "1,2\n", 1))
    os.utime(file, (1_700_000_000, 1_700_000_000))  # same size, same time: as some copies leave them
    with pytest.raises(ConnectorError, match=r"deals\.csv: the file changed while it was read\. It is read again"):
        list(pages)


def test_a_copy_with_the_time_and_size_of_the_old_file_is_seen(folder: Folder) -> None:
    file = folder.put("deals.csv", "native_id,amount\n1,5\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    folder.sync()
    beside = folder.put("new.csv", "native_id,amount\n1,6\n")
    os.utime(beside, (1_700_000_000, 1_700_000_000))
    beside.replace(file)
    folder.sync()
    assert folder.deals() == [("1", 6)]


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1.234,56", Decimal("1234.56")), ("1234,5", Decimal("1234.5")), ("1.234.567", 1234567), ("-,5", Decimal("-0.5")),
        ("1 234,50", Decimal("1234.5")), ("1'234,50", Decimal("1234.5")), ("5,", 5), ("0", 0), ("1,5e2", 150),
        ("1.5", None), ("1,234.56", None), ("12.34,5", None), ("1,2,3", None), (",", None), ("-", None), ("", None),
        ("1.234,56 EUR", None), ("N/A", None),
    ],
)  # fmt: skip
def test_with_a_decimal_comma_a_number_is_right_or_none_never_ten_times_too_large(
    folder: Folder, written: str, amount: Any
) -> None:
    folder.put("deals.csv", f'native_id;amount\n1;"{written}"\n2;7\n')
    assert folder.sync(decimal=",", delimiter=";").ok
    assert folder.deals() == [("1", amount), ("2", 7)]
    told = folder.trouble().get("data:crm:deals/amount", "")
    assert bool(told) == bool(written and amount is None)
    assert written in told or not told


def test_mixed_dates_are_read_where_they_can_mean_one_thing_and_counted_where_not(folder: Folder) -> None:
    days = ["05.03.2026", "2026-03-05", "2026-03-05 10:00", "2026-03-05T10:00:00Z", "3/5/26", "46086", "46086.5", "soon", ""]
    folder.put("deals.csv", "native_id,am\n" + "".join(f"{n},{day}\n" for n, day in enumerate(days)))
    folder.sync(entities={"deals": {"file": "deals.csv", "columns": {"closed_at": {"column": "am", "date": "%d.%m.%Y"}}}})
    midnight, ten = datetime(2026, 3, 4, 23, tzinfo=UTC), datetime(2026, 3, 5, 9, tzinfo=UTC)
    found = [closed for (closed,) in folder.deals("closed_at")]
    assert found == [midnight, midnight, ten, ten.replace(hour=10), None, None, None, None, None]
    assert "4 rows of deals: not a date or time: '3/5/26', for example 4" in folder.trouble()["data:crm:deals/closed_at"]


def test_json_lines_may_name_a_column_late_and_nest_values(folder: Folder) -> None:
    first = "".join(f'{{"native_id": {n}}}\n' for n in range(CHUNK + 3))
    folder.put("deals.jsonl", first + '{"native_id": "late", "amount": 9, "extra": {"a": [1, {"b": null}]}, "name": {"x": 1}}\n')
    result = folder.sync()
    assert result.ok
    assert result.rows == CHUNK + 4
    (late,) = folder.warehouse.query("SELECT amount, extra->'a'->1 AS b, name FROM deals WHERE native_id = 'late'").to_pylist()
    assert late == {"amount": 9, "b": '{"b":null}', "name": None}
    assert "not a value of this column: \"{'x': 1}\", for example late" in folder.trouble()["data:crm:deals/name"]


def test_json_lines_without_a_line_are_no_rows_not_an_error(folder: Folder) -> None:
    folder.put("deals.jsonl", "\n")
    assert folder.sync().ok
    folder.put("deals.jsonl", '{"native_id": 1}\n')
    folder.sync()
    folder.put("deals.jsonl", "")
    folder.sync()
    assert "gave no deals at all, though 1 is stored" in folder.trouble()["source:crm/deals"] or "1 are stored" in str(
        folder.trouble()
    )


def test_parquet_of_every_kind(folder: Folder) -> None:
    table = pa.table(
        {
            "native_id": pa.array([1, 2], pa.int64()),
            "name": pa.array(["a", "a"]).dictionary_encode(),
            "amount": pa.array([Decimal("1.5"), None], pa.decimal128(12, 3)),
            "probability": pa.array([0.25, float("nan")]),
            "created_at": pa.array([1_767_600_000_123_456_789, None], pa.timestamp("ns")),
            "closed_at": pa.array([1_767_600_000_000_000_001, None], pa.timestamp("ns", "America/New_York")),
            "expected_close_date": pa.array([date(2026, 1, 5), None]),
            "is_test": pa.array([False, None]),
        }
    )
    pq.write_table(table, folder.exports / "deals.parquet")
    assert folder.sync().ok
    first, second = folder.deals("name, amount, probability, created_at, closed_at, expected_close_date, is_test")
    naive = datetime(2026, 1, 5, 8, 0, 0, 123456, BERLIN).astimezone(UTC)
    assert first == (
        "a", Decimal("1.5"), Decimal("0.25"), naive, datetime(2026, 1, 5, 8, tzinfo=UTC), date(2026, 1, 5), False
    )  # fmt: skip
    assert second == ("a", None, None, None, None, None, False)
    assert "not a number: 'nan', for example 2" in folder.trouble()["data:crm:deals/probability"]


def test_a_pipe_in_the_folder_does_not_hold_the_sync(folder: Folder) -> None:
    os.mkfifo(folder.exports / "deals.csv")
    folder.put("users.csv", "native_id\n7\n")
    done = threading.Event()
    threading.Thread(target=lambda: (folder.sync(), done.set()), daemon=True).start()
    assert done.wait(20)
    assert "source:crm/deals" in folder.trouble()


def test_check_names_what_is_wrong(folder: Folder) -> None:
    folder.put("deals.csv", "native_id,amount,amount\n1,5,6\n")
    folder.put("users.csv", b"")
    folder.put("tickets.csv", b"native_id\n\xff\n")
    said = {finding.subject: finding for finding in folder.connector().check()}
    assert "more than one column" in said["crm/deals"].text
    assert said["crm/users"].text == "the file has no header"
    assert all(not said[name].ok and said[name].hint for name in ("crm/deals", "crm/users"))


def test_an_unknown_encoding_is_named(folder: Folder) -> None:
    folder.put("deals.csv", "native_id\n1\n")
    with pytest.raises(SchemaError, match="unknown encoding: klingon"):
        rows(folder.connector(encoding="klingon"))
