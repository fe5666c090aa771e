"""The sql connector on real databases: cursors, overlap, streaming, and databases that say no."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from kpid_sql import CHUNK, SqlConnector, SqlSettings, kpid_connectors
from pydantic import ValidationError
from sqlalchemy import create_engine, text

from kpid.clock import SystemClock
from kpid.errors import AuthError, ConnectorError, SchemaError
from kpid.ingest.sync import sync_source
from kpid.plugin import Page, SourceContext
from kpid.store.engine import Store
from kpid.warehouse.duckdb import open_duckdb
from tests.postgres import binaries, running_postgres

UNTIL = datetime(2026, 6, 1, tzinfo=UTC)
SELECT = "select id as native_id, owner as owner_id, stage, amount, changed_at as updated_at from opportunity"
DEALS = {
    "select": SELECT,
    "cursor": "updated_at",
    "columns": {"state": {"column": "stage", "values": {"Won": "won", "*": "open"}}},
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "crm.db")
    connection.execute(
        "create table opportunity (id integer, owner text, stage text, amount real, changed_at text, version integer)"
    )
    yield connection
    connection.close()


@pytest.fixture
def source(tmp_path: Path, database: sqlite3.Connection) -> Callable[..., SqlConnector]:
    def make(url: str | None = None, **deals: Any) -> SqlConnector:
        settings = SqlSettings(url=url or f"sqlite:///{tmp_path}/crm.db", entities={"deals": {**DEALS, **deals}})
        return SqlConnector(settings, SourceContext("crm", ZoneInfo("Europe/Berlin"), tmp_path, SystemClock()))

    return make


def put(database: sqlite3.Connection, *rows: tuple[Any, ...]) -> None:
    for number, stage, changed, *version in rows:
        database.execute("delete from opportunity where id = ?", [number])
        values = [number, "7", stage, 10.5, changed, *(version or [0])]
        database.execute("insert into opportunity values (?, ?, ?, ?, ?, ?)", values)
    database.commit()


def read(connector: SqlConnector, cursor: Any = None) -> tuple[list[str], Any]:
    """Ids as read, and the cursor at the end."""
    pages: list[Page] = list(connector.pages("deals", cursor, UNTIL))
    return [str(row["native_id"]) for page in pages for row in page.rows.get("deals", ())], pages[-1].cursor


def test_rows_are_mapped_like_those_of_files(source: Callable[..., SqlConnector], database: sqlite3.Connection) -> None:
    put(database, (1, "Won", "2026-03-01 10:00:00"), (2, "Talking", None))
    (page, last) = source().pages("deals", None, UNTIL)
    second, first = page.rows["deals"]
    assert dict(first) == {
        "native_id": 1,
        "owner_id": "7",
        "amount": 10.5,
        "updated_at": datetime(2026, 3, 1, 10, tzinfo=ZoneInfo("Europe/Berlin")),
        "state": "won",
    }
    assert (second["native_id"], second["state"], second["updated_at"]) == (2, "open", None)
    assert last.through == UNTIL


def test_a_second_read_begins_before_the_cursor_and_includes_it(
    source: Callable[..., SqlConnector], database: sqlite3.Connection
) -> None:
    put(
        database,
        (1, "a", "2026-03-01T10:00:00"),
        (2, "a", "2026-03-01T10:04:00"),
        (3, "a", "2026-03-01T10:08:00.5"),
        (4, "a", None),
    )
    ids, cursor = read(source())
    assert sorted(ids) == ["1", "2", "3", "4"]
    assert sorted(read(source(), cursor)[0]) == ["2", "3", "4"], "what is near the cursor, or has no time at all, comes again"
    assert sorted(read(source(overlap_minutes=0), cursor)[0]) == ["3", "4"]
    put(database, (5, "a", "2026-03-01T10:08:00.5"))
    assert "5" in read(source(overlap_minutes=0), cursor)[0], "equal times do not get lost"


def test_a_select_may_filter_for_itself(source: Callable[..., SqlConnector], database: sqlite3.Connection) -> None:
    put(database, (1, "a", "2026-03-01 10:00:00"), (2, "a", "2026-03-05 10:00:00"), (3, "a", "2026-03-03 10:00:00"))
    connector = source(select=f"{SELECT} where changed_at >= :since or changed_at is null")
    ids, cursor = read(connector)
    assert (sorted(ids), cursor) == (["1", "2", "3"], {"last": "2026-03-05 10:00:00"})
    assert read(connector, cursor) == (["2"], cursor)


def test_a_growing_number_is_a_cursor_too(source: Callable[..., SqlConnector], database: sqlite3.Connection) -> None:
    put(database, (1, "a", None, 10), (2, "a", None, 20))
    connector = source(select="select id as native_id, version from opportunity", cursor="version", columns={})
    ids, cursor = read(connector)
    assert (ids, cursor) == (["1", "2"], {"last": 20})
    put(database, (1, "b", None, 21))
    assert read(connector, cursor) == (["2", "1"], {"last": 21})


def test_without_a_cursor_everything_is_read_each_time(source: Callable[..., SqlConnector], database: sqlite3.Connection) -> None:
    put(database, (1, "a", None), (2, "a", None))
    connector = source(cursor=None)
    (declared,) = connector.reads()
    assert (declared.mode, declared.deletes) == ("full", "absence")
    assert read(connector) == (["1", "2"], None)


def test_long_results_come_in_pages_that_can_be_resumed(
    source: Callable[..., SqlConnector], database: sqlite3.Connection
) -> None:
    start = datetime(2026, 1, 1)
    rows = [(i, "7", "a", 1.0, (start + timedelta(minutes=i)).isoformat(), 0) for i in range(2 * CHUNK + 3)]
    database.executemany("insert into opportunity values (?, ?, ?, ?, ?, ?)", rows)
    database.commit()
    pages = list(source().pages("deals", None, UNTIL))
    assert [len(page.rows.get("deals", ())) for page in pages] == [CHUNK, CHUNK, 3, 0]
    assert len(read(source(), pages[0].cursor)[0]) == CHUNK + 3 + 6, "after the first page, less the overlap"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"select": "select id as native_id from oportunity"}, SchemaError, "no such table: oportunity"),
        ({"select": "select id frm opportunity"}, SchemaError, "the select does not work: near"),
        ({"select": "select id as native_id from opportunity", "cursor": "updated_at", "columns": {}}, SchemaError, "updated_at"),
        ({"columns": {"state": "stge"}}, SchemaError, "no column 'stge'. Did you mean 'stage'"),
        ({"url": "nonsense"}, SchemaError, "`url` is no database address"),
        ({"url": "nodb://x/y"}, SchemaError, "`url` is no database address"),
        ({"url": "sqlite:////nonexistent/crm.db"}, ConnectorError, "the database file is not there"),
        ({"url": "postgresql+psycopg://reader:hunter2-example@127.0.0.1:1/crm"}, ConnectorError, "cannot be read"),
    ],
)
def test_what_does_not_work_is_said_without_secrets(
    source: Callable[..., SqlConnector], change: dict[str, Any], error: type[ConnectorError], message: str
) -> None:
    connector = source(**change)
    with pytest.raises(error, match=message) as caught:
        read(connector)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(connector.settings)
    (finding,) = connector.check()
    assert not finding.ok


def test_settings_are_checked(source: Callable[..., SqlConnector], database: sqlite3.Connection) -> None:
    (finding,) = source().check()
    assert (finding.ok, finding.text) == (True, "5 columns")
    with pytest.raises(ValidationError, match="at least 1 item"):
        SqlSettings(url="sqlite://", entities={})
    wrong = SqlSettings(url="sqlite://", entities={"dealz": DEALS})
    with pytest.raises(SchemaError, match="no entity 'dealz'"):
        SqlConnector(wrong, source().context).reads()
    with pytest.raises(ValidationError, match="not a time zone"):
        SqlSettings(url="sqlite://", entities={"deals": DEALS}, timezone="Mars")
    assert [info.connector.name for info in kpid_connectors()] == ["sql"]


def test_syncs_follow_the_database(source: Callable[..., SqlConnector], database: sqlite3.Connection, tmp_path: Path) -> None:
    warehouse, store = open_duckdb(tmp_path / "crm.duckdb"), Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    counts = []
    for rows in ([(1, "a", "2026-03-01 10:00:00"), (2, "a", "2026-03-01 10:00:00")], [(2, "Won", "2026-03-02 10:00:00")], []):
        put(database, *rows)
        result = sync_source("crm", source(), warehouse=warehouse, store=store, clock=SystemClock())
        assert result.ok
        counts.append((result.rows, result.changed))
    assert counts == [(2, 2), (2, 1), (1, 0)], "the overlap reads again what has not changed"
    assert warehouse.query("SELECT id, state FROM deals ORDER BY id").to_pylist() == [
        {"id": "crm:1", "state": "open"},
        {"id": "crm:2", "state": "won"},
    ]
    warehouse.close()
    store.close()


@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server binaries on this machine")
def test_postgresql_streams_times_with_zones(tmp_path: Path) -> None:
    with running_postgres() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("create table opportunity (id int, amount numeric, changed_at timestamptz)"))
            times = "timestamptz '2026-03-01Z' + make_interval(mins => i)"
            fill = f"insert into opportunity select i, i / 4.0, {times} from generate_series(1, 12000) i"
            connection.execute(text(fill))
        select = "select id as native_id, amount, changed_at as updated_at from opportunity;"
        settings = SqlSettings(url=url, entities={"deals": {"select": select, "cursor": "updated_at"}})
        connector = SqlConnector(settings, SourceContext("crm", ZoneInfo("Europe/Berlin"), tmp_path, SystemClock()))
        ids, cursor = read(connector)
        assert len(ids) == 12_000
        assert read(connector, cursor)[0] == [str(i) for i in range(11_995, 12_001)]
        earlier = list(connector.pages("deals", None, datetime(2026, 3, 2, tzinfo=UTC)))[-1].cursor
        assert earlier == {"last": {"time": "2026-03-02T00:00:00+00:00"}}, "never beyond the end of the run"
        with engine.begin() as connection:
            connection.execute(text("create role reader login"))
        stranger = SqlSettings(url=url.replace("kpid@", "reader@"), entities=settings.entities)
        with pytest.raises(AuthError, match="permission denied"):
            read(SqlConnector(stranger, connector.context))
        engine.dispose()


def test_a_refused_login_is_an_auth_error() -> None:
    from kpid_sql import _explained
    from sqlalchemy.exc import OperationalError

    url = "postgresql+psycopg://reader:hunter2-example@db.example.com/crm"
    said = OperationalError(
        "select 1", None, Exception('FATAL: password authentication failed for "reader" (hunter2-example)\nmore')
    )
    error = _explained(said, "deals", url)
    assert isinstance(error, AuthError)
    assert "hunter2" not in str(error)
