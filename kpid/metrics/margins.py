"""The interval of a result: the definition's own, or the one that follows from its measures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kpid.analysis.intervals import Interval, mean_interval, quantile_grid, quantile_interval, rate_interval
from kpid.plugin.kpi import Definition, Measure, Quantity, Values

Margin = tuple[Decimal | None, Decimal | None]
_COUNTS = {"count", "count_distinct"}
_DIGITS = 12


def quantile_of(measure: Measure, grid: Any) -> Any:
    """The quantile itself, of the values that its grid was fetched with; None over none."""
    q = measure.agg.q or 0.0
    return None if grid is None else grid[quantile_grid(q).index(q)]


def margin(
    definition: Definition, unit: str, quantities: Mapping[str, Quantity], cells: Mapping[str, Any], result: Quantity
) -> Margin:
    """The 95 % interval of a result; ``(None, None)`` where there is none.

    A definition's own comes first. A mean or quantile that is the result has that of its values; a ratio of two counts, the
    smaller among the larger, is a rate. Everything else (sums, ratios of amounts, formulas over other KPIs) has none.
    """
    if not result.is_defined:
        return None, None
    if definition.interval is None:
        return _usual(definition, unit, quantities, cells, result)
    return _margin(definition.interval(Values(quantities)))


def _usual(
    definition: Definition, unit: str, quantities: Mapping[str, Quantity], cells: Mapping[str, Any], result: Quantity
) -> Margin:
    measures = definition.measures
    name = next((name for name, quantity in quantities.items() if quantity is result), "")
    if name in measures:
        measure, cell = measures[name], cells[name]
        if measure.agg.kind == "mean" and cell.n and cell.spread is not None:
            return _margin(mean_interval(Fraction(cell.value), float(cell.spread), cell.n))
        if measure.agg.kind == "quantile" and cell.value is not None:
            return _margin(quantile_interval(measure.agg.q or 0.0, cell.n, cell.value))
    is_rate = unit == "ratio" and result.is_ratio and result.scale == 1 and not definition.targets
    if not is_rate or any(measure.agg.kind not in _COUNTS for measure in measures.values()):
        return None, None
    whole = result.whole
    return (None, None) if whole is None else _rate_margin(*whole)


@lru_cache(maxsize=65_536)
def _rate_margin(successes: int, n: int) -> Margin:
    """Of a rate: the same few counts come again and again."""
    return _margin(rate_interval(successes, n))


def _margin(found: Interval | tuple[Any, Any] | None) -> Margin:
    return (None, None) if found is None else (_decimal(found[0]), _decimal(found[1]))


def _decimal(number: Any) -> Decimal:
    return round(Decimal(repr(float(number))), _DIGITS)
