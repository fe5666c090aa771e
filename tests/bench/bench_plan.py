"""How much the fused plan costs beside hand-written SQL on the same DuckDB: ``python tests/bench/bench_plan.py [deals]
[activities]``.

Both compute, for 12 months by month and in total by owner: won and lost deals, won amount, win rate, mean and median deal size,
median sales cycle, calls and calls per sale. The hand-written side is the fused SQL that one would write with ``date_trunc`` in
the zone; it does not even look at deleted and test rows. Runs alternate; CPU seconds of the process, of all threads.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import kpid_activity
import kpid_sales

from kpid.analysis.periods import Calendar, periods_between
from kpid.metrics.dialects import compile_statement
from kpid.metrics.measure import MetricsSetup, _Run
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.statements import Setting, make_statement
from kpid.model import SeriesNeed
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb

NOW = datetime(2025, 1, 2, 8, tzinfo=UTC)
ZONE = "Europe/Berlin"
BAR = 1.3
REPEATS = 7
KPIS = (
    ("won_deals", ()),
    ("lost_deals", ()),
    ("won_amount", ()),
    ("win_rate", ()),
    ("avg_deal_size", ()),
    ("avg_deal_size", (("stat", "median"),)),
    ("sales_cycle_days", ()),
    ("calls_made", ()),
    ("calls_per_sale", ()),
)

FILL = """
INSERT INTO users BY NAME SELECT 'crm:u' || i AS id, 'crm' AS source_id, 'u' || i AS native_id, 'Seller ' || i AS name,
  now() AS synced_at, false AS is_test FROM range(500) r(i);
INSERT INTO deals BY NAME SELECT * EXCLUDE (closed) FROM (SELECT 'crm:' || i AS id, 'crm' AS source_id, i::VARCHAR AS native_id,
  now() AS synced_at, false AS is_test, 'crm:u' || (hash(i * 7) % 500) AS owner_id, ['won', 'lost', 'lost', 'open'][1 + (hash(i
  * 3) % 4)::BIGINT] AS state, ((hash(i * 11) % 1000000) / 100)::DECIMAL(20, 6) AS amount, 'EUR' AS currency,
  TIMESTAMPTZ '2021-01-01' + to_seconds((i * 126230400.0 / {deals})::BIGINT) AS closed,
  closed - to_seconds((hash(i * 5) % 10368000)::BIGINT) AS created_at,
  CASE WHEN state = 'open' THEN NULL ELSE closed END AS closed_at FROM range({deals}) r(i));
INSERT INTO activities BY NAME SELECT 'crm:' || i AS id, 'crm' AS source_id, i::VARCHAR AS native_id, now() AS synced_at,
  false AS is_test, 'crm:u' || (hash(i * 7) % 500) AS owner_id, ['call', 'meeting', 'email'][1 + (hash(i) % 3)::BIGINT] AS type,
  'outbound' AS direction, 'completed' AS status,
  TIMESTAMPTZ '2021-01-01' + to_seconds((i * 126230400.0 / {activities})::BIGINT) AS occurred_at FROM range({activities}) r(i)
"""

SETS = "GROUP BY GROUPING SETS ((month, owner_id), (month))"
RANGE = "TIMESTAMPTZ '2023-12-31 23:00:00+00' AND {c} < TIMESTAMPTZ '2024-12-31 23:00:00+00'"
HAND = (
    f"""SELECT date_trunc('month', timezone('{ZONE}', closed_at)) AS month, owner_id,
  count(*) FILTER (WHERE state = 'won'), count(*) FILTER (WHERE state = 'lost'), sum(amount) FILTER (WHERE state = 'won'),
  count(*) FILTER (WHERE state IN ('won', 'lost')), count(amount) FILTER (WHERE state = 'won'),
  quantile_cont(amount, 0.5) FILTER (WHERE state = 'won'),
  quantile_cont(timezone('{ZONE}', closed_at)::DATE - timezone('{ZONE}', created_at)::DATE, 0.5) FILTER (WHERE state = 'won')
