from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, make_url, select, text

from kpid.config.model import Rule
from kpid.errors import KpidError
from kpid.model import MeasurementState, Notice
from kpid.plugin.notifier import Image, Message
from kpid.store import alerts, problems
from kpid.store.tables import evaluations, events, outbox, series
from tests.alerting.world import World, compose, rule, week

HOUR = timedelta(hours=1)
GOOD, BAD, WORSE = (120, 400), (96, 400), (76, 400)
"""30 %, 24 %, 19 % won."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [rule(critical="< 20%")])


def weeks(world: World, *figures: dict[str, Any], first: int = 2) -> None:
    """Week by week: measure, then judge an hour after its end."""
    for number, values in enumerate(figures, first):
        world.put(world.rules[0], week(number), values)
        world.evaluate(week(number).end + HOUR)


def counts(world: World) -> list[int]:
    with world.store.read() as conn:
        return [
            conn.execute(select(func.count()).select_from(table)).scalar_one() for table in (series, evaluations, events, outbox)
        ]


def test_two_bad_weeks_fire_a_thin_week_does_not_resolve_recovery_does(tmp_path: Path) -> None:
    golden = rule(critical="< 20%", recover=">= 27%", keep_firing_for="1x", min_sample=20, **{"for": "2x"})
    world = World(tmp_path, [golden])
    seen = []
    figures = [(124, 400), BAD, WORSE, WORSE, (1, 3), GOOD, GOOD]
    for number, ana in enumerate(figures, 2):
        weeks(world, {"ana": ana, "bob": GOOD}, first=number)
        seen.append(world.states()["Ana"])
    assert seen == ["ok", "pending warn", "firing warn", "firing critical", "firing critical", "recovering critical", "ok"]
    assert world.events() == ["fired", "escalated", "resolved"]
    assert world.titles() == [
        "win-rate-low 2026-W04: Ana fired warn",
        "win-rate-low 2026-W05: Ana escalated critical",
        "win-rate-low 2026-W08: Ana resolved critical",
    ]
    assert len({letter.thread for letter in world.letters()}) == 1


def test_postgresql_keeps_the_same_story(tmp_path: Path, postgres: str) -> None:
    url, engine = make_url(postgres), create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text("CREATE DATABASE alerting"))
    engine.dispose()
    there = World(tmp_path, [rule(critical="< 20%")], url=url.set(database="alerting").render_as_string(hide_password=False))
    here = World(tmp_path, [rule(critical="< 20%")])
    with closing(there.store):
        for world in (there, here):
            weeks(world, {"ana": BAD, "bob": GOOD}, {"ana": WORSE, "bob": BAD}, {"ana": GOOD, "bob": BAD})
            world.put(world.rules[0], week(4), {"ana": BAD, "bob": GOOD}, now=week(4).end + 5 * HOUR)
            world.evaluate(week(4).end + 5 * HOUR)
        assert there.titles() == here.titles()
        assert there.events() == here.events()
        assert here.events() == ["fired", "escalated", "fired", "resolved", "restated", "fired", "restated"]


def test_running_again_changes_nothing(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    before = counts(world)
    result = world.evaluate(week(3).end + 2 * HOUR)
    assert (result.evaluations, result.events, result.messages) == (0, 0, 0)
    assert counts(world) == before


def test_series_that_fire_together_share_a_notice_and_a_thread(world: World) -> None:
    weeks(
        world,
        {"ana": BAD, "bob": WORSE, "cyd": GOOD},
        {"ana": GOOD, "bob": WORSE, "cyd": BAD},
        {"ana": BAD, "bob": GOOD, "cyd": BAD},
    )
    assert world.titles() == [
        "win-rate-low 2026-W02: Bob fired critical, Ana fired warn",
        "win-rate-low 2026-W03: Ana resolved warn",
        "win-rate-low 2026-W03: Cyd fired warn",
        "win-rate-low 2026-W04: Bob resolved critical",
        "win-rate-low 2026-W04: Ana fired warn",
    ]
    first, resolved, other, later, again = [letter.thread for letter in world.letters()]
    assert first == resolved == later == f"win-rate-low@{week(2).end.isoformat()}"
    assert other == f"win-rate-low@{week(3).end.isoformat()}"
    assert again == f"win-rate-low@{week(4).end.isoformat()}"


def test_each_recipient_gets_a_message_of_his_own(tmp_path: Path) -> None:
    recipients = {"team": ("ada@example.com", "bea@example.com"), "slack": ("",)}
    world = World(tmp_path, [rule(to=["team", "slack", "team"])], recipients)
    weeks(world, {"ana": BAD})
    letters = world.letters()
    assert [(letter.receiver, letter.recipient) for letter in letters] == [
        ("team", "ada@example.com"),
        ("team", "bea@example.com"),
        ("slack", ""),
    ]
    assert len({letter.key for letter in letters}) == 3
    assert {letter.thread for letter in letters} == {f"win-rate-low@{week(2).end.isoformat()}"}


def test_keys_are_the_same_from_the_same_state(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, [rule()])
        weeks(world, {"ana": BAD}, {"ana": GOOD})
        keys.append([letter.key for letter in world.letters()])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 2


def test_notice_waits_if_its_message_cannot_be_written(tmp_path: Path) -> None:
    def with_a_bad_picture(notice: Notice) -> Message:
        picture: Any = "no bytes"
        return replace(compose(notice), images=(Image("chart", picture, "a chart", 1, 1),))

    world = World(tmp_path, [rule()], compose=with_a_bad_picture)
    world.put(world.rules[0], week(2), {"ana": BAD})
    with pytest.raises(TypeError):
        world.evaluate(week(2).end + HOUR)
    assert counts(world) == [1, 1, 1, 0]
    world.compose = compose
    world.evaluate(week(2).end + HOUR)
    assert world.titles() == ["win-rate-low 2026-W02: Ana fired warn"]


def test_two_that_judge_at_once_tell_people_once(world: World) -> None:
    nested: list[int] = []

    def judge_meanwhile(notice: Notice) -> Message:
        if not nested:
            nested.append(0)
            nested.append(world.evaluate(week(2).end + HOUR).messages)
        return compose(notice)

    world.compose = judge_meanwhile
    world.put(world.rules[0], week(2), {"ana": BAD})
    outer = world.evaluate(week(2).end + HOUR)
    assert (nested[-1], outer.messages, outer.events) == (1, 0, 1)
    assert world.titles() == ["win-rate-low 2026-W02: Ana fired warn"]
    assert world.events() == ["fired"]


def test_rule_whose_notice_fails_is_a_problem_and_the_others_go_on(tmp_path: Path) -> None:
    def broken(notice: Notice) -> Message:
        if notice.rule == "broken":
            raise KpidError("the template is wrong", hint="Mend it")
        return compose(notice)

    world = World(tmp_path, [rule(name="broken"), rule(name="whole"), rule(name="strange", kpi="unheard_of")], compose=broken)
    world.put(world.rules[0], week(2), {"ana": BAD})
    result = world.evaluate(week(2).end + HOUR)
    assert [uid for uid, _ in result.failed] == ["strange"]
    assert world.titles() == ["whole 2026-W02: Ana fired warn"]
    with world.store.read() as conn:
        assert [found.subject for found in problems.list_problems(conn)] == ["notices:broken", "rule:strange"]
    world.compose = compose
    world.evaluate(week(2).end + HOUR + timedelta(minutes=1))
    with world.store.read() as conn:
        assert [found.subject for found in problems.list_problems(conn)] == ["rule:strange"]
    assert world.titles()[-1] == "broken 2026-W02: Ana fired warn"


def test_first_round_tells_only_of_what_still_fires(world: World) -> None:
    for number, (ana, bob) in enumerate([(BAD, GOOD), (GOOD, BAD), (GOOD, WORSE), (GOOD, WORSE)], 2):
        world.put(world.rules[0], week(number), {"ana": ana, "bob": bob})
    world.evaluate(week(5).end + HOUR)
    assert world.events() == ["fired", "resolved", "fired", "escalated"]
    assert world.titles() == ["win-rate-low 2026-W05: Bob fired critical (found late)"]


def test_after_a_pause_the_missed_slots_are_judged_and_notices_folded(world: World) -> None:
    weeks(world, {"ana": BAD, "bob": BAD, "cyd": GOOD})
    for number, (ana, bob, cyd) in enumerate([(GOOD, WORSE, GOOD), (BAD, WORSE, BAD), (BAD, WORSE, GOOD)], 3):
        world.put(world.rules[0], week(number), {"ana": ana, "bob": bob, "cyd": cyd})
    world.evaluate(week(5).end + HOUR)
    assert world.titles()[1:] == [
        "win-rate-low 2026-W03 to 2026-W05: Bob escalated critical, Ana resolved warn (found late)",
        "win-rate-low 2026-W05: Ana fired warn (found late)",
    ]
    assert world.states() == {"Ana": "firing warn", "Bob": "firing critical", "Cyd": "ok"}


def test_alert_found_late_has_the_figures_of_the_last_bad_period(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(min_sample=20)])
    for number, ana in enumerate([BAD, WORSE, (1, 3)], 2):
        world.put(world.rules[0], week(number), {"ana": ana})
    notices: list[Notice] = []
    world.compose = lambda notice: (notices.append(notice), compose(notice))[1]
    world.evaluate(week(4).end + HOUR)
    (notice,) = notices
    assert (notice.period_label, notice.slot, notice.found_late) == ("2026-W03", week(4).end, True)
    assert (notice.items[0].value, notice.items[0].since) == (Decimal("0.19"), "2026-W02")
    assert notice.items[0].warnings == ("2026-W04: n = 3, below the rule's minimum of 20",)


def test_figures_of_several_periods_are_said_to_be(world: World) -> None:
    for number, (ana, bob) in enumerate([(BAD, GOOD), ((1, 0), BAD)], 2):
        world.put(world.rules[0], week(number), {"ana": ana, "bob": bob})
    world.evaluate(week(3).end + HOUR)
    assert world.titles() == ["win-rate-low 2026-W02 to 2026-W03: Ana fired warn, Bob fired warn (found late)"]


def test_catch_up_reaches_only_so_far_back(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(catch_up=2)])
    for number in range(2, 8):
        world.put(world.rules[0], week(number), {"ana": GOOD})
    assert world.evaluate(week(7).end + HOUR).evaluations == 2


def test_slot_waits_for_figures_that_are_on_their_way_but_not_for_ever(world: World) -> None:
    world.put(world.rules[0], week(2), {"ana": GOOD})
    world.evaluate(week(2).end + HOUR)
    world.put(world.rules[0], week(3), {"ana": MeasurementState.INCOMPLETE})
    assert world.evaluate(week(3).end + HOUR).evaluations == 0
    world.put(world.rules[0], week(3), {"ana": BAD}, now=week(3).end + 2 * HOUR)
    world.evaluate(week(3).end + 2 * HOUR)
    assert world.titles() == ["win-rate-low 2026-W03: Ana fired warn"]
    world.put(world.rules[0], week(4), {"ana": MeasurementState.INCOMPLETE})
    assert world.evaluate(week(4).end + timedelta(days=3)).evaluations == 1
    assert world.states() == {"Ana": "firing warn"}


def test_settle_delays_the_evaluation(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(settle="3d")])
    world.put(world.rules[0], week(2), {"ana": BAD})
    assert world.evaluate(week(2).end + timedelta(days=2)).evaluations == 0
    assert world.evaluate(week(2).end + timedelta(days=3)).messages == 1


def test_failed_measuring_is_an_error_not_a_recovery(world: World) -> None:
    weeks(world, {"ana": BAD})
    late = timedelta(days=3)
    world.evaluate(week(3).end + late)  # not measured since week 2
    assert world.states() == {"Ana": "firing warn"}
    with world.store.read() as conn:
        (problem,) = problems.list_problems(conn)
    assert problem.subject == "rule:win-rate-low/data"
    assert "since 2026-W03: Win rate could not be measured" in problem.text
    world.evaluate(week(4).end + late)
    assert world.titles()[1:] == ["win-rate-low 2026-W04: rule unhealthy warn"]
    assert "could not be measured" in world.letters()[1].message["facts"]["reasons"][0]
    world.put(world.rules[0], week(5), {"ana": GOOD})
    world.evaluate(week(5).end + HOUR)
    assert world.titles()[2:] == ["win-rate-low 2026-W05: Ana resolved warn", "win-rate-low 2026-W05: rule healthy warn"]
    with world.store.read() as conn:
        assert problems.list_problems(conn) == []
    opened, closed = (letter for letter in world.letters() if letter.kind == "health")
    assert opened.thread == closed.thread == f"win-rate-low@health@{week(4).end.isoformat()}"


def test_stale_data_is_one_health_notice_however_many_series(world: World) -> None:
    stale = dict.fromkeys(("ana", "bob", "cyd"), MeasurementState.STALE)
    weeks(world, {"ana": GOOD, "bob": GOOD, "cyd": BAD}, stale, stale, stale)
    assert world.titles()[1:] == ["win-rate-low 2026-W04: rule unhealthy warn"]
    assert world.letters()[1].message["facts"]["reasons"] == ["state stale (3 of 3 series)"]
    assert world.states()["Cyd"] == "firing warn"


def test_segment_that_closed_nothing_is_no_fault_of_the_rule(world: World) -> None:
    weeks(world, *[{"ana": GOOD, "bob": (0, 0)}] * 4)
    assert world.titles() == []


def test_ignored_no_data_is_told_to_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(no_data={"do": "ignore"})])
    weeks(world, {"ana": BAD}, *[{"ana": (0, 0)}] * 4)
    assert world.events() == ["fired"]
    assert world.states() == {"Ana": "firing warn"}


def test_vanished_segment_expires_and_comes_back_with_a_new_episode(world: World) -> None:
    weeks(world, {"ana": BAD, "bob": GOOD}, *[{"bob": GOOD}] * 4, {"ana": BAD, "bob": GOOD})
    assert world.titles() == [
        "win-rate-low 2026-W02: Ana fired warn",
        "win-rate-low 2026-W05: Ana expired warn",
        "win-rate-low 2026-W07: Ana fired warn",
    ]
    with world.store.read() as conn:
        (row,) = alerts.list_series(conn, "firing")
    assert row.episode == 2


def test_count_of_a_segment_without_rows_is_a_zero(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(name="fewer", kpi="deals", warn="drop > 50% vs previous")])
    weeks(world, {"ana": 40, "bob": 40}, {"bob": 41}, {"bob": 42}, {"bob": 40}, {"bob": 41}, {"bob": 42}, {"bob": 41})
    assert world.titles()[0] == "fewer 2026-W03: Ana fired warn"
    assert world.letters()[0].message["facts"]["values"] == ["0"]
    assert world.states() == {"Ana": "forgotten", "Bob": "ok"}
    assert world.events() == ["fired", "expired"]


def test_restated_figures_end_an_alert_and_say_so(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    world.put(world.rules[0], week(3), {"ana": GOOD}, now=week(3).end + 5 * HOUR)
    world.evaluate(week(3).end + 5 * HOUR)
    assert world.titles()[1:] == ["win-rate-low 2026-W03: Ana restated warn"]
    assert world.states() == {"Ana": "ok"}
    first, second = world.letters()
    assert first.thread == second.thread
    assert world.evaluate(week(3).end + 6 * HOUR).events == 0


@pytest.mark.parametrize("hours", [1, 5])
def test_restated_figures_are_seen_though_the_clock_was_set_back(world: World, hours: int) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    world.put(world.rules[0], week(3), {"ana": WORSE}, now=week(3).end + 5 * HOUR)
    world.evaluate(week(3).end + 5 * HOUR)
    world.put(world.rules[0], week(3), {"ana": GOOD}, now=week(3).end + hours * HOUR)
    world.evaluate(week(3).end + hours * HOUR)
    assert world.states() == {"Ana": "ok"}
    world.evaluate(week(3).end + hours * HOUR)
    assert world.events() == ["fired", "restated", "restated"]


def test_restated_figures_may_fire_late(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": GOOD})
    world.put(world.rules[0], week(3), {"ana": BAD}, now=week(3).end + 5 * HOUR)
    world.evaluate(week(3).end + 5 * HOUR)
    assert world.events() == ["restated", "fired"]
    assert world.titles() == ["win-rate-low 2026-W03: Ana fired warn (found late)"]


def test_late_alert_has_the_figures_of_the_bad_period_though_a_later_one_says_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(min_sample=20)])
    weeks(world, {"ana": GOOD}, {"ana": (1, 3)})
    notices: list[Notice] = []
    world.compose = lambda notice: (notices.append(notice), compose(notice))[1]
    world.put(world.rules[0], week(2), {"ana": BAD}, now=week(3).end + 5 * HOUR)
    world.evaluate(week(3).end + 5 * HOUR)
    (item,) = notices[0].items
    assert (notices[0].period_label, item.kind, item.value, item.since) == ("2026-W02", "fired", Decimal("0.24"), "2026-W02")
    assert item.warnings == ("restated from 30.0% to 24.0%", "2026-W03: n = 3, below the rule's minimum of 20")


def test_restated_level_is_told_as_what_it_means(world: World) -> None:
    weeks(world, {"ana": BAD})
    world.put(world.rules[0], week(2), {"ana": WORSE}, now=week(2).end + 5 * HOUR)
    world.evaluate(week(2).end + 5 * HOUR)
    assert world.titles()[1:] == ["win-rate-low 2026-W02: Ana escalated critical"]


def test_figures_going_stale_restate_nothing(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    world.put(world.rules[0], week(3), {"ana": MeasurementState.STALE}, now=week(3).end + 5 * HOUR)
    assert world.evaluate(week(3).end + 5 * HOUR).events == 0
    assert world.states() == {"Ana": "firing warn"}


def test_figures_changed_and_changed_back_are_told_each_time(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    for hours, value in enumerate((GOOD, BAD, GOOD, BAD), 2):
        world.put(world.rules[0], week(3), {"ana": value}, now=week(3).end + hours * HOUR)
        world.evaluate(week(3).end + hours * HOUR)
    assert [title.split(" ", 3)[3] for title in world.titles()] == [
        "fired warn",
        "restated warn",
        "fired warn (found late)",
        "restated warn",
        "fired warn (found late)",
    ]


def test_segment_whose_figures_come_late_is_judged_all_the_same(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": GOOD})
    world.put(world.rules[0], week(3), {"ana": GOOD, "bob": BAD}, now=week(3).end + 5 * HOUR)
    world.evaluate(week(3).end + 5 * HOUR)
    assert world.states() == {"Ana": "ok", "Bob": "firing warn"}


def test_changed_meaning_is_judged_at_the_next_slot(world: World) -> None:
    weeks(world, {"ana": BAD, "bob": WORSE})
    world.rules = [rule(warn="< 22%")]
    assert world.evaluate(week(2).end + 2 * HOUR).events == 0
    weeks(world, {"ana": BAD, "bob": WORSE}, first=3)
    assert world.titles()[1:] == ["win-rate-low 2026-W03: Bob eased warn, Ana rule_changed warn"]


def test_changed_text_or_receiver_does_nothing(world: World) -> None:
    weeks(world, {"ana": BAD})
    world.rules = [rule(critical="< 20%", summary="Look here", runbook="https://example.com/x", labels={"team": "sales"})]
    weeks(world, {"ana": BAD}, first=3)
    assert world.events() == ["fired"]


def test_rule_by_another_dimension_ends_the_old_series(world: World) -> None:
    weeks(world, {"ana": BAD})
    world.rules = [rule(by=[])]
    weeks(world, {"all": GOOD}, first=3)
    assert world.titles()[1:] == ["win-rate-low 2026-W03: Ana rule_changed warn"]


@pytest.mark.parametrize(("left", "kind"), [([], "rule_removed"), ([rule(paused=True)], "paused")])
def test_rule_that_is_gone_or_paused_ends_with_one_notice(world: World, left: list[Rule], kind: str) -> None:
    weeks(world, {"ana": BAD, "bob": BAD})
    world.rules = left
    result = world.evaluate(week(2).end + 2 * HOUR)
    assert (result.events, result.messages) == (2, 1)
    assert world.titles()[1:] == [f"win-rate-low : Ana {kind} warn, Bob {kind} warn"]
    assert world.states() == {"Ana": "ok", "Bob": "ok"}
    assert world.evaluate(week(2).end + 3 * HOUR).events == 0
    first, last = world.letters()
    assert first.thread == last.thread


def test_rule_that_is_gone_with_nothing_open_says_nothing(world: World) -> None:
    weeks(world, {"ana": GOOD})
    world.rules = []
    assert world.evaluate(week(2).end + 2 * HOUR).messages == 0
    with world.store.read() as conn:
        assert alerts.list_rules(conn) == []


def test_rule_goes_on_after_a_pause(world: World) -> None:
    weeks(world, {"ana": BAD})
    active, world.rules = world.rules, [rule(critical="< 20%", paused=True)]
    world.evaluate(week(2).end + 2 * HOUR)
    world.rules = active
    weeks(world, {"ana": BAD}, first=3)
    assert world.titles()[-1] == "win-rate-low 2026-W03: Ana fired warn"


def test_removed_rule_of_unknown_words_ends_without_a_notice(world: World) -> None:
    weeks(world, {"ana": BAD})
    with world.store.write() as conn:
        row = alerts.load_rule(conn, "win-rate-low")
        assert row is not None
        alerts.save_rule(conn, replace(row, rule={"words": "of a later version"}))
    world.rules = []
    result = world.evaluate(week(2).end + 2 * HOUR)
    assert (result.events, result.messages) == (1, 0)


def test_rule_over_the_total_works_without_segments(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(by=[])])
    weeks(world, {"all": BAD}, {"all": GOOD})
    assert world.titles() == ["win-rate-low 2026-W02: all fired warn", "win-rate-low 2026-W03: all resolved warn"]


def test_rule_that_never_finds_anything_says_so(world: World) -> None:
    for number in (2, 3, 4):
        world.put(world.rules[0], week(number), {})
        world.evaluate(week(number).end + HOUR)
    assert world.titles() == ["win-rate-low 2026-W03: rule unhealthy warn"]


def test_story_of_an_episode_is_whole(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD}, {"ana": WORSE}, {"ana": GOOD}, {"ana": GOOD})
    with world.store.read() as conn:
        (row,) = alerts.list_series(conn)
        story = alerts.episode_story(conn, "win-rate-low", row.series_key, 1)
    assert [event.kind for event in story.events] == ["fired", "escalated", "resolved"]
    assert [found.period_label for found in story.evaluations] == ["2026-W03", "2026-W04", "2026-W05"]
    assert [notice.title.split(": ")[1] for notice in story.notices] == [
        "Ana fired warn",
        "Ana escalated critical",
        "Ana resolved critical",
    ]
    assert story.events[0].body["segment"] == "Ana"
    assert story.events[0].body["threshold"] == "< 25%"
