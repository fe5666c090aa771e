"""A configured rule made ready to be judged: conditions read, times read, the figures it needs. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

from kpid.alerting.assessing import RuleConditions
from kpid.alerting.baselines import stored
from kpid.alerting.guards import Guards
from kpid.alerting.mappings import Composite, Member
from kpid.alerting.paces import RUNNING, days_needed
from kpid.alerting.readings import Binding, Family, conditions_of, families_of
from kpid.alerting.series import RulePolicy
from kpid.analysis.durations import duration_from_text, span_from_text
from kpid.analysis.explain import can_be_split
from kpid.analysis.periods import is_daily
from kpid.config.model import KpiSettings, Rule
from kpid.errors import ConfigError, KpidError
from kpid.model import Level, SeriesNeed, canonical_json
from kpid.plugin.kpi import Definition, Kpi

RECHECKED = 2
"""So many closed periods back, figures that have changed are judged anew."""
_MAIN = ("owner", "team", "region", "pipeline", "lead_source", "product", "segment", "channel", "category", "group", "stage")
"""Dimensions that people think in, and of few values each."""
_MOST_DIMENSIONS = 3
_SELLERS = {"owner", "team", "region"}
"""Who sells where: one of them mostly has one value within another, so that cutting by it would tell nothing."""
_MOST_WITHIN = 3
_EXPLAINED = RECHECKED + 1
"""So many periods are kept of what only explains, and those that the rule compares with ..."""
_FURTHEST = {"day": 400, "hour": 0}
_FURTHEST_OF_PARTS = {"day": 130, "hour": 0}
"""... up to so many; of rules that have several series less. Of kinds that begin anew every day (rolling) there are too many."""
_FURTHEST_ELSE = 110
_ADDED = {"count", "count_distinct", "sum"}
_MARGIN = 4
"""Periods more than that in history: what the first is compared with, and where segments without rows were last seen."""

_GUARDS = ("significance", "min_effect", "correct", "disjoint", "baseline", "per", "align", "start_after")
_LENGTHS = {
    "hour": timedelta(hours=1),
    "week": timedelta(weeks=1),
    "iso_week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "quarter": timedelta(days=91),
    "year": timedelta(days=365),
}
NO_KPIS: Mapping[str, Kpi] = {}
NO_SETTINGS: Mapping[str, KpiSettings] = {}


class Asked(NamedTuple):
    """What is asked of a family of another KPI: how many periods back it is looked at, and whether its targets are."""

    need: SeriesNeed
    reach: int = 1
    has_target: bool = False


@dataclass(frozen=True, slots=True)
class RulePlan:
    """A rule with all that judging it needs.

    Attributes:
        rule: as configured.
        kpi: the one it is about.
        need: the family that is judged; its period is the to-date twin of the rule's where running periods are judged.
        conditions: what is asked of the figures, and the guards.
        policy: times and choices.
        settle: how long after a period's end late data is waited for.
        meaning: hash of what it means.
        nothing: the value of a segment without rows, if any.
        why: the cuts by which a change is explained.
        recheck: so many judged periods back, changed figures are judged anew.
        total: the family of all segments together, if conditions compare with it.
        days: the family of daily figures, if forecasts or seasonal curves need them.
        members: the families of the other KPIs that conditions name, in the order of ``Sight.members``.
        beside: what is asked of each of those.
    """

    rule: Rule
    kpi: Kpi
    need: SeriesNeed
    conditions: RuleConditions
    policy: RulePolicy
    settle: timedelta
    meaning: str
    nothing: Decimal | None = None
    why: tuple[SeriesNeed, ...] = ()
    recheck: int = RECHECKED
    total: SeriesNeed | None = None
    days: SeriesNeed | None = None
    members: tuple[SeriesNeed, ...] = ()
    beside: tuple[Asked, ...] = ()

    @property
    def period(self) -> str:
        """The kind of period that is judged."""
        return self.need.period

    @property
    def reach(self) -> int:
        """How many periods before the one judged, each before the other, are looked at."""
        return self.conditions.reach(self.need.period)

    @property
    def guards(self) -> Guards:
        """What a breach must pass."""
        return self.conditions.guards

    @property
    def needs_targets(self) -> bool:
        """Whether targets are asked for."""
        return "target" in self.conditions.needs

    @property
    def uid(self) -> str:
        """The rule's identity."""
        return self.rule.uid


