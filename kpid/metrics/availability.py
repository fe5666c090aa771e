"""Whether a KPI can be had from the sources there are: exactly, approximately, or not; and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Select, Subquery, Table
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.expression import Alias
from sqlalchemy.sql.visitors import iterate

from kpid.errors import KpidError
from kpid.metrics.results import tables_of
from kpid.plugin.capabilities import CAPABILITIES, Known, better
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import At, Balance, Definition, During, Kpi, Measure

State: TypeAlias = Literal["exact", "approximate", "unavailable"]
STATES: tuple[State, ...] = ("exact", "approximate", "unavailable")

_KEPT = {
    "id", "source_id", "native_id", "synced_at", "updated_at", "deleted_at", "deleted_reason", "merged_into_id", "is_test",
    "extra", "currency",
}  # fmt: skip
"""Columns that kpid fills itself, or does well without."""
_BESIDE = {"users", "teams", "team_memberships", "accounts", "pipelines", "stages"}
"""Tables that others look things up in: a KPI's figures come from the sources of its other tables."""
_REFINE = {"fx_rates", "calendars", "calendar_intervals", "holidays"}
"""Tables that need not be there: without rates all is in one currency, without opening hours the usual ones hold. What that costs
a KPI it says itself (``degrades``)."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a configured source can tell: its connector's ``capabilities`` and, where known, the columns that it fills."""

    name: str
    capabilities: Mapping[str, Known]
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def knows(self, capability: str) -> Known:
        """How well; a column (``deals.loss_reason``) as far as its table, if it is filled."""
        table, _, column = capability.partition(".")
        if column and table in self.columns and column not in self.columns[table]:
            return "none"
        return self.capabilities.get(table if column else capability, "none")


@dataclass(frozen=True, slots=True)
class Availability:
    """The state of a KPI, and a sentence for each thing that keeps it from being better."""

    state: State
    reasons: tuple[str, ...] = ()


