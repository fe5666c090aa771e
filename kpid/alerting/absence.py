"""Rules on what does not come: a source that delivers nothing, a report that was not written. Every hour, by the clock.

Such a rule has no KPI. What it judges is how long ago a source last delivered, or since when a report is overdue; what is too
long follows from how often each is expected. All else is as with any rule: episodes, times, threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from kpid.alerting.assessing import RuleConditions
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Facts, SpanKey, Track, series_key_of
from kpid.alerting.outcomes import Outcome, OutcomeKind, outcome_from_dump
from kpid.alerting.rules import RulePlan, meaning_of, policy_of
from kpid.alerting.series import Spell
from kpid.alerting.walk import Walk
from kpid.analysis.durations import duration_from_text, span_from_text
from kpid.analysis.periods import Calendar, last_complete
from kpid.analysis.wording import age_text, when_text
from kpid.config.alerting import Rule
from kpid.errors import ConfigError
from kpid.model import Dims, Level, Measurement, MeasurementState, Period, Segment, SeriesNeed
from kpid.plugin.kpi import Definition, Kpi, Quantity
from kpid.store import alerts, arrivals, episodes

PERIOD = "hour"
ALL = "all"
NEVER = "was never synced"
"""What a figure says of a source that nobody has asked for anything yet."""
SILENCE = Kpi(
    id="absence",
    name="Time without news",
    category="data",
    unit="seconds",
    better="down",
    define=Definition({}, lambda measures: Quantity(0)),
    formula_text="time since the last success; of a report, since it was due",
)
"""What such rules judge, as messages call it."""


def plan_of(rule: Rule) -> RulePlan:
    """A rule on absence made ready.

    Raises:
        ConfigError: it says something that cannot be read.
    """
    try:
        policy = policy_of(rule)
    except ValueError as error:
        raise ConfigError(str(error), where=f"rule {rule.name}") from error
    return RulePlan(
        rule=rule,
        kpi=SILENCE,
        need=SeriesNeed(SILENCE.id, PERIOD, (_dimension(rule),), periods=1),
        conditions=RuleConditions(SILENCE.unit, better=SILENCE.better),
        policy=policy,
        settle=timedelta(0),
        meaning=meaning_of(rule),
    )


def load_facts(conn: Connection, plans: Sequence[RulePlan], setup: AlertingSetup, now: datetime) -> dict[str, Facts]:
    """What rounds of such rules need, by uid; without those that have been judged this hour."""
    period = last_complete(PERIOD, now, setup.calendar)[-1]
    rows = alerts.load_rules(conn, [plan.uid for plan in plans])
    due = [plan for plan in plans if _is_due(rows.get(plan.uid), period)]
    if not due:
        return {}
    came = arrivals.delivered_until(conn, _gaps(setup))
    overdue = arrivals.overdue_since(conn, now)
    known = alerts.load_series_of(conn, [plan.uid for plan in due])
    unwell = episodes.last_health(conn, [plan.uid for plan in due])
    found = {}
    for plan in due:
        dimension, mine = _dimension(plan.rule), known.get(plan.uid, {})
        figures: dict[str, dict[SpanKey, Measurement]] = {}
        dims: dict[str, Dims] = {}
        for name in _names(plan.rule, setup):
            place = (Segment(dimension, name, name),)
            key = series_key_of(place)
            if dimension == "report":
                figure = _figure(period, place, overdue.get(name), now)
            elif name in came:
                figure = _figure(period, place, came[name], now)
            else:
                figure = _never(period, place, mine.get(key), now)
            figures[key], dims[key] = {(period.start, period.end): figure}, place
        found[plan.uid] = Facts(
            row=rows.get(plan.uid),
            series=mine,
            due=[period],
            recheck=[],
            figures=figures,
            dims=dims,
            evaluated={},
            episodes=unwell.get(plan.uid, 0),
        )
    return found


def past_figures(conn: Connection, plan: RulePlan, periods: Sequence[Period], setup: AlertingSetup) -> list[Measurement]:
    """How late everything was at the end of hours of the past, by the syncs and reports that are kept.

    What had not been asked for at all by then is left out: nobody knows since when it was in the configuration.

    Args:
        conn: where to read.
        plan: of a rule on absence.
        periods: hours, oldest first.
        setup: what is expected how often.
    """
    dimension, names = _dimension(plan.rule), _names(plan.rule, setup)
    ends = [period.end for period in periods]
    late: Iterable[Mapping[str, datetime | None]]
    if dimension == "source":
        late = arrivals.delivered_at(conn, _gaps(setup), ends)
    else:
        known, began = arrivals.report_runs(conn), arrivals.first_sync(conn)
        late = (arrivals.overdue_at(known, began, end) for end in ends)
    return [
        _figure(period, (Segment(dimension, name, name),), since[name], period.end)
        for period, since in zip(periods, late, strict=True)
        for name in names
        if name in since
    ]


def is_due(conn: Connection, rules: Sequence[Rule], calendar: Calendar, now: datetime) -> bool:
    """Whether any of these rules has not been judged this hour; rules on KPIs and paused ones do not count."""
    uids = [rule.uid for rule in rules if rule.absence is not None and not rule.paused]
    if not uids:
        return False
    period, rows = last_complete(PERIOD, now, calendar)[-1], alerts.load_rules(conn, uids)
    return any(_is_due(rows.get(uid), period) for uid in uids)


class AbsenceWalk(Walk):
    """The walk of series that are judged by how long nothing came."""

    def judge(self, period: Period, tracks: Sequence[Track], spells: Callable[[Track], Sequence[Spell]]) -> list[Outcome]:
        """What is found of each at the end of an hour."""
        return [self._judged(period, track) for track in tracks]

    def _judged(self, period: Period, track: Track) -> Outcome:
        figure, rule = self.facts.figure(track.key, period), self.plan.rule
        (segment,) = track.dims
        expected = None if self.setup is None else self.setup.expected.get(f"{segment.dimension}:{segment.id}")
        if figure is None or figure.value is None:
            if figure is None and self.facts.samples and expected is None:
                return Outcome(OutcomeKind.MISSING, reason=f"{segment.dimension} {segment.label} is no longer configured")
            return Outcome(OutcomeKind.NO_DATA, reason=f"{segment.dimension} {segment.label} has never been asked for anything")
        late = timedelta(seconds=int(figure.value))
        for level, (limit, text) in _limits(rule, expected).items():
            found = Outcome(
                OutcomeKind.BREACH,
                level,
                reason=self._reason(segment, late, figure, expected),
                value=figure.value,
                threshold=text,
                limit=Decimal(int(limit.total_seconds())),
            )
            if late > limit:
                return found
        return Outcome(OutcomeKind.CLEAR, reason=self._reason(segment, late, figure, expected), value=figure.value)

    def _reason(self, segment: Segment, late: timedelta, figure: Measurement, expected: timedelta | None) -> str:
        usual = f", expected every {age_text(expected)}" if expected is not None else ""
        if segment.dimension == "report":
            return f"{segment.label} was due {age_text(late)} ago{usual}" if late else f"{segment.label} is not overdue{usual}"
        since = when_text(figure.period.end - late, self.calendar.timezone)
        if figure.reason == NEVER:
            return f"{segment.label} {NEVER} in the {age_text(late)} since it is configured ({since}){usual}"
        return (
            f"nothing from {segment.label} for {age_text(late)} (since {since}){usual}"
            if late
            else f"{segment.label} delivers{usual}"
        )


def _limits(rule: Rule, expected: timedelta | None) -> Mapping[Level, tuple[timedelta, str]]:
    """How late is too late, the worst level first, with the words for it; nothing where nobody knows how often it is expected."""
    assert rule.absence is not None  # noqa: S101 - only such rules come here
    found: dict[Level, tuple[timedelta, str]] = {}
    if rule.critical_after is not None:
        found[Level.CRITICAL] = (duration_from_text(rule.critical_after), f"> {rule.critical_after}")
    span = span_from_text(rule.absence.after)
    if span.length is not None:
        found[Level.WARN] = (span.length, f"> {rule.absence.after}")
    elif expected is not None:
        limit = expected * (span.periods or 1)
        found[Level.WARN] = (limit, f"> {age_text(limit)}")
    return found


def _figure(period: Period, dims: Dims, since: datetime | None, now: datetime) -> Measurement:
    """How long nothing came, at the end of the hour: what came after it came in time."""
    late = timedelta(0) if since is None else max(period.end - since, timedelta(0))
    value = Decimal(int(late.total_seconds()))
    return Measurement(SILENCE.id, period, MeasurementState.OK, value, 0, dims, as_of=period.end, data_through=now)


def _never(period: Period, dims: Dims, row: alerts.SeriesRow | None, now: datetime) -> Measurement:
    """Of a source that was never synced: how long it has been seen in the configuration, counted on from the last judgement."""
    late = timedelta(0)
    if row is not None and row.last_slot is not None and row.state.get("last"):
        last = outcome_from_dump(row.state["last"])
        if last.kind is not OutcomeKind.MISSING:  # else it is there anew
            late = period.end - row.last_slot + timedelta(seconds=int(last.value or 0))
    return replace(_figure(period, dims, period.end - late, now), reason=NEVER)


def _gaps(setup: AlertingSetup) -> dict[str, timedelta]:
    return {name.removeprefix("source:"): gap for name, gap in setup.expected.items() if name.startswith("source:")}


def _names(rule: Rule, setup: AlertingSetup) -> list[str]:
    """The sources or reports that a rule is about."""
    dimension, said = _dimension(rule), _said(rule)
    known = [name.partition(":")[2] for name in setup.expected if name.startswith(f"{dimension}:")]
    return known if ALL in said else [name for name in said if name in known]


def _said(rule: Rule) -> tuple[str, ...]:
    return () if rule.absence is None else rule.absence.source or rule.absence.report


def _dimension(rule: Rule) -> str:
    return "source" if rule.absence is not None and rule.absence.source else "report"


def _is_due(row: alerts.RuleRow | None, period: Period) -> bool:
    return row is None or row.last_slot is None or row.last_slot < period.end
