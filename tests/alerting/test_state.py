from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.records import replace
from kpid.alerting.series import (
    Data,
    EventKind,
    RulePolicy,
    SeriesState,
    Slot,
    Spell,
    Status,
    Tally,
    state_from_dump,
)
from kpid.alerting.state import close, mark_changed, restate, step
from kpid.analysis.durations import Span
from kpid.analysis.periods import Calendar, last_complete
from kpid.model import Level
from tests.alerting.models import ENDS, FLAPS, OUTCOMES, POLICIES, SLOTS, START, check_step, policy_of
from tests.alerting.naive import LETTERS, Naive


def run(policy: RulePolicy, letters: str, state: SeriesState | None = None, first: int = 0) -> tuple[SeriesState, list[str]]:
    """The state after a row of outcomes, and the kinds of all events."""
    state = state or SeriesState()
    kinds: list[str] = []
    for place, letter in enumerate(letters, first):
        state, events = step(policy, state, OUTCOMES[letter], SLOTS[place])
        kinds.extend(event.kind.value for event in events)
    return state, kinds


def standing(state: SeriesState) -> str:
    return state.status.value + ("" if state.level is Level.NONE else f" {state.level.value}")


PLAIN = policy_of(1, 0, "keep")
SLOW = policy_of(2, 1, "keep")


@pytest.mark.parametrize(
    ("policy", "before", "letter", "after", "event"),
    [
        # ok
        (PLAIN, "K", "W", "firing warn", "fired"),
        (PLAIN, "K", "C", "firing critical", "fired"),
        (SLOW, "K", "W", "pending warn", None),
        (PLAIN, "K", "H", "ok", None),
        (PLAIN, "K", "K", "ok", None),
        (PLAIN, "K", "I", "ok", None),
        (PLAIN, "K", "N", "ok", None),
        (PLAIN, "K", "S", "ok", None),
        (PLAIN, "K", "M", "ok", None),
        (PLAIN, "K", "E", "ok", None),
        # pending
        (SLOW, "W", "W", "firing warn", "fired"),
        (SLOW, "C", "C", "firing critical", "fired"),
        (SLOW, "W", "C", "firing warn", "fired"),
        (SLOW, "C", "W", "firing warn", "fired"),
        (policy_of(3, 0, "keep"), "W", "C", "pending critical", None),
        (SLOW, "W", "H", "ok", None),
        (SLOW, "W", "K", "ok", None),
        (SLOW, "W", "I", "pending warn", None),
        (SLOW, "W", "N", "pending warn", None),
        (SLOW, "W", "S", "pending warn", None),
        (SLOW, "W", "M", "pending warn", None),
        (SLOW, "WMM", "M", "ok", None),
        (SLOW, "W", "E", "pending warn", None),
        # firing
        (PLAIN, "W", "W", "firing warn", None),
        (PLAIN, "W", "C", "firing critical", "escalated"),
        (PLAIN, "C", "W", "firing warn", "eased"),
        (SLOW, "CC", "W", "firing critical", None),
        (SLOW, "CCW", "W", "firing warn", "eased"),
        (PLAIN, "C", "H", "firing critical", None),
        (PLAIN, "W", "K", "ok", "resolved"),
        (PLAIN, "W", "L", "ok", "new_level"),
        (PLAIN, "K", "L", "ok", None),
        (SLOW, "WW", "L", "recovering warn", None),
        (SLOW, "WW", "K", "recovering warn", None),
        (PLAIN, "W", "I", "firing warn", None),
        (PLAIN, "W", "N", "firing warn", None),
        (PLAIN, "W", "S", "firing warn", None),
        (PLAIN, "W", "M", "firing warn", None),
        (PLAIN, "WMM", "M", "ok", "expired"),
        (PLAIN, "W", "E", "firing warn", None),
        # recovering
        (SLOW, "WWK", "W", "firing warn", None),
        (SLOW, "CCK", "W", "firing critical", None),
        (SLOW, "WWK", "C", "firing critical", "escalated"),
        (SLOW, "WWK", "H", "firing warn", None),
        (SLOW, "WWK", "K", "ok", "resolved"),
        (SLOW, "WWL", "L", "ok", "new_level"),
        (SLOW, "WWK", "I", "recovering warn", None),
        (SLOW, "WWK", "N", "recovering warn", None),
        (SLOW, "WWK", "S", "recovering warn", None),
        (SLOW, "WWKMM", "M", "ok", "expired"),
        (SLOW, "WWK", "E", "recovering warn", None),
    ],
)
def test_every_cell_of_the_table(policy: RulePolicy, before: str, letter: str, after: str, event: str | None) -> None:
    state, _ = run(policy, before)
    state, kinds = run(policy, letter, state, first=len(before))
    assert standing(state) == after
    assert kinds == ([] if event is None else [event])