def plan_of(
    rule: Rule,
    kpi: Kpi,
    settings: KpiSettings | None = None,
    *,
    kpis: Mapping[str, Kpi] = NO_KPIS,
    all_settings: Mapping[str, KpiSettings] = NO_SETTINGS,
) -> RulePlan:
    """Make a rule ready.

    Args:
        rule: as configured.
        kpi: the one it is about.
        settings: what the company has set for it.
        kpis: all there are: a rule of several conditions may name others.
        all_settings: what the company has set for those.

    Raises:
        ConfigError: it says something that cannot be read, or names a KPI that is not there.
    """
    try:
        policy, recheck = policy_of(rule), recheck_of(rule)
        settle_text = rule.settle or kpi.settle
        settle = duration_from_text(settle_text) if settle_text else timedelta(0)
        definition = kpi.definition({**(settings.params if settings else {}), **rule.params})
        found = conditions_of(rule, kpi, definition, settings)
        bound = Binding(rule, kpis, all_settings)
        warn, critical, recover = (bound.bind(one) for one in (found.warn, found.critical, found.recover))
        conditions = replace(found, warn=warn, critical=critical, recover=recover)
    except ValueError as error:
        raise ConfigError(str(error), where=f"rule {rule.name}") from error
    need, beside = _need(rule, kpi, conditions), _beside(rule, conditions)
    return RulePlan(
        rule=rule,
        kpi=kpi,
        need=need,
        conditions=conditions,
        policy=policy,
        settle=settle,
        meaning=meaning_of(rule),
        nothing=nothing_of(definition) if rule.by else None,
        why=why_needs(rule, kpi, definition, need, conditions.reach(need.period)),
        recheck=recheck,
        total=_total(need, conditions),
        days=_days(need, conditions),
        members=tuple(one.need for one in beside),
        beside=beside,
    )


def need_of(rule: Rule, kpi: Kpi) -> SeriesNeed:
    """The measurements that a rule wants kept: as far back as it catches up, what it compares with, and what it checks again."""
    try:
        conditions = conditions_of(rule, kpi, kpi.definition(rule.params))
    except (KpidError, ValueError):  # told by `kpid check`, and when the rule is judged
        conditions = RuleConditions(kpi.unit)
    return _need(rule, kpi, conditions)


def _need(rule: Rule, kpi: Kpi, conditions: RuleConditions) -> SeriesNeed:
    kind = RUNNING.get(rule.period, rule.period) if "running" in conditions.needs else rule.period
    reach = conditions.reach(kind)
    beyond = stored(reach, kind) if is_daily(kind) else max(0, reach - 1)
    return SeriesNeed(
        kpi=kpi.id,
        period=kind,
        by=tuple(rule.by),
        params=tuple(sorted(rule.params.items())),
        where=tuple(sorted((dimension, tuple(values)) for dimension, values in rule.where.items())),
        periods=rule.catch_up + max(RECHECKED, recheck_of(rule)) + _MARGIN + beyond,
    )


def _total(need: SeriesNeed, conditions: RuleConditions) -> SeriesNeed | None:
    return replace(need, by=()) if "total" in conditions.needs and need.by else None


def _days(need: SeriesNeed, conditions: RuleConditions) -> SeriesNeed | None:
    if "days" not in conditions.needs:
        return None
    forecasts = any("days" in condition.needs for condition in conditions.all)
    back = days_needed(need.period, seasonal=conditions.curve == "seasonal", forecasts=forecasts)
    return replace(need, period="day", periods=need.periods + back)


def _beside(rule: Rule, conditions: RuleConditions) -> tuple[Asked, ...]:
    """What is asked of the families of other KPIs, in their places."""
    found: dict[Family, Asked] = {}
    for condition in conditions.all:
        for member in condition.members if isinstance(condition, Composite) else ():
            for family in families_of(rule, member) if member.kpi else ():
                if family is not None:
                    asked = _asked(rule, family, member)
                    was = found.get(family, asked)
                    need = replace(asked.need, periods=max(was.need.periods, asked.need.periods))
                    found[family] = Asked(need, max(was.reach, asked.reach), was.has_target or asked.has_target)
    return tuple(found.values())


def _asked(rule: Rule, family: Family, member: Member) -> Asked:
    where = tuple(sorted((dimension, tuple(values)) for dimension, values in rule.where.items()))
    reach = member.condition.reach(family.period)
    periods = rule.catch_up + RECHECKED + _MARGIN + stored(reach, family.period)
    by = () if family.is_whole else tuple(rule.by)
    need = SeriesNeed(family.kpi, family.period, by, family.params, where, periods)
    return Asked(need, max(1, reach), "target" in member.condition.needs)


