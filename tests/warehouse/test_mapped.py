"""A company's own tables, read in place on a real PostgreSQL: mapped by the configuration, measured, checked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from kpid import cycle
from kpid.app import App, open_app
from kpid.commands.check import connect_checks
from kpid.commands.rounds import schedules
from kpid.config.load import load_config
from kpid.config.problems import ConfigErrors
from kpid.errors import ConfigError, StoreError
from kpid.metrics.measure import figures
from kpid.model import Measurement, MeasurementState, SeriesNeed
from kpid.testing import FakeClock

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
COMPANY = """
DROP SCHEMA IF EXISTS sales CASCADE;
CREATE SCHEMA sales;
CREATE TABLE sales."Opportunities"
 (opp_id int, "Stage" text, value text, ccy text, made timestamptz, closed date, rep int, props json);
INSERT INTO sales."Opportunities" VALUES
 (1, 'Closed Won', '1000.50', 'EUR', '2026-01-05 10:00+00', '2026-02-10', 7, '{"tier": "gold"}'),
 (2, 'Closed Won', '250', NULL, '2026-01-20 10:00+00', '2026-02-28', 8, NULL),
 (3, 'Closed Lost', NULL, 'EUR', '2026-02-01 10:00+00', '2026-02-11', 7, '{}'),
 (4, 'Proposal', '99', 'EUR', '2026-02-01 10:00+00', NULL, 7, NULL);
CREATE TABLE sales.reps (id int, full_name text);
INSERT INTO sales.reps VALUES (7, 'Ada Example'), (8, 'Bob Example');
CREATE TABLE sales.loads (at timestamptz);
INSERT INTO sales.loads VALUES ('2026-03-10 06:00+00');
"""
TABLES = """\
tables:
  deals:
    table: sales."Opportunities"
    columns:
      id: opp_id
      state: if("Stage" = 'Closed Won', 'won', if("Stage" = 'Closed Lost', 'lost', 'open'))
      amount: number(value)
      currency: coalesce(ccy, 'EUR')
      created_at: made
      closed_at: instant(closed)
      owner_id: concat('rep:', rep)
      extra: props
    through: SELECT max(at) FROM sales.loads
    max_age: 12h
  users:
    table: sales.reps
    columns: {id: "concat('rep:', id)", name: full_name}
    through: now
"""


RULE = """\
rules:
- {name: few wins, kpi: won_deals, period: month, warn: '< 5', to: [team]}
receivers:
  team: {notifier: mailbox}
