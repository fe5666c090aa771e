"""No alert stays open for ever because nothing is left to compare with: what it has been for long enough is what is usual."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.assessing import RuleConditions, judge_slot
from kpid.alerting.guards import Guards
from kpid.alerting.outcomes import Outcome, OutcomeKind, outcome_from_dump
from kpid.alerting.series import RulePolicy, SeriesState, Slot, Spell, Status
from kpid.alerting.state import step
from kpid.analysis.durations import Span
from kpid.model import Level
from kpid.store import alerts
from tests.alerting.sights import asks, of, periods, plain, rate
from tests.alerting.world import World, rule, week


def lived(conditions: RuleConditions, values: list[Any], kind: str = "week", make: Any = plain, keep: int = 0) -> list[str]:
    """What a series goes through, one letter a period: ``.`` ok, ``F`` firing, ``r`` recovering, ``?`` insufficient while firing,
    ``N`` ended at a new level, ``R`` resolved.
    """
    state, found = SeriesState(), []
    spans = periods(kind, len(values))
    seen = of(make, values, kind)
    policy = RulePolicy(keep=Span(periods=keep))
    for place, span in enumerate(spans):
        sight = replace(seen, current=seen.at(span), period=span, before=spans[:place], spells=state.spells)
        outcome = judge_slot(conditions, [sight])[0]
        state, events = step(policy, state, outcome, Slot(span.end, span.label, span.start))
        if events and events[0].ends_episode:
            found.append({"new_level": "N", "resolved": "R"}[events[0].kind.value])
        else:
            letter = {Status.OK: ".", Status.FIRING: "F", Status.RECOVERING: "r", Status.PENDING: "p"}[state.status]
            found.append("?" if outcome.kind is OutcomeKind.INSUFFICIENT and letter == "F" else letter)
    return found


def test_lasting_shift_ends_as_a_new_level_after_the_window_of_the_baseline() -> None:
    assert "".join(lived(asks(warn="drop > 20% vs avg(8)"), [100] * 16 + [60] * 20)) == "." * 16 + "F" * 8 + "N" + "." * 11
    assert "".join(lived(asks(warn="drop > 20% vs avg(4)"), [100] * 16 + [60] * 20)) == "." * 16 + "F" * 4 + "N" + "." * 15


def test_what_has_recovered_is_resolved_however_long_it_took() -> None:
    life = "".join(lived(asks(warn="drop > 20% vs avg(8)"), [100] * 16 + [60] * 8 + [100] * 6 + [60] * 2))
    assert life == "." * 16 + "F" * 8 + "R" + "." * 5 + "FF"  # and what was usual before still is


def test_what_falls_on_is_told_until_it_stops() -> None:
    values = [100] * 16 + [round(60 * 0.96**step) for step in range(30)]
    assert set("".join(lived(asks(warn="drop > 10% vs avg(8)"), values))[16:]) == {"F"}
    stopped = "".join(lived(asks(warn="drop > 10% vs avg(8)"), values + [18] * 12))
    assert (stopped.count("N"), stopped.count("R"), stopped.count("?")) == (1, 0, 0)
    assert stopped.endswith("...")


def test_level_after_the_shift_is_what_later_figures_are_compared_with() -> None:
    life = "".join(lived(asks(warn="drop > 20% vs avg(8)"), [100] * 16 + [60] * 12 + [40]))
    assert life == "." * 16 + "F" * 8 + "N" + "..." + "F"


def test_reason_says_since_when_and_that_it_counts_as_usual() -> None:
    values = [100] * 16 + [60] * 9
    spans = periods("week", len(values))
    seen = replace(of(plain, values), spells=(Spell(spans[16].start),))
    found = judge_slot(asks(warn="drop > 20% vs avg(8)"), [seen])[0]
    assert (found.kind, found.new_level) == (OutcomeKind.CLEAR, True)
    assert found.reason == (
        "new level: what it has been since 2026-09-21 counts as usual now; the same as the average of 8 weeks"
    )
    assert outcome_from_dump(found.dump()) == found
    ended = replace(seen, spells=(Spell(spans[16].start, spans[18].start),))
    assert not judge_slot(asks(warn="drop > 20% vs avg(8)"), [ended])[0].new_level


@pytest.mark.parametrize(
    ("condition", "kind", "window"),
    [
        ({"anomaly": "down", "history": "12x"}, "week", 12),
        ({"anomaly": "both", "method": "xmr", "history": "24x"}, "week", 24),
        ({"anomaly": "down", "season": "weekday", "history": "8x"}, "day", 56),
        ("drop > 20% vs median(6)", "month", 6),
        ("drop > 20% vs avg(4 same_weekdays)", "day", 28),
    ],
)
def test_every_baseline_ends_it_and_never_says_too_little_meanwhile(condition: Any, kind: str, window: int) -> None:
    values = [100 + step % 3 for step in range(160)] + [60 + step % 3 for step in range(window + 3)]
    life = "".join(lived(asks(warn=condition), values, kind))[160:]
    assert "?" not in life
    assert life.count("N") == 1
    assert life.index("N") <= window
    assert life.endswith("..")


def test_share_of_cases_settles_too() -> None:
    values = [(60, 100)] * 30 + [(30, 100)] * 16
    life = "".join(lived(asks("ratio", warn={"anomaly": "down", "method": "p_chart", "history": "12x"}), values, make=rate))
    assert life[30:] == "F" * 12 + "N" + "..."


def test_guard_alone_never_ends_an_alert_on_a_fixed_number() -> None:
    """It still is below 40 %: what is usual has no say in that."""
    conditions = asks("ratio", warn="< 40%", guards=Guards(significance=Decimal("0.05")))
    life = "".join(lived(conditions, [(60, 100)] * 16 + [(30, 100)] * 12, make=rate))
    assert life[16:] == "F" * 8 + "?" * 4


def test_end_at_a_new_level_waits_as_long_as_every_end() -> None:
    life = "".join(lived(asks(warn="drop > 20% vs avg(8)"), [100] * 16 + [60] * 14, keep=2))
    assert life[16:] == "F" * 8 + "rr" + "N" + "..."


def test_level_of_the_state_and_spells_after_the_end() -> None:
    state = SeriesState()
    for place, outcome in enumerate(
        (Outcome(OutcomeKind.BREACH, Level.WARN), Outcome(OutcomeKind.CLEAR, new_level=True, reason="new level: ..."))
    ):
        span = periods("week", 2)[place]
        state, events = step(RulePolicy(), state, outcome, Slot(span.end, span.label, span.start))
    assert [event.kind.value for event in events] == ["new_level"]
    assert (state.status, state.spells) == (Status.OK, ())


def test_new_level_is_told_stored_and_in_the_story(tmp_path: Path) -> None:
    watched = rule(kpi="deals", warn="drop > 20% vs avg(4)", catch_up=1)
    world = World(tmp_path, [watched])
    for number in range(1, 20):
        world.put(watched, week(number), {"ana": 100 if number < 10 else 60})
        world.evaluate(week(number).end)
    assert world.events() == ["fired", "new_level"]
    assert world.titles()[-1] == "win-rate-low 2026-W14: Ana new_level warn"
    reason = world.letters()[-1].message["facts"]["reasons"][0]
    assert "new level: what it has been since 2026-03-02 counts as usual now" in reason
    with world.store.read() as conn:
        (series,) = alerts.list_series(conn)
        story = alerts.episode_story(conn, watched.uid, series.series_key, 1)
    assert story.events[-1].body["reason"].startswith("new level: ")