def needs_of(rule: Rule, kpi: Kpi, settings: KpiSettings | None = None) -> list[SeriesNeed]:
    """All that a rule wants kept: what it judges, what that is compared with, and what explains it."""
    need = need_of(rule, kpi)
    try:
        definition = kpi.definition({**(settings.params if settings else {}), **rule.params})
        conditions = conditions_of(rule, kpi, definition, settings)
    except (KpidError, ValueError):  # told by `kpid check`, and when it is measured
        return [need]
    beside = [one for one in (_total(need, conditions), _days(need, conditions)) if one is not None]
    return [
        need,
        *beside,
        *(one.need for one in _beside(rule, conditions)),
        *why_needs(rule, kpi, definition, need, conditions.reach(need.period)),
    ]


def why_needs(
    rule: Rule, kpi: Kpi, definition: Definition, own: SeriesNeed | None = None, reach: int = 0
) -> tuple[SeriesNeed, ...]:
    """The cuts by which a change of the rule's series is explained: by the KPI's main dimensions, within each series.

    Rules by dimensions of many values have none: that would be a figure for each pair of them. They are kept for as many periods
    as the rule compares with (``reach``), unless those are too many: then the period before has to do.
    """
    if not can_be_split(definition) or len(rule.by) > 1 or any(name not in _MAIN for name in rule.by):
        return ()
    taken = {*rule.by, *rule.where}
    dimensions = [name for name in _MAIN if name in kpi.dimensions and name not in taken]
    if taken & _SELLERS:
        dimensions.sort(key=lambda name: name in _SELLERS)
    own = own or need_of(rule, kpi)
    wanted = dimensions[: _MOST_WITHIN if rule.by else _MOST_DIMENSIONS]
    kept = _EXPLAINED + (reach if reach <= _furthest(own) else 0)
    return tuple(replace(own, by=(*own.by, name), periods=kept) for name in wanted)


def _furthest(need: SeriesNeed) -> int:
    """So many periods back figures that only explain are kept at most."""
    if need.period != "day" and is_daily(need.period):
        return 0
    return (_FURTHEST_OF_PARTS if need.by else _FURTHEST).get(need.period, _FURTHEST_ELSE)


def policy_of(rule: Rule) -> RulePolicy:
    """The times and choices of a rule.

    Raises:
        ValueError: a time cannot be read.
    """
    return RulePolicy(
        for_=span_from_text(rule.for_),
        keep=span_from_text(rule.keep_firing_for),
        expire_after=span_from_text(rule.expire_after),
        no_data=rule.no_data.do,
        no_data_after=span_from_text(rule.no_data.after),
        no_data_level=Level(rule.no_data.level),
    )


def recheck_of(rule: Rule) -> int:
    """How many judged periods back are judged anew where their figures have changed.

    Raises:
        ValueError: it cannot be read.
    """
    span = span_from_text(rule.recheck)
    if span.periods is not None:
        return span.periods
    length = span.length or timedelta(0)
    return max(1, -(-length // (_LENGTHS.get(rule.period) or timedelta(days=1)))) if length else 0


def meaning_of(rule: Rule) -> str:
    """A hash of what the rule means: if it changes, what fires is judged anew. Texts, receivers and labels are not part of it.

    What stands at its default is left out, so that the hash of a rule does not change when rules learn new words.
    """
    conditions = [" ".join(text.split()) if isinstance(text, str) else text for text in (rule.warn, rule.critical, rule.recover)]
    guards = {name: getattr(rule, name) for name in _GUARDS if getattr(rule, name) != Rule.model_fields[name].default}
    meaning = {
        "kpi": rule.kpi,
        "params": dict(rule.params),
        "where": {dimension: sorted(values) for dimension, values in rule.where.items()},
        "by": sorted(rule.by),
        "period": rule.period,
        "conditions": conditions,
        "for": [rule.for_, rule.keep_firing_for],
        "min_sample": rule.min_sample,
        **({"guards": guards} if guards else {}),
        **({"absence": [rule.absence.model_dump(), rule.critical_after]} if rule.absence is not None else {}),
    }
    return hashlib.sha256(canonical_json(meaning).encode()).hexdigest()


def nothing_of(definition: Definition) -> Decimal | None:
    """The KPI's value where there are no rows: 0 for counts and sums, None where that is undefined.

    A segment without rows has no measurement; for a count that is a zero, and a team that stops calling must not go unnoticed.
    """
    if any(measure.agg.kind not in _ADDED for measure in definition.measures.values()):
        return None
    zeros: Any = SimpleNamespace(**dict.fromkeys(definition.measures, Decimal(0)))
    try:
        value = definition.formula(zeros)
    except Exception:  # noqa: BLE001 - a plugin's formula: whatever it says, it has no value for nothing
        return None
    return value if isinstance(value, Decimal) else None
