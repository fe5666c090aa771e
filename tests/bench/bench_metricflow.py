"""kpid beside dbt MetricFlow on the same Parquet: ``python tests/bench/bench_metricflow.py [deals]``.

Five metrics by month and owner over twelve months: won and lost deals, won amount, win rate, mean deal size; 6,000 rows.
Default: 10M deals over four years. Printed, in wall seconds with their spread:

- whole commands, from the start of the process to the last row of the answer; what is done once beforehand (``dbt build`` there,
  reading the Parquet into the warehouse here) stands beside them;
- a scheduled round. Here it runs in the process that is there: ``kpid run`` measures what has changed and keeps it in its
  history (new figures into an empty history; every month changed; one month changed). There a schedule starts ``mf query`` each
  time; what its engine takes when it is kept in one process, which no scheduler does by itself, is printed as well. The first
  round of each process is left out. Reading from the CRM is part of neither.

MetricFlow lives in an environment of its own: ``$KPID_METRICFLOW`` names it, otherwise it is made with pip
(``dbt-core<1.12 dbt-metricflow dbt-duckdb``).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import duckdb

BAR = 10.0
REPEATS = 5
ROUNDS = 7
PACKAGES = ("dbt-core<1.12", "dbt-metricflow", "dbt-duckdb")
DEALS = """COPY (SELECT i::VARCHAR AS native_id, 'u' || (hash(i * 7) % 500) AS owner_id,
  ['won', 'lost', 'lost', 'open'][1 + (hash(i * 3) % 4)::BIGINT] AS state,
  ((hash(i * 11) % 1000000) / 100)::DECIMAL(18, 2) AS amount,
  TIMESTAMPTZ '2021-01-01' + to_seconds((i * 126230400.0 / {n})::BIGINT) AS closed, closed AS updated_at,
  closed - to_seconds((hash(i * 5) % 10368000)::BIGINT) AS created_at,
  CASE WHEN state = 'open' THEN NULL ELSE closed END AS closed_at FROM range({n}) r(i)) TO '{file}' (FORMAT parquet)"""
METRICS = ("won_deals", "lost_deals", "won_amount", "win_rate", "avg_deal_size")

DBT = {
    "dbt_project.yml": "name: bench\nversion: '1.0'\nprofile: bench\nmodel-paths: [models]\n",
    "profiles.yml": "bench:\n  target: dev\n  outputs:\n    dev: {{type: duckdb, path: bench.duckdb, threads: 2}}\n",
    "models/deals.sql": "select *, 1 as one from read_parquet('{parquet}') where closed_at is not null\n",
    "models/days.sql": "{{{{ config(materialized='table') }}}}\n"
    "select cast(range as date) as date_day from range(date '2020-01-01', date '2026-01-01', interval 1 day)\n",
    "models/metrics.yml": """
models:
  - name: days
    time_spine: {{standard_granularity_column: date_day}}
    columns: [{{name: date_day, granularity: day}}]
semantic_models:
  - name: deals
    model: ref('deals')
    defaults: {{agg_time_dimension: closed_at}}
    entities: [{{name: deal, type: primary, expr: native_id}}]
    dimensions:
      - {{name: closed_at, type: time, type_params: {{time_granularity: day}}}}
      - {{name: owner_id, type: categorical}}
    measures:
      - {{name: won, agg: sum, expr: "case when state = 'won' then 1 else 0 end"}}
      - {{name: lost, agg: sum, expr: "case when state = 'lost' then 1 else 0 end"}}
      - {{name: closed, agg: sum, expr: "one"}}
      - {{name: won_amount, agg: sum, expr: "case when state = 'won' then amount end"}}
metrics:
  - {{name: won_deals, label: a, type: simple, type_params: {{measure: won}}}}
  - {{name: lost_deals, label: b, type: simple, type_params: {{measure: lost}}}}
  - {{name: closed_deals, label: c, type: simple, type_params: {{measure: closed}}}}
  - {{name: won_amount, label: d, type: simple, type_params: {{measure: won_amount}}}}
  - {{name: win_rate, label: e, type: ratio, type_params: {{numerator: won_deals, denominator: closed_deals}}}}
  - {{name: avg_deal_size, label: f, type: ratio, type_params: {{numerator: won_amount, denominator: won_deals}}}}
