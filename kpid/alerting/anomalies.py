"""Conditions on what is unusual: ``{anomaly: down, method: robust_z, season: weekday, history: 12x}``.

What is usual comes from earlier figures of the series alone: never the one judged, nor any of its episodes or of the times that
people have excluded. From fewer than eight of them nothing is called unusual.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal

from kpid.alerting.awaiting import day_after, too_little
from kpid.alerting.baselines import Terms, sound_figures, usual_periods, value_of
from kpid.alerting.conditions import OfOneFigure, own_value
from kpid.alerting.verdicts import Baseline, OutcomeKind, Side, Verdict, share_of_cases, unsure
from kpid.analysis.chances import normal_below
from kpid.analysis.control import ENOUGH, FEWEST, Limits, p_limits, robust_limits, seasonal, xmr
from kpid.analysis.durations import duration_from_text, number_from_text
from kpid.analysis.wording import value_text
from kpid.model import Measurement, Period

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight

METHODS = ("robust_z", "xmr", "p_chart")
SEASONS: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "weekday": frozenset({"day"}),
    "week_of_year": frozenset({"week", "iso_week", "week_sun", "week_sat"}),
    "month_of_year": frozenset({"month", "fiscal_month"}),
    "month_of_quarter": frozenset({"month", "fiscal_month"}),
    "quarter_of_year": frozenset({"quarter", "fiscal_quarter"}),
}
"""Seasons, and the kinds of periods that have them."""
_SENSITIVITY = {"robust_z": 3.5, "xmr": 3.0, "p_chart": 3.0}
_LENGTHS = {
    "hour": 1 / 24, "day": 1, "week": 7, "iso_week": 7, "week_sun": 7, "week_sat": 7, "month": 30.44, "fiscal_month": 30.44,
    "quarter": 91.3, "fiscal_quarter": 91.3, "half": 182.6, "year": 365.25, "fiscal_year": 365.25,
}  # fmt: skip
_HISTORY = re.compile(r"\s*([0-9]{1,4})\s*([xy])\s*")
_LONGEST = 1000
_LABELLED = re.compile(r"-W(?P<week>\d\d)$|-Q(?P<quarter>[1-4])$|-M?(?P<month>\d\d)$")


@dataclass(frozen=True, slots=True)
class Anomaly(OfOneFigure):
    """The value lies beyond what is usual for the series.

    Attributes:
        text: what people read: ``unusually low (robust_z, weekday)``.
        direction: ``up``, ``down`` or ``both``: what is told.
        method: ``robust_z``, ``xmr`` or ``p_chart``.
        season: what usual depends on.
        sensitivity: how far is too far: a robust score, or sigmas.
        periods: so many earlier periods are looked at (with a weekday, so many of the same); None: ``years`` says it.
        years: the same in years.
        effect: nearer to the middle than this share of it is never a breach.
    """

    text: str
    direction: Literal["up", "down", "both"]
    method: str
    season: str
    sensitivity: float
    periods: int | None
    years: float
    effect: Decimal | None = None

    @property
    def least_effect(self) -> Decimal | None:
        """See :class:`Condition`."""
        return self.effect

    @property
    def tail(self) -> float:
        """How often chance alone goes beyond the limits, if they are so many sigmas away."""
        return normal_below(-self.sensitivity) * (2 if self.direction == "both" else 1)

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return {"up": "high", "down": "low"}.get(self.direction, "")  # type: ignore[return-value]

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return min(_LONGEST, self.window(kind) + FEWEST * self._stride)

    @property
    def _stride(self) -> int:
        """How many periods apart those are that it compares."""
        return 7 if self.season == "weekday" else 1

    def window(self, kind: str) -> int:
        """How many periods, each before the other, show what is usual. Those that do not are made up for from further back."""
        if self.periods is None:
            return min(_LONGEST, round(self.years * 365.25 / _LENGTHS.get(kind, 1)))
        return min(_LONGEST, self.periods * self._stride)

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        value = own_value(sight, terms)
        if isinstance(value, Verdict):
            return value
        figures = self._figures(sight, terms)
        if terms.adds_up and terms.min_sample is not None and sum(one.n for one in figures) < terms.min_sample * len(figures):
            return unsure(
                OutcomeKind.INSUFFICIENT, f"too little is usual here: on average below the rule's minimum of {terms.min_sample}"
            )
        if len(figures) < FEWEST:
            reason = f"{len(figures)} sound earlier figures: from fewer than {FEWEST} nothing is unusual"
            return too_little(reason, sight, day_after(sight, (FEWEST - len(figures)) * self._stride))
        found = self._charted(sight, figures) if self.method == "p_chart" else self._scored(value, sight, terms, figures)
        if isinstance(found, Verdict):
            return found
        limits, p = found
        found = self._judged(value, limits, p, len(figures), terms)
        own = season_of(sight.period, self.season)
        made_of = tuple(one.period for one in figures if season_of(one.period, self.season) == own)
        return replace(found, baseline=replace(found.baseline, periods=made_of)) if found.baseline else found

    def _figures(self, sight: Sight, terms: Terms) -> list[Measurement]:
        """The newest sound figures that show what is usual."""
        window, own = self.window(sight.period.kind), season_of(sight.period, self.season)
        figures = sound_figures(sight, terms, usual_periods(sight, self.reach(sight.period.kind), window))
        if self.season == "weekday":
            return [one for one in figures if season_of(one.period, self.season) == own][-(window // self._stride) :]
        newest = figures[-window:]
        return [one for one in newest if season_of(one.period, self.season) == own] if self.method == "p_chart" else newest

    def _scored(self, value: Fraction, sight: Sight, terms: Terms, figures: Sequence[Measurement]) -> _Found | Verdict:
        """Limits from the scatter of earlier figures."""
        points = [(one.period, float(value_of(one, sight, terms) or 0)) for one in figures]
        left, usual, step = [point for _, point in points], 0.0, 1.0
        if self.season not in {"none", "weekday"}:
            seasoned = [(season_of(period, self.season), point) for period, point in points]
            found = seasonal(seasoned, season_of(sight.period, self.season), float(value))
            if found is None or len(found.points) < FEWEST:
                return unsure(OutcomeKind.INSUFFICIENT, f"too few earlier figures of this {self.season.replace('_', ' ')}")
            left, usual, step = list(found.points), found.usual, found.step
        limits = xmr(left, self.sensitivity) if self.method == "xmr" else robust_limits(left, self.sensitivity)
        if limits is None or limits.low == limits.high:
            return unsure(OutcomeKind.INSUFFICIENT, "all earlier figures are the same: what is unusual is undefined")
        return Limits(*(usual + step * end for end in limits)), None

    def _charted(self, sight: Sight, figures: Sequence[Measurement]) -> _Found | Verdict:
        """Limits of a share of cases: those of chance alone, for as many cases as there are now."""
        own = share_of_cases(sight.current) if sight.current is not None else None
        pairs = [cases for one in figures if (cases := share_of_cases(one)) is not None]
        if own is None or len(pairs) < FEWEST:
            return unsure(OutcomeKind.INSUFFICIENT, "these figures are no shares of cases: a p_chart cannot judge them")
        usual = sum(above for above, _ in pairs) / max(1, sum(below for _, below in pairs))
        if not 0 < usual < 1:
            return unsure(OutcomeKind.INSUFFICIENT, f"it always was {usual:.0%}: what is unusual is undefined")
        score = (own[0] / own[1] - usual) / sqrt(usual * (1 - usual) / own[1])
        tails = {"up": normal_below(-score), "down": normal_below(score), "both": 2 * normal_below(-abs(score))}
        return p_limits(usual, own[1], self.sensitivity), tails[self.direction]

    def _judged(self, value: Fraction, limits: Limits, p: float | None, count: int, terms: Terms) -> Verdict:
        is_low, is_high = value < Fraction(limits.low), value > Fraction(limits.high)
        holds = (is_low and self.direction != "up") or (is_high and self.direction != "down")
        side: Side = "low" if value < Fraction(limits.mean) else "high"
        nearer = limits.low if self.direction == "down" or (side == "low" and self.direction == "both") else limits.high
        low, middle, high = (value_text(_rounded(end), terms.kpi_unit) for end in (limits.low, limits.mean, limits.high))
        where = "below" if is_low else "above" if is_high else "within"
        warnings = (f"what is usual rests on {count} periods only",) if count < ENOUGH else ()
        return Verdict(
            holds,
            reason=f"{where} its usual range of {low} to {high} (middle {middle}, {count} periods)",
            limit=_rounded(nearer),
            baseline=Baseline(Fraction(_rounded(limits.mean)), f"what is usual ({count} periods)"),
            side=side,
            p=p,
            q=None if p is None else self.tail,
            warnings=warnings,
        )


_Found = tuple[Limits, float | None]


def anomaly_from(given: Mapping[str, Any]) -> Anomaly:
    """Read ``{anomaly: up|down|both, method:, season:, sensitivity:, history:, min_effect:}``.

    Raises:
        ValueError: it says something that cannot be; the message says what to write.
    """
    direction = str(given["anomaly"]).lower()
    if direction not in {"up", "down", "both"}:
        raise ValueError(f"anomaly: {given['anomaly']}: it needs its direction: write `anomaly: down`, `up` or `both`")
    method = _one_of("method", str(given.get("method", METHODS[0])), METHODS)
    season = _one_of("season", "none" if given.get("season") is None else str(given["season"]), tuple(SEASONS))
    periods, years = _history(str(given.get("history", "12x" if season == "weekday" else "24x")))
    sensitivity = float(_number("sensitivity", given.get("sensitivity", _SENSITIVITY[method]), above=0, upto=20))
    effect = given.get("min_effect")
    words = {"up": "unusually high", "down": "unusually low", "both": "unusual"}[direction]
    return Anomaly(
        text=f"{words} ({method}{'' if season == 'none' else f', by {season}'})",
        direction=direction,  # type: ignore[arg-type]
        method=method,
        season=season,
        sensitivity=sensitivity,
        periods=periods,
        years=years,
        effect=None if effect is None else _number("min_effect", effect, above=0, upto=1),
    )


def season_of(period: Period, season: str) -> Hashable:
    """The season that a period falls in; the same for all where there are none."""
    if season == "none":
        return ""
    if season == "weekday":
        return date.fromisoformat(period.label).weekday() if period.kind == "day" else ""
    found = _LABELLED.search(period.label)
    if season == "week_of_year":
        return int(found["week"]) if found and found["week"] else period.start.isocalendar().week
    if season == "quarter_of_year":
        return found["quarter"] if found else ""
    month = int(found["month"]) if found and found["month"] else 0
    return month if season == "month_of_year" else month % 3


def _history(text: str) -> tuple[int | None, float]:
    found = _HISTORY.fullmatch(text)
    if found and found[2] == "x":
        periods = int(found[1])
        if not FEWEST <= periods <= _LONGEST:
            raise ValueError(f"history: {text}: write {FEWEST}x to {_LONGEST}x")
        return periods, 0.0
    if found:
        return None, float(found[1])
    try:
        return None, duration_from_text(text).days / 365.25
    except ValueError:
        raise ValueError(f"history: {text!r}: write a number of periods such as 24x, or a length of time such as 2y") from None


def _one_of(key: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{key}: {value!r} is not known: use one of {', '.join(known)}")
    return value


def _number(key: str, given: object, *, above: int, upto: int) -> Decimal:
    value = number_from_text(str(given))
    if not above < value <= upto:
        raise ValueError(f"{key}: {given} must lie above {above}, and be {upto} at most")
    return value


def _rounded(value: float) -> Decimal:
    return Decimal(f"{value:.12g}")
