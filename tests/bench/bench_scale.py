"""All sales and activity KPIs on a large pipeline: ``python tests/bench/bench_scale.py [deals] [activities] [folder]``.

Default: 10M deals, 50M activities, 1M accounts, 1M leads over four years, 500 sellers; 12 months by month, in total and by owner.
Printed: CPU of the fused plan beside hand-written fused SQL that gives the same measures, one changed month beside the whole
year, what one more KPI on a scanned entity costs, planning and compiling of all KPIs there are, appending to the history, peak
memory, and how the cost grows from a hundredth to the whole. The hand-written side truncates with ``date_trunc`` in the zone
and looks at neither deleted nor test rows. With a folder, the warehouses stay there and are used again.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from kpid.analysis.periods import Calendar, periods_between
from kpid.metrics.measure import MetricsSetup, _Run
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.prepared import prepare
from kpid.model import SeriesNeed
from kpid.registry import load_plugins
from kpid.store import history
from kpid.store.engine import open_store
from kpid.warehouse import Watermark
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb

NOW = datetime(2025, 1, 2, 8, tzinfo=UTC)
ZONE = "Europe/Berlin"
JUNE = (datetime(2024, 5, 31, 22, tzinfo=UTC), datetime(2024, 6, 30, 22, tzinfo=UTC))
YEAR = (datetime(2023, 12, 31, 23, tzinfo=UTC), datetime(2024, 12, 31, 23, tzinfo=UTC))
REPEATS = 5
CATEGORIES = ("sales", "activity")
KEY = "'crm:' || i AS id, 'crm' AS source_id, i::VARCHAR AS native_id, now() AS synced_at, false AS is_test"
FILL = f"""
INSERT INTO users BY NAME SELECT 'crm:u' || i AS id, 'crm' AS source_id, 'u' || i AS native_id, 'Seller ' || i AS name,
  'seller' AS role, true AS is_active, now() AS synced_at, false AS is_test FROM range(500) r(i);
INSERT INTO accounts BY NAME SELECT {KEY}, 'Account ' || i AS name, 'crm:u' || (hash(i) % 500) AS owner_id,
  ['prospect', 'customer'][1 + (hash(i * 3) % 2)::BIGINT] AS lifecycle, TIMESTAMPTZ '2020-01-01' AS created_at,
  CASE WHEN lifecycle = 'customer' THEN TIMESTAMPTZ '2023-01-01' END AS became_customer_at FROM range({{accounts}}) r(i);
INSERT INTO leads BY NAME SELECT {KEY}, 'crm:u' || (hash(i * 7) % 500) AS owner_id,
  TIMESTAMPTZ '2021-01-01' + to_seconds((i * 126230400.0 / {{accounts}})::BIGINT) AS created_at,
  CASE WHEN hash(i * 3) % 5 = 0 THEN created_at + to_seconds((hash(i * 5) % 7776000)::BIGINT) END AS converted_at,
  CASE WHEN converted_at IS NOT NULL THEN 'crm:' || i END AS converted_account_id FROM range({{accounts}}) r(i);
INSERT INTO deals BY NAME SELECT * EXCLUDE (closed) FROM (SELECT {KEY}, 'crm:u' || (hash(i * 7) % 500) AS owner_id,
  'crm:' || (hash(i * 13) % {{accounts}}) AS account_id, ['won', 'lost', 'lost', 'open'][1 + (hash(i * 3) % 4)::BIGINT] AS state,
  ((hash(i * 11) % 1000000) / 100)::DECIMAL(20, 6) AS amount, 'EUR' AS currency,
  ['price', 'timing', 'rival', NULL][1 + (hash(i * 17) % 4)::BIGINT] AS loss_reason,
  TIMESTAMPTZ '2021-01-01' + to_seconds((i * 126230400.0 / {{deals}})::BIGINT) AS closed,
  closed - to_seconds((hash(i * 5) % 10368000)::BIGINT) AS created_at,
  CASE WHEN state = 'open' THEN NULL ELSE closed END AS closed_at FROM range({{deals}}) r(i));
