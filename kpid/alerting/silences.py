"""What holds an alert back: a silence, or another alert that fires. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kpid.alerting.matchers import Labels, matches, value_of
from kpid.config.alerting import Inhibit
from kpid.store.handling import Silence


def silenced_until(labels: Labels, silences: Sequence[Silence], at: datetime) -> tuple[str, datetime] | None:
    """The silence that holds an alert back the longest, and until when; None if none does."""
    held = [one for one in silences if _holds(one, at) and matches(one.matchers, labels)]
    longest = max(held, key=lambda one: one.ends_at, default=None)
    return None if longest is None else (silence_name(longest.id), longest.ends_at)


def silence_name(number: int) -> str:
    """What a notice says that a silence holds back."""
    return f"silence {number}"


def inhibited_by(labels: Labels, firing: Sequence[Labels], inhibit: Sequence[Inhibit]) -> str:
    """The rule whose alert fires and holds this one back; empty if none does. No alert holds back its own kind."""
    for one in inhibit:
        if not matches(one.mute, labels) or matches(one.if_, labels):
            continue
        for other in firing:
            if matches(one.if_, other) and all(_alike(other, labels, name) for name in one.equal):
                return value_of(other, "rule")
    return ""


def _alike(one: Labels, other: Labels, name: str) -> bool:
    """Whether both have the label with a value in common (a KPI may be fed by several sources), or neither has it."""
    mine, theirs = one.get(name, frozenset()), other.get(name, frozenset())
    return bool(mine & theirs) or not (mine or theirs)


def _holds(one: Silence, at: datetime) -> bool:
    return one.starts_at <= at < one.ends_at and one.ended_at is None
