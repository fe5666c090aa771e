"""Whether a rule can do its work: the second state machine, one per rule. Silence must never look like health. Pure.

healthy -> degraded (first slot not judged) -> unhealthy (after ``no_data_after``; people are told) -> healthy (told too).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.series import EventKind, RulePolicy, SeriesState, Slot, Tally, tally_from_dump

_EMPTY = {OutcomeKind.NO_DATA, OutcomeKind.MISSING}


class HealthStatus(StrEnum):
    """How a rule's own data is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class RuleHealth:
    """What is remembered of a rule's health.

    Attributes:
        status: where it stands.
        fault: ``error``, ``stale`` or ``no_data``; empty while healthy.
        reason: a sentence about it.
        bad: how long it has been so.
        told: the faults that people have been told of since it was last healthy.
        thread: the thread in which they were.
        episode: number of the last time it was unhealthy.
    """

    status: HealthStatus = HealthStatus.HEALTHY
    fault: str = ""
    reason: str = ""
    bad: Tally | None = None
    told: tuple[str, ...] = ()
    thread: str = ""
    episode: int = 0

    def dump(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "status": self.status.value,
            "fault": self.fault,
            "reason": self.reason,
            "bad": self.bad.dump() if self.bad else None,
            "told": list(self.told),
            "thread": self.thread,
            "episode": self.episode,
        }


def health_from_dump(data: Mapping[str, Any]) -> RuleHealth:
    """The inverse of :meth:`RuleHealth.dump`; healthy if there is nothing."""
    if not data:
        return RuleHealth()
    return RuleHealth(
        status=HealthStatus(data["status"]),
        fault=data["fault"],
        reason=data["reason"],
        bad=tally_from_dump(data["bad"]) if data["bad"] else None,
        told=tuple(data["told"]),
        thread=data["thread"],
        episode=data["episode"],
    )


class Fault(NamedTuple):
    """Why a slot could not be judged as it should."""

    kind: OutcomeKind
    reason: str


def find_fault(judged: Sequence[tuple[SeriesState, Outcome]], failure: str, *, no_data_is_fault: bool) -> Fault | None:
    """What was wrong with the data of one slot, over all series of the rule; None if nothing.

    A single segment without a value is not a fault (somebody has closed nothing), unless an alert hangs on it.

    Args:
        judged: the state after the slot, and the outcome, of each series.
        failure: why the slot could not be measured at all, if so.
        no_data_is_fault: the rule's policy for missing and old data does not say otherwise.
    """
    if failure:
        return Fault(OutcomeKind.ERROR, failure)
    outcomes = [outcome for _, outcome in judged]
    if (error := _told_of(outcomes, OutcomeKind.ERROR)) is not None or not no_data_is_fault:
        return error
    return _told_of(outcomes, OutcomeKind.STALE) or _emptiness(judged)


def _told_of(outcomes: Sequence[Outcome], kind: OutcomeKind) -> Fault | None:
    found = [outcome for outcome in outcomes if outcome.kind is kind]
    if not found:
        return None
    many = f" ({len(found)} of {len(outcomes)} series)" if len(outcomes) > 1 else ""
    return Fault(kind, found[0].reason + many)


def _emptiness(judged: Sequence[tuple[SeriesState, Outcome]]) -> Fault | None:
    if not judged:
        return Fault(OutcomeKind.NO_DATA, "nothing has been measured for this rule")
    if all(outcome.kind in _EMPTY for _, outcome in judged):
        return Fault(OutcomeKind.NO_DATA, judged[0][1].reason)
    hanging = [outcome for state, outcome in judged if state.status.is_on and outcome.kind is OutcomeKind.NO_DATA]
    return Fault(OutcomeKind.NO_DATA, f"an alert cannot be judged: {hanging[0].reason}") if hanging else None


def step_health(
    policy: RulePolicy, health: RuleHealth, fault: Fault | None, slot: Slot, gap: timedelta
) -> tuple[RuleHealth, EventKind | None]:
    """Take one slot. People are told once of each kind of fault, and once that all is well again."""
    if fault is None:
        recovered = EventKind.HEALTHY if health.status is HealthStatus.UNHEALTHY else None
        return RuleHealth(thread=health.thread if recovered else "", episode=health.episode), recovered
    bad = Tally(slot.at, slot.label, 1) if health.bad is None else health.bad.plus(gap)
    health = replace(health, bad=bad, fault=fault.kind.value, reason=fault.reason)
    if not bad.reaches(policy.no_data_after):
        return replace(health, status=HealthStatus.DEGRADED), None
    if fault.kind.value in health.told:
        return replace(health, status=HealthStatus.UNHEALTHY), None
    opened = health.episode if health.told else health.episode + 1
    told = (*health.told, fault.kind.value)
    return replace(health, status=HealthStatus.UNHEALTHY, told=told, episode=opened), EventKind.UNHEALTHY
