from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from kpid.alerting.health import HealthStatus, RuleHealth
from kpid.alerting.notices import fold, frame_of, health_notice, notices_of, thread_name, told_of
from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.records import replace
from kpid.alerting.rounds import Facts, Round, Track
from kpid.alerting.rules import plan_of
from kpid.alerting.series import Event, SeriesState, Tally
from kpid.alerting.state import step
from kpid.model import Level, Measurement, MeasurementState, Period, Segment
from tests.alerting.models import OUTCOMES, SLOTS, START, policy_of
from tests.alerting.world import WIN_RATE, rule

PLAN = plan_of(rule(summary="Look", runbook="https://example.com/x", labels={"team": "sales"}), WIN_RATE)
NO_FACTS = Facts(None, {}, (), (), {}, {}, {})


def through(letters: str, start: SeriesState | None = None, first: int = 0) -> tuple[SeriesState, SeriesState, list[Event]]:
    """State before, state after, and the events of a row of outcomes."""
    start = state = start or SeriesState()
    events: list[Event] = []
    for place, letter in enumerate(letters, first):
        state, happened = step(policy_of(1, 0, "keep"), state, OUTCOMES[letter], SLOTS[place])
        events.extend(happened)
    return start, state, events


@pytest.mark.parametrize(
    ("before", "letters", "told"),
    [
        ("", "W", ["fired warn"]),
        ("", "WC", ["fired critical"]),
        ("", "WK", []),
        ("", "WKWK", []),
        ("", "WKW", ["fired warn"]),
        ("W", "W", []),
        ("W", "C", ["escalated critical"]),
        ("W", "CW", []),
        ("W", "K", ["resolved none"]),
        ("W", "CK", ["resolved none"]),
        ("W", "KW", ["resolved none", "fired warn"]),
        ("W", "KWKC", ["resolved none", "fired critical", "flapping none"]),
        ("C", "W", ["eased warn"]),
        ("C", "MMM", ["expired none"]),
        ("C", "INSE", []),
    ],
)
def test_events_fold_to_the_newest_state(before: str, letters: str, told: list[str]) -> None:
    _, known, _ = through(before)
    start, end, events = through(letters, known, first=len(before))
    assert [f"{event.kind.value} {event.level.value}" for event in fold(start, end, events)] == told


def track(name: str, letters: str, known: str = "") -> Track:
    start, state, events = through(letters, through(known)[1], first=len(known))
    return Track(
        name, (Segment("owner", name, name.title()),), True, replace(start, thread="old" if known else ""), state, events
    )


def test_new_alerts_open_a_thread_and_old_ones_stay_in_theirs() -> None:
    tracks = [track("ana", "C"), track("bob", "W"), track("cyd", "K", known="W"), track("dan", "K")]
    told = told_of(PLAN, tracks, SLOTS[1])
    opened = thread_name(PLAN.uid, SLOTS[1])
    assert [(each.segment, each.thread) for each in told] == [("Ana", opened), ("Bob", opened), ("Cyd", "old")]
    assert [each.state.thread for each in tracks] == [opened, opened, "", ""]
    notices = notices_of(PLAN, told, NO_FACTS, SLOTS[1], START)
    assert [(found.thread, [item.segment for item in found.notice.items]) for found in notices] == [
        ("old", ["Cyd"]),
        (opened, ["Ana", "Bob"]),
    ]


def test_ended_alert_is_told_with_the_level_that_it_had() -> None:
    (found,) = notices_of(PLAN, told_of(PLAN, [track("ana", "K", known="C")], SLOTS[1]), NO_FACTS, SLOTS[1], START)
    assert found.notice.items[0].level is Level.CRITICAL


def test_notice_carries_what_the_rule_and_the_kpi_say() -> None:
    notice = frame_of(PLAN, NO_FACTS, SLOTS[1], START)
    assert (notice.rule, notice.kpi_name, notice.unit, notice.better) == ("win-rate-low", "Win rate", "ratio", "up")
    assert (notice.definition, notice.summary, notice.runbook) == ("won / (won + lost)", "Look", "https://example.com/x")
    assert (notice.labels, notice.slot, notice.period_label) == ((("team", "sales"),), SLOTS[1].at, "W2")