@pytest.mark.parametrize(
    ("letter", "data"),
    [("K", Data.FRESH), ("I", Data.INSUFFICIENT), ("N", Data.NO_DATA), ("M", Data.NO_DATA), ("S", Data.STALE), ("E", Data.ERROR)],
)
def test_data_axis_follows_the_last_outcome(letter: str, data: Data) -> None:
    assert run(PLAIN, "W" + letter)[0].data is data


def test_what_fires_is_the_level_that_held_for_the_whole_time() -> None:
    slow = policy_of(3, 0, "keep")
    state, kinds = run(slow, "WWC")
    assert (standing(state), kinds) == ("firing warn", ["fired"])
    state, kinds = run(slow, "C", state, first=3)
    assert kinds == []  # critical for two of three
    state, kinds = run(slow, "C", state, first=4)
    assert (standing(state), kinds) == ("firing critical", ["escalated"])


def test_critical_that_begins_while_firing_escalates_at_once() -> None:
    assert run(policy_of(3, 0, "keep"), "WWWC")[1] == ["fired", "escalated"]


@pytest.mark.parametrize("between", ["I", "N", "S", "E", "M"])
def test_clocks_stop_while_nothing_can_be_judged(between: str) -> None:
    assert standing(run(policy_of(2, 0, "keep"), f"W{between}W")[0]) == "firing warn"
    by_time = replace(PLAIN, for_=Span(length=timedelta(days=14)))
    assert standing(run(by_time, f"W{between}W")[0]) == "pending warn"  # a week of the two was not judged
    assert standing(run(by_time, f"W{between}WW")[0]) == "firing warn"
    keep = policy_of(1, 2, "keep")
    assert standing(run(keep, f"WK{between}K")[0]) == "recovering warn"
    assert standing(run(keep, f"WK{between}KK")[0]) == "ok"


def test_for_in_time_counts_between_slots() -> None:
    by_time = replace(PLAIN, for_=Span(length=timedelta(days=7)))
    assert standing(run(by_time, "W")[0]) == "pending warn"
    assert standing(run(by_time, "WW")[0]) == "firing warn"


@pytest.mark.parametrize("kind", ["day", "week"])
@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"])
def test_for_in_days_counts_local_days_over_the_night_of_a_clock_change(kind: str, night: str, zone: str) -> None:
    """A day of 23 hours is a day: four in a row have lasted three days, whatever the clock did."""
    calendar = Calendar(zone)
    spans = last_complete(
        kind, datetime.fromisoformat(night).replace(tzinfo=UTC) + timedelta(days=2 if kind == "day" else 14), calendar, 4
    )
    waits = replace(PLAIN, for_=Span(length=timedelta(days=3 if kind == "day" else 21)))
    state, standings = SeriesState(), []
    for span in spans:
        state = step(waits, state, OUTCOMES["W"], Slot(span.end, span.label, span.start)).state
        standings.append(state.status.value)
    assert standings == ["pending", "pending", "pending", "firing"]


def test_hours_are_hours() -> None:
    waits = replace(PLAIN, for_=Span(length=timedelta(days=1)))
    state = SeriesState()
    for hour in range(24):
        state = step(waits, state, OUTCOMES["W"], Slot(START + timedelta(hours=hour), f"{hour}")).state
    assert state.status is Status.PENDING
    assert step(waits, state, OUTCOMES["W"], Slot(START + timedelta(hours=24), "24")).state.status is Status.FIRING


