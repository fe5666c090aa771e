"""kpid beside dbt MetricFlow on the same Parquet: ``python tests/bench/bench_metricflow.py [deals]``.

Five metrics by month and owner over twelve months: won and lost deals, won amount, win rate, mean deal size; 6,000 rows.
Each side is a command of its own, from the start of its process to the last row of its answer; what is done once beforehand
(``dbt build`` there, reading the Parquet into the warehouse here) is printed beside it. Default: 10M deals over four years.
MetricFlow lives in an environment of its own: ``$KPID_METRICFLOW`` names it, otherwise it is made with pip
(``dbt-core<1.12 dbt-metricflow dbt-duckdb``).
"""

from __future__ import annotations

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
REPEATS = 3
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
    """Print both sides and their ratio; 1 if the bar is missed."""
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        parquet = folder / "deals.parquet"
        duckdb.execute(DEALS.format(n=deals, file=parquet))
        theirs = metricflow(folder / "dbt", parquet)
        ours = kpid(folder / "kpid", parquet)
    print(f"{deals:,} deals, five metrics by 12 months and 500 owners, {REPEATS} runs; wall seconds of a whole command")
    for name, (before, runs) in (("MetricFlow", theirs), ("kpid", ours)):
        spread = f"{min(runs):.2f}-{max(runs):.2f}"
        print(f"  {name:10} {statistics.median(runs):6.2f} s ({spread}); once beforehand {before:.1f} s")
    ratio = statistics.median(theirs[1]) / statistics.median(ours[1])
    print(f"  kpid is {ratio:.1f} times faster; bar {BAR:.0f}: {'kept' if ratio >= BAR else 'MISSED'}")
    return ratio < BAR


def metricflow(folder: Path, parquet: Path) -> tuple[float, list[float]]:
    """Seconds of what is done once, and of each run."""
    programs = environment()
    for name, text in DBT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.format(parquet=parquet), encoding="utf-8")
    env = {**os.environ, "DBT_PROFILES_DIR": str(folder), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"
    before = timed([str(programs / "dbt"), "build"], folder, env)
    query = [str(programs / "mf"), "query", "--metrics", ",".join(METRICS), "--group-by", "metric_time__month,deal__owner_id"]
    query += ["--start-time", "2024-01-01", "--end-time", "2024-12-31"]
    return before, [timed([*query, "--csv", str(folder / "out.csv")], folder, env) for _ in range(REPEATS)]


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


def kpid(folder: Path, parquet: Path) -> tuple[float, list[float]]:
    """Seconds of what is done once, and of each run."""
    folder.mkdir()
    (folder / "kpid.yml").write_text(KPID.format(parquet=parquet), encoding="utf-8")
    program = [sys.executable, "-m", "kpid"]
    before = timed([*program, "sync", "--config", "kpid.yml"], folder)
    measure = [sys.executable, "-c", MEASURE, *METRICS]
    return before, [timed(measure, folder) for _ in range(REPEATS)]


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


def timed(command: list[str], folder: Path, env: dict[str, str] | None = None) -> float:
    """Wall seconds of a command; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:3]))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return took


if __name__ == "__main__":
    sys.exit(main())
