"""What a figure is compared with: the period before, last year's, the average of the last eight, a target. Pure.

The period that is judged is never part of it, nor is any in which the series was not as usual (its episodes, what people have
excluded), nor a figure that is not sound. What is too little to compare with gives no verdict instead of a wrong one.

An episode that has lasted as long as a window is what is usual by now: else nothing would be left to compare with, and the alert
would never end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING

from kpid.alerting.awaiting import day_after, day_of_reference, too_little
from kpid.alerting.verdicts import Baseline, OutcomeKind, Verdict, exact_value, thin, unsure, untrusted
from kpid.analysis.calendar import Calendar
from kpid.analysis.comparison import reference
from kpid.analysis.periods import days_of, is_daily
from kpid.analysis.workdays import WorkCalendar
from kpid.errors import KpidError
from kpid.model import Measurement, Period
from kpid.plugin.kpi import Benchmark

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight
    from kpid.alerting.series import Spell

WINDOWS = ("avg", "median", "max", "min")
"""What can be made of several earlier figures."""
YEARS = ("last_year", "last_year_iso_week", "last_year_364d")
WEEKDAYS = ("same_weekday", "same_weekday_14d")
NAMES = ("previous", *YEARS, *WEEKDAYS, "target", "benchmark", "total")
"""What else a figure can be compared with."""
_WORDS = {"avg": "average", "median": "median", "max": "maximum", "min": "minimum"}
FILL = 2
"""A window that lacks periods looks so many times its length back for others."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a KPI is to be judged.

    Attributes:
        kpi_unit: ``count``, ``ratio``, ``currency``, ``days``, ``seconds`` or ``score``.
        min_sample: the rule's own smallest sample; None leaves it to the KPI's (the measurement's state).
        better: ``up``, ``down`` or ``none``.
        per_day: figures are compared per working day.
        adds_up: figures of days add up to those of months: their size is their sample, so that what is expected must be large
            enough, not what came.
        align: ``calendar_days`` or ``working_days``: what makes to-date periods equally long.
        benchmark: what others reach.
        curve: how a target comes together over its period.
        start_after: pace and forecast: not judged before this share of the period, or so long (text) after its start.
    """

    kpi_unit: str
    min_sample: int | None = None
    better: str = "none"
    per_day: bool = False
    adds_up: bool = False
    align: str = "calendar_days"
    benchmark: Benchmark | None = None
    curve: str | Sequence[Decimal] = "linear_working_days"
    start_after: str = "20%"


@dataclass(frozen=True, slots=True)
class Against:
    """What a condition compares with: ``previous``, ``last_year``, ``avg(8)``, ``avg(8 same_weekdays)``, ``target``."""

    name: str
    count: int = 0
    same_weekdays: bool = False

    def __str__(self) -> str:
        if not self.count:
            return self.name
        return f"{self.name}({self.count}{' same_weekdays' if self.same_weekdays else ''})"

    @property
    def steps(self) -> int:
        """How many periods, each before the other, a window looks through."""
        return self.window * FILL

    @property
    def stride(self) -> int:
        """How many periods apart those of a window are."""
        return 7 if self.same_weekdays else 1

    @property
    def window(self) -> int:
        """How many periods, each before the other, a window is long."""
        return self.count * self.stride

    def reach(self, kind: str) -> int:
        """How many periods, each before the other, it may look at."""
        if self.count:
            return self.steps
        if self.name == "previous":
            return 1
        if self.name in YEARS:
            return 366 // days_back(kind) + 2 if is_daily(kind) else _A_YEAR.get(kind, 366) + 1
        return {"same_weekday": 7, "same_weekday_14d": 14}.get(self.name, 0)


_A_YEAR = {
    "hour": 366 * 24 + 1, "week": 53, "iso_week": 53, "week_sun": 53, "week_sat": 53, "month": 12, "fiscal_month": 12,
    "quarter": 4, "fiscal_quarter": 4, "half": 2, "year": 1, "fiscal_year": 1,
}  # fmt: skip


_LONGEST = {"wtd": 7, "mtd": 31, "qtd": 92, "ytd": 366, "fmtd": 42, "fqtd": 105, "fytd": 371}
"""Days of the longest week, month ...; fiscal ones may consist of whole weeks, one of them more than usual."""


def stored(steps: int, kind: str) -> int:
    """How many kept periods so many steps back are: of kinds with one period per day that overlap, a step is many days."""
    return steps * days_back(kind) if is_daily(kind) else steps


def days_back(kind: str) -> int:
    """How many days before a daily period the one to compare with may lie: as many as the longest of what it is a part of."""
    digits = "".join(letter for letter in kind if letter.isdigit())
    return int(digits) if digits else _LONGEST.get(kind, 366)


def baseline_of(against: Against, sight: Sight, terms: Terms) -> Baseline | Verdict:
    """What a figure is compared with; a verdict that nothing can be said where there is nothing sound."""
    if against.count:
        return _window(against, sight, terms)
    if against.name in {"target", "benchmark"}:
        return _target(sight, terms) if against.name == "target" else _benchmark(terms)
    if against.name == "total":
        return _single(sight.total, sight.period, "all together", terms, sight)
    return _earlier(against, sight, terms)


def _earlier(against: Against, sight: Sight, terms: Terms) -> Baseline | Verdict:
    """The figure of one earlier period."""
    period, warnings = _referred(against, sight, terms)
    if period is None:
        if warnings:
            return unsure(OutcomeKind.NO_DATA, warnings[0])
        return too_little("there is no earlier period to compare with", sight, day_after(sight, 1))
    found = _single(sight.at(period), period, period.label, terms, sight)
    if isinstance(found, Verdict):
        return found
    return replace(found, is_previous=against.name == "previous", warnings=warnings)


def value_of(measured: Measurement, sight: Sight, terms: Terms) -> Fraction | None:
    """The exact value, per working day if the rule compares so; None for a period in which nobody works."""
    value = exact_value(measured)
    if not terms.per_day:
        return value
    days = work_days(measured.period, sight)
    return value / days if days else None


def work_days(period: Period, sight: Sight) -> Fraction:
    """Working days of a period; 1 where nobody said which days are."""
    if sight.work is None or sight.calendar is None:
        return Fraction(1)
    return _work_days(period, sight.calendar, sight.work)


def usual_periods(sight: Sight, count: int, window: int) -> list[Period]:
    """Of the ``count`` periods before the one judged those in which the series was as usual, oldest first.

    ``window``: an open episode that has lasted for so many periods is usual, too.
    """
    earlier = list(sight.before[-count:])
    if earlier and earlier[-1].end > sight.period.start:
        earlier = [period for period in earlier if period.end <= sight.period.start]
    if not sight.excluded and not sight.spells:
        return earlier
    spells = sight.spells[:-1] if is_settled(sight, window) else sight.spells
    spans = [*sight.excluded, *((spell.start, spell.end) for spell in spells)]
    return [
        period
        for period in earlier
        if not any(start < period.end and (end is None or period.start < end) for start, end in spans)
    ]


def open_spell(sight: Sight) -> Spell | None:
    """The episode that is not over."""
    return sight.spells[-1] if sight.spells and sight.spells[-1].end is None else None


def is_settled(sight: Sight, window: int) -> bool:
    """Whether the open episode has lasted for so many periods that it is what is usual by now."""
    spell = open_spell(sight)
    if spell is None or sight.strict or len(sight.before) < window:
        return False
    return sight.before[-window].start >= spell.start


def sound_figures(sight: Sight, terms: Terms, periods: Sequence[Period]) -> list[Measurement]:
    """The figures of these periods that can be compared with, in their order."""
    least = None if terms.adds_up else terms.min_sample
    found = (sight.at(period) for period in periods)
    sound = [one for one in found if one is not None and untrusted(one) is None and not thin(one, least)]
    return [one for one in sound if not terms.per_day or work_days(one.period, sight)]


def weekday_of(period: Period) -> int | None:
    """0 for a Monday ...; None of a period that is no day."""
    return date.fromisoformat(period.label).weekday() if period.kind == "day" else None


@lru_cache(maxsize=4096)
def _work_days(period: Period, calendar: Calendar, work: WorkCalendar) -> Fraction:
    return work.working_days(*days_of(period, calendar))


def _referred(against: Against, sight: Sight, terms: Terms) -> tuple[Period | None, tuple[str, ...]]:
    """The one earlier period that is meant, and what to keep in mind of it."""
    if against.name == "previous" and (terms.align == "calendar_days" or sight.work is None or sight.calendar is None):
        return (sight.before[-1] if sight.before else None), ()
    try:
        if sight.reference is not None:
            return sight.reference(str(against)), ()
        if sight.calendar is None:
            return None, ()
        found = reference(sight.period, against.name, sight.calendar, align=terms.align, work=sight.work)
    except KpidError as error:
        return None, (error.what,)
    return found.period, found.warnings


def _single(measured: Measurement | None, period: Period, label: str, terms: Terms, sight: Sight) -> Baseline | Verdict:
    if measured is None:
        if period == sight.period:
            return unsure(OutcomeKind.NO_DATA, "there is no figure of all together to compare with")
        return _unknown(f"nothing is known of {label} to compare with", period, sight)
    if (reason := untrusted(measured)) is not None:
        why = f"nothing to compare with: {label}: {reason[1]}"
        return _unknown(why, period, sight) if reason[0] is OutcomeKind.NO_DATA else unsure(OutcomeKind.NO_DATA, why)
    if reason_thin := thin(measured, terms.min_sample):
        return unsure(OutcomeKind.INSUFFICIENT, f"too little to compare with: {label}: {reason_thin}")
    value = value_of(measured, sight, terms)
    if value is None:
        return unsure(OutcomeKind.INSUFFICIENT, f"{label} had no working day: nothing to compare with")
    low, high = (None if end is None or terms.per_day else float(end) for end in (measured.low, measured.high))
    return Baseline(value, label, measured.n, low, high, periods=(period,) if period != sight.period else ())


def _unknown(reason: str, period: Period, sight: Sight) -> Verdict:
    """Of an earlier period nothing is known: too little, which is no fault of the data; and from when on it is enough."""

    def is_known(earlier: Period) -> bool:
        found = sight.at(earlier)
        return found is not None and untrusted(found) is None

    return too_little(reason, sight, day_of_reference(sight, period, is_known))


def _window(against: Against, sight: Sight, terms: Terms) -> Baseline | Verdict:
    periods = usual_periods(sight, against.steps, against.window)
    kind = "day" if against.same_weekdays else sight.period.kind
    name = f"{against.count} same weekdays" if against.same_weekdays else f"{against.count} {_plural(kind)}"
    if against.same_weekdays:
        periods = [period for period in periods if weekday_of(period) == weekday_of(sight.period)]
    figures = sound_figures(sight, terms, periods)[-against.count :]
    label = f"the {_WORDS[against.name]} of {name}"
    if 2 * len(figures) < against.count:
        reason = f"only {len(figures)} sound figures to compare with for {label}: at least {-(-against.count // 2)} are needed"
        return too_little(reason, sight, day_after(sight, (-(-against.count // 2) - len(figures)) * against.stride))
    values = [value for one in figures if (value := value_of(one, sight, terms)) is not None]
    n = round(sum(one.n for one in figures) / len(figures))
    if terms.adds_up and terms.min_sample is not None and n < terms.min_sample:
        reason = f"too little to compare with: {label}: n = {n}, below the rule's minimum of {terms.min_sample}"
        return unsure(OutcomeKind.INSUFFICIENT, reason)
    if len(figures) < against.count:
        label += f" ({len(figures)} are sound)"
    made_of = _makes_up(against.name, figures, values)
    return Baseline(_made(against.name, values), label, n, *_ends(against.name, figures, terms), periods=made_of)


def _made(name: str, values: Sequence[Fraction]) -> Fraction:
    if name == "avg":
        return sum(values, Fraction(0)) / len(values)
    if name == "median":
        return Fraction(median(values))
    return max(values) if name == "max" else min(values)


def _makes_up(name: str, figures: Sequence[Measurement], values: Sequence[Fraction]) -> tuple[Period, ...]:
    """The periods whose average it is: all of them, or of a median the middle ones, of a maximum the newest one that has it."""
    if name == "avg" or len(values) != len(figures):
        return tuple(one.period for one in figures)
    ranked = sorted(range(len(values)), key=lambda at: (values[at], at if name != "min" else -at))
    middle = (len(values) - 1) // 2
    chosen = {"median": ranked[middle : len(values) - middle], "max": ranked[-1:], "min": ranked[:1]}[name]
    return tuple(figures[at].period for at in sorted(chosen))


def _ends(name: str, figures: Sequence[Measurement], terms: Terms) -> tuple[float | None, float | None]:
    """The 95 % interval of an average of figures that have one each; None for anything else."""
    sides = [(one.low, one.value, one.high) for one in figures]
    if name != "avg" or terms.per_day or any(None in side for side in sides):
        return None, None
    count = len(sides)
    middle = sum(float(side[1] or 0) for side in sides) / count
    below = sum((float(side[1] or 0) - float(side[0] or 0)) ** 2 for side in sides) ** 0.5 / count
    above = sum((float(side[2] or 0) - float(side[1] or 0)) ** 2 for side in sides) ** 0.5 / count
    return middle - below, middle + above


def _target(sight: Sight, terms: Terms) -> Baseline | Verdict:
    if sight.target is None:
        return unsure(OutcomeKind.NO_DATA, "there is no target for this period")
    if sight.target <= 0:
        return unsure(OutcomeKind.INSUFFICIENT, f"the target is {sight.target:f}: nothing has a share of that")
    days = work_days(sight.period, sight) if terms.per_day else Fraction(1)
    if not days:
        return unsure(OutcomeKind.INSUFFICIENT, f"{sight.period.label} has no working day")
    return Baseline(Fraction(sight.target) / days, "the target")


def _benchmark(terms: Terms) -> Baseline | Verdict:
    if terms.benchmark is None:
        return unsure(OutcomeKind.NO_DATA, "the KPI has no benchmark")
    known = terms.benchmark
    return Baseline(Fraction(Decimal(known.value)), f"the benchmark {known.text} ({known.source}, {known.year})")


def _plural(kind: str) -> str:
    plain = {"iso_week": "week", "week_sun": "week", "week_sat": "week", "half": "half-year"}.get(kind, kind.replace("_", " "))
    return f"{plain}s" if not any(letter.isdigit() for letter in plain) else f"periods ({plain})"


PREVIOUS = Against("previous")
