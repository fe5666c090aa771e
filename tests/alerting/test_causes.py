"""Alerts say what moved the value: from cuts that the rule keeps in history beside its own figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.rules import needs_of, why_needs
from kpid.model import Cause, Measurement, MeasurementState, Notice, Segment
from kpid.plugin.kpi import Definition, Measure, quantile
from kpid.reporting.render import Renderer
from kpid.store import history
from tests.alerting.world import CALENDAR, DEALS, WIN_RATE, World, compose, rule, week
from tests.reporting.weeks import shipped_templates

TOTAL: dict[str, Any] = {"by": [], "warn": "< 50%"}


def test_rule_of_a_total_keeps_its_main_dimensions() -> None:
    own, *cuts = needs_of(rule(by=[], where={"region": ["EMEA"]}), WIN_RATE)
    assert own.by == ()
    assert [need.by for need in cuts] == [("owner",), ("team",)]
    assert {need.where for need in cuts} == {own.where}
    assert all(need.periods < own.periods for need in cuts), "what only explains is not kept long"


def test_rule_by_owner_is_explained_within_each_owner() -> None:
    assert [need.by for need in needs_of(rule(), WIN_RATE)] == [("owner",), ("owner", "team")]


def test_dimension_that_the_rule_fixes_explains_nothing() -> None:
    assert [need.by for need in needs_of(rule(by=[], where={"owner": ["Ada"]}), WIN_RATE)] == [(), ("team",)]


@pytest.mark.parametrize("by", [["account"], ["owner", "team"]])
def test_rules_of_many_series_keep_no_pairs(by: list[str]) -> None:
    kpi = replace(WIN_RATE, dimensions=("owner", "team", "account"))
    assert len(needs_of(rule(by=by), kpi)) == 1


def test_median_keeps_nothing_more() -> None:
    closed = next(iter(WIN_RATE.definition({}).measures.values()))
    middle = Definition({"m": Measure(closed.entity, closed.clock, quantile(0.5, closed.entity.c.amount))}, lambda m: m.m)
    assert why_needs(rule(by=[]), WIN_RATE, middle) == ()


# ---- a story
class Story:
    """A rule on the total win rate, with cuts by owner and team in history."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self.rule = rule(**{**TOTAL, **given})
        self.notices: list[Notice] = []
        self.world = World(folder, [self.rule], compose=self._compose)

    def _compose(self, notice: Notice) -> Any:
        self.notices.append(notice)
        return compose(notice)

    def put(self, number: int, cuts: dict[tuple[str, ...], dict[tuple[str, ...], Any]]) -> None:
        """Figures of a week: by dimensions, by segment: ``(won, closed)`` or a count."""
        for need in needs_of(self.rule, self._kpi()):
            found = [self._measured(number, need.by, ids, value) for ids, value in cuts.get(need.by, {}).items()]
            with self.world.store.write() as conn:
                history.append(conn, need, found, periods=[week(number)], definition="d", now=week(number).end)
                history.save_family(conn, need, "d", 1, week(number).end)

    def _kpi(self) -> Any:
        return {"win_rate": WIN_RATE, "deals": DEALS}[self.rule.kpi]

    def _measured(self, number: int, by: tuple[str, ...], ids: tuple[str, ...], value: Any) -> Measurement:
        dims = tuple(Segment(name, f"crm:{one}", one.title()) for name, one in sorted(zip(by, ids, strict=True)))
        plain = Measurement(self.rule.kpi, week(number), MeasurementState.OK, None, 0, dims, as_of=week(number).end)
        plain = replace(plain, data_through=week(number).end)
        if isinstance(value, int):
            return replace(plain, value=Decimal(value), n=value)
        won, closed = map(Decimal, value)
        interval = {"low": won / closed - Decimal("0.05"), "high": won / closed + Decimal("0.05")}
        return replace(plain, value=won / closed, n=int(closed), numerator=won, denominator=closed, **interval)

    def judge(self, number: int) -> tuple[Cause, ...]:
        self.world.evaluate(week(number).end + timedelta(hours=1))
        return self.notices[-1].items[0].causes if self.notices else ()


