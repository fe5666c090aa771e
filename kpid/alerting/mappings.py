"""Conditions that are mappings: anomalies, gains since an event, and several conditions taken together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from kpid.alerting.anomalies import anomaly_from
from kpid.alerting.baselines import Terms, value_of
from kpid.alerting.conditions import Condition, OfOneFigure, in_unit
from kpid.alerting.grammar import condition_from_text
from kpid.alerting.verdicts import Baseline, OutcomeKind, Verdict, share_of_cases, thin, to_decimal, unsure, untrusted, weight_of
from kpid.analysis.before_after import SURE, mann_whitney, months_of, two_proportions, windows
from kpid.analysis.durations import number_from_text
from kpid.analysis.wording import change_text, value_text
from kpid.model import Measurement

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight

_GAIN = re.compile(r"\s*([0-9][0-9_.]*|\.[0-9]+)\s*(%|pp|[A-Za-z]*)\s*")
_MOST_MONTHS = 36
_DAY = len("2026-03-01")
_TOLD_FOR = 6
"""So many months after the last of those that are compared, what they say is still judged."""
_MEMBER_KEYS = frozenset({"kpi", "period", "params", "min_sample", "is"})


@dataclass(frozen=True, slots=True)
class Gain(OfOneFigure):
    """What has not become better since an event as it should have: ``{since: 2026-03-01, months: 3, gain: 5pp}``.

    Whole months before and after are compared; it holds where the gain is smaller than expected, or may be chance.
    """

    text: str
    event: date
    months: int
    settle: int
    number: Decimal
    unit: str

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return 2 * (self.months + self.settle) + 1 + _TOLD_FOR

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        if sight.calendar is None:
            return unsure(OutcomeKind.NO_DATA, "nobody said how months are cut")
        both = windows(self.event, self.months, self.settle, sight.calendar)
        if sight.period.end < both.after.end:
            return unsure(OutcomeKind.INSUFFICIENT, f"too early to say: what is compared ends with {both.after.label}")
        after = months_of(both.after, sight.calendar)
        if sum(1 for period in sight.before if period.start >= both.after.end) >= _TOLD_FOR:
            return unsure(OutcomeKind.INSUFFICIENT, f"what came after was judged in the months after {after[-1].label}")
        sides = []
        for months in (months_of(both.before, sight.calendar), after):
            found = [sight.current if month == sight.period else sight.at(month) for month in months]
            sound = [one for one in found if one is not None and untrusted(one) is None and not thin(one, terms.min_sample)]
            if len(sound) < len(months):
                return unsure(
                    OutcomeKind.INSUFFICIENT, f"only {len(sound)} of the {len(months)} months {_span(months)} are sound"
                )
            sides.append(sound)
        return self._compared(sides[0], sides[1], sight, terms)

    def _compared(self, old: Sequence[Measurement], new: Sequence[Measurement], sight: Sight, terms: Terms) -> Verdict:
        was, is_ = (_together(side, sight, terms) for side in (old, new))
        gain = is_ - was if terms.better != "down" else was - is_
        wanted = (
            Fraction(self.number) / 100 * abs(was)
            if self.unit == "%"
            else Fraction(in_unit(self.number, self.unit, terms.kpi_unit))
        )
        p = _chance(old, new, sight, terms)
        is_sure = p is not None and p < SURE
        words = change_text(to_decimal(is_), to_decimal(was), terms.kpi_unit)
        before, after = (value_text(to_decimal(value), terms.kpi_unit) for value in (was, is_))
        chance = "too few figures to test" if p is None else f"p {'< 0.001' if p < 0.001 else f'{p:.3f}'}"
        limit = was + wanted if terms.better != "down" else was - wanted
        return Verdict(
            gain < wanted or not is_sure,
            reason=f"{words} since {self.event} ({before}, then {after}), {self.number:f}{self.unit} better expected; {chance}",
            limit=to_decimal(limit),
            baseline=Baseline(was, f"the {self.months} months before {self.event}"),
            side="high" if terms.better == "down" else "low",
        )


def _together(side: Sequence[Measurement], sight: Sight, terms: Terms) -> Fraction:
    """A share of cases over all months; the mean of the months of anything else."""
    cases = [share_of_cases(one) for one in side]
    if terms.kpi_unit == "ratio" and all(one is not None and one[1] for one in cases):
        return Fraction(sum(one[0] for one in cases if one), sum(one[1] for one in cases if one))
    values = [value for one in side if (value := value_of(one, sight, terms)) is not None]
    return sum(values, Fraction(0)) / max(1, len(values))


def _chance(old: Sequence[Measurement], new: Sequence[Measurement], sight: Sight, terms: Terms) -> float | None:
    cases = [[share_of_cases(one) for one in side] for side in (new, old)]
    if terms.kpi_unit == "ratio" and all(one is not None for side in cases for one in side):
        first, second = ((sum(one[0] for one in side if one), sum(one[1] for one in side if one)) for side in cases)
        return two_proportions(first, second)
    values = [[to_decimal(value) for one in side if (value := value_of(one, sight, terms)) is not None] for side in (new, old)]
    return mann_whitney(values[0], values[1])


def _span(months: Sequence[Any]) -> str:
    return f"{months[0].label} to {months[-1].label}"


@dataclass(frozen=True, slots=True)
class Member:
    """One of several conditions: on the rule's own KPI (``kpi`` empty), or on another one.

    ``place`` is where its sight stands among those of the other KPIs, ``total`` that of all its segments together where it is
    compared with them, ``terms`` how it is judged; they are filled in when the rule is made ready.
    """

    condition: Condition
    kpi: str = ""
    period: str = ""
    params: tuple[tuple[str, str], ...] = ()
    min_sample: int | None = None
    place: int = -1
    total: int = -1
    terms: Terms | None = None

    def verdict(self, sight: Sight, terms: Terms) -> Verdict:
        """What it finds."""
        if not self.kpi:
            return self.condition.holds_for(sight, terms)
        own = sight.members[self.place] if 0 <= self.place < len(sight.members) else None
        if own is None or own.current is None or self.terms is None:
            return unsure(OutcomeKind.NO_DATA, f"there is no figure of {self.kpi}")
        if (reason := untrusted(own.current)) is not None:
            return unsure(reason[0], f"{self.kpi}: {reason[1]}")
        if few := thin(own.current, self.terms.min_sample):
            return unsure(OutcomeKind.INSUFFICIENT, f"{self.kpi}: {few}")
        total = sight.members[self.total].current if 0 <= self.total < len(sight.members) else None
        found = self.condition.holds_for(replace(own, total=total), self.terms)
        value = value_text(own.current.value, self.terms.kpi_unit, own.current.currency)
        said = found.reason or f"{value} is {'' if found.holds else 'not '}{self.condition.text}"
        # what it was compared with is in the unit of the other KPI
        nothing: Verdict = replace(found, limit=None, baseline=None, side="", p=None, q=None)
        return replace(nothing, reason=f"{self.kpi}: {said}")


@dataclass(frozen=True, slots=True)
class Composite(OfOneFigure):
    """Several conditions, of which all must hold, or any."""

    text: str
    how: Literal["all", "any"]
    members: tuple[Member, ...]

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        own = frozenset[str]().union(*(member.condition.needs for member in self.members if not member.kpi))
        return own | ({"members"} if any(member.kpi for member in self.members) else frozenset())

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return max((member.condition.reach(kind) for member in self.members if not member.kpi), default=0)

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        found = [(member, member.verdict(sight, terms)) for member in self.members]
        known = [(member, verdict) for member, verdict in found if verdict.unknown is None]
        deciding = [one for one in known if one[1].holds == (self.how == "any")]
        unknown = [verdict for _, verdict in found if verdict.unknown is not None]
        if not deciding and unknown:
            return min(unknown, key=lambda verdict: weight_of(verdict.unknown or OutcomeKind.INSUFFICIENT))
        told = deciding or known
        first = next((verdict for member, verdict in told if not member.kpi), told[0][1])
        reason = " and ".join(_said(member, verdict, sight, terms) for member, verdict in told)
        return replace(first, holds=bool(deciding) == (self.how == "any"), reason=reason)


def _said(member: Member, verdict: Verdict, sight: Sight, terms: Terms) -> str:
    if verdict.reason or sight.current is None:
        return verdict.reason
    value = value_text(sight.current.value, terms.kpi_unit, sight.current.currency)
    return f"{value} is {'' if verdict.holds else 'not '}{member.condition.text}"


def condition_from(value: str | Mapping[str, Any]) -> Condition:
    """Read a condition, a text or a mapping.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    if isinstance(value, str):
        return condition_from_text(value)
    if "anomaly" in value:
        return anomaly_from(value)
    if "since" in value:
        return _gain_from(value)
    how = next((key for key in ("all", "any") if key in value), None)
    if how is None:
        raise ValueError(f"{dict(value)} is no condition: write a text, or a mapping with anomaly, since, all or any")
    return _composite_from(how, value[how])  # type: ignore[arg-type]