""",
}
KPID = """timezone: UTC
currency: EUR
warehouse: duckdb:///crm.duckdb
sources:
  crm: {{connector: files, path: "{parquet}", every: 1h, max_age: 3650d}}
"""


def main() -> int:
    """Print both sides and their ratios; 1 if a bar is missed."""
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        parquet = folder / "deals.parquet"
        duckdb.execute(DEALS.format(n=deals, file=parquet))
        theirs = metricflow(folder / "dbt", parquet)
        ours = kpid(folder / "kpid", parquet)
    print(f"{deals:,} deals, five metrics by 12 months and 500 owners, {REPEATS} commands, {ROUNDS} rounds; wall seconds")
    for side, runs in (("MetricFlow", theirs), ("kpid", ours)):
        for name, took in runs.items():
            print(f"  {side:10} {name:36} {statistics.median(took):6.2f} s ({min(took):.2f}-{max(took):.2f})")
    is_kept = compared("command / command", theirs["command"], ours["command"])
    for name in ("round, all figures new", "round, every month changed", "round, one month changed"):
        is_kept &= compared(f"command / {name}", theirs["command"], ours[name])
        compared(f"engine kept in a process / {name}", theirs["round, engine kept in a process"], ours[name])
    return not is_kept


def compared(what: str, theirs: list[float], ours: list[float]) -> bool:
    """Print how many times faster kpid is, from the worst to the best pair of runs, and whether that is the bar."""
    ratio = statistics.median(theirs) / statistics.median(ours)
    spread = f"{min(theirs) / max(ours):.1f}-{max(theirs) / min(ours):.1f}"
    print(f"  {what}: {ratio:.1f} times faster ({spread}); bar {BAR:.0f}: {'kept' if ratio >= BAR else 'MISSED'}")
    return ratio >= BAR


def metricflow(folder: Path, parquet: Path) -> dict[str, list[float]]:
    """Seconds of what is done once, of each command, and of each round of an engine that is kept."""
    programs = environment()
    for name, text in DBT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.format(parquet=parquet), encoding="utf-8")
    env = {**os.environ, "DBT_PROFILES_DIR": str(folder), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"
    before = timed([str(programs / "dbt"), "build"], folder, env)
    query = [str(programs / "mf"), "query", "--metrics", ",".join(METRICS), "--group-by", "metric_time__month,deal__owner_id"]
    query += ["--start-time", "2024-01-01", "--end-time", "2024-12-31"]
    commands = [timed([*query, "--csv", str(folder / "out.csv")], folder, env) for _ in range(REPEATS)]
    rounds = told([str(programs / "python"), "-c", KEPT_ENGINE, str(ROUNDS), *METRICS], folder, env)
    return {"once beforehand": [before], "command": commands, **rounds}


def environment() -> Path:
    """Folder of MetricFlow's programs."""
    if home := os.environ.get("KPID_METRICFLOW"):
        return Path(home) / "bin"
    home = Path(tempfile.gettempdir()) / "kpid-metricflow"
    if not (home / "bin" / "mf").exists():
        print(f"installing {', '.join(PACKAGES)} into {home} ...")
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", *PACKAGES], check=True)
    return home / "bin"


def kpid(folder: Path, parquet: Path) -> dict[str, list[float]]:
    """Seconds of what is done once, of each command, and of each round in a running process."""
    folder.mkdir()
    (folder / "kpid.yml").write_text(KPID.format(parquet=parquet), encoding="utf-8")
    before = timed([sys.executable, "-m", "kpid", "sync", "--config", "kpid.yml"], folder)
    measure = [sys.executable, "-c", MEASURE, *METRICS]
    commands = [timed(measure, folder) for _ in range(REPEATS)]
    return {
        "once beforehand": [before],
        "command": commands,
        **told([sys.executable, "-c", RUNNING, str(ROUNDS), *METRICS], folder),
    }


