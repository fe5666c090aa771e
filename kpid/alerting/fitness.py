"""Whether a condition fits the KPI and the rule that it is written for; and if not, what to write instead. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from kpid.alerting.anomalies import SEASONS, Anomaly
from kpid.alerting.baselines import WEEKDAYS, Against
from kpid.alerting.changes import Change, Difference
from kpid.alerting.conditions import POINTS, TIME_UNITS, Band, Condition, Portion, Threshold, in_unit
from kpid.alerting.grammar import is_currency
from kpid.alerting.mappings import Composite, Gain
from kpid.alerting.paces import RUNNING, Outlook, Pace
from kpid.analysis.periods import TO_DATE
from kpid.config.alerting import Rule
from kpid.plugin.kpi import Definition, Kpi

_TIMES = {"days", "seconds"}
_ISO = frozenset({"hour", "day", "week", "iso_week", "wtd"})
_NO_WEEKDAY = frozenset({
    "month", "quarter", "half", "year", "fiscal_month", "fiscal_quarter", "fiscal_year", *TO_DATE,
}) - {"wtd"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What a condition must fit: the KPI as the rule measures it.

    Attributes:
        unit: ``count``, ``ratio``, ``currency``, ``days``, ``seconds`` or ``score``.
        better: ``up``, ``down`` or ``none``: so that a hint goes the right way.
        period: kind of period; empty where that is not known.
        adds_up: whether figures of days add up to those of months; None: not known.
        has_benchmark: whether the KPI has one; None: not known.
        is_cut: whether the rule looks at segments.
        currency: in which amounts are reported; empty where that is not known, or differs by segment.
    """

    unit: str
    better: str = "none"
    period: str = ""
    adds_up: bool | None = None
    has_benchmark: bool | None = None
    is_cut: bool = True
    currency: str = ""

    @property
    def change(self) -> str:
        """The word for a change for the worse."""
        return "rise" if self.better == "down" else "drop"


def about(kpi: Kpi, definition: Definition, rule: Rule, currency: str = "") -> About:
    """What the conditions of a rule must fit."""
    return About(
        unit=definition.unit or kpi.unit,
        better=kpi.better,
        period=rule.period,
        adds_up=kpi.adds_up(definition),
        has_benchmark=kpi.benchmark is not None,
        is_cut=bool(rule.by or rule.where),
        currency="" if "currency" in {*rule.by, *rule.where} else currency,
    )


def check_condition(condition: Condition, of: About) -> str:
    """What is wrong with a condition for such a KPI, and what to write; empty when nothing is."""
    return next(_misuses(condition, of), "")


def _misuses(condition: Condition, of: About) -> Iterator[str]:
    match condition:
        case Threshold():
            change = f", or a change such as `{of.change} > {condition.number:f}% vs previous`"
            yield from _number(condition.text, f"{condition.op} ", condition.number, condition.unit, of, change)
        case Band():
            for end in (condition.low, condition.high):
                yield from _number(condition.text, f"{condition.where} ", end, condition.unit, of, "")
        case Portion():
            yield from _benchmark(condition.text, condition.of, of)
        case Change() | Difference():
            yield from _change(condition, of) if isinstance(condition, Change) else _difference(condition, of)
            yield from _against(condition.text, condition.against, of)
        case Pace() | Outlook():
            yield from _running(condition, of)
        case Anomaly():
            yield from _anomaly(condition, of)
        case Gain():
            yield from _gain(condition, of)
        case Composite():
            for member in [one for one in condition.members if not one.kpi]:
                yield from _misuses(member.condition, of)


def _number(text: str, before: str, number: Decimal, unit: str, of: About, or_else: str) -> Iterator[str]:
    """A number in a unit that the KPI is not in."""
    measured, plain = f"but the KPI is in {_unit_words(of.unit)}", f"{before}{number:f}"
    if unit == "%" and of.unit != "ratio":
        yield f"`{text}` is a percentage, {measured}: write the number itself, such as `{plain}`{or_else}"
    if of.unit == "ratio" and not unit and abs(number) > 1:
        yield f"`{text}` compares a ratio, which lies between 0 and 1, with {number:f}: write `{plain}%`"
    if unit in TIME_UNITS and of.unit not in _TIMES:
        yield f"`{text}` is a length of time, {measured}: write `{plain}`"
    if unit in POINTS and of.unit != "score":
        yield f"`{text}` is in points, {measured}: write `{plain}`"
    if is_currency(unit) and of.unit != "currency":
        yield f"`{text}` is an amount of money, {measured}: write `{plain}`"
    elif is_currency(unit) and of.currency and unit != of.currency:
        yield f"`{text}` is in {unit}, but amounts are reported in {of.currency}: write the limit so: `{plain} {of.currency}`"