INSERT INTO activities BY NAME SELECT {KEY}, 'crm:u' || (hash(i * 7) % 500) AS owner_id,
  'crm:' || (hash(i * 13) % {{accounts}}) AS account_id,
  CASE WHEN i % 10 = 0 THEN 'crm:' || (hash(i * 19) % {{accounts}}) END AS lead_id,
  ['call', 'meeting', 'email'][1 + (hash(i) % 3)::BIGINT] AS type, 'outbound' AS direction, 'completed' AS status,
  TIMESTAMPTZ '2021-01-01' + to_seconds((i * 126230400.0 / {{activities}})::BIGINT) AS occurred_at, occurred_at AS ended_at,
  occurred_at - INTERVAL 2 DAY AS created_at, false AS is_automated FROM range({{activities}}) r(i)
"""
SETS = "GROUP BY GROUPING SETS ((month, owner_id), (month))"
MONTH = f"date_trunc('month', timezone('{ZONE}', {{0}})) AS month"
WITHIN = "{0} >= TIMESTAMPTZ '2023-12-31 23:00:00+00' AND {0} < TIMESTAMPTZ '2024-12-31 23:00:00+00'"
MONTHS = f"""(SELECT timezone('{ZONE}', m::TIMESTAMP) AS s, timezone('{ZONE}', m::TIMESTAMP + INTERVAL 1 MONTH) AS e, m AS month
  FROM range(DATE '2024-01-01', DATE '2025-01-01', INTERVAL 1 MONTH) r(m))"""
DAYS = f"timezone('{ZONE}', closed_at)::DATE - timezone('{ZONE}', created_at)::DATE"
MEETING = "type = 'meeting' AND status = 'completed'"
HAND = (
    f"""SELECT {MONTH.format("closed_at")}, owner_id, count(*) FILTER (WHERE state = 'won'),
  count(*) FILTER (WHERE state = 'lost'), sum(amount) FILTER (WHERE state = 'won'),
  count(*) FILTER (WHERE state IN ('won', 'lost')), count(amount) FILTER (WHERE state = 'won'),
  median({DAYS}) FILTER (WHERE state = 'won'), avg({DAYS}) FILTER (WHERE state = 'won'), count(*) FILTER (WHERE amount < 0),
  count(*) FILTER (WHERE state = 'won' AND closed_at < created_at), count(DISTINCT account_id) FILTER (WHERE state = 'won')