def test_notice_about_a_slot_long_ago_says_so() -> None:
    tracks = [track("ana", "W")]
    late = notices_of(PLAN, told_of(PLAN, tracks, SLOTS[0]), NO_FACTS, SLOTS[0], SLOTS[0].at + timedelta(days=5))
    soon = notices_of(PLAN, told_of(PLAN, tracks, SLOTS[0]), NO_FACTS, SLOTS[0], SLOTS[0].at + timedelta(hours=5))
    assert (late[0].notice.found_late, soon[0].notice.found_late) == (True, False)


def test_notice_knows_the_segment_and_the_figures_behind_each_item() -> None:
    (found,) = notices_of(PLAN, told_of(PLAN, [track("ana", "W")], SLOTS[0]), NO_FACTS, SLOTS[0], START)
    (item,) = found.notice.items
    assert item.dims == tuple((segment.dimension, segment.id) for segment in found.subjects[item.series_key][0])
    assert found.subjects[item.series_key][1] == SLOTS[0]
    assert found.notice.uid == PLAN.uid


SICK = RuleHealth(HealthStatus.UNHEALTHY, "stale", "too old", Tally(START, "W1", 2), ("stale",), "thread", 1)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (RuleHealth(), RuleHealth(), None),
        (RuleHealth(), replace(SICK, status=HealthStatus.DEGRADED), None),
        (RuleHealth(), SICK, "unhealthy"),
        (SICK, SICK, None),
        (SICK, replace(SICK, fault="error", told=("stale", "error")), "unhealthy"),
        (SICK, replace(SICK, told=("stale",), thread="", episode=2), None),
        (SICK, RuleHealth(episode=1), "healthy"),
    ],
)
def test_health_is_told_when_it_turns(before: RuleHealth, after: RuleHealth, told: str | None) -> None:
    frame = frame_of(PLAN, NO_FACTS, SLOTS[2], START)
    found, notice = health_notice(PLAN, Round((), before, after, (), SLOTS[2]), frame, SLOTS[2])
    if told is None:
        assert notice is None
    else:
        assert notice is not None
        assert (notice.notice.kind, notice.notice.items[0].kind) == ("health", told)
        assert notice.thread == ("thread" if before is SICK else f"win-rate-low@health@{SLOTS[2].at.isoformat()}")
    if found.health.status is HealthStatus.UNHEALTHY:
        assert found.health.thread


def test_breach_without_figures_keeps_what_the_event_says() -> None:
    fired = track("ana", "W")
    fired.events = [replace(fired.events[0], outcome=Outcome(OutcomeKind.NO_DATA, reason="nothing there"))]
    (told,) = told_of(PLAN, [fired], SLOTS[0])
    assert told.event.outcome.reason == "nothing there"


@pytest.mark.parametrize(("count", "with_trail"), [(3, 3), (250, 14)])
def test_worst_series_of_a_large_notice_have_what_a_chart_needs(count: int, with_trail: int) -> None:
    tracks = [track(f"o{number:03}", "C" if number == count - 1 else "W") for number in range(count)]
    newest = SLOTS[0]
    start, end = newest.at - timedelta(days=14), newest.at
    spans = {(start, end - timedelta(days=7)): measured(0.3), (end - timedelta(days=7), end): measured(0.2)}
    facts = replace(NO_FACTS, figures={one.key: spans for one in tracks})
    (found,) = notices_of(PLAN, told_of(PLAN, tracks, newest), facts, newest, newest.at)
    trails = [item.trail for item in found.notice.items]
    assert [bool(trail) for trail in trails] == [True] * with_trail + [False] * (count - with_trail)
    assert found.notice.items[0].level is Level.CRITICAL


def measured(value: float) -> Measurement:
    period = Period("week", START, START + timedelta(days=7), "2026-W01")
    return Measurement("win_rate", period, MeasurementState.OK, Decimal(str(value)), 10)
