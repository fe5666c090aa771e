"""What a rule asks of its figures beyond those that it judges. Pure."""

from __future__ import annotations

from kpid.alerting.rules import RulePlan
from kpid.model import SeriesNeed


def reach_of(plan: RulePlan) -> int:
    """How many periods, each before the other, are looked at: the one before at least."""
    return max(1, plan.reach)


def families_of(plan: RulePlan) -> list[SeriesNeed]:
    """Every family that a rule is judged by."""
    beside = [need for need in (plan.total, plan.days) if need is not None]
    return [plan.need, *beside, *plan.members]


def looks_further(plan: RulePlan) -> bool:
    """Whether more is looked at than a figure and the one before: then these may be as they were, and the judgement another."""
    guards = plan.conditions.guards
    guarded = guards.want_usual or guards.disjoint
    return guarded or plan.reach > 1 or plan.needs_targets or len(families_of(plan)) > 1
