"""From ``kpis:`` in the configuration to :class:`~kpid.plugin.Kpi` objects, and every mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from sqlalchemy.sql.expression import FromClause

from kpid.analysis.language import Mistake, Node, parse, printed
from kpid.analysis.periods import check_kind
from kpid.config.load import Loaded
from kpid.config.model import KpiSettings
from kpid.config.position import mistake_at
from kpid.config.problems import Key, near_miss, raise_errors
from kpid.errors import ConfigError, KpidError
from kpid.metrics.dimensions import Custom, dimension_of
from kpid.metrics.written.fields import CustomFields, custom_fields
from kpid.metrics.written.formulas import Formula, Sense, check_shape, references, sense, sense_of_unit, unit_problem, use_of
from kpid.metrics.written.measures import Made, MeasureReader
from kpid.plugin.kpi import SNAP, At, Balance, Definition, Kpi, Param, Use
from kpid.registry import PluginInfo, Plugins

_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_USUAL = (
    "owner", "team", "region", "account", "segment", "industry", "size_band", "country", "pipeline", "stage", "product",
    "lead_source", "campaign", "deal_type", "source",
)  # fmt: skip
_MISSING_FX = Param(
    ("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning."
)


@dataclass(frozen=True)
class Own:
    """What the configuration defines: KPIs and dimensions, and the mistakes in them."""

    kpis: Mapping[str, Kpi] = field(default_factory=dict)
    dimensions: Custom = field(default_factory=dict)
    errors: Sequence[ConfigError] = ()


def own_kpis(loaded: Loaded, plugins: Plugins) -> Own:
    """Read the KPIs and custom fields of a configuration."""
    fields, errors = custom_fields(loaded)
    installed = {name: kpi for name, kpi in plugins.kpis.items() if name not in plugins.written}
    reader = _Reader(loaded, installed, fields, errors)
    for name, settings in loaded.config.kpis.items():
        if settings.is_definition:
            reader.find(name)
    return Own({name: kpi for name, kpi in reader.made.items() if kpi is not None}, fields.dimensions, tuple(errors))


def with_own_kpis(plugins: Plugins, loaded: Loaded) -> Plugins:
    """The plugins with the configuration's own KPIs among theirs, all offering the custom dimensions.

    Raises:
        ConfigError: something in a definition is wrong; all mistakes at once.
    """
    own = own_kpis(loaded, plugins)
    raise_errors(list(own.errors))
    return joined(plugins, loaded, own)


def joined(plugins: Plugins, loaded: Loaded, own: Own) -> Plugins:
    """As :func:`with_own_kpis`, of what has been read already."""
    installed = {name: _offering(kpi, own.dimensions, plugins.kpis) for name, kpi in plugins.kpis.items()}
    file = str(loaded.config.file)
    rows = [PluginInfo("kpi", name, "", file, "ok", "") for name in own.kpis if name not in plugins.written]
    return replace(
        plugins,
        kpis={**installed, **own.kpis},
        own=(*plugins.own, *rows),
        written=frozenset(own.kpis),
        dimensions=own.dimensions,
    )


def _offering(kpi: Kpi, custom: Custom, kpis: Mapping[str, Kpi]) -> Kpi:
    """The KPI with the custom dimensions that all its entities have."""
    if not custom:
        return kpi
    try:
        entities = list(_entities(kpi, kpis))
    except Exception:  # noqa: BLE001 - a plugin call: that it is broken is told where it is measured
        return kpi
    fresh = [name for name in custom if name not in kpi.dimensions]
    added = [name for name in fresh if entities and all(dimension_of(entity, name, custom) is not None for entity in entities)]
    return replace(kpi, dimensions=(*kpi.dimensions, *added)) if added else kpi


def _entities(kpi: Kpi, kpis: Mapping[str, Kpi], depth: int = 0) -> Iterator[FromClause]:
    definition = kpi.definition({})
    yield from (measure.entity for measure in definition.measures.values())
    for use in definition.uses.values():
        if use.kpi in kpis and depth < len(kpis):
            yield from _entities(kpis[use.kpi], kpis, depth + 1)


@dataclass
class _Reader:
    """Reads definitions, those that a formula needs first."""

    loaded: Loaded
    installed: Mapping[str, Kpi]
    fields: CustomFields
    errors: list[ConfigError]
    made: dict[str, Kpi | None] = field(default_factory=dict)
    _path: list[str] = field(default_factory=list)

    def find(self, name: str) -> Kpi | None:
        """A KPI by its id; None if its definition has mistakes, which have been noted."""
        own = self.loaded.config.kpis.get(name)
        if own is None or not own.is_definition:
            return self.installed[name]
        if name not in self.made:
            self.made[name] = None
            self._path.append(name)
            self.made[name] = _One(self, name, own).read()
            self._path.pop()
        return self.made[name]

    @property
    def known(self) -> list[str]:
        """Ids of all KPIs."""
        return sorted({*self.installed, *(name for name, one in self.loaded.config.kpis.items() if one.is_definition)})

    def circle(self, name: str) -> list[str]:
        """The KPIs from ``name`` to the one being read, if that is inside it."""
        return self._path[self._path.index(name) :] if name in self._path else []


@dataclass
class _One:
    """Reads one definition."""

    reader: _Reader
    id: str
    text: KpiSettings
    faults: int = 0

    def read(self) -> Kpi | None:
        """The KPI; None if there are mistakes."""
        self._check_name()
        measures = MeasureReader(self.id, self.text, self.reader.fields.columns, self.note, self.refuse).read()
        if measures is None or self.faults:
            return None
        formula = self._formula(measures)
        if formula is None:
            return None
        found, uses, senses = formula
        self._check_unit(found, senses)
        definition = Definition(
            {name: made.measure for name, made in measures.items()}, found, self._sample(measures, uses), uses=uses
        )
        dimensions = self._dimensions(definition)
        return None if self.faults else self._kpi(definition, measures, found, dimensions)

    # ---- mistakes

    def note(self, mistake: Mistake, text: str, *path: Key) -> None:
        """A mistake inside a text."""
        self.faults += 1
        whole = ("kpis", self.id, *path)
        self.reader.errors.append(mistake_at(self.reader.loaded, whole, text, mistake, mistake.start, mistake.end))

    def refuse(self, what: str, hint: str, *path: Key) -> None:
        """Another mistake."""
        self.faults += 1
        where = self.reader.loaded.place("kpis", self.id, *path)
        self.reader.errors.append(ConfigError(f"kpis.{self.id}: {what}", where=where, hint=hint))

    def _check_name(self) -> None:
        if self.id in self.reader.installed:
            self.refuse(
                f"there is an installed KPI {self.id!r} already", "Give this one another name, or take its definition out"
            )
        if not _ID.fullmatch(self.id):
            self.refuse(f"{self.id!r} cannot be the id of a KPI", "Use small letters, digits and _, beginning with a letter")
        if self.text.unit is None:
            self.refuse("unit: is missing", "Write count, ratio, times, currency, days, seconds or score")
        try:
            check_kind(self.text.period or "month")
        except (KpidError, ValueError) as error:
            self.refuse(
                f"period: {getattr(error, 'what', error)}", getattr(error, "hint", None) or "Write month, quarter ...", "period"
            )

    # ---- the formula

    def _formula(self, measures: Mapping[str, Made]) -> tuple[Formula, dict[str, Use], dict[str, Sense]] | None:
        text = self._formula_text(measures)
        if text is None:
            return None
        try:
            tree = parse(text)
            check_shape(tree)
            return self._resolved(tree, measures)
        except Mistake as mistake:
            self.note(mistake, text, "formula")
            return None

    def _formula_text(self, measures: Mapping[str, Made]) -> str | None:
        if self.text.formula is not None:
            return self.text.formula
        if len(measures) == 1:
            return f'"{next(iter(measures))}"'
        self.refuse("formula: is missing", f"Say what to make of {', '.join(measures)}")
        return None

    def _resolved(self, tree: Node, measures: Mapping[str, Made]) -> tuple[Formula, dict[str, Use], dict[str, Sense]] | None:
        keys: dict[str, str] = {}
        uses: dict[str, Use] = {}
        senses: dict[str, Sense] = {}
        for node in references(tree):
            name = printed(node)
            if name in keys:
                continue
            if name in measures:
                keys[name], senses[name] = name, sense_of_unit(measures[name].unit)
                continue
            id_ = name.partition("(")[0]
            if circle := self.reader.circle(id_):
                raise Mistake(f"{id_} is made of itself: {' -> '.join([*circle, id_])}", node.span)
            found = use_of(node, self.reader.find, self.reader.known, measures)
            if found is None:
                self.faults += 1  # told where it is defined
                continue
            keys[name] = next(key for key in _keys(id_) if key not in uses and key not in measures)
            uses[keys[name]], senses[name] = found[0], sense_of_unit(found[1])
        if self.faults:
            return None
        sense(tree, senses)
        return Formula(tree, keys, self.text.sql or ""), uses, senses

    def _check_unit(self, formula: Formula, senses: Mapping[str, Sense]) -> None:
        problem = unit_problem(str(self.text.unit), sense(formula.tree, senses))
        if problem:
            self.refuse(problem, "Correct unit: or formula:", "unit")

    # ---- the rest

    def _sample(self, measures: Mapping[str, Made], uses: Mapping[str, Use]) -> str | None:
        sample = self.text.sample
        if sample is not None and sample not in measures and sample not in uses:
            self.refuse(f"sample: there is no measure {sample!r}", near_miss(sample, measures, what="Measures"), "sample")
        return sample

    def _dimensions(self, definition: Definition) -> tuple[str, ...]:
        custom = self.reader.fields.dimensions
        every = {**self.reader.installed, **{name: kpi for name, kpi in self.reader.made.items() if kpi is not None}}
        probe = Kpi(self.id, self.id, "", "count", "none", definition)
        entities = list(_entities(probe, every))
        used = [_offering(every[use.kpi], custom, every).dimensions for use in definition.uses.values()]
        usual = [*_USUAL, *custom] if self.text.dimensions is None else []
        wanted = [*usual, *(self.text.dimensions or ())]
        usable = [
            name for name in dict.fromkeys([*_USUAL, *custom, *wanted])
            if all(dimension_of(entity, name, custom) is not None for entity in entities) and all(name in own for own in used)
        ]  # fmt: skip
        for number, name in enumerate(self.text.dimensions or ()):
            if name not in usable:
                hint = near_miss(name, usable, what="It can be cut by")
                self.refuse(f"it cannot be cut by {name!r}: not all its parts have that", hint, "dimensions", number)
        return tuple(name for name in usable if name in wanted)

    def _kpi(self, definition: Definition, measures: Mapping[str, Made], formula: Formula, dimensions: tuple[str, ...]) -> Kpi:
        text = self.text
        has_money = any(made.measure.money is not None for made in measures.values())
        additivity = _additivity(definition, formula)
        is_balance = additivity == "S" and all(isinstance(made.measure.clock, Balance) for made in measures.values())
        params = ({"missing_fx": _MISSING_FX} if has_money else {}) | ({"snap": SNAP} if is_balance else {})
        return Kpi(
            id=self.id,
            name=text.name or self.id.replace("_", " ").capitalize(),
            category=text.category or "own",
            unit=text.unit or "count",
            better=text.better or "none",
            define=definition,
            period=text.period or "month",
            min_sample=text.min_sample or 0,
            dimensions=dimensions,
            params=params,
            formula_text=text.formula or printed(formula.tree),
            why=text.why or "",
            misleads=text.misleads or "",
            source=text.source or Path(self.reader.loaded.place("kpis", self.id)).name,
            settle=text.settle or "",
            additivity=additivity,
        )


def _keys(name: str) -> Iterator[str]:
    """What the use of a KPI may be called in a formula."""
    yield name
    number = 1
    while True:
        number += 1
        yield f"{name}_{number}"


def _additivity(definition: Definition, formula: Formula) -> Literal["A", "R", "N", "S"]:
    """How the figures roll up, judged by the formula's shape."""
    measures = list(definition.measures.values())
    if definition.uses or not all(measure.agg.kind in ("count", "sum", "mean") for measure in measures):
        return "N"
    operators = set("".join(character for character in printed(formula.tree) if character in "*/"))
    if operators or any(measure.agg.kind == "mean" for measure in measures):
        return "R" if operators <= {"/"} else "N"
    return "A" if all(isinstance(measure.clock, At) for measure in measures) else "S"
