from __future__ import annotations

from datetime import timedelta

import pytest

from kpid.alerting.health import Fault, HealthStatus, RuleHealth, find_fault, health_from_dump, step_health
from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.series import EventKind, RulePolicy, SeriesState, Status
from kpid.analysis.durations import Span
from tests.alerting.models import OUTCOMES, SLOTS

WEEK = timedelta(weeks=1)
STALE = Fault(OutcomeKind.STALE, "too old")
NONE = Fault(OutcomeKind.NO_DATA, "nothing there")
OK, FIRING = SeriesState(), SeriesState(status=Status.FIRING)


def run(*faults: Fault | None, policy: RulePolicy | None = None) -> tuple[RuleHealth, list[str]]:
    health, kinds = RuleHealth(), []
    for slot, fault in zip(SLOTS, faults, strict=False):
        health, kind = step_health(policy or RulePolicy(), health, fault, slot, WEEK)
        kinds.append("" if kind is None else kind.value)
    return health, kinds


def test_one_bad_slot_only_degrades() -> None:
    health, kinds = run(None, STALE)
    assert (health.status, health.reason, kinds) == (HealthStatus.DEGRADED, "too old", ["", ""])
    assert run(None, STALE, None, STALE)[1] == [""] * 4


def test_bad_for_long_enough_is_told_once_and_so_is_its_end() -> None:
    health, kinds = run(STALE, STALE, STALE, None, None)
    assert kinds == ["", "unhealthy", "", "healthy", ""]
    assert health == RuleHealth(episode=1)


def test_another_kind_of_fault_is_told_too() -> None:
    assert run(STALE, STALE, NONE, NONE, STALE)[1] == ["", "unhealthy", "unhealthy", "", ""]


def test_after_may_be_a_length_of_time() -> None:
    assert run(STALE, STALE, STALE, policy=RulePolicy(no_data_after=Span(length=2 * WEEK)))[1] == ["", "", "unhealthy"]


def test_health_survives_the_store() -> None:
    health, _ = run(STALE, STALE)
    assert health_from_dump(health.dump()) == health
    assert health_from_dump({}) == RuleHealth()
    assert EventKind.UNHEALTHY == "unhealthy"


def found(*judged: tuple[SeriesState, str], failure: str = "", counts: bool = True) -> str | None:
    fault = find_fault([(state, OUTCOMES[letter]) for state, letter in judged], failure, no_data_is_fault=counts)
    return None if fault is None else fault.kind.value


@pytest.mark.parametrize(
    ("letters", "fault"),
    [
        ("KWI", None),
        ("KKE", "error"),
        ("KSE", "error"),
        ("KS", "stale"),
        ("KN", None),
        ("NN", "no_data"),
        ("NM", "no_data"),
        ("KM", None),
        ("", "no_data"),
    ],
)
def test_fault_of_a_slot(letters: str, fault: str | None) -> None:
    assert found(*((OK, letter) for letter in letters)) == fault


def test_alert_that_cannot_be_judged_is_a_fault() -> None:
    assert found((OK, "K"), (FIRING, "N")) == "no_data"
    assert found((OK, "K"), (FIRING, "I")) is None


def test_failure_to_measure_is_an_error_whatever_the_policy() -> None:
    assert found((OK, "N"), failure="locked", counts=False) == "error"
    assert found((OK, "N"), (OK, "S"), counts=False) is None
    assert found((OK, "E"), counts=False) == "error"


def test_reason_says_how_many_series_it_concerns() -> None:
    stale = Outcome(OutcomeKind.STALE, reason="too old")
    assert find_fault([(OK, stale)], "", no_data_is_fault=True) == STALE
    two = find_fault([(OK, stale), (OK, OUTCOMES["K"])], "", no_data_is_fault=True)
    assert two == Fault(OutcomeKind.STALE, "too old (1 of 2 series)")