def _change(condition: Change, of: About) -> Iterator[str]:
    if condition.direction == "drop" and condition.percent >= 100:
        yield f"`{condition.text}` can never hold: nothing drops by more than 100%"


def _difference(condition: Difference, of: About) -> Iterator[str]:
    text, size = condition.text, abs(condition.number)
    absolute = f"change {condition.op} {condition.number:f}"
    relative = f"{'drop' if condition.op[0] == '<' else 'rise'} > {size:f}% vs {condition.against}"
    if condition.unit == "pp" and of.unit != "ratio":
        unit = _unit_words(of.unit)
        plain = f"`{absolute} points vs {condition.against}`" if of.unit == "score" else f"`{absolute} vs {condition.against}`"
        yield f"`{text}` is in percentage points, but the KPI is in {unit}: write {plain}, or `{relative}`"
    elif of.unit == "ratio" and condition.unit != "pp" and (condition.unit in POINTS or size > 1):
        yield f"`{text}`: write `{relative}` (relative) or `{absolute}pp vs {condition.against}` (absolute)"
    else:
        yield from _number(text, f"change {condition.op} ", condition.number, condition.unit, of, "")


def _against(text: str, against: Against, of: About) -> Iterator[str]:
    name, period = against.name, of.period
    yield from _benchmark(text, name, of)
    if against.same_weekdays and period and period != "day":
        yield f"`{text}`: a {period} has no weekday: write `{name}({against.count})`, or judge by period: day"
    if name in WEEKDAYS and period in _NO_WEEKDAY:
        yield f"`{text}`: a {period} has no same weekday: write `vs previous` or `vs last_year`"
    if name == "last_year_iso_week" and period and period not in _ISO:
        yield f"`{text}`: a {period} has no ISO week: write `vs last_year` or `vs last_year_364d`"
    if name == "total" and not of.is_cut:
        yield f"`{text}`: the rule looks at all together: add by: so that segments are compared with it"


def _benchmark(text: str, name: str, of: About) -> Iterator[str]:
    if name == "benchmark" and of.has_benchmark is False:
        yield f"`{text}`: the KPI has no benchmark (`kpid kpis NAME` says which have one): write the number itself"


def _running(condition: Pace | Outlook, of: About) -> Iterator[str]:
    word = "pace" if isinstance(condition, Pace) else "forecast"
    part = f"{condition.op} {condition.percent:f}% of target"
    if of.adds_up is False:
        what = {"ratio": "a rate", "currency": "a balance or mean"}.get(of.unit, f"a KPI in {_unit_words(of.unit)} like this")
        yield f"`{condition.text}`: {what} has no {word}: write `{part}`"
    if of.period and of.period not in RUNNING:
        yield f"`{condition.text}`: a {of.period} has no {word}: use period: {', '.join(RUNNING)}"


def _anomaly(condition: Anomaly, of: About) -> Iterator[str]:
    if condition.method == "p_chart" and of.unit != "ratio":
        yield f"method: p_chart is for shares of cases, but the KPI is in {_unit_words(of.unit)}: use robust_z"
    fitting = SEASONS[condition.season]
    if fitting and of.period and of.period not in fitting:
        others = [name for name, kinds in SEASONS.items() if of.period in kinds] or ["none"]
        yield f"season: {condition.season} does not fit period: {of.period}: use {' or '.join(others)}"


def _gain(condition: Gain, of: About) -> Iterator[str]:
    if of.period and of.period != "month":
        yield f"since: compares whole months, but the rule judges by {of.period}: write period: month"
    if condition.unit == "pp" and of.unit != "ratio":
        yield f"gain: {condition.number:f}pp is in points, but the KPI is in {_unit_words(of.unit)}: write % or a number"
    elif condition.unit not in {"", "%", "pp"}:
        yield from _number(f"gain: {condition.number:f}{condition.unit}", "", condition.number, condition.unit, of, "")
    elif of.better == "none":
        yield "since: nobody knows which way is better for this KPI: nothing is a gain"