"""


@pytest.fixture
def company(postgres: str) -> str:
    url = postgres.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(COMPANY)
    return url


def write(folder: Path, url: str, tables: str = TABLES, more: str = "") -> Path:
    file = folder / "kpid.yml"
    file.write_text(f"timezone: UTC\nwarehouse: {url}\n{tables}{more}", encoding="utf-8")
    return file


@pytest.fixture
def app(company: str, tmp_path: Path) -> Iterator[App]:
    opened = open_app(write(tmp_path, company, more=RULE), FakeClock(NOW))
    yield opened
    opened.close()


def february(app: App, kpi: str, by: tuple[str, ...] = (), now: datetime = NOW) -> list[Measurement]:
    start = datetime(2026, 2, 1, tzinfo=UTC)
    return figures(SeriesNeed(kpi, "month", by), app.metrics_setup(), start=start, end=start + timedelta(days=28), now=now)


def test_kpis_are_measured_over_mapped_tables(app: App) -> None:
    [won] = february(app, "won_amount")
    assert (won.value, won.n, won.state) == (Decimal("1250.5"), 2, MeasurementState.OK)
    rates = {one.dims[0].name: one.value for one in february(app, "win_rate", ("owner",))}
    assert rates == {"Ada Example": Decimal("0.5"), "Bob Example": Decimal(1)}


def test_what_is_not_mapped_is_null_and_tables_that_are_not_mapped_are_empty(app: App) -> None:
    found = app.warehouse.query(
        "SELECT id, native_id, source_id, region, is_test, extra FROM kpid_table_deals WHERE id = $1", ["1"]
    ).to_pylist()
    expected = {
        "id": "1",
        "native_id": "1",
        "source_id": "warehouse",
        "region": None,
        "is_test": False,
        "extra": '{"tier": "gold"}',
    }
    assert found == [expected]
    assert app.warehouse.query("SELECT id, rate FROM kpid_table_fx_rates").num_rows == 0
    [made] = february(app, "leads_created") or [None]
    assert made is None


def test_sql_that_somebody_has_written_reads_the_mappings_too(app: App) -> None:
    sql = (
        "SELECT u.name, count(*) AS n FROM deals d JOIN users AS u ON u.id = d.owner_id "
        "WHERE d.state = 'won' GROUP BY u.name ORDER BY 1"
    )
    assert app.warehouse.query(sql).to_pylist() == [{"name": "Ada Example", "n": 1}, {"name": "Bob Example", "n": 1}]
    [row] = app.warehouse.query("WITH won AS (SELECT * FROM deals) SELECT d.* FROM won d WHERE d.id = '1'").to_pylist()
    assert row["amount"] == Decimal("1000.5")


def test_old_data_is_stale(app: App) -> None:
    [won] = february(app, "won_deals", now=NOW + timedelta(days=2))
    assert won.state is MeasurementState.STALE
    assert "warehouse.deals has delivered deals up to 2026-03-10 06:00 UTC only" in won.reason


def test_every_refresh_measures_the_last_weeks_anew(app: App, company: str) -> None:
    cycle.refresh(app, NOW)
    again = cycle.refresh(app, NOW)
    assert again.measured.appended == 0
    with psycopg.connect(company, autocommit=True) as connection:
        connection.execute("""UPDATE sales."Opportunities" SET "Stage" = 'Closed Lost' WHERE opp_id = 2""")
    assert cycle.refresh(app, NOW).measured.restated >= 1


def test_it_has_a_schedule_but_no_sources(app: App) -> None:
    assert [name for name in schedules(app.config) if name.startswith("sync:")] == ["sync:warehouse"]


def test_nothing_is_written_into_it(app: App) -> None:
    with pytest.raises(StoreError, match="read in place"), app.warehouse.batch():
        pass
    with pytest.raises(StoreError, match="read-only"):
        app.warehouse.query("WITH gone AS (DELETE FROM sales.reps RETURNING id) SELECT * FROM gone")
    with pytest.raises(StoreError, match="no copy is written"):
        app.warehouse.snapshot_to("x")


def test_check_finds_everything_in_place(app: App) -> None:
    [found] = [finding for finding in connect_checks(app) if finding.subject == "warehouse"]
    assert found.ok
    assert "2 tables of postgresql://kpid@" in found.text


def test_check_names_each_missing_table_and_column_with_its_line(company: str, tmp_path: Path) -> None:
    tables = TABLES.replace("table: sales.reps", "table: sales.people").replace("number(value)", "number(valeu)")
    app = open_app(write(tmp_path, company, tables), FakeClock(NOW))
    found = {finding.where.rpartition(":")[2]: finding for finding in connect_checks(app) if not finding.ok}
    app.close()
    lines = (tmp_path / "kpid.yml").read_text().splitlines()
    told = {lines[int(line) - 1].strip(): (finding.text, finding.hint) for line, finding in found.items()}
    assert told["table: sales.people"][0] == "there is no table sales.people"
    assert told["amount: number(valeu)"] == ("sales.Opportunities has no column 'valeu'", "Did you mean 'value'?")


def test_check_tries_the_conversions(company: str, tmp_path: Path) -> None:
    app = open_app(write(tmp_path, company, TABLES.replace("instant(closed)", 'number("Stage")')), FakeClock(NOW))
    found = [finding for finding in connect_checks(app) if not finding.ok]
    app.close()
    assert [finding.subject for finding in found] == ["tables.deals"]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("  users:", "  userz:", r"no canonical table 'userz'.*Did you mean 'users'"),
        ("owner_id:", "ownr_id:", r"no column 'ownr_id'.*Did you mean 'owner_id'"),
        ("number(value)", "exec(value)", r"tables\.deals\.columns\.amount: there is no function 'exec'"),
        ("      id: opp_id\n", "", "`id` is not mapped"),
        ("table: sales.reps", "table: 'sales.reps; drop'", "must be a table or view"),
        ("tables:", "sources: {crm: {connector: files, path: .}}\ntables:", "nothing is synced into a warehouse"),
    ],
)
def test_mistakes_in_the_mapping_are_found_at_load_with_their_line(tmp_path: Path, old: str, new: str, mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake) as caught:
        load_config(write(tmp_path, "postgresql://reader@db/crm", TABLES.replace(old, new)), environ={})
    errors = caught.value.errors if isinstance(caught.value, ConfigErrors) else (caught.value,)
    assert all("kpid.yml:" in (error.where or "") for error in errors)


@pytest.mark.parametrize("url", ["spark://local", "sc://cluster:15002", "clickhouse://reader@ch:8123/crm", "chdb:///var/ch"])
def test_an_engine_that_is_read_in_place_wants_tables(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="read in place, and no table is mapped"):
        load_config(write(tmp_path, url, ""), environ={})
    assert load_config(write(tmp_path, url), environ={}).config.tables["deals"].parts == ("sales", "Opportunities")


def test_the_embedded_warehouse_maps_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a duckdb warehouse is kpid's own"):
        load_config(write(tmp_path, "duckdb:///crm.duckdb"), environ={})
