from __future__ import annotations

import pytest

from kpid.alerting.records import replace
from kpid.alerting.series import EventKind, Flaps, SeriesState
from kpid.alerting.state import close, restate, step
from kpid.model import Level
from tests.alerting.models import FLAPS, OUTCOMES, SLOTS, policy_of

PLAIN = policy_of(1, 0, "keep")


def told(letters: str, flaps: Flaps = PLAIN.flaps) -> list[str]:
    """What is said of flapping after each outcome."""
    policy, state, said = replace(PLAIN, flaps=flaps), SeriesState(), []
    for letter, slot in zip(letters, SLOTS, strict=False):
        state, events = step(policy, state, OUTCOMES[letter], slot)
        said.append("".join(event.kind.value for event in events if event.kind in FLAPS))
    return said


def test_series_that_keeps_changing_is_told_once() -> None:
    assert told("WKWKWKWKW") == ["", "", "", "flapping", "", "", "", "", ""]


def test_quiet_slots_end_it_and_the_next_time_is_told_again() -> None:
    assert told("WKWKKKKKK")[-1] == "steady"
    assert told("WKWKKKKK")[-1] == ""
    assert told("WKWKKKKKKKKKK")[9:] == [""] * 4
    again = told("WKWK" + "K" * 5 + "WKWK")
    assert [place for place, said in enumerate(again) if said] == [3, 8, 9]  # changes of before are still within ten slots


def test_changes_far_apart_are_no_flapping() -> None:
    assert set(told(("W" + "K" * 9) * 4)) == {""}


def test_silence_is_quiet() -> None:
    assert told("WKWKWNNNNN")[-1] == "steady"


@pytest.mark.parametrize(("flaps", "place"), [(Flaps(2, 10, 5), 1), (Flaps(4, 4, 5), 3), (Flaps(6, 10, 5), 5)])
def test_the_company_says_what_flapping_is(flaps: Flaps, place: int) -> None:
    assert told("WKWKWKWK", flaps).index("flapping") == place


def test_flapping_changes_nothing_else() -> None:
    never, state, other = replace(PLAIN, flaps=Flaps(10, 10, 10)), SeriesState(), SeriesState()
    for letter, slot in zip("WKWKWKWC", SLOTS, strict=False):
        state, events = step(PLAIN, state, OUTCOMES[letter], slot)
        other, wanted = step(never, other, OUTCOMES[letter], slot)
        assert [event.kind for event in events if event.kind not in FLAPS] == [event.kind for event in wanted]
        assert replace(state, flap_told=False) == other


def test_event_says_where_the_series_stands_and_ends_nothing() -> None:
    state = SeriesState()
    for letter, slot in zip("WKWK", SLOTS, strict=False):
        state, events = step(PLAIN, state, OUTCOMES[letter], slot)
    resolved, flapping = events
    assert (resolved.kind, resolved.ends_episode) == (EventKind.RESOLVED, True)
    assert (flapping.kind, flapping.ends_episode, flapping.episode) == (EventKind.FLAPPING, False, 2)
    assert flapping.level is Level.NONE


def test_rule_that_is_paused_forgets_it_and_restated_figures_tell_it_no_second_time() -> None:
    state, befores = SeriesState(), []
    for letter, slot in zip("WKWKW", SLOTS, strict=False):
        befores.append(state)
        state, _ = step(PLAIN, state, OUTCOMES[letter], slot)
    assert state.flap_told
    paused = close(state, EventKind.PAUSED, SLOTS[5], "paused").state
    assert (paused.flap_told, paused.changes) == (False, 0)
    anew = [(SLOTS[3], OUTCOMES["W"]), (SLOTS[4], OUTCOMES["K"])]
    replayed = restate(PLAIN, befores[3], anew, state)
    assert replayed.state.flap_told
    assert [event.kind.value for event in replayed.events] == ["restated"]