def test_keep_in_time_counts_from_the_first_clear_slot() -> None:
    by_time = replace(PLAIN, keep=Span(length=timedelta(days=14)))
    assert standing(run(by_time, "WKK")[0]) == "recovering warn"
    assert standing(run(by_time, "WKKK")[0]) == "ok"


def test_thin_data_never_resolves() -> None:
    state, kinds = run(PLAIN, "C" + "INSEINSE")
    assert (standing(state), kinds) == ("firing critical", ["fired"])


@pytest.mark.parametrize(
    ("no_data", "letters", "after", "kinds"),
    [
        ("keep", "NNN", "ok", []),
        ("ignore", "WNNN", "firing warn", ["fired"]),
        ("fire", "N", "ok", []),
        ("fire", "NN", "firing warn", ["fired"]),
        ("fire", "SS", "firing warn", ["fired"]),
        ("fire", "NEN", "firing warn", ["fired"]),
        ("fire", "CNN", "firing critical", ["fired"]),
        ("fire", "NNK", "ok", ["fired", "resolved"]),
        ("ok", "WN", "firing warn", ["fired"]),
        ("ok", "WNN", "ok", ["fired", "expired"]),
        ("ok", "WSS", "ok", ["fired", "expired"]),
    ],
)
def test_no_data_policies(no_data: str, letters: str, after: str, kinds: list[str]) -> None:
    state, found = run(policy_of(1, 0, no_data), letters)
    assert (standing(state), found) == (after, kinds)


def test_fire_on_no_data_obeys_for() -> None:
    policy = policy_of(2, 0, "fire")
    assert standing(run(policy, "NN")[0]) == "pending warn"
    assert standing(run(policy, "NNN")[0]) == "firing warn"


def test_series_that_is_gone_is_forgotten_but_its_episodes_are_not_used_twice() -> None:
    state, kinds = run(PLAIN, "WMMM")
    assert kinds == ["fired", "expired"]
    assert state.forgotten
    state, kinds = run(PLAIN, "W", state, first=4)
    assert (kinds, state.episode, state.forgotten) == (["fired"], 2, False)


def test_missing_count_starts_again_when_the_series_is_seen() -> None:
    assert standing(run(PLAIN, "WMMIMM")[0]) == "firing warn"


def test_a_slot_is_evaluated_once() -> None:
    state, _ = run(PLAIN, "W")
    for letter in LETTERS:
        again, events = step(PLAIN, state, OUTCOMES[letter], SLOTS[0])
        assert again is state
        assert events == ()


def test_event_carries_what_people_need() -> None:
    outcome = Outcome(OutcomeKind.BREACH, Level.WARN, "too low", n=7, threshold="< 5")
    state = SeriesState()
    for slot in SLOTS[:2]:
        state, events = step(SLOW, state, outcome, slot)
    (event,) = events
    assert (event.kind, event.episode, event.since, event.level) == (EventKind.FIRED, 1, "W1", Level.WARN)
    assert event.dump()["reason"] == "too low"
    assert not event.ends_episode


def test_returns_from_recovering_are_counted() -> None:
    assert run(SLOW, "WWKWKW")[0].flaps == 2


def test_a_spell_lasts_from_the_first_bad_period_to_the_first_good_one() -> None:
    begins = [slot.start for slot in SLOTS]
    assert run(SLOW, "KWW")[0].spells == (Spell(begins[1]),)
    assert run(SLOW, "KWWWKK")[0].spells == (Spell(begins[1], begins[4]),)
    assert run(PLAIN, "WKKC")[0].spells == (Spell(begins[0], begins[1]), Spell(begins[3]))
    assert run(PLAIN, "WMMM")[0].spells == (Spell(begins[0], begins[3]),)
    assert len(run(PLAIN, "WK" * 27)[0].spells) == 24


