"""The interval of a result: the definition's own, or the one that follows from its measures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
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
    found = (
        definition.interval(Values(quantities)) if definition.interval else _usual(definition, unit, quantities, cells, result)
    )
    return (None, None) if found is None else (_decimal(found[0]), _decimal(found[1]))


def _usual(
    definition: Definition, unit: str, quantities: Mapping[str, Quantity], cells: Mapping[str, Any], result: Quantity
) -> Interval | tuple[Any, Any] | None:
    measures = definition.measures
    name = next((name for name, quantity in quantities.items() if quantity is result), "")
    if name in measures:
        measure, cell = measures[name], cells[name]
        if measure.agg.kind == "mean" and cell.n and cell.spread is not None:
            return mean_interval(Fraction(cell.value), float(cell.spread), cell.n)
        if measure.agg.kind == "quantile" and cell.value is not None:
            return quantile_interval(measure.agg.q or 0.0, cell.n, cell.value)
    is_rate = unit == "ratio" and result.is_ratio and result.scale == 1 and not definition.targets
    if not is_rate or any(measure.agg.kind not in _COUNTS for measure in measures.values()):
        return None
    above, below = result.numerator, result.denominator
    if above is None or below is None or above.denominator != 1 or below.denominator != 1:
        return None
    return rate_interval(int(above), int(below))


def _decimal(number: Any) -> Decimal:
    return round(Decimal(repr(float(number))), _DIGITS)
