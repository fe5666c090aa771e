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


# ---- against what the rule compares with
NAMES = ("ada", "bob")


def _told(folder: Path, weeks: list[tuple[Any, Any]], **given: Any) -> tuple[Story, tuple[Cause, ...]]:
    """The story of these weeks by owner, and the causes told in the last one."""
    story = Story(folder, **given)
    for number, pairs in enumerate(weeks, 1):
        story.put(number, _week_of(*pairs))
    return story, story.judge(len(weeks))


def _week_of(*parts: Any) -> dict[tuple[str, ...], dict[tuple[str, ...], Any]]:
    owners = dict(zip(NAMES, parts, strict=True))
    if isinstance(parts[0], tuple):
        return _weeks(**owners)
    return {(): {(): sum(parts)}, ("owner",): {(name,): value for name, value in owners.items()}}


def test_drop_against_an_average_is_explained_against_that_average(tmp_path: Path) -> None:
    """Bob has been falling for weeks: against the week before Ada seems to be the cause, against the average it is Bob."""
    weeks = [((30, 50), (30, 50)), ((30, 50), (30, 50)), ((31, 50), (30, 50)), ((40, 50), (14, 50)), ((30, 50), (14, 50))]
    story, causes = _told(tmp_path, weeks, warn="drop > 15% vs avg(4)")
    (item,) = story.notices[-1].items
    assert item.moved_from == "the average of 4 weeks"
    assert causes[0].segment == "Bob"
    assert sum((cause.effect for cause in causes), Decimal(0)) == Decimal("0.44") - (item.baseline or 0)
    assert causes[0].value_was == Decimal("0.52")
    assert causes[0].n_was == 50, "what one of these weeks had on average"
    text = Renderer(shipped_templates(), {}, CALENDAR).alert(story.notices[-1]).text
    assert "vs the average of 4 weeks: owner Bob accounts for −12.0 pt (from 52.0% to 28.0% on 50" in " ".join(text.split())


def test_count_against_a_median_is_explained_against_the_weeks_in_the_middle(tmp_path: Path) -> None:
    weeks = [(60, 40), (50, 40), (90, 70), (52, 40), (50, 5)]
    story, causes = _told(tmp_path, weeks, kpi="deals", warn="drop > 30% vs median(4)")
    (item,) = story.notices[-1].items
    assert item.baseline == 96
    assert item.moved_from == "the median of 4 weeks"
    assert {cause.segment: cause.effect for cause in causes} == {"Bob": -35, "Ada": -6}


def test_pool_that_a_guard_tests_against_is_named_by_its_weeks(tmp_path: Path) -> None:
    weeks = [((30, 50), (30, 50))] * 8 + [((29, 50), (8, 50))]
    story, causes = _told(tmp_path, weeks, warn="< 50%", significance="5%")
    assert story.notices[-1].items[0].moved_from == "8 periods before (2026-W01 to 2026-W08)"
    assert causes[0].segment == "Bob"


def test_what_is_unusual_is_explained_against_the_average_of_the_weeks_before(tmp_path: Path) -> None:
    weeks = [(50 + number % 3, 40 + number % 5) for number in range(12)] + [(50, 2)]
    story, causes = _told(tmp_path, weeks, kpi="deals", warn={"anomaly": "down"})
    assert story.notices[-1].items[0].moved_from == "the average of 12 periods, 2026-W01 to 2026-W12"
    assert causes[0].segment == "Bob"


def test_cuts_that_reach_less_far_than_the_average_explain_against_the_week_before_and_say_so(tmp_path: Path) -> None:
    story = Story(tmp_path, warn="drop > 15% vs avg(4)")
    for number in range(1, 5):
        found = _weeks(ada=(30, 50), bob=(30, 50))
        story.put(number, found if number == 4 else {(): found[()]})
    story.put(5, _weeks(ada=(29, 50), bob=(8, 50)))
    causes = story.judge(5)
    assert causes[0].segment == "Bob"
    assert story.notices[-1].items[0].moved_from == "2026-W04"


