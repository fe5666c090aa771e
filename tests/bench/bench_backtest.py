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
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from kpid.alerting.backtest import Backtest, backtest
from kpid.alerting.replay import Past
from kpid.alerting.rules import plan_of
from kpid.analysis.intervals import rate_interval
from kpid.analysis.periods import periods_between
from kpid.model import Measurement, MeasurementState, Segment
from tests.alerting.test_rulechecks import RULES, TEST
from tests.alerting.world import CALENDAR, WIN_RATE, rule

TESTS, WEEKS, SERIES = 1_000, 104, 100
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


def tried(past: Past, **said: object) -> Backtest:
    """A backtest of the win rate's rule."""
    return backtest(rule(**said), lambda changed: plan_of(changed, WIN_RATE), past, PERIODS, CALENDAR)


def main() -> None:
    """Print the figures."""
    timed(f"{TESTS:,} rule tests (the whole command)", rule_tests)
    print(PEER)
    past = Past(figures())
    for name, said in (("plain", {}), ("four guards", GUARDED), ("significance", {"min_sample": 20, "significance": "5%"})):

        def run(said: dict[str, object] = said) -> str:  # type: ignore[assignment]
            found = tried(past, **said)
            walks = 1 + len(found.without) + (found.unguarded is not None)
            return f"{walks} walks, {found.evaluations:,} evaluations each, {len(found.run.episodes)} episodes"

        timed(f"backtest of {WEEKS} weeks x {SERIES} series, {name}", run)


if __name__ == "__main__":
    main()
