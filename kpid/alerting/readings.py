"""The conditions of a rule, read and made ready: in the terms of its KPI, with those on other KPIs in their places. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from kpid.alerting.anomalies import Anomaly
from kpid.alerting.assessing import RuleConditions
from kpid.alerting.baselines import Terms
from kpid.alerting.changes import Change, Difference
from kpid.alerting.conditions import Condition
from kpid.alerting.guards import Guards
from kpid.alerting.mappings import Composite, Member, condition_from
from kpid.alerting.paces import RUNNING
from kpid.config.model import KpiSettings, Rule
from kpid.errors import ConfigError
from kpid.plugin.kpi import Definition, Kpi


class Family(NamedTuple):
    """KPI, period and parameters of a condition on another KPI; ``is_whole``: of all its segments together."""

    kpi: str
    period: str
    params: tuple[tuple[str, str], ...]
    is_whole: bool = False


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
        curve=curve_of(settings),
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
        own, whole = families_of(self.rule, member)
        place = self.places.setdefault(own, len(self.places))
        total = -1 if whole is None else self.places.setdefault(whole, len(self.places))
        member = replace(member, place=place, total=total)
        if kpi is None:
            return member
        known = self.settings.get(member.kpi)
        definition = kpi.definition({**(known.params if known else {}), **dict(member.params)})
        unit = definition.unit or kpi.unit
        benchmark = kpi.benchmark if unit == kpi.unit else None
        terms = Terms(
            unit,
            member.min_sample,
            kpi.better,
            adds_up=kpi.adds_up(definition),
            benchmark=benchmark,
            curve=curve_of(known),
            start_after=self.rule.start_after,
        )
        return replace(member, terms=terms)


def families_of(rule: Rule, member: Member) -> tuple[Family, Family | None]:
    """The families that a condition on another KPI looks at: its own, and that of all segments together if it wants that."""
    kind = member.period or rule.period
    own = Family(member.kpi, RUNNING.get(kind, kind) if "running" in member.condition.needs else kind, member.params)
    return own, own._replace(is_whole=True) if "total" in member.condition.needs and rule.by else None


def curve_of(settings: KpiSettings | None) -> str | Sequence[Decimal]:
    """How a KPI's target comes together over its period."""
    return settings.target_curve if settings is not None else "linear_working_days"


def is_relative(condition: Condition) -> bool:
    """Whether a condition compares with other figures of the same size, so that those say how large the sample is."""
    if isinstance(condition, Composite):
        return all(bool(member.kpi) or is_relative(member.condition) for member in condition.members)
    return isinstance(condition, Change | Difference | Anomaly)
