"""A replay of the past finds what was found then."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpid.alerting.replay import Past, facts_of, replay
from kpid.alerting.rules import plan_of
from kpid.model import MeasurementState
from kpid.store import alerts, history
from tests.alerting.world import CALENDAR, WIN_RATE, World, rule, week

OWNERS = ("ana", "ben")
_FIGURE = st.one_of(
    st.tuples(st.integers(0, 30), st.just(30)),
    st.just((2, 5)),
    st.sampled_from([MeasurementState.UNDEFINED, MeasurementState.STALE, MeasurementState.ERROR]),
    st.none(),
)
RULES = st.fixed_dictionaries(
    {
        "for": st.sampled_from(["1x", "2x", "14d"]),
        "keep_firing_for": st.sampled_from(["0x", "1x"]),
        "critical": st.sampled_from([None, "< 15%"]),
        "recover": st.sampled_from([None, ">= 40%"]),
        "min_sample": st.sampled_from([None, 20]),
        "no_data": st.sampled_from([{"do": "keep"}, {"do": "ok", "after": "1x"}, {"do": "fire"}]),
    }
)


def lived(world, rule, weeks):
    """Week by week, each judged when it has just ended."""
    for number, values in weeks:
        world.put(rule, week(number), values)
        world.evaluate(week(number).end + timedelta(hours=1))
    with world.store.read() as conn:
        names = {row.series_key: row.label.lower() for row in alerts.list_series(conn) + alerts.list_series(conn, "forgotten")}
        events = alerts.list_events(conn, limit=10_000)
    return sorted((names.get(one.series_key, ""), one.slot, one.kind, one.episode) for one in events)


def replayed(world, rule, weeks):
    plan = plan_of(rule, WIN_RATE)
    with world.store.read() as conn:
        figures = history.current(conn, plan.need)
    found = replay(plan, facts_of(Past(figures), [week(number) for number, _ in weeks]), CALENDAR)
    events = [
        (story.dims[0].name.lower(), event.slot.at, event.kind.value, event.episode)
        for story in found.stories
        for one in story.judged
        for event in one.events
    ]
    return sorted(events + [("", turn.slot.at, turn.kind.value, turn.health.episode) for turn in found.health])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=RULES, figures=st.lists(st.tuples(_FIGURE, _FIGURE), min_size=3, max_size=12))
def test_a_replay_tells_the_story_that_was_lived(tmp_path_factory, said, figures):
    own = rule(warn="< 25%", **said)
    weeks = [
        (number, {name: value for name, value in zip(OWNERS, both, strict=True) if value is not None} or {"eve": (20, 30)})
        for number, both in enumerate(figures, 2)
    ]
    world = World(tmp_path_factory.mktemp("world"), [own])
    assert lived(world, own, weeks) == replayed(world, own, weeks)


def test_what_is_told_is_what_changed_for_people(tmp_path):
    own = rule(warn="< 25%", **{"for": "2x"})
    weeks = list(enumerate([{"ana": (20, 30)}, {"ana": (5, 30)}, {"ana": (5, 30)}, {"ana": (20, 30)}], 2))
    world = World(tmp_path, [own])
    lived(world, own, weeks)
    with world.store.read() as conn:
        figures = history.current(conn, world.need(own))
    facts = facts_of(Past(figures), [week(number) for number, _ in weeks])
    (story,) = replay(plan_of(own, WIN_RATE), facts, CALENDAR).stories
    assert [[event.kind.value for event in one.told] for one in story.judged] == [[], [], ["fired"], ["resolved"]]
    assert [one.after.status.value for one in story.judged] == ["ok", "pending", "firing", "ok"]
    assert [one.slot.label for one in story.judged] == ["2026-W02", "2026-W03", "2026-W04", "2026-W05"]


def test_nothing_is_replayed_of_nothing():
    found = replay(plan_of(rule(), WIN_RATE), facts_of(Past([]), [week(2)]), CALENDAR)
    assert found.stories == ()