MEASURE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from kpid.analysis.periods import periods_between
from kpid.app import open_app
from kpid.clock import SystemClock
from kpid.metrics.measure import figures_at
from kpid.model import SeriesNeed
app = open_app(Path("kpid.yml"), SystemClock(), warehouse="read")
needs = [SeriesNeed(kpi, "month", ("owner",)) for kpi in sys.argv[1:]]
months = list(periods_between("month", datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC), app.calendar))
with open("out.csv", "w") as out:
    for some in figures_at(needs, app.metrics_setup(), months, now=app.clock.now()):
        for one in some:
            print(one.kpi, one.period.label, one.dims[0].id, one.value, one.n, sep=",", file=out)
app.close()
"""


RUNNING = """
import json, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
import pyarrow as pa
from kpid.app import open_app
from kpid.clock import SystemClock
from kpid.metrics.measure import refresh
from kpid.model import SeriesNeed
from kpid.store.engine import open_store
rounds, now = int(sys.argv[1]), datetime(2025, 1, 2, 8, tzinfo=UTC)
app = open_app(Path("kpid.yml"), SystemClock(), warehouse="write")
needs = [SeriesNeed(kpi, "month", ("owner",), periods=12) for kpi in sys.argv[2:]]
first_of_months = app.warehouse.query("SELECT * FROM deals WHERE state = 'won' AND year(closed_at) = 2024 "
    "QUALIFY row_number() OVER (PARTITION BY date_trunc('month', closed_at) ORDER BY closed_at) = 1 ORDER BY closed_at")
assert first_of_months.num_rows == 12
def change(rows, number):
    place = rows.column_names.index("amount")
    amounts = pa.array([number] * rows.num_rows, rows.field(place).type)
    with app.warehouse.batch() as batch:
        batch.upsert("deals", rows.set_column(place, rows.field(place), amounts))
def took(store):
    global now
    now += timedelta(minutes=1)
    began = time.perf_counter()
    done = refresh(needs, app.metrics_setup(), store=store, now=now)
    assert not done.problems, done.problems
    return time.perf_counter() - began, done.appended
found = {}
for name in ("all figures new", "every month changed", "one month changed"):
    for number in range(rounds + 1):
        rows = first_of_months if name == "every month changed" else first_of_months.slice(11)
        change(rows, number + 7)
        store = open_store(f"sqlite:///new{number}.db") if name == "all figures new" else app.store
        if number == 0:
            took(app.store)
            change(rows, number + 1)
        seconds, appended = took(store)
        assert appended >= {"all figures new": 20_000, "every month changed": 24, "one month changed": 2}[name], appended
        if number:
            found.setdefault(f"round, {name}", []).append(seconds)
app.close()
print(json.dumps(found))
"""
KEPT_ENGINE = """
import csv, json, sys, time
from datetime import datetime
from dbt_metricflow.cli.cli_configuration import CLIConfiguration
from metricflow.engine.metricflow_engine import MetricFlowQueryRequest
kept, found = CLIConfiguration(), []
kept.setup(configure_file_logging=False)
for number in range(int(sys.argv[1]) + 1):
    began = time.perf_counter()
    rows = kept.mf.query(MetricFlowQueryRequest.create(
        metric_names=sys.argv[2:], group_by_names=["metric_time__month", "deal__owner_id"],
        time_constraint_start=datetime(2024, 1, 1), time_constraint_end=datetime(2024, 12, 31))).result_df.rows
    with open("out.csv", "w") as out:
        csv.writer(out).writerows(rows)
    assert len(rows) > 5_000, len(rows)
    if number:
        found.append(time.perf_counter() - began)
print(json.dumps({"round, engine kept in a process": found}))
"""


def told(command: list[str], folder: Path, env: dict[str, str] | None = None) -> dict[str, list[float]]:
    """What a command has measured of itself: the last line it prints."""
    return json.loads(finished(command, folder, env).splitlines()[-1])


def timed(command: list[str], folder: Path, env: dict[str, str] | None = None) -> float:
    """Wall seconds of a command; it must succeed."""
    began = time.perf_counter()
    finished(command, folder, env)
    return time.perf_counter() - began


def finished(command: list[str], folder: Path, env: dict[str, str] | None = None) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:2]))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
