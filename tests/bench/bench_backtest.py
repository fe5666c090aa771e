"""How fast rules are tried: ``python -m tests.bench.bench_backtest``. 1,000 rule tests; a backtest of 104 weeks x 100 series.

A backtest is one walk for the rule as it is, and one for each of its guards. Bars: 2.5 s for the tests, 1 s for a walk.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import insert

from kpid.alerting.absence import past_figures
from kpid.alerting.absence import plan_of as plan_of_absence
from kpid.alerting.backtest import Backtest, backtest, periods_of
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.replay import Past
from kpid.alerting.rules import plan_of
from kpid.analysis.intervals import rate_interval
from kpid.analysis.periods import periods_between
from kpid.config.alerting import Rule
from kpid.model import Measurement, MeasurementState, Segment
from kpid.store.engine import Store
from kpid.store.tables import sync_runs
from tests.alerting.test_rulechecks import RULES, TEST
from tests.alerting.world import CALENDAR, WIN_RATE, compose, rule

TESTS, STEPPED, WEEKS, SERIES = 1_000, 100, 104, 100
PERIODS = periods_between("week", datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC), CALENDAR)[:WEEKS]
GUARDED = {"min_sample": 20, "recover": ">= 30%", "for": "2x", "keep_firing_for": "1x"}
PEER = "promtool test rules: 23.6 s for 1,000 tests on a machine of two cores"


def figures() -> list[Measurement]:
    """Win rates of 40 % that scatter as chance has it, over 5 to 60 deals."""
    chance = random.Random(7)
    found = []
    for number in range(SERIES):
        dims = (Segment("owner", f"crm:{number}", f"Owner {number}"),)
        for period in PERIODS:
            n = chance.randint(5, 60)
            won = sum(chance.random() < 0.4 for _ in range(n))
            low, high = rate_interval(won, n) or (0.0, 1.0)
            found.append(
                Measurement(
                    "win_rate", period, MeasurementState.OK, Decimal(won) / n, n, dims, numerator=Decimal(won),
                    denominator=Decimal(n), as_of=period.end, data_through=period.end, low=Decimal(low), high=Decimal(high),
                )
            )  # fmt: skip
    return found


def timed(name: str, work: Callable[[], str]) -> None:
    """Do it, and say how long it took."""
    started, cpu = time.perf_counter(), _cpu()
    said = work()
    print(f"{name:<58} {time.perf_counter() - started:6.2f} s   cpu {_cpu() - cpu:5.2f} s   {said}")


def _cpu() -> float:
    """Seconds of this process and of those that it has waited for."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)


def rule_tests() -> str:
    """A file of 1,000 tests of seven weeks each, by the command, its start included."""
    body = TEST.split("tests:\n")[1]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yml").write_text(RULES)
        many = "".join(body.replace("two bad weeks", f"{number} times two bad weeks") for number in range(TESTS))
        (Path(folder) / "tests.yml").write_text(TEST.split("  - name")[0] + many)
        command = [sys.executable, "-m", "kpid", "test", "tests.yml"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


STEPS = """
routes: [{match: {}, to: [team], group_wait: 30s, repeat: off, escalate: [{after: 4h, to: [lead]}]}]
tests:
"""
STEP = """
  - name: NUMBER times taken up
    rule: close_rate_low
    start: 2026-01-05
    series: [{owner: ana, value: 0.31 0.24 0.19 0.19 0.35 0.30 0.30, n: 400x4 3 400x2}]
    do: [{at: 3, after: 2h, ack: ana}]
    expect: {3: {ana: firing warn acked}, 7: {ana: ok}}
"""


def tests_with_steps() -> str:
    """A file of 100 tests with a step, on a store in memory."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yml").write_text(RULES)
        many = "".join(STEP.replace("NUMBER", str(number)) for number in range(STEPPED))
        (Path(folder) / "tests.yml").write_text("rules: [rules.yml]" + STEPS + many)
        command = [sys.executable, "-m", "kpid", "test", "tests.yml"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def silence() -> None:
    """A backtest of a rule on absence: 30 days of five sources that are synced every quarter of an hour, four entities each."""
    said = Rule.model_validate(
        {"name": "silent", "absence": {"source": "all", "after": "2x"}, "critical_after": "12h", "to": ["team"]}
    )
    chance, store = random.Random(7), Store("sqlite://")
    store.create()
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
    rows = []
    for quarter in range(30 * 24 * 4):
        at = begin + quarter * timedelta(minutes=15)
        for source in range(5):
            state = "done" if chance.random() < 0.97 - 0.9 * (quarter % 300 > 285) else "failed"
            common = {"source": f"s{source}", "started_at": at, "finished_at": at, "state": state, "rows": 0, "changed": 0}
            rows += [
                {**common, "deletes": 0, "warnings": [], "entity": entity} for entity in ("deals", "users", "accounts", "stages")
            ]
    expected = {f"source:s{source}": timedelta(minutes=15) for source in range(5)}
    setup = AlertingSetup((said,), {}, CALENDAR, {}, compose, {}, expected=expected)
    with store.write() as conn:
        conn.execute(insert(sync_runs), rows)
    periods = periods_of(plan_of_absence(said), begin, end, CALENDAR)

    def run() -> str:
        with store.read() as conn:
            past = Past(past_figures(conn, plan_of_absence(said), periods, setup))
        found = backtest(said, plan_of_absence, past, periods, CALENDAR, setup)
        return f"{len(rows):,} syncs, {found.evaluations:,} evaluations, {len(found.run.episodes)} episodes"

    timed("backtest of 30 days of silence, 5 sources", run)


def tried(past: Past, **said: object) -> Backtest:
    """A backtest of the win rate's rule."""
    return backtest(rule(**said), lambda changed: plan_of(changed, WIN_RATE), past, PERIODS, CALENDAR)


def main() -> None:
    """Print the figures."""
    timed(f"{TESTS:,} rule tests (the whole command)", rule_tests)
    print(PEER)
    timed(f"{STEPPED:,} rule tests with a step, seven weeks each", tests_with_steps)
    silence()
    past = Past(figures())
    for name, said in (("plain", {}), ("four guards", GUARDED), ("significance", {"min_sample": 20, "significance": "5%"})):

        def run(said: dict[str, object] = said) -> str:  # type: ignore[assignment]
            found = tried(past, **said)
            walks = 1 + len(found.without) + (found.unguarded is not None)
            return f"{walks} walks, {found.evaluations:,} evaluations each, {len(found.run.episodes)} episodes"

        timed(f"backtest of {WEEKS} weeks x {SERIES} series, {name}", run)


if __name__ == "__main__":
    main()
