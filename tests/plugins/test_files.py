"""The files connector: mappings, formats, resuming, and files that are not what they should be."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kpid_files import CHUNK, FilesConnector, FilesSettings, kpid_connectors
from pydantic import ValidationError

from kpid.clock import SystemClock
from kpid.errors import ConnectorError, SchemaError
from kpid.ingest.sync import SyncResult, sync_source
from kpid.plugin import Page, SourceContext
from kpid.store import problems
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb

BERLIN = ZoneInfo("Europe/Berlin")
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)
PIPELINE = """opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value
A1,Ada Example,GTXPro,Sample AG,Won,2026-01-05,2026-02-10,1054
A2,Ben Example,MG Special,,Lost,2026-01-06,2026-02-11,0
A3,Ada Example,GTX Pro,Sample AG,Engaging,2026-01-07,,
A4,Ada Example,GTX Pro,,Prospecting,,,
"""
DEALS: dict[str, Any] = {
    "file": "pipeline.csv",
    "id": "opportunity_id",
    "columns": {
        "owner_id": "sales_agent",
        "account_id": "account",
        "product": {"column": "product", "values": {"GTXPro": "GTX Pro"}},
        "state": {"column": "deal_stage", "values": {"Won": "won", "Lost": "lost", "*": "open"}},
        "created_at": "engage_date",
        "closed_at": "close_date",
        "amount": "close_value",
        "currency": {"const": "EUR"},
    },
    "extra": ["deal_stage"],
}


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., FilesConnector]:
    (tmp_path / "pipeline.csv").write_text(PIPELINE)

    def make(**settings: Any) -> FilesConnector:
        context = SourceContext("crm", BERLIN, tmp_path, SystemClock())
        return FilesConnector(FilesSettings(**{"path": ".", **settings}), context)

    return make


def rows(connector: FilesConnector, entity: str = "deals", cursor: Any = None) -> list[dict[str, Any]]:
    return [dict(row) for page in connector.pages(entity, cursor, UNTIL) for row in page.rows.get(entity, ())]


def test_columns_values_and_constants_are_mapped(source: Callable[..., FilesConnector]) -> None:
    first, _, third, fourth = rows(source(entities={"deals": DEALS}))
    assert first == {
        "native_id": "A1",
        "owner_id": "Ada Example",
        "account_id": "Sample AG",
        "product": "GTX Pro",
        "state": "won",
        "created_at": date(2026, 1, 5),
        "closed_at": date(2026, 2, 10),
        "amount": "1054",
        "currency": "EUR",
        "extra": {"deal_stage": "Won"},
    }
    assert (third["product"], third["state"], third["closed_at"], third["amount"]) == ("GTX Pro", "open", None, None)
    assert (fourth["created_at"], fourth["state"], fourth["account_id"]) == (None, "open", None)


def test_files_named_like_entities_map_themselves(source: Callable[..., FilesConnector], tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text('native_id,name,is_active,extra\nu1,Ada Example,true,"{""a"": 1}"\n')
    (tmp_path / "accounts.jsonl").write_text('{"native_id": "a1", "name": "Sample AG"}\n')
    connector = source()
    assert [(r.entity, r.mode) for r in connector.reads()] == [("users", "full"), ("accounts", "full")]
    assert rows(connector, "users") == [{"native_id": "u1", "name": "Ada Example", "is_active": "true", "extra": {"a": 1}}]
    assert rows(connector, "accounts") == [{"native_id": "a1", "name": "Sample AG"}]
    assert all(finding.ok for finding in connector.check())


def test_a_path_may_be_one_file(source: Callable[..., FilesConnector]) -> None:
    assert len(rows(source(path="pipeline.csv", entities={"deals": {**DEALS, "file": None}}))) == 4


@pytest.mark.parametrize(
    ("settings", "content"),
    [
        ({}, "\ufeffnative_id;name;amount\n1;Müller & Söhne;1.5\n".encode()),
        ({"encoding": "cp1252"}, "native_id\tname\tamount\n1\tMüller & Söhne\t1.5\n".encode("cp1252")),
        ({"encoding": "utf-16"}, "native_id,name,amount\r\n1,Müller & Söhne,1.5\r\n\r\n".encode("utf-16")),
        ({"delimiter": "~"}, b"native_id~name~amount\n1~M\xc3\xbcller & S\xc3\xb6hne~1.5\n"),
        ({"decimal": ","}, 'native_id,name,amount\n1, "Müller & Söhne","1,5"\n'.replace(', "', ',"').encode()),
    ],
)
def test_csv_in_the_usual_spellings(source: Callable[..., FilesConnector], tmp_path: Path, settings: Any, content: bytes) -> None:
    (tmp_path / "deals.csv").write_bytes(content)
    (row,) = rows(source(**settings))
    assert (row["native_id"], row["name"], Decimal(row["amount"])) == ("1", "Müller & Söhne", Decimal("1.5"))


def test_dates_and_numbers_as_people_write_them(source: Callable[..., FilesConnector], tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text(
        "native_id;am;um;amount;expected_close_date\n"
        "1;05.01.2026;05.01.2026 14:30;1.234.567,89;2026-02-01\n"
        "2;never;2026-01-05;n/a;\n"
        "3;;;;\n"
    )
    columns = {"created_at": {"column": "am", "date": "%d.%m.%Y"}, "closed_at": {"column": "um", "date": "%d.%m.%Y %H:%M"}}
    first, second, third = rows(source(entities={"deals": {"file": "deals.csv", "columns": columns}}, decimal=","))
    assert first["created_at"] == date(2026, 1, 5)
    assert first["closed_at"] == datetime(2026, 1, 5, 14, 30, tzinfo=BERLIN)
    assert (first["amount"], first["expected_close_date"]) == (Decimal("1234567.89"), date(2026, 2, 1))
    assert (second["created_at"], second["amount"]) == ("never", "n/a"), "left for the ingest step to count"
    assert third["amount"] is None


def test_times_without_a_zone_are_in_the_set_one(source: Callable[..., FilesConnector], tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text("native_id,created_at\n1,2026-01-05 14:30:00\n2,2026-01-05T14:30:00Z\n")
    first, second = rows(source(timezone="America/New_York"))
    assert first["created_at"].astimezone(UTC) == datetime(2026, 1, 5, 19, 30, tzinfo=UTC)
    assert second["created_at"] == datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    with pytest.raises(ValidationError, match="not a time zone"):
        source(timezone="Europe/Berln")


def test_defaults_fill_empty_values(source: Callable[..., FilesConnector]) -> None:
    columns = {"account_id": {"column": "account", "default": "unknown"}, "amount": {"column": "close_value", "default": 0}}
    found = rows(source(entities={"deals": {**DEALS, "columns": columns}}))
    assert [(row["account_id"], row["amount"]) for row in found][1:3] == [("unknown", "0"), ("Sample AG", 0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"id": "oportunity_id"},
            r"pipeline\.csv: there is no column 'oportunity_id'\. Did you mean 'opportunity_id'\? There are: opp",
        ),
        ({"columns": {"amount": "Close_Value"}}, "no column 'Close_Value'. Did you mean 'close_value'"),
        ({"columns": {"amuont": "close_value"}}, "deals has no column 'amuont'. Did you mean 'amount'"),
        ({"extra": ["notes"]}, "no column 'notes'"),
    ],
)
def test_a_wrong_column_is_named_with_those_that_are_there(
    source: Callable[..., FilesConnector], change: dict[str, Any], message: str
) -> None:
    connector = source(entities={"deals": {**DEALS, **change}})
    with pytest.raises(SchemaError, match=message):
        rows(connector)
    (finding,) = connector.check()
    assert not finding.ok
    assert finding.where.endswith("pipeline.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("deals.csv", b"native_id,name\n1,x\n2\n", r"deals\.csv:3: the line has 1 values, the header has 2"),
        ("deals.csv", b"native_id,name\n1,a,b\n", r"deals\.csv:2: the line has 3 values"),
        ("deals.csv", b'native_id,name\n1,"unclosed\n', r"deals\.csv:2: it cannot be read: unexpected end of data"),
        ("deals.csv", b"native_id,name\n1,M\xfcller\n", r"is not utf-8-sig\. Set `encoding:`"),
        ("deals.csv", b"", r"the file has no header"),
        ("deals.jsonl", b'{"native_id": "1"}\n{"native_id": "2", "na', r"deals\.jsonl:2: this line is not whole JSON"),
        ("deals.jsonl", b"[1]\n", r"deals\.jsonl:1: this line is not a JSON object"),
        ("deals.parquet", b"PAR1 cut off", r"deals\.parquet: this is not a whole Parquet file"),
        ("deals.pdf", b"x", r"there are no files to read"),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    source: Callable[..., FilesConnector], tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConnectorError, match=message):
        rows(source())


def test_a_missing_file_says_what_is_there(source: Callable[..., FilesConnector]) -> None:
    connector = source(entities={"deals": {**DEALS, "file": "pipelin.csv"}})
    with pytest.raises(ConnectorError, match=r"the file is not there\. In the folder are: pipeline\.csv"):
        rows(connector)
    with pytest.raises(SchemaError, match="no entity 'dealz'"):
        source(entities={"dealz": DEALS}).reads()
    with pytest.raises(SchemaError, match="utf-99"):
        rows(source(entities={"deals": DEALS}, encoding="utf-99"))


def test_parquet_keeps_its_types(source: Callable[..., FilesConnector], tmp_path: Path) -> None:
    table = pa.table(
        {
            "native_id": [1, 2],
            "amount": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            "created_at": pa.array([datetime(2026, 1, 5, 14), None], pa.timestamp("us")),
            "closed_at": pa.array([datetime(2026, 1, 5, 14, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "deals.parquet", row_group_size=1)
    connector = source()
    first, second = rows(connector)
    assert (first["native_id"], first["amount"], second["amount"]) == (1, Decimal("1.50"), None)
    assert first["created_at"] == datetime(2026, 1, 5, 14, tzinfo=BERLIN)
    pages = list(connector.pages("deals", None, UNTIL))
    assert rows(connector, cursor={**pages[0].cursor, "rows": 1}) == [second]  # type: ignore[dict-item]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_interrupted_read_goes_on_where_it_was(source: Callable[..., FilesConnector], tmp_path: Path, kind: str) -> None:
    numbers = range(2 * CHUNK + 10)
    if kind == "csv":
        (tmp_path / "deals.csv").write_text("native_id\n" + "\n".join(map(str, numbers)))
    else:
        (tmp_path / "deals.jsonl").write_text("\n".join(json.dumps({"native_id": str(n)}) for n in numbers))
    connector = source()
    pages: list[Page] = list(connector.pages("deals", None, UNTIL))
    assert [row["native_id"] for page in pages for row in page.rows.get("deals", ())] == [str(n) for n in numbers]
    for place, page in enumerate(pages[:-1]):
        rest = rows(connector, cursor=page.cursor)
        assert rest == [row for later in pages[place + 1 :] for row in later.rows.get("deals", ())]


def test_an_unchanged_file_is_not_read_again(source: Callable[..., FilesConnector], tmp_path: Path) -> None:
    connector = source(entities={"deals": DEALS})
    *_, last = connector.pages("deals", None, UNTIL)
    (only,) = connector.pages("deals", last.cursor, UNTIL)
    assert (only.unchanged, dict(only.rows)) == (True, {})
    os.utime(tmp_path / "pipeline.csv", (1, 1))
    first, *_ = connector.pages("deals", last.cursor, UNTIL)
    assert first.restarted
    mapped = source(entities={"deals": {**DEALS, "columns": {**DEALS["columns"], "name": "product"}}})
    assert len(rows(mapped, cursor=last.cursor)) == 4, "another mapping reads again"
    moved = FilesConnector(connector.settings, replace(connector.context, timezone=ZoneInfo("America/New_York")))
    assert len(rows(moved, cursor=last.cursor)) == 4, "so does another zone: its midnights are others"


def test_the_data_is_as_old_as_the_file_but_never_newer_than_the_run(
    source: Callable[..., FilesConnector], tmp_path: Path
) -> None:
    written = datetime(2026, 3, 1, 12, tzinfo=UTC)
    os.utime(tmp_path / "pipeline.csv", (written.timestamp(), written.timestamp()))
    connector = source(entities={"deals": DEALS})
    assert list(connector.pages("deals", None, UNTIL))[-1].through == written
    earlier = written - timedelta(days=400)
    assert list(connector.pages("deals", None, earlier))[-1].through == earlier


def test_a_file_that_changes_while_it_is_read_is_not_trusted(source: Callable[..., FilesConnector], tmp_path: Path) -> None:
    pages = source(entities={"deals": DEALS}).pages("deals", None, UNTIL)
    next(pages)
    (tmp_path / "pipeline.csv").write_text(PIPELINE + "A5,x,y,,Won,2026-01-01,2026-01-02,5\n")
    with pytest.raises(ConnectorError, match="changed while it was read"):
        list(pages)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[DuckDBWarehouse, Store]]:
    (tmp_path / "var").mkdir()
    warehouse, store = open_duckdb(tmp_path / "var" / "crm.duckdb"), Store(f"sqlite:///{tmp_path}/var/kpid.db")
    store.create()
    yield warehouse, store
    warehouse.close()
    store.close()


def test_a_new_export_replaces_the_old_one(
    source: Callable[..., FilesConnector], stores: tuple[DuckDBWarehouse, Store], tmp_path: Path
) -> None:
    warehouse, store = stores

    def sync() -> SyncResult:
        connector = source(entities={"deals": DEALS})
        return sync_source("crm", connector, warehouse=warehouse, store=store, clock=SystemClock())

    assert (sync().rows, sync().rows) == (4, 0)
    (tmp_path / "pipeline.csv").write_text(
        PIPELINE.replace("A2,Ben Example,MG Special,,Lost,2026-01-06,2026-02-11,0\n", "")
        .replace("1054", "a lot")
        .replace("2026-02-10", "2036-02-10")
    )
    result = sync()
    assert (result.ok, result.rows, result.changed, result.deletes) == (True, 3, 1, 1)
    found = warehouse.query("SELECT native_id, amount, created_at, deleted_reason FROM deals ORDER BY native_id").to_pylist()
    assert [row["native_id"] for row in found if row["deleted_reason"] == "vanished"] == ["A2"]
    assert (found[0]["amount"], found[0]["created_at"]) == (None, datetime(2026, 1, 4, 23, tzinfo=UTC))
    (tmp_path / "pipeline.csv").write_text(PIPELINE.splitlines()[0] + "\n")
    assert sync().deletes == 0, "an export without rows is suspicious"
    (tmp_path / "pipeline.csv").write_text("nonsense\n1\n")
    assert sync().entities[0].state == "failed"
    with store.read() as connection:
        noted = {problem.subject: problem.text for problem in problems.list_problems(connection)}
    assert "there is no column 'opportunity_id'" in noted["source:crm/deals"]
    assert {"data:crm:deals/amount", "data:deals/closed_at in the future", "data:deals/amount missing"} <= set(noted)


def test_the_hook_declares_the_connector() -> None:
    assert [info.connector.name for info in kpid_connectors()] == ["files"]