def check_levels(warn: Condition | None, critical: Condition | None, recover: Condition | None, kpi_unit: str) -> str:
    """What is wrong with the conditions of a rule taken together; empty when nothing is.

    ``critical`` must lie beyond ``warn``, and ``recover`` on the good side of both.
    """
    if warn is not None and critical is not None and not _is_beyond(critical, warn, kpi_unit):
        return f"critical `{critical.text}` holds before warn `{warn.text}` does: critical must be the worse of the two"
    for condition in (warn, critical):
        if condition is not None and recover is not None and _overlap(recover, condition, kpi_unit):
            return f"recover `{recover.text}` can hold together with `{condition.text}`: it must lie on the good side"
    return ""


def _is_beyond(worse: Condition, better: Condition, kpi_unit: str) -> bool:
    if isinstance(worse, Change) and isinstance(better, Change):
        return worse.direction != better.direction or worse.against != better.against or worse.percent >= better.percent
    ends = _ends(worse, better, kpi_unit)
    if ends is None:
        return True
    (worse_op, worse_end), (better_op, better_end) = ends
    if worse_op[0] != better_op[0]:
        return True
    return worse_end <= better_end if worse_op[0] == "<" else worse_op[0] != ">" or worse_end >= better_end


def _overlap(good: Condition, bad: Condition, kpi_unit: str) -> bool:
    ends = _ends(good, bad, kpi_unit)
    if ends is None:
        return False
    (good_op, low), (bad_op, high) = ends
    if good_op[0] == bad_op[0] and good_op[0] in "<>":
        return True
    if good_op[0] == ">" and bad_op[0] == "<":
        return low < high or (low == high and good_op == ">=" and bad_op == "<=")
    if good_op[0] == "<" and bad_op[0] == ">":
        return low > high or (low == high and good_op == "<=" and bad_op == ">=")
    return False


_End = tuple[str, Decimal]


def _ends(one: Condition, other: Condition, kpi_unit: str) -> tuple[_End, _End] | None:
    """Operators and numbers of two conditions that compare the same thing with a number; None of any others."""
    if isinstance(one, Threshold) and isinstance(other, Threshold):
        return (one.op, one.limit(kpi_unit)), (other.op, other.limit(kpi_unit))
    if isinstance(one, Difference) and isinstance(other, Difference) and one.against == other.against:
        first, second = (in_unit(each.number, each.unit, kpi_unit) for each in (one, other))
        return (one.op, first), (other.op, second)
    if isinstance(one, Portion) and isinstance(other, Portion) and one.of == other.of:
        return (one.op, one.percent), (other.op, other.percent)
    if isinstance(one, Pace) and isinstance(other, Pace):
        return (one.op, one.percent), (other.op, other.percent)
    return None


def check_guards(rule: Rule, conditions: list[Condition], of: About) -> Iterator[tuple[str, str]]:
    """What is wrong with the rest of a rule: the key, and what to write."""
    compares = any(_compares(condition) for condition in conditions)
    if rule.per is not None and of.adds_up is False:
        yield "per", f"per: {rule.per}: a KPI in {_unit_words(of.unit)} like this does not grow with the days: take per: out"
    if rule.disjoint and not compares:
        yield "disjoint", "disjoint: needs another figure to compare with: add `vs previous` or the like to the condition"
    if rule.align == "working_days" and of.period not in TO_DATE:
        yield "align", f"align: working_days is for to-date periods ({', '.join(TO_DATE)}): take it out"
    if rule.rows is not None and (of.unit != "count" or not all(_finds(one) for one in conditions)):
        yield "rows", "rows: lists the records behind a count: use a count KPI, and a condition such as `> 0`"


def _finds(condition: Condition) -> bool:
    """Whether it holds because there are many: then there are records to show."""
    if isinstance(condition, Composite):
        return any(not member.kpi and _finds(member.condition) for member in condition.members)
    return isinstance(condition, Threshold | Change | Difference) and condition.side == "high"


def _compares(condition: Condition) -> bool:
    if isinstance(condition, Composite):
        return any(_compares(member.condition) for member in condition.members)
    return isinstance(condition, Change | Difference)


def _unit_words(kpi_unit: str) -> str:
    return {"ratio": "a ratio", "times": "times (3 is three times)", "currency": "money", "score": "points"}.get(
        kpi_unit, kpi_unit
    )
