"""How fast rules are judged: ``python -m tests.bench.bench_alerting``. Wall time of reading, judging and storing; peak memory.

One rule over 10,000 series, 10,000 rules of one series each, and 10,000 rules with nothing to do; on SQLite, synced to disk.
"""

from __future__ import annotations

import gc
import resource
import sys
import tempfile
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from kpid.alerting.evaluate import AlertingSetup, EvaluateResult, evaluate_rules
from kpid.alerting.rules import need_of
from kpid.config.model import Rule
from kpid.model import Measurement, MeasurementState, Notice, Period, Segment
from kpid.plugin.notifier import Message
from kpid.store import history
from kpid.store.engine import Store
from tests.alerting.world import CALENDAR, DEALS, WIN_RATE, rule, week

SERIES = RULES = 10_000
HOUR = timedelta(hours=1)
KPIS = {"win_rate": WIN_RATE, "deals": DEALS}


def compose(notice: Notice) -> Message:
    """As short as can be: judging is measured, not writing."""
    return Message(key="", kind="alert", title=f"{notice.rule}: {len(notice.items)}", text="", created_at=notice.now)


def figure(one: Rule, period: Period, number: int, bad: bool) -> Measurement:
    """24 % or 30 % of 400 won."""
    dims = (Segment("owner", f"crm:{number}", f"Owner {number}"),) if one.by else ()
    won = 96 if bad else 120
    return Measurement(
        one.kpi, period, MeasurementState.OK, Decimal(won) / 400, 400, dims, numerator=Decimal(won), denominator=Decimal(400),
        as_of=period.end, data_through=period.end,
    )  # fmt: skip


def put(store: Store, one: Rule, period: Period, bad: range | None) -> None:
    """Measure a period of every series of a rule."""
    need = need_of(one, KPIS[one.kpi])
    numbers = range(SERIES) if one.by else range(1)
    found = [figure(one, period, number, bad is not None and number in bad) for number in numbers]
    with store.write() as conn:
        history.append(conn, need, found, periods=[period], definition="d", now=period.end)
        history.save_family(conn, need, "d", 1, period.end)


def judged(name: str, store: Store, rules: list[Rule], period: Period) -> EvaluateResult:
    """Judge once, and say how long it took."""
    setup = AlertingSetup(rules, KPIS, CALENDAR, {"team": ("ada@example.com",)}, compose, {})
    started, cpu = time.perf_counter(), time.process_time()
    result = evaluate_rules(setup, store=store, now=period.end + HOUR)
    took, used = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    counted = f"{result.evaluations:6,} evaluations {result.events:6,} events"
    print(f"{name:44} {took:6.2f} s  {used:6.2f} s CPU  {counted}  peak {peak} MB", flush=True)
    return result


def many_series(folder: Path, what: str, earlier: int = 0, **more: object) -> None:
    """One rule, 10,000 series: first quiet, then a tenth fires, then nearly all of them, then nothing new."""
    store = Store(f"sqlite:///{folder}/{what}.db")
    store.create()
    one = rule(critical="< 20%", catch_up=1, **more)
    for number in range(2, 2 + earlier):
        put(store, one, week(number), None)
    first = 2 + earlier
    for number, bad in ((first, None), (first + 1, range(SERIES // 10)), (first + 2, range(SERIES))):
        put(store, one, week(number), bad)
        judged(f"1 rule x {SERIES:,} series, {what}, week {number}", store, [one], week(number))
    judged(f"1 rule x {SERIES:,} series, {what}, nothing new", store, [one], week(first + 2))
    store.close()


def many_rules(folder: Path) -> None:
    """10,000 rules of one series each, every one with a family of its own."""
    store = Store(f"sqlite:///{folder}/rules.db")
    store.create()
    rules = [rule(name=f"r{number}", by=[], where={"team": [f"t{number}"]}) for number in range(RULES)]
    for number, bad in ((2, None), (3, range(1))):
        for place, one in enumerate(rules):
            put(store, one, week(number), bad if place < RULES // 100 else None)
        judged(f"{RULES:,} rules, week {number}", store, rules, week(number))
    judged(f"{RULES:,} rules, nothing new", store, rules, week(3))
    store.close()


def main(what: str = "") -> None:
    """All of it, or one part: ``series``, ``guarded``, ``rules``."""
    with tempfile.TemporaryDirectory() as folder:
        if what in {"", "series"}:
            many_series(Path(folder), "plain")
        if what in {"", "guarded"}:
            many_series(Path(folder), "guarded", 8, significance="5%", baseline=8)
        if what in {"", "rules"}:
            many_rules(Path(folder))


if __name__ == "__main__":
    gc.set_threshold(100_000, 20, 20)  # as the program does
    main(sys.argv[1] if len(sys.argv) > 1 else "")
