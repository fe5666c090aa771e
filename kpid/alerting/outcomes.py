"""What one evaluation of one series has found, with the figures it rests on. Frozen; JSON round trips."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from kpid.alerting.verdicts import OutcomeKind
from kpid.model import Level

__all__ = ["Outcome", "OutcomeKind", "outcome_from_dump"]


class Outcome(NamedTuple):
    """A judgement with its reason and the figures it rests on.

    Attributes:
        kind: what was found.
        level: the highest level breached; ``none`` unless ``kind`` is breach.
        reason: a sentence for people.
        value: the KPI's value; None when there is none.
        n: sample size.
        threshold: the condition as written that decided.
        limit: the number that the value was compared with.
        previous: the value one period earlier, if known.
        previous_label: which period that was.
        warnings: what the measurement warned of.
        low: lower end of the value's 95 % interval, if it has one.
        high: upper end.
        p: how often chance alone would give this, where that was asked.
        baseline: what is usual, where the judgement compared with it.
        baseline_label: over which periods.
        effect: how far the value is from the baseline, relative to it.
        unguarded: the verdict before the guards, if they changed it.
        usual: of a breach the labels of the periods whose average was compared with; none of what was never measured (a target).
        known_from: the day from which enough is known to judge it, where that is all that lacks.
        new_level: it is clear only because the open episode has lasted so long that it is what is usual by now.
    """

    kind: OutcomeKind
    level: Level = Level.NONE
    reason: str = ""
    value: Decimal | None = None
    n: int = 0
    threshold: str = ""
    limit: Decimal | None = None
    previous: Decimal | None = None
    previous_label: str = ""
    warnings: tuple[str, ...] = ()
    low: Decimal | None = None
    high: Decimal | None = None
    p: float | None = None
    baseline: Decimal | None = None
    baseline_label: str = ""
    effect: Decimal | None = None
    unguarded: OutcomeKind | None = None
    usual: tuple[str, ...] = ()
    known_from: str = ""
    new_level: bool = False

    def is_same_as(self, other: Outcome) -> bool:
        """Whether the state machine cannot tell them apart."""
        return (self.kind, self.level, self.new_level) == (other.kind, other.level, other.new_level)

    def dump(self) -> dict[str, Any]:
        """As JSON-able data; what says nothing is left out."""
        data: dict[str, Any] = {"kind": self.kind.value, "n": self.n}
        for name in ("reason", "threshold", "previous_label", "baseline_label", "known_from"):
            if getattr(self, name):
                data[name] = getattr(self, name)
        for name in ("value", "limit", "previous", "low", "high", "baseline", "effect"):
            if getattr(self, name) is not None:
                data[name] = str(getattr(self, name))
        if self.p is not None:
            data["p"] = round(self.p, 6)
        if self.unguarded is not None:
            data["unguarded"] = self.unguarded.value
        if self.new_level:
            data["new_level"] = True
        if self.level is not Level.NONE:
            data["level"] = self.level.value
        for name in ("warnings", "usual"):
            if getattr(self, name):
                data[name] = list(getattr(self, name))
        return data


def outcome_from_dump(data: Mapping[str, Any]) -> Outcome:
    """The inverse of :meth:`Outcome.dump`."""

    def number(name: str) -> Decimal | None:
        return Decimal(data[name]) if name in data else None

    return Outcome(
        kind=OutcomeKind(data["kind"]),
        level=Level(data.get("level", "none")),
        reason=data.get("reason", ""),
        value=number("value"),
        n=data["n"],
        threshold=data.get("threshold", ""),
        limit=number("limit"),
        previous=number("previous"),
        previous_label=data.get("previous_label", ""),
        warnings=tuple(data.get("warnings", ())),
        low=number("low"),
        high=number("high"),
        p=data.get("p"),
        baseline=number("baseline"),
        baseline_label=data.get("baseline_label", ""),
        effect=number("effect"),
        unguarded=OutcomeKind(data["unguarded"]) if "unguarded" in data else None,
        usual=tuple(data.get("usual", ())),
        known_from=data.get("known_from", ""),
        new_level=data.get("new_level", False),
    )
