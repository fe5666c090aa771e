"""The conditions of a rule, read and made ready: in the terms of its KPI, with those on other KPIs in their places. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from kpid.alerting.anomalies import Anomaly
from kpid.alerting.assessing import RuleConditions
from kpid.alerting.baselines import Terms
from kpid.alerting.changes import Change, Difference
from kpid.alerting.conditions import Condition
from kpid.alerting.guards import Guards
from kpid.alerting.mappings import Composite, Member, condition_from
from kpid.config.model import KpiSettings, Rule
from kpid.errors import ConfigError
from kpid.plugin.kpi import Definition, Kpi

Family = tuple[str, str, tuple[tuple[str, str], ...]]
"""KPI, period and parameters of a condition on another KPI."""


def conditions_of(rule: Rule, kpi: Kpi, definition: Definition, settings: KpiSettings | None = None) -> RuleConditions:
    """The conditions of a rule, read, with how its KPI is to be judged.

    Raises:
        ValueError: one of them cannot be read.
    """
    warn, critical, recover = (
        _condition(text) if isinstance(text, str) else None if text is None else condition_from(text)
        for text in (rule.warn, rule.critical, rule.recover)
    )
    additive, unit = kpi.adds_up(definition), definition.unit or kpi.unit
    return RuleConditions(
        kpi_unit=unit,
        warn=warn,
        critical=critical,
        recover=recover,
        min_sample=rule.min_sample,
        better=kpi.better,
        per_day=rule.per is not None,
        adds_up=additive,
        align=rule.align,
        benchmark=kpi.benchmark if unit == kpi.unit else None,
        curve=settings.target_curve if settings is not None else "linear_working_days",
        start_after=rule.start_after,
        guards=Guards(rule.significance, rule.min_effect, rule.correct == "bh", rule.disjoint, rule.baseline),
        expects_sample=additive and all(is_relative(one) for one in (warn, critical, recover) if one is not None),
    )


_condition = lru_cache(maxsize=1_024)(condition_from)
"""Most rules say what others say, too."""


@dataclass(frozen=True)
class Binding:
    """Gives the conditions on other KPIs their places among the families of a rule, and says how those KPIs are judged."""

    rule: Rule
    kpis: Mapping[str, Kpi]
    settings: Mapping[str, KpiSettings]
    places: dict[Family, int] = field(default_factory=dict)

    def bind(self, condition: Condition | None) -> Condition | None:
        """The condition with its members in their places.

        Raises:
            ConfigError: it names a KPI that is not there.
        """
        if not isinstance(condition, Composite) or not any(member.kpi for member in condition.members):
            return condition
        return replace(condition, members=tuple(self._placed(member) if member.kpi else member for member in condition.members))

    def _placed(self, member: Member) -> Member:
        kpi = self.kpis.get(member.kpi)
        if kpi is None and self.kpis:
            raise ConfigError(f"rule {self.rule.name}: there is no KPI {member.kpi!r}", hint="`kpid kpis` lists them")
        place = self.places.setdefault(family_of(self.rule, member), len(self.places))
        if kpi is None:
            return replace(member, place=place)
        known = self.settings.get(member.kpi)
        definition = kpi.definition({**(known.params if known else {}), **dict(member.params)})
        unit = definition.unit or kpi.unit
        benchmark = kpi.benchmark if unit == kpi.unit else None
        terms = Terms(unit, member.min_sample, kpi.better, adds_up=kpi.adds_up(definition), benchmark=benchmark)
        return replace(member, place=place, terms=terms)


def family_of(rule: Rule, member: Member) -> Family:
    """The family of figures that a condition on another KPI looks at."""
    return member.kpi, member.period or rule.period, member.params


def is_relative(condition: Condition) -> bool:
    """Whether a condition compares with other figures of the same size, so that those say how large the sample is."""
    if isinstance(condition, Composite):
        return all(bool(member.kpi) or is_relative(member.condition) for member in condition.members)
    return isinstance(condition, Change | Difference | Anomaly)