def availability(
    kpi: Kpi,
    params: Mapping[str, str],
    sources: Sequence[SourceFacts],
    *,
    kpis: Mapping[str, Kpi] | None = None,
    organisation: Mapping[str, Known] | None = None,
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> Availability:
    """Judge one KPI.

    Args:
        kpi: the KPI.
        params: its parameters.
        sources: the configured sources.
        kpis: all KPIs, for those that are made of others.
        organisation: what the configuration itself tells: ``business_hours``, ``targets:<kpi>`` ...
        settings: the company's parameters of KPIs, for those that others are made of.

    Raises:
        ConfigError: a parameter is unknown.
    """
    return _Judge(sources, kpis or {}, organisation or {}, settings or {}).judge(kpi, params, frozenset())


@dataclass(frozen=True)
class _Judge:
    sources: Sequence[SourceFacts]
    kpis: Mapping[str, Kpi]
    organisation: Mapping[str, Known]
    settings: Mapping[str, Mapping[str, str]]

    def judge(self, kpi: Kpi, params: Mapping[str, str], above: frozenset[str]) -> Availability:
        definition = kpi.definition(params)
        tables = sorted(set(_tables(definition)) - _REFINE - set(definition.optional))
        lacking = [f"no source brings {_sentence(absent)}"] if (absent := [t for t in tables if self._of(t) == "none"]) else []
        own = self._own(tables)
        lacking += [f"no source can tell {_words(name)}" for name in kpi.requires if self._weakest(name, own) == "none"]
        lacking += self._targets(definition)
        doubts = [_since(name) for name in tables if self._of(name) == "since_sync"]
        doubts += [_since(name) for name in kpi.requires if self._weakest(name, own) == "since_sync"]
        doubts += [_degraded(name, text) for name, text in kpi.degrades.items() if self._weakest(name, own) != "full"]
        for measure in definition.measures.values():
            for column, is_needed in self._unfilled(measure):
                (lacking if is_needed else doubts).append(f"no source fills {column}")
        for found, reason in self._uses(definition, above | {kpi.id}):
            (lacking if found == "unavailable" else doubts).append(reason)
        state: State = "unavailable" if lacking else "approximate" if doubts else "exact"
        return Availability(state, tuple(dict.fromkeys(lacking or doubts)))

    def _of(self, name: str) -> Known:
        """The best that any source can do."""
        best: Known = self.organisation.get(name, "none")
        for source in self.sources:
            best = better(best, source.knows(name))
        return best

    def _own(self, tables: Sequence[str]) -> list[SourceFacts]:
        """The sources that a KPI's figures come from."""
        main = [name for name in tables if name not in _BESIDE] or tables
        return [source for source in self.sources if any(source.knows(name) != "none" for name in main)] or list(self.sources)

    def _weakest(self, capability: str, own: Sequence[SourceFacts]) -> Known:
        """What all of the KPI's sources can do, unless the configuration knows better.

        Tables and columns may come from any source: there what the best can do counts.
        """
        if capability.partition(".")[0] in ENTITIES or self.organisation.get(capability, "none") != "none":
            return self._of(capability)
        known = {source.knows(capability) for source in own}
        return next((level for level in ("none", "since_sync", "full") if level in known), "none")

    def _targets(self, definition: Definition) -> Iterator[str]:
        for target in definition.targets.values():
            if self._of("targets") == "none" and self.organisation.get(f"targets:{target.kpi}", "none") == "none":
                yield f"there is no target of {target.kpi}"

    def _uses(self, definition: Definition, above: frozenset[str]) -> Iterator[tuple[State, str]]:
        for use in definition.uses.values():
            if use.kpi in above:
                continue
            if use.kpi not in self.kpis:
                yield "unavailable", f"there is no KPI {use.kpi}"
                continue
            try:
                found = self.judge(self.kpis[use.kpi], {**self.settings.get(use.kpi, {}), **use.params}, above)
            except KpidError as error:
                yield "unavailable", f"{use.kpi}: {error}"
                continue
            for reason in found.reasons:  # of what is made of others the part is named that is at fault
                yield found.state, reason if reason.partition(":")[0] in self.kpis else f"{use.kpi}: {reason}"

    def _unfilled(self, measure: Measure) -> Iterator[tuple[str, bool]]:
        """Columns that a measure reads and no source fills, and whether there is no figure without them."""
        for expression, is_needed in _parts(measure):
            columns = {column for column in leaves(expression) if column.partition(".")[2] not in _KEPT}
            empty = {column for column in columns if self._of(column) == "none" and self._of(column.partition(".")[0]) != "none"}
            if empty and empty == columns:
                yield _sentence(sorted(empty)), is_needed


def leaves(expression: ColumnElement[Any]) -> set[str]:
    """The canonical columns that an expression is made of (``deals.amount``), through subqueries."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [expression]
    while waiting:
        for element in iterate(waiting.pop()):
            if not isinstance(element, ColumnClause) or id(element) in seen:
                continue
            seen.add(id(element))
            table = element.table
            origin = table.element if isinstance(table, Alias | Subquery) else table
            if isinstance(origin, Table):
                found |= {f"{origin.name}.{element.name}"} if origin.name in ENTITIES else set()
            elif isinstance(origin, Select) and element.key in origin.selected_columns:
                waiting.append(origin.selected_columns[element.key])
    return found


def _parts(measure: Measure) -> Iterator[tuple[ColumnElement[Any], bool]]:
    """The expressions of a measure, and whether there is no figure where their columns are empty.

    A balance without its start is at least right for now; a condition on an empty column may be met or not.
    """
    if isinstance(measure.clock, At):
        yield measure.clock.instant, True
    elif isinstance(measure.clock, Balance | During):
        yield measure.clock.start, False
    if measure.agg.expression is not None:
        yield measure.agg.expression, True
    if measure.agg.where is not None:
        yield measure.agg.where, False


def _tables(definition: Definition) -> Iterator[str]:
    for measure in definition.measures.values():
        yield from (name for name in tables_of(measure.entity) if name in ENTITIES)


def _since(name: str) -> str:
    return f"{_words(name)}: known only since the first sync"


def _degraded(name: str, text: str) -> str:
    return text or f"no source can tell {_words(name)}"


def _words(capability: str) -> str:
    """``business_hours (opening hours ...)``: the name, and what it means where that is not plain."""
    return f"{capability} ({CAPABILITIES[capability]})" if capability in CAPABILITIES else capability


def _sentence(names: Iterable[str]) -> str:
    """``deals``, ``deals and tickets``, ``deals, orders and tickets``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
