"""What ``kpid check`` says of rules: whether each fits the KPI that it is written for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpid.alerting.conditions import Condition
from kpid.alerting.fitness import About, about, check_condition, check_guards, check_levels
from kpid.alerting.mappings import Composite, Member, condition_from
from kpid.alerting.readings import curve_of
from kpid.config.load import Loaded
from kpid.config.model import Config, KpiSettings, Rule
from kpid.config.problems import Key, near_miss
from kpid.config.times import calendar_of
from kpid.errors import ConfigError
from kpid.metrics.aims import WHOLES
from kpid.metrics.due import AUDIT
from kpid.metrics.listing import check_columns
from kpid.model import Finding
from kpid.plugin.kpi import EVERYWHERE, Kpi
from kpid.registry import Plugins
from kpid.reporting.alert_message import is_template
from kpid.reporting.render import Renderer, shipped_templates


def rule_findings(loaded: Loaded, plugins: Plugins) -> Iterator[Finding]:
    """Every mistake in the rules that can be seen once the KPIs are known."""
    for number, rule in enumerate(loaded.config.rules):
        if rule.kpi in plugins.kpis:
            kpi, path = plugins.kpis[rule.kpi], ("rules", number)
            yield from param_findings(f"rule {rule.name}", kpi, rule.params, loaded, (*path, "params"))
            yield from _dimensions(rule, kpi, loaded, path)
            yield from _conditions(rule, kpi, loaded, plugins, path)
            yield from _rows(rule, kpi, loaded, plugins, path)
    yield from _summaries(loaded, plugins)


def _rows(rule: Rule, kpi: Kpi, loaded: Loaded, plugins: Plugins, path: tuple[Key, ...]) -> Iterator[Finding]:
    """Columns of ``rows:`` that the records behind the KPI do not have."""
    if rule.rows is None:
        return
    try:
        check_columns(kpi, kpi.definition(rule.params), rule.rows, plugins.dimensions)
    except ConfigError as error:
        yield Finding(f"rule {rule.name}", False, error.what, error.hint or "", loaded.place(*path, "rows"))


def _summaries(loaded: Loaded, plugins: Plugins) -> Iterator[Finding]:
    """Sentences that cannot be filled in."""
    rules = [(number, rule) for number, rule in enumerate(loaded.config.rules) if is_template(rule.summary or "")]
    if not rules:
        return
    renderer = Renderer(shipped_templates(), plugins.filters, calendar_of(loaded.config))
    for number, rule in rules:
        found = renderer.check_rule(rule, plugins.kpis.get(rule.kpi), loaded.place("rules", number, "summary"))
        yield from (finding for finding in found if not finding.ok)


def param_findings(subject: str, kpi: Kpi, given: Any, loaded: Loaded, path: tuple[Key, ...]) -> Iterator[Finding]:
    """Parameters that a KPI does not have, and values that they cannot have."""
    for name, value in given.items():
        if name in EVERYWHERE:
            yield Finding(subject, False, f"{name} is for audits only", AUDIT, loaded.place(*path, name))
            continue
        try:
            kpi.params_from({name: value})
        except ConfigError as error:
            is_near = name not in kpi.params and name != "snap"
            hint = near_miss(name, kpi.params, what="It has") if is_near else error.hint
            yield Finding(subject, False, error.what, hint or "", loaded.place(*path, name))


def _dimensions(rule: Rule, kpi: Kpi, loaded: Loaded, path: tuple[Key, ...]) -> Iterator[Finding]:
    named: list[tuple[str, tuple[Key, ...]]] = [(name, (*path, "by", number)) for number, name in enumerate(rule.by)]
    named += [(name, (*path, "where", name)) for name in rule.where]
    for name, place in named:
        if name not in kpi.dimensions:
            hint = near_miss(name, kpi.dimensions, what="It has")
            yield Finding(f"rule {rule.name}", False, f"KPI {kpi.id} has no dimension {name!r}", hint, loaded.place(*place))
    if len(set(rule.by)) < len(rule.by):
        yield Finding(f"rule {rule.name}", False, "by: names a dimension twice", "Name each once", loaded.place(*path, "by"))


def _conditions(rule: Rule, kpi: Kpi, loaded: Loaded, plugins: Plugins, path: tuple[Key, ...]) -> Iterator[Finding]:
    subject, of = f"rule {rule.name}", _about(kpi, rule, loaded.config.currency)
    read: dict[str, Condition] = {}
    for key, given in {"warn": rule.warn, "critical": rule.critical, "recover": rule.recover}.items():
        if given is None:
            continue
        try:
            condition = condition_from(given)
        except ValueError as error:
            yield Finding(subject, False, f"{key}: {error}", "", loaded.place(*path, key))
            continue
        misuse = check_condition(condition, of) or next(_members(condition, rule, plugins, loaded.config), "")
        if misuse:
            yield Finding(subject, False, f"{key}: {misuse}", "", loaded.place(*path, key))
            continue
        read[key] = condition
        yield from _without_target(rule, kpi, condition, of, loaded.config.kpis.get(kpi.id), loaded.place(*path, key))
    together = check_levels(read.get("warn"), read.get("critical"), read.get("recover"), of.unit)
    if together:
        key = "critical" if together.startswith("critical") else "recover"
        yield Finding(subject, False, together, "", loaded.place(*path, key))
    for key, misuse in check_guards(rule, list(read.values()), of) if read else ():
        yield Finding(subject, False, misuse, "", loaded.place(*path, key))


def _members(condition: Condition, rule: Rule, plugins: Plugins, config: Config) -> Iterator[str]:
    """What is wrong with the conditions on other KPIs."""
    for member in condition.members if isinstance(condition, Composite) else ():
        if member.kpi:
            yield from _member(member, rule, plugins, config)


def _member(member: Member, rule: Rule, plugins: Plugins, config: Config) -> Iterator[str]:
    kpi, settings = plugins.kpis.get(member.kpi), config.kpis.get(member.kpi)
    if kpi is None:
        hint = near_miss(member.kpi, plugins.kpis, what="KPIs")
        yield f"there is no KPI {member.kpi!r}. {hint}"
        return
    missing = [name for name in (*rule.by, *rule.where) if name not in kpi.dimensions]
    if missing:
        yield f"KPI {kpi.id} has no dimension {missing[0]!r}, by which the rule looks at it"
    try:
        definition = kpi.definition({**(settings.params if settings else {}), **dict(member.params)})
    except ConfigError as error:
        yield f"{error.what}. {error.hint or ''}"
        return
    of = about(kpi, definition, rule.model_copy(update={"period": member.period or rule.period}), config.currency)
    if problem := check_condition(member.condition, of):
        yield f"{kpi.id}: {problem}"
    elif "days" in member.condition.needs or ("running" in member.condition.needs and curve_of(settings) == "seasonal"):
        why = "it goes by the daily figures of earlier periods, which are kept of a rule's own KPI only"
        yield f"{kpi.id}: `{member.condition.text}` cannot be asked of another KPI: {why}: write a rule of its own"


def _without_target(
    rule: Rule, kpi: Kpi, condition: Condition, of: About, settings: KpiSettings | None, where: str
) -> Iterator[Finding]:
    """A warning where a target is asked for and the configuration has none for such periods: a source may deliver it."""
    if "target" not in condition.needs or (settings is not None and settings.targets):
        return
    text = f"`{condition.text}`: the configuration has no target for {kpi.id}"
    hint = f"Nothing is judged unless a source delivers one: write target: below kpis: {kpi.id}:"
    if settings is not None and settings.target is not None:
        kind = settings.target_period or kpi.period
        if kind == rule.period or (of.adds_up and kind in WHOLES.get(rule.period, ())):
            return
        text = f"`{condition.text}`: {kpi.id} has a target per {kind}, but the rule judges by {rule.period}"
        hint = f"Nothing is judged unless a source delivers one: write period: {kind}, or target_period: {rule.period}"
    yield Finding(f"rule {rule.name}", False, text, hint, where, warning=True)


def _about(kpi: Kpi, rule: Rule, currency: str) -> About:
    try:
        return about(kpi, kpi.definition(rule.params), rule, currency)
    except ConfigError:  # a wrong parameter: told elsewhere
        return About(kpi.unit, kpi.better, rule.period)