FROM deals WHERE {WITHIN.format("closed_at")} {SETS}""",
    f"""SELECT {MONTH.format("occurred_at")}, owner_id, type, count(*) FROM activities WHERE {WITHIN.format("occurred_at")}
  GROUP BY GROUPING SETS ((month, owner_id, type), (month, type))""",
    f"""SELECT {MONTH.format("ended_at")}, a.owner_id, count(*), count(*) FILTER (WHERE c.lifecycle = 'prospect'
  OR c.became_customer_at > a.ended_at) FROM activities a LEFT JOIN accounts c ON c.id = a.account_id
  WHERE {MEETING} AND {WITHIN.format("ended_at")} GROUP BY GROUPING SETS ((month, a.owner_id), (month))""",
    f"""SELECT m.month, u.id, count(*) FROM {MONTHS} m, users u WHERE u.role = 'seller' AND coalesce(u.active_from, m.s) < m.e
  AND coalesce(u.active_to, m.e) > m.s GROUP BY GROUPING SETS ((m.month, u.id), (m.month))""",
    f"""SELECT {MONTH.format("created_at")}, owner_id, count(*),
  count(*) FILTER (WHERE converted_at <= created_at + INTERVAL 90 DAY)
  FROM leads WHERE {WITHIN.format("created_at")} {SETS}""",
    f"""SELECT m.month, c.owner_id, count(DISTINCT c.id), count(DISTINCT c.id) FILTER (WHERE d.account_id IS NOT NULL)
  FROM {MONTHS} m JOIN accounts c ON c.created_at < m.e AND (c.became_customer_at IS NULL OR c.became_customer_at >= m.s)
  LEFT JOIN deals d ON d.account_id = c.id AND d.state = 'won' AND d.closed_at >= m.s AND d.closed_at < m.e
  GROUP BY GROUPING SETS ((m.month, c.owner_id), (m.month))""",
    f"""SELECT {MONTH.format("l.created_at")}, l.owner_id, count(*), median(epoch(f.first - l.created_at)), count(f.first)
  FROM leads l LEFT JOIN (SELECT a.lead_id, min(a.occurred_at) AS first FROM activities a JOIN leads k ON k.id = a.lead_id
    WHERE a.direction = 'outbound' AND NOT a.is_automated AND a.occurred_at >= k.created_at
    GROUP BY a.lead_id) f ON f.lead_id = l.id
  WHERE {WITHIN.format("l.created_at")} GROUP BY GROUPING SETS ((month, l.owner_id), (month))""",
    f"""SELECT m.month, d.owner_id, count(*) FROM {MONTHS} m JOIN deals d ON d.created_at < m.e
  AND (d.closed_at >= m.s OR (d.closed_at IS NULL AND d.state = 'open'))
  GROUP BY GROUPING SETS ((m.month, d.owner_id), (m.month))""",
    f"""SELECT m.month, d.owner_id, count(*) FROM {MONTHS} m JOIN deals d ON d.created_at < m.e
  AND (d.closed_at >= m.e OR (d.closed_at IS NULL AND d.state = 'open'))
  GROUP BY GROUPING SETS ((m.month, d.owner_id), (m.month))""",
    f"""SELECT {MONTH.format("closed_at")}, owner_id, coalesce(loss_reason, 'unknown') AS reason, count(*) FROM deals
  WHERE state = 'lost' AND {WITHIN.format("closed_at")} GROUP BY GROUPING SETS ((month, owner_id, reason), (month, reason))""",
)


def make_warehouse(file: Path, deals: int, activities: int) -> DuckDBWarehouse:
    """A warehouse of invented records over four years, in order of time; one that is there already is taken."""
    is_new = not file.exists()
    warehouse = open_duckdb(file)
    if is_new:
        for statement in FILL.format(deals=deals, activities=activities, accounts=max(deals // 10, 100)).split(";"):
            warehouse._writer.execute(statement).fetchall()
        with warehouse.batch() as batch:
            for entity in ("users", "accounts", "leads", "deals", "activities"):
                batch.save_watermark(Watermark("crm", entity, None, NOW, NOW))
    return warehouse


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of a piece of work, of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


class Bench:
    """The needs of a warehouse, and what it takes to answer them."""

    def __init__(self, warehouse: DuckDBWarehouse) -> None:
        self.kpis = load_plugins().kpis
        self.warehouse = warehouse
        self.setup = MetricsSetup(warehouse, self.kpis, Calendar(ZONE), "EUR")
        mine = [kpi for kpi in self.kpis.values() if kpi.category in CATEGORIES]
        self.needs = [SeriesNeed(kpi.id, "month", by) for kpi in mine for by in ((), ("owner",))]

    def asks(self, needs: Sequence[SeriesNeed], start: datetime, end: datetime) -> list[Ask]:
        """The needs made concrete."""
        run = _Run(self.setup, NOW)
        return [
            replace(run.ask(need), periods=tuple(periods_between("month", start, end, self.setup.calendar))) for need in needs
        ]

    def prepared(self, needs: Sequence[SeriesNeed], start: datetime, end: datetime) -> list[tuple[str, list]]:
        """The SQL of the fused plan."""
        setting = _Run(self.setup, NOW)._setting()
        return [prepare(scan, setting, "duckdb")[1:] for scan in make_plan(self.asks(needs, start, end)).scans]

    def scans(self, plan: Sequence[tuple[str, list]]) -> None:
        """Run them."""
        for sql, parameters in plan:
            self.warehouse.query(sql, parameters)

    def by_hand(self) -> None:
        """Run the hand-written side."""
        for sql in HAND:
            self.warehouse.query(sql)


def compare(bench: Bench) -> bool:
    """The plan beside the hand-written SQL, one month beside the year, one more KPI."""
    few = [need for need in bench.needs if need.kpi in {"won_deals", "won_amount"}]
    more = [need for need in bench.needs if need.kpi in {"won_deals", "won_amount", "lost_deals"}]
    plans = {
        "plan": bench.prepared(bench.needs, *YEAR),
        "month": bench.prepared(bench.needs, *JUNE),
        "few": bench.prepared(few, *YEAR),
        "more": bench.prepared(more, *YEAR),
    }
    sides = {"by hand": bench.by_hand, **{name: partial(bench.scans, plan) for name, plan in plans.items()}}
    runs: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(REPEATS + 1):
        for name, work in sides.items():
            took = cpu(work)
            if repeat:
                runs[name].append(took)
    middle = {name: statistics.median(values) for name, values in runs.items()}
    for name in ("by hand", "plan", "month"):
        print(f"  {name:8} CPU {middle[name]:7.2f} s ({min(runs[name]):.2f}-{max(runs[name]):.2f})")
    ratios = [one / other for one, other in zip(runs["plan"], runs["by hand"], strict=True)]
    is_kept = told("plan / by hand", statistics.median(ratios), 1.3, f"{min(ratios):.2f}-{max(ratios):.2f}")
    ratios = [one / year for one, year in zip(runs["month"], runs["plan"], strict=True)]
    is_kept &= told("one changed month / year", statistics.median(ratios), 0.15, f"{min(ratios):.2f}-{max(ratios):.2f}")
    print(f"  one changed month / the year by hand: {middle['month'] / middle['by hand']:.2f}")
    return is_kept & told("one more KPI / its scan", (middle["more"] - middle["few"]) / middle["few"], 0.10)


def planning(bench: Bench) -> bool:
    """Planning and compiling of all KPIs, when it has been done before."""
    needs = [
        SeriesNeed(kpi.id, "month", by)
        for kpi in bench.kpis.values()
        for by in {(), ("owner",) if "owner" in kpi.dimensions else ()}
    ]
    bench.prepared(needs, *YEAR)
    took = statistics.median(cpu(lambda: bench.prepared(needs, *YEAR)) for _ in range(5))
    return told(f"plan and compile of {len(needs)} needs, warm, ms", took * 1000, 100)


def appending(bench: Bench) -> bool:
    """Figures into the history on SQLite, and how long making them takes."""
    run, asks = _Run(bench.setup, NOW), bench.asks(bench.needs, *YEAR)
    before = cpu(lambda: bench.scans(bench.prepared(bench.needs, *YEAR)))
    found: dict = {}
    whole = cpu(lambda: found.update(run.measure(asks)))
    figures = {key: [one for one, _ in some] for key, some in found.items()}
    number = sum(map(len, figures.values()))
    beyond = whole - before
    print(f"  {number:,} figures made in {beyond:.2f} s CPU beyond the scans ({beyond / number * 1e6:.0f} us each)")
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/state.db")
        began = time.process_time()
        with store.write() as conn:
            for ask in asks:
                history.append(conn, ask.need, figures[ask.need.key], periods=ask.periods, definition="x", now=NOW)
        rate = number / (time.process_time() - began)
        store.close()
    print(f"  history: {rate:,.0f} figures per second of CPU appended; bar 20,000: {'kept' if rate >= 20_000 else 'MISSED'}")
    return rate >= 20_000


def told(what: str, value: float, bar: float, spread: str = "") -> bool:
    """Print a figure and its bar."""
    print(f"  {what}: {value:.2f}{f' ({spread})' if spread else ''}; bar {bar}: {'kept' if value <= bar else 'MISSED'}")
    return value <= bar


def main() -> int:
    """Print everything; 1 if a bar is missed."""
    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    activities = int(sys.argv[2]) if len(sys.argv) > 2 else 5 * deals
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(scratch)
        costs: list[tuple[int, float]] = []
        is_kept = True
        for share in (100, 10, 1):
            size = deals // share
            warehouse = make_warehouse(folder / f"bench-{size}.duckdb", size, activities // share)
            bench = Bench(warehouse)
            plan = bench.prepared(bench.needs, *YEAR)
            bench.scans(plan)
            costs.append((size, statistics.median(cpu(partial(bench.scans, plan)) for _ in range(REPEATS))))
            if share == 1:
                print(f"{deals:,} deals, {activities:,} activities; {len(bench.needs)} needs, 12 months x 500 owners")
                is_kept &= compare(bench) & planning(bench) & appending(bench)
            warehouse.close()
    print("  growth: " + ", ".join(f"{size:,} deals {took:.2f} s" for size, took in costs))
    is_kept &= told("cost per deal, largest / middle", (costs[2][1] / costs[2][0]) / (costs[1][1] / costs[1][0]), 1.1)
    is_kept &= told("peak memory of the process, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1024)
    return not is_kept


if __name__ == "__main__":
    sys.exit(main())