def _gain_from(given: Mapping[str, Any]) -> Gain:
    try:
        event = date.fromisoformat(str(given["since"])[:_DAY])
    except ValueError:
        raise ValueError(f"since: {given['since']!r} is not a day: write 2026-03-01") from None
    months, settle = _whole("months", given.get("months", 6), 1), _whole("settle", given.get("settle", 0), 0)
    found = _GAIN.fullmatch(str(given.get("gain", "0")))
    if found is None:
        raise ValueError(f"gain: {given.get('gain')!r}: write what is expected, such as 5pp, 10% or 3 days")
    number = number_from_text(found[1])
    text = f"gain of {number:f}{found[2]} since {event} ({months} months on both sides)"
    return Gain(text, event, months, settle, number, found[2])


def _whole(key: str, given: object, least: int) -> int:
    text = str(given).strip()
    if not text.isdecimal() or not least <= int(text) <= _MOST_MONTHS:
        raise ValueError(f"{key}: {given}: write a whole number from {least} to {_MOST_MONTHS}")
    return int(text)


def _composite_from(how: Literal["all", "any"], given: object) -> Composite:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) < 2:
        raise ValueError(f'{how}: write a list of two conditions or more, such as {how}: ["< 20%", "drop > 15% vs previous"]')
    members = tuple(_member_from(how, one) for one in given)
    text = f" {'and' if how == 'all' else 'or'} ".join(_member_text(member) for member in members)
    return Composite(text, how, members)


