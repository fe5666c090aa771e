"""What judging costs in statements and transactions: as much for many as for few. Seconds are for the benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import event

from kpid.alerting.evaluate import AlertingSetup, evaluate_rules
from kpid.alerting.rules import need_of
from kpid.config.model import Rule
from kpid.store import history
from kpid.store.engine import Store
from tests.alerting.world import CALENDAR, WIN_RATE, rule, week
from tests.bench.bench_alerting import compose, figure


def cost_of(folder: Path, rules: Sequence[Rule], series: int) -> Counter[str]:
    """Statements and transactions of a slot in which all series begin to fire, after one in which all was well."""
    folder.mkdir()
    store = Store(f"sqlite:///{folder}/kpid.db")
    store.create()
    setup = AlertingSetup(rules, {"win_rate": WIN_RATE}, CALENDAR, {"team": ("ada@example.com",)}, compose, {})
    found: Counter[str] = Counter()
    for engine in (store.engine, store._reader):
        event.listen(engine, "before_cursor_execute", lambda *_: found.update(["statements"]))
        event.listen(engine, "commit", lambda *_: found.update(["commits"]))
    for number, bad in ((2, False), (3, True)):
        period = week(number)
        for one in rules:
            figures = [figure(one, period, place, bad) for place in range(series)]
            with store.write() as conn:
                history.append(conn, need_of(one, WIN_RATE), figures, periods=[period], definition="d", now=period.end)
                history.save_family(conn, need_of(one, WIN_RATE), "d", 1, period.end)
        found.clear()
        result = evaluate_rules(setup, store=store, now=period.end + timedelta(hours=1))
        assert result.failed == ()
        assert result.events == (series * len(rules) if bad else 0)
    store.close()
    return found


def test_many_series_take_as_many_statements_as_few(tmp_path: Path) -> None:
    one = rule(critical="< 25%", catch_up=1)
    few, many = cost_of(tmp_path / "few", [one], 3), cost_of(tmp_path / "many", [one], 60)
    assert few == many
    assert many["commits"] < 20


def test_many_rules_are_judged_in_one_transaction(tmp_path: Path) -> None:
    rules = [rule(name=f"r{place}", critical="< 25%", catch_up=1, by=[], where={"team": [f"t{place}"]}) for place in range(40)]
    few, many = cost_of(tmp_path / "few", rules[:2], 1), cost_of(tmp_path / "many", rules, 1)
    assert few["commits"] == many["commits"]
