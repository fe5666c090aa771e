"""A configured rule made ready to be judged: conditions read, times read, the figures it needs. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from kpid.alerting.conditions import Condition, condition_from_text
from kpid.alerting.outcomes import RuleConditions
from kpid.alerting.series import RulePolicy
from kpid.analysis.durations import duration_from_text, span_from_text
from kpid.analysis.explain import can_be_split
from kpid.analysis.periods import is_daily
from kpid.config.alerting import ConditionText
from kpid.config.model import KpiSettings, Rule
from kpid.errors import ConfigError, KpidError
from kpid.model import Level, SeriesNeed, canonical_json
from kpid.plugin.kpi import Definition, Kpi

RECHECKED = 2
"""So many closed periods back, figures that have changed are judged anew."""
_MAIN = ("owner", "team", "region", "pipeline", "lead_source", "product", "segment", "channel", "category", "group", "stage")
"""Dimensions that people think in, and of few values each."""
_MOST_DIMENSIONS = 3
_MOST_WITHIN = 2
_EXPLAINED = RECHECKED + 1
"""So many periods are kept of what only explains."""
_ADDED = {"count", "count_distinct", "sum"}
_MARGIN = 4
"""Periods more than that in history: what the first is compared with, and where segments without rows were last seen."""


@dataclass(frozen=True, slots=True)
class RulePlan:
    """A rule with all that judging it needs.

    ``settle`` is how long after a period's end late data is waited for; ``nothing`` the value of a segment without rows, if any;
    ``why`` the cuts by which a change is explained.
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

    @property
    def uid(self) -> str:
        """The rule's identity."""
        return self.rule.uid


def plan_of(rule: Rule, kpi: Kpi, settings: KpiSettings | None = None) -> RulePlan:
    """Make a rule ready.

    Raises:
        ConfigError: it says something that cannot be read.
    """
    try:
        warn, critical, recover = (_condition(text) for text in (rule.warn, rule.critical, rule.recover))
        policy = policy_of(rule)
        settle_text = rule.settle or kpi.settle
        settle = duration_from_text(settle_text) if settle_text else timedelta(0)
    except ValueError as error:
        raise ConfigError(str(error), where=f"rule {rule.name}") from error
    definition = kpi.definition({**(settings.params if settings else {}), **rule.params})
    return RulePlan(
        rule=rule,
        kpi=kpi,
        need=need_of(rule, kpi),
        conditions=RuleConditions(definition.unit or kpi.unit, warn, critical, recover, rule.min_sample),
        policy=policy,
        settle=settle,
        meaning=meaning_of(rule),
        nothing=nothing_of(definition) if rule.by else None,
        why=why_needs(rule, kpi, definition),
    )


def need_of(rule: Rule, kpi: Kpi) -> SeriesNeed:
    """The measurements that a rule wants kept: as far back as it catches up, what it compares with, and what it checks again."""
    periods = rule.catch_up + RECHECKED + _MARGIN
    if is_daily(rule.period) and any(text and "previous" in str(text) for text in (rule.warn, rule.critical, rule.recover)):
        periods += _days_back(rule.period)
    return SeriesNeed(
        kpi=kpi.id,
        period=rule.period,
        by=tuple(rule.by),
        params=tuple(sorted(rule.params.items())),
        where=tuple(sorted((dimension, tuple(values)) for dimension, values in rule.where.items())),
        periods=periods,
    )


def needs_of(rule: Rule, kpi: Kpi, settings: KpiSettings | None = None) -> list[SeriesNeed]:
    """All that a rule wants kept: what it judges, and what explains it."""
    try:
        definition = kpi.definition({**(settings.params if settings else {}), **rule.params})
    except KpidError:  # told by `kpid check`, and when it is measured
        return [need_of(rule, kpi)]
    return [need_of(rule, kpi), *why_needs(rule, kpi, definition)]


def why_needs(rule: Rule, kpi: Kpi, definition: Definition) -> tuple[SeriesNeed, ...]:
    """The cuts by which a change of the rule's series is explained: by the KPI's main dimensions, within each series.

    Rules by dimensions of many values have none: that would be a figure for each pair of them.
    """
    if not can_be_split(definition) or len(rule.by) > 1 or any(name not in _MAIN for name in rule.by):
        return ()
    taken = {*rule.by, *rule.where}
    dimensions = [name for name in _MAIN if name in kpi.dimensions and name not in taken]
    own = need_of(rule, kpi)
    wanted = dimensions[: _MOST_WITHIN if rule.by else _MOST_DIMENSIONS]
    return tuple(replace(own, by=(*own.by, name), periods=_EXPLAINED) for name in wanted)


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


def meaning_of(rule: Rule) -> str:
    """A hash of what the rule means: if it changes, what fires is judged anew. Texts, receivers and labels are not part of it."""
    conditions = [
        " ".join(text.split()) if isinstance(text, str) else text for text in (rule.warn, rule.critical, rule.recover)
    ]
    meaning = {
        "kpi": rule.kpi,
        "params": dict(rule.params),
        "where": {dimension: sorted(values) for dimension, values in rule.where.items()},
        "by": sorted(rule.by),
        "period": rule.period,
        "conditions": conditions,
        "for": [rule.for_, rule.keep_firing_for],
        "min_sample": rule.min_sample,
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


def _condition(text: ConditionText | None) -> Condition | None:
    if text is not None and not isinstance(text, str):
        raise ValueError("conditions that are mappings cannot be judged yet")
    return None if text is None else condition_from_text(text)


def _days_back(kind: str) -> int:
    """How many days before a daily period the one to compare with may lie."""
    digits = "".join(letter for letter in kind if letter.isdigit())
    return int(digits) if digits else {"wtd": 7, "mtd": 31, "qtd": 92}.get(kind, 366)