FROM deals WHERE closed_at >= {RANGE.format(c="closed_at")} {SETS}""",
    f"""SELECT date_trunc('month', timezone('{ZONE}', occurred_at)) AS month, owner_id,
  count(*) FILTER (WHERE type = 'call' AND direction = 'outbound' AND status = 'completed')
FROM activities WHERE occurred_at >= {RANGE.format(c="occurred_at")} {SETS}""",
)


def make_warehouse(folder: Path, deals: int, activities: int) -> DuckDBWarehouse:
    """A warehouse of invented deals and activities over four years, in order of time."""
    warehouse = open_duckdb(folder / "bench.duckdb")
    for statement in FILL.format(deals=deals, activities=activities).split(";"):
        warehouse._writer.execute(statement).fetchall()
    return warehouse


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of a piece of work."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> int:
    """Print both sides and their ratio; 1 if the bar is missed."""
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    activities = int(sys.argv[2]) if len(sys.argv) > 2 else 5 * deals
    with tempfile.TemporaryDirectory() as folder:
        warehouse = make_warehouse(Path(folder), deals, activities)
        kpis = {kpi.id: kpi for module in (kpid_sales, kpid_activity) for kpi in module.kpid_kpis()}
        setup = MetricsSetup(warehouse, kpis, Calendar(ZONE), "EUR")
        needs = [SeriesNeed(kpi, "month", by, params) for kpi, params in KPIS for by in ((), ("owner",))]
        start, end = datetime(2023, 12, 31, 23, tzinfo=UTC), datetime(2024, 12, 31, 23, tzinfo=UTC)
        plans = _planned(setup, needs, start, end)

        def hand() -> None:
            for sql in HAND:
                warehouse.query(sql)

        def scans() -> None:
            for sql, parameters in plans:
                warehouse.query(sql, parameters)

        def whole() -> None:
            _measure(setup, needs, start, end)

        sides: dict[str, list[tuple[float, float]]] = {"hand-written": [], "fused plan": [], "whole measure": []}
        for repeat in range(REPEATS + 1):
            for name, work in (("hand-written", hand), ("fused plan", scans), ("whole measure", whole)):
                took = cost(work)
                if repeat:
                    sides[name].append(took)
        warehouse.close()
    print(f"{deals:,} deals, {activities:,} activities, {len(needs)} needs, 12 months x 500 owners, {REPEATS} repeats")
    for name, runs in sides.items():
        cpu, wall = [run[0] for run in runs], statistics.median(run[1] for run in runs)
        spread = f"{min(cpu) * 1000:.0f}-{max(cpu) * 1000:.0f}"
        print(f"  {name:14} CPU {statistics.median(cpu) * 1000:7.0f} ms ({spread}), wall {wall * 1000:.0f} ms")
    ratios = sorted(plan[0] / by_hand[0] for plan, by_hand in zip(sides["fused plan"], sides["hand-written"], strict=True))
    ratio = statistics.median(ratios)
    kept = "kept" if ratio <= BAR else "MISSED"
    print(f"  fused plan / hand-written: {ratio:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}); bar {BAR}: {kept}")
    print("  whole measure = plan, compile, scans, labels, and a Measurement for every segment, month and KPI")
    return ratio > BAR


def _asks(setup: MetricsSetup, needs: list[SeriesNeed], start: datetime, end: datetime) -> list[Ask]:
    run = _Run(setup, NOW)
    return [replace(run.ask(need), periods=tuple(periods_between(need.period, start, end, setup.calendar))) for need in needs]


def _planned(setup: MetricsSetup, needs: list[SeriesNeed], start: datetime, end: datetime) -> list[tuple[str, list]]:
    scans = make_plan(_asks(setup, needs, start, end)).scans
    setting = Setting(NOW, ZONE, "EUR")
    statements = [make_statement(scan, setting) for scan in scans]
    return [compile_statement(statement.select, "duckdb", statement.values) for statement in statements]


def _measure(setup: MetricsSetup, needs: list[SeriesNeed], start: datetime, end: datetime) -> int:
    return sum(map(len, _Run(setup, NOW).measure(_asks(setup, needs, start, end)).values()))


if __name__ == "__main__":
    sys.exit(main())
