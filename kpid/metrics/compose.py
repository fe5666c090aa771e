"""KPIs made of other KPIs: their measures become measures of one definition, their formulas parts of one formula. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kpid.errors import ConfigError, KpidError
from kpid.plugin.kpi import Definition, Kpi, Measure, Quantity, Target, Use, Values

T = TypeVar("T")
SettingsOf = Callable[[str], Mapping[str, str]]
"""The company's parameters of a KPI."""
HasRows = Callable[[str], bool]
"""Whether a canonical table has any."""


@dataclass(frozen=True)
class Composed:
    """A formula whose parts are the results of other KPIs: ``m.name`` is that of the part of this name."""

    formula: Callable[[Values], Quantity]
    parts: Mapping[str, Callable[[Values], Quantity]]

    def __call__(self, m: Values) -> Quantity:
        """The result."""
        return self.formula(self.values(m))

    def values(self, m: Values) -> Values:
        """What the outer formula sees: its own measures, and the results of the parts."""
        own = {name: quantity for name, quantity in m.items() if name.partition(".")[0] not in self.parts}
        return Values(own | {name: part(_inside(m, name)) for name, part in self.parts.items()})


@dataclass(frozen=True)
class Seen(Generic[T]):
    """A function of the outer definition, given what the outer formula sees."""

    formula: Composed
    own: Callable[[Values], T]

    def __call__(self, m: Values) -> T:
        """What it says."""
        return self.own(self.formula.values(m))


@dataclass(frozen=True)
class Doubted:
    """The doubts of a composed definition: its own, then those of its parts, each about its own values."""

    formula: Composed
    own: Callable[[Values], str | None] | None
    parts: Mapping[str, Callable[[Values], str | None]]

    def __call__(self, m: Values) -> str | None:
        """The first that says something."""
        told = (self.own(self.formula.values(m)) if self.own is not None else None,)
        return next((text for text in (*told, *(doubts(_inside(m, name)) for name, doubts in self.parts.items())) if text), None)


@dataclass(frozen=True)
class Remarked:
    """The remarks of a composed definition: its own, then those of its parts, none twice."""

    formula: Composed
    own: Callable[[Values], Sequence[str]] | None
    parts: Mapping[str, Callable[[Values], Sequence[str]]]

    def __call__(self, m: Values) -> list[str]:
        """All of them, in order."""
        told = list(self.own(self.formula.values(m))) if self.own is not None else []
        for name, remarks in self.parts.items():
            told += remarks(_inside(m, name))
        return list(dict.fromkeys(told))


def define(
    kpi: Kpi,
    params: Mapping[str, str],
    kpis: Mapping[str, Kpi],
    settings: SettingsOf,
    *,
    has_rows: HasRows = lambda _: False,
    within: tuple[str, ...] = (),
) -> Definition:
    """The definition of a KPI with everything that it uses worked into it: ``uses`` is empty.

    Measures of a part are called ``part.measure``; a part takes the company's own parameters where the use names none. Where a
    table that a finer definition is for has rows, that one takes the plain one's place. What is not all there in a part is not
    all there in the whole: it is followed as long as the longest of them, and says what they have to say.

    Raises:
        ConfigError: the plugin is broken, a part is missing, KPIs use each other in a circle, nothing is measured, or the sample
            is no measure.
    """
    definition = _own(kpi, params)
    definition = next((finer for table, finer in definition.finer.items() if has_rows(table)), definition)
    if not definition.uses:
        return _checked(kpi, definition)
    path = (*within, kpi.id)
    measures: dict[str, Measure] = dict(definition.measures)
    targets: dict[str, Target] = dict(definition.targets)
    parts: dict[str, Definition] = {}
    optional, samples = set(definition.optional), {}
    for name, use in definition.uses.items():
        part = _part(kpi, use, kpis, settings, has_rows, path)
        measures |= {f"{name}.{key}": _looking_back(measure, use) for key, measure in part.measures.items()}
        targets |= {f"{name}.{key}": target for key, target in part.targets.items()}
        parts[name] = part
        optional |= set(part.optional)
        samples[name] = f"{name}.{part.sample or next(iter(part.measures))}"
    formula = Composed(definition.formula, {name: part.formula for name, part in parts.items()})
    horizons = [one.horizon for one in (definition, *parts.values()) if one.horizon is not None]
    whole = replace(
        definition,
        measures=measures,
        targets=targets,
        formula=formula,
        uses={},
        optional=tuple(sorted(optional)),
        sample=samples.get(definition.sample or "", definition.sample),
        horizon=max(horizons, default=None),
        doubts=_doubts(formula, definition, parts),
        remarks=_remarks(formula, definition, parts),
        interval=_seen(formula, definition.interval),
        size=_seen(formula, definition.size),
    )
    return _checked(kpi, whole)