def test_first_bad_slot_is_known_while_it_fires() -> None:
    assert run(SLOW, "KWW")[0].since_at == SLOTS[1].at
    assert run(SLOW, "KWWKK")[0].since_at is None


@pytest.mark.parametrize("kind", [EventKind.PAUSED, EventKind.RULE_REMOVED])
def test_closing_ends_what_is_open_and_nothing_else(kind: EventKind) -> None:
    state, _ = run(SLOW, "WWK")
    after, events = close(state, kind, SLOTS[9], "gone")
    assert (standing(after), [event.kind for event in events], after.episode) == ("ok", [kind], 1)
    assert close(run(SLOW, "W")[0], kind, SLOTS[9], "gone").events == ()


@pytest.mark.parametrize(
    ("letter", "after", "kinds"),
    [
        ("K", "ok", ["rule_changed"]),
        ("M", "ok", ["rule_changed"]),
        ("W", "firing warn", []),
        ("H", "firing warn", []),
        ("I", "firing warn", []),
    ],
)
def test_changed_rule_is_judged_at_the_next_slot(letter: str, after: str, kinds: list[str]) -> None:
    policy = policy_of(1, 2, "keep")
    state = mark_changed(run(policy, "W")[0])
    state, found = run(policy, letter, state, first=1)
    assert (standing(state), found) == (after, kinds)


def test_changed_rule_makes_what_is_pending_start_anew() -> None:
    state = mark_changed(run(SLOW, "W")[0])
    assert standing(run(SLOW, "W", state, first=1)[0]) == "pending warn"


def replayed(letters: str, anew: str, policy: RulePolicy = PLAIN) -> tuple[str, list[str], SeriesState]:
    """The slots of ``letters`` come out as ``anew`` says, from the first difference on."""
    first = next(place for place, (old, new) in enumerate(zip(letters, anew, strict=True)) if old != new)
    before, _ = run(policy, letters[:first])
    current, _ = run(policy, letters)
    slots = [(SLOTS[place], OUTCOMES[anew[place]]) for place in range(first, len(anew))]
    result = restate(policy, before, slots, current)
    assert len(result.before) == len(slots)
    assert result.state.last_slot == current.last_slot
    return standing(result.state), [event.kind.value for event in result.events], result.state


@pytest.mark.parametrize(
    ("letters", "anew", "after", "kinds"),
    [
        ("KW", "KK", "ok", ["restated"]),
        ("KWW", "KKW", "firing warn", []),
        ("KW", "KC", "firing critical", ["restated"]),
        ("KC", "KW", "firing warn", ["restated"]),
        ("KK", "KW", "firing warn", ["restated", "fired"]),
        ("WK", "CK", "ok", []),
        ("KK", "KI", "ok", []),
    ],
)
def test_restated_figures_are_replayed(letters: str, anew: str, after: str, kinds: list[str]) -> None:
    assert replayed(letters, anew)[:2] == (after, kinds)


def test_restated_firing_keeps_its_episode_and_an_ended_one_is_not_opened_again() -> None:
    assert replayed("WWW", "WKW")[2].episode == 1
    assert replayed("WK", "WW")[2].episode == 2


@settings(max_examples=150, deadline=None)
@given(
    letters=st.text(alphabet=LETTERS + "L", max_size=30),
    for_=st.integers(0, 4),
    keep=st.integers(0, 3),
    no_data=st.sampled_from(POLICIES),
    after=st.integers(1, 3),
)
def test_long_sequences_agree_with_the_naive_model(letters: str, for_: int, keep: int, no_data: str, after: int) -> None:
    policy = policy_of(for_, keep, no_data, after)
    state, naive = SeriesState(), Naive(for_, keep, no_data, after=after)
    fired: list[tuple[int, Level]] = []
    for letter, slot in zip(letters, SLOTS, strict=False):
        before = state
        state, naive = check_step(policy, before, naive, letter, slot)
        if state.episode > before.episode:
            fired.append((state.episode, state.level))
    assert len(fired) == len(set(fired)) == state.episode