def _weeks(**owners: tuple[int, int]) -> dict[tuple[str, ...], dict[tuple[str, ...], Any]]:
    total = tuple(sum(pair[side] for pair in owners.values()) for side in (0, 1))
    return {(): {(): total}, ("owner",): {(name,): pair for name, pair in owners.items()}, ("team",): {("north",): total}}


def test_alert_names_the_owner_who_moved_it(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.put(1, _weeks(ada=(30, 50), bob=(30, 50)))
    story.put(2, _weeks(ada=(29, 50), bob=(9, 50)))
    (first, *others) = story.judge(2)
    assert (first.dimension, first.segment, first.n) == ("owner", "Bob", 50)
    assert first.effect == Decimal("-0.21")
    assert [cause.segment for cause in others] == ["Ada"]
    (item,) = story.notices[-1].items
    assert (item.low, item.high) == (Decimal("0.33"), Decimal("0.43"))


def test_series_is_explained_within_itself(tmp_path: Path) -> None:
    story = Story(tmp_path, by=["team"], kpi="deals", warn="< 50")
    for number, counts in {1: (40, 40), 2: (38, 5)}.items():
        cells = {("ada", "north"): counts[0], ("bob", "north"): counts[1], ("cyd", "west"): 99}
        story.put(
            number,
            {("team",): {("north",): sum(counts), ("west",): 99}, ("team", "owner"): {k[::-1]: v for k, v in cells.items()}},
        )
    causes = story.judge(2)
    assert [item.segment for item in story.notices[-1].items] == ["North"]
    assert [(cause.segment, cause.effect) for cause in causes] == [("Bob", -35), ("Ada", -2)]


def test_value_that_rose_and_is_still_low_has_no_cause_in_its_change(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.put(1, _weeks(ada=(10, 50), bob=(10, 50)))
    story.put(2, _weeks(ada=(19, 50), bob=(20, 50)))
    assert story.judge(2) == ()
    assert story.notices


def test_cuts_that_are_not_there_are_no_reason_to_be_silent(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.put(1, {(): {(): (60, 100)}})
    story.put(2, {(): {(): (30, 100)}})
    assert story.judge(2) == ()
    assert story.notices[-1].items[0].kind == "fired"


def test_parts_that_do_not_add_up_are_not_told(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.put(1, _weeks(ada=(30, 50), bob=(30, 50)))
    story.put(2, {(): {(): (30, 100)}, ("owner",): {("ada",): (30, 90), ("bob",): (30, 90)}})
    assert story.judge(2) == ()


def test_message_says_margin_and_causes_in_words_and_as_data(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.put(1, _weeks(ada=(30, 50), bob=(30, 50)))
    story.put(2, _weeks(ada=(29, 50), bob=(9, 50)))
    story.judge(2)
    message = Renderer(shipped_templates(), {}, CALENDAR).alert(story.notices[-1])
    said = " ".join(message.text.split())
    assert "Margin 33.0% to 43.0% (95 %)" in said
    assert "Moved by owner Bob accounts for −21.0 pt (from 60.0% to 18.0% on 50" in said
    (item,) = message.facts["items"]
    assert item["low"] == "0.33"
    assert item["causes"][0]["effect"] == "-0.21"
    assert item["causes"][0]["segment"] == "Bob"


def test_several_series_tell_their_first_cause_in_a_line(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.put(1, _weeks(ada=(30, 50), bob=(30, 50)))
    story.put(2, _weeks(ada=(29, 50), bob=(9, 50)))
    story.judge(2)
    (item,) = story.notices[-1].items
    two = replace(story.notices[-1], by=("owner",), items=(item, replace(item, segment="Other", series_key="o", causes=())))
    said = " ".join(Renderer(shipped_templates(), {}, CALENDAR).alert(two).text.split())
    assert said.count("accounts for") == 1
    assert "33.0% to 43.0% (95 %)" in said