def _member_text(member: Member) -> str:
    return f"{member.kpi} {member.condition.text}" if member.kpi else member.condition.text


def _member_from(how: str, given: object) -> Member:
    if isinstance(given, str):
        return Member(condition_from_text(given))
    if not isinstance(given, Mapping):
        raise ValueError(f"{how}: {given!r} is no condition: write a text, or {{kpi: NAME, is: ...}}")
    if given.keys() & {"anomaly", "since", "all", "any"}:
        return Member(_alone(how, given))
    if strange := sorted(set(map(str, given)) - _MEMBER_KEYS):
        raise ValueError(
            f"{how}: {strange[0]!r} is not known here: a condition on another KPI has {', '.join(sorted(_MEMBER_KEYS))}"
        )
    if not given.get("kpi") or not given.get("is") or not isinstance(given["is"], str | Mapping):
        raise ValueError(f'{how}: a condition on another KPI needs both: {{kpi: NAME, is: "< 60%"}}')
    least, params = given.get("min_sample"), given.get("params") or {}
    if not isinstance(params, Mapping):
        raise ValueError(f"{how}: params: write them as {{name: value}}")
    return Member(
        _alone(how, given["is"]),
        kpi=str(given["kpi"]),
        period=str(given.get("period") or ""),
        params=tuple(sorted((str(name), str(value)) for name, value in params.items())),
        min_sample=None if least is None else _whole_sample(least),
    )


def _alone(how: str, given: str | Mapping[str, Any]) -> Condition:
    """A condition that is one."""
    if isinstance(given, Mapping) and given.keys() & {"all", "any"}:
        raise ValueError(f"{how}: one of several conditions cannot be several itself: write two rules, or one list")
    return condition_from(given)


def _whole_sample(given: object) -> int:
    if not str(given).isdecimal():
        raise ValueError(f"min_sample: {given}: write a whole number")
    return int(str(given))