def test_a_sample_of_the_exhaustive_space_agrees_with_the_naive_model() -> None:
    """One in a hundred."""
    chosen = random.Random(4)
    for for_ in (0, 2):
        for keep in (0, 2):
            for no_data in POLICIES:
                policy = policy_of(for_, keep, no_data)
                for _ in range(590):
                    state, naive = SeriesState(), Naive(for_, keep, no_data)
                    for slot in SLOTS[:5]:
                        state, naive = check_step(policy, state, naive, chosen.choice(LETTERS), slot)


@settings(max_examples=100, deadline=None)
@given(letters=st.text(alphabet=LETTERS + "L", min_size=1, max_size=12), data=st.data())
def test_replaying_unchanged_slots_changes_nothing(letters: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(letters) - 1))
    before, _ = run(SLOW, letters[:first])
    current, _ = run(SLOW, letters)
    result = restate(SLOW, before, [(SLOTS[place], OUTCOMES[letters[place]]) for place in range(first, len(letters))], current)
    assert result.events == ()
    assert replace(result.state, episode=0) == replace(current, episode=0)


LIFE = st.tuples(st.sampled_from(LETTERS + "L"), st.sampled_from(["", "", "", "", "restate", "restate", "change", "close"]))


@settings(max_examples=150, deadline=None)
@given(life=st.lists(LIFE, max_size=30), for_=st.integers(0, 2), keep=st.integers(0, 2), data=st.data())
def test_every_firing_ends_in_exactly_one_way(life: list[tuple[str, str]], for_: int, keep: int, data: st.DataObject) -> None:
    """Whatever happens to figures and rule: an episode has one beginning, at most one end, and it has ended if it is not on."""
    policy, state, told = policy_of(for_, keep, "keep"), SeriesState(), []
    befores: list[SeriesState] = []
    for (letter, deed), slot in zip(life, SLOTS, strict=False):
        befores.append(state)
        state, events = step(policy, state, OUTCOMES[letter], slot)
        told.extend(events)
        if deed == "restate":
            back = min(2, len(befores))
            anew = [(one, OUTCOMES[data.draw(st.sampled_from("WCHKIL"))]) for one in SLOTS[len(befores) - back : len(befores)]]
            result = restate(policy, befores[-back], anew, state)
            state, befores[-back:] = result.state, result.before
            told.extend(result.events)
        elif deed == "change":
            state = mark_changed(state)
        elif deed == "close":
            state, events = close(state, EventKind.PAUSED, slot, "paused")
            told.extend(events)
            befores = []  # figures of before the pause are not judged again
    for episode in range(1, state.episode + 1):
        mine = [event for event in told if event.episode == episode and event.kind not in FLAPS]
        assert sum(event.kind is EventKind.FIRED for event in mine) == 1
        assert sum(event.ends_episode for event in mine) == (episode < state.episode or not state.status.is_on)
        assert all(event.kind in ENDS for event in mine if event.ends_episode)
    assert (bool(state.spells) and state.spells[-1].end is None) == state.status.is_on


def test_state_and_tally_survive_the_store() -> None:
    state = SeriesState(
        status=Status.RECOVERING,
        level=Level.CRITICAL,
        data=Data.STALE,
        episode=3,
        last_slot=START,
        since="W1",
        thread="rule@x",
        calm=Tally(START, "W1", 2, timedelta(days=9), START - timedelta(days=7)),
        changes=5,
        spells=(Spell(START, START + timedelta(days=7)), Spell(START + timedelta(days=14))),
        since_at=START,
        flap_told=True,
        changed=True,
    )
    assert state_from_dump(state.dump()) == state
    assert SeriesState().dump() == {}
    assert state_from_dump({"a_later_version": 1}) == SeriesState()


def test_tally_counts_slots_or_time() -> None:
    tally = Tally(START, "W1", 1).plus(timedelta(days=7))
    assert tally.reaches(Span(periods=2))
    assert not tally.reaches(Span(periods=3))
    assert tally.reaches(Span(length=timedelta(days=7)))
    assert not tally.reaches(Span(length=timedelta(days=8)))
    assert Slot(START, "W1").label == "W1"