def _checked(kpi: Kpi, definition: Definition) -> Definition:
    """The definition, if it can be measured at all."""
    hint = "The plugin that brings it is broken"
    if not definition.measures:
        raise ConfigError(f"KPI {kpi.id} measures nothing", hint=f"{hint}: its definition needs a measure, or a KPI that it uses")
    if definition.sample is not None and definition.sample not in definition.measures:
        known = ", ".join(definition.measures)
        raise ConfigError(f"KPI {kpi.id} has no measure {definition.sample!r} for its sample", hint=f"{hint}: it has {known}")
    return definition


def _own(kpi: Kpi, params: Mapping[str, str]) -> Definition:
    """The plugin's definition; whatever it raises becomes an error that names the KPI."""
    hint = "The plugin that brings it is broken"
    try:
        definition: object = kpi.definition(params)
    except KpidError:
        raise
    except Exception as error:
        raise ConfigError(f"KPI {kpi.id} cannot be defined: {error}", hint=hint) from error
    if not isinstance(definition, Definition):
        raise ConfigError(f"KPI {kpi.id} is defined by a {type(definition).__name__}, not by a Definition", hint=hint)
    return definition


def _part(
    kpi: Kpi, use: Use, kpis: Mapping[str, Kpi], settings: SettingsOf, has_rows: HasRows, path: tuple[str, ...]
) -> Definition:
    if use.kpi in path:
        raise ConfigError(f"KPI {use.kpi} is made of itself: {' -> '.join((*path, use.kpi))}")
    used = kpis.get(use.kpi)
    if used is None:
        raise ConfigError(f"KPI {kpi.id} is made of {use.kpi!r}, which is not installed", hint="`kpid kpis` lists those that are")
    if use.params.get("snap", "end") != "end":
        hint = f"Use {use.kpi} as it is: a formula takes balances at the end of the period"
        raise ConfigError(f"KPI {kpi.id} is made of {use.kpi} with snap={use.params['snap']}", hint=hint)
    given = {**settings(use.kpi), **({"snap": "end"} if "snap" in used.params else {}), **use.params}
    return define(used, used.params_from(given), kpis, settings, has_rows=has_rows, within=path)


def _looking_back(measure: Measure, use: Use) -> Measure:
    return measure if use.trailing_days is None else replace(measure, trailing_days=use.trailing_days)


def _inside(m: Values, name: str) -> Values:
    prefix = f"{name}."
    return Values({key.removeprefix(prefix): quantity for key, quantity in m.items() if key.startswith(prefix)})


def _doubts(formula: Composed, own: Definition, parts: Mapping[str, Definition]) -> Doubted | None:
    said = {name: part.doubts for name, part in parts.items() if part.doubts is not None}
    return Doubted(formula, own.doubts, said) if own.doubts is not None or said else None


def _remarks(formula: Composed, own: Definition, parts: Mapping[str, Definition]) -> Remarked | None:
    said = {name: part.remarks for name, part in parts.items() if part.remarks is not None}
    return Remarked(formula, own.remarks, said) if own.remarks is not None or said else None


def _seen(formula: Composed, function: Callable[[Values], T] | None) -> Seen[T] | None:
    return None if function is None else Seen(formula, function)