def test_band_is_explained_against_its_nearer_end(tmp_path: Path) -> None:
    weeks = [((25, 50), (25, 50)), ((26, 50), (8, 50))]
    story, causes = _told(tmp_path, weeks, warn="outside 40%..70%")
    (item,) = story.notices[-1].items
    assert item.moved_from == "the lower end of its band"
    (cause,) = causes
    assert (cause.segment, cause.effect, cause.is_aim) == ("Bob", Decimal("-0.12"), True)
    text = " ".join(Renderer(shipped_templates(), {}, CALENDAR).alert(story.notices[-1]).text.split())
    assert "vs the lower end of its band: owner Bob accounts for −12.0 pt (16.0% instead of 40.0% on 50" in text


def test_band_of_a_count_is_shared_out_as_the_week_before_was(tmp_path: Path) -> None:
    story, causes = _told(tmp_path, [(60, 40), (58, 10)], kpi="deals", warn="outside 80..200")
    assert story.notices[-1].items[0].moved_from == "the lower end of its band, shared out as in 2026-W01"
    assert {cause.segment: cause.effect for cause in causes} == {"Bob": -22}


@pytest.mark.parametrize(
    ("own", "shared", "bob"),
    [
        ({}, ", shared out as in 2026-W01", "-50"),
        ({"crm:ada": 60, "crm:bob": 60}, "", "-50"),
        ({"crm:ada": 80, "crm:bob": 40}, "", "-30"),
    ],
)
def test_target_of_a_count_is_that_of_each_owner_or_shared_out(
    tmp_path: Path, own: dict[str, int], shared: str, bob: str
) -> None:
    def targets(need: Any, period: Any, dims: Any, at: Any) -> Decimal | None:
        return Decimal(120) if not dims else Decimal(own[dims[0].id]) if dims[0].id in own else None

    story = Story(tmp_path, kpi="deals", warn="< 90% of target")
    plain = story.world.setup
    story.world.setup = lambda: replace(plain(), targets=targets)  # type: ignore[method-assign]
    story.put(1, _week_of(50, 50))
    story.put(2, _week_of(60, 10))
    causes = story.judge(2)
    assert story.notices[-1].items[0].moved_from == f"the target{shared}"
    assert next(cause.effect for cause in causes if cause.segment == "Bob") == Decimal(bob)
    assert sum(cause.effect for cause in causes) == Decimal(-50) or own == {"crm:ada": 80, "crm:bob": 40}


def test_rate_below_its_target_is_explained_by_who_is_below_it(tmp_path: Path) -> None:
    story = Story(tmp_path, warn="< 90% of target")
    plain = story.world.setup
    story.world.setup = lambda: replace(plain(), targets=lambda *_: Decimal("0.6"))  # type: ignore[method-assign]
    story.put(1, _weeks(ada=(25, 50), bob=(25, 50)))
    story.put(2, _weeks(ada=(30, 50), bob=(10, 50)))
    (cause,) = story.judge(2)
    assert (cause.segment, cause.effect, cause.value_was) == ("Bob", Decimal("-0.2"), Decimal("0.6"))


def test_cuts_are_kept_as_far_back_as_the_rule_compares() -> None:
    back = {need.by: need.periods for need in needs_of(rule(by=[], warn="drop > 15% vs avg(8)"), WIN_RATE)}
    assert back["owner",] >= 17, "eight sound weeks are looked for in twice as many"
    near = {need.by: need.periods for need in needs_of(rule(by=[], warn="< 25%"), WIN_RATE)}
    assert near["owner",] == 3
    rolling = rule(by=[], period="rolling_90d", warn="drop > 15% vs avg(4)")
    assert {need.by: need.periods for need in needs_of(rolling, WIN_RATE)}["owner",] == 3, "a figure a day is too many"
