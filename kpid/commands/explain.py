"""``kpid explain``: why a KPI moved between two periods, computed now; nothing is written to history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kpid.analysis.causes import SURE, causes_of, causes_text, detail_text, moved_text
from kpid.analysis.comparison import COMPARISONS, reference
from kpid.analysis.explain import Cut, Why, can_be_split, explain
from kpid.analysis.intervals import difference_interval
from kpid.analysis.periods import is_kind, last_complete, period_from_label
from kpid.analysis.wording import change_text, period_text, value_text
from kpid.app import App
from kpid.commands.measure import check_words
from kpid.commands.plain import number, plain
from kpid.errors import ConfigError, KpidError
from kpid.metrics.dimensions import Custom, check_dimensions
from kpid.metrics.measure import figures_at
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.kpi import Definition, Kpi, Now
from kpid.plugin.quantity import decimal_from_fraction

TOP = 3
"""So many segments of each dimension are named."""
MOST_DIMENSIONS = 16
"""All of them are measured in one plan; so many at most."""
MOST_SEGMENTS = 20
"""Where nothing can be split, so many segments are shown beside each other."""


def explain_kpi(
    app: App,
    *,
    kpi: str,
    period: str = "month",
    vs: str = "previous",
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
    params: Mapping[str, str] | None = None,
    progress: Any = None,
) -> dict[str, Any]:
    """Explain the change of a KPI.

    Args:
        app: everything.
        kpi: its id.
        period: a period by its label (``2017-12``, ``2017-W50``), or a kind of period: its last complete one.
        vs: ``previous``, ``last_year`` ... (:data:`kpid.analysis.comparison.COMPARISONS`), or a period by its label.
        by: dimensions to look along; default: all that the KPI has.
        where: dimension -> ids or names to restrict to.
        params: parameters of the KPI.
        progress: unused; it is one plan.

    Raises:
        KpidError: there is no such KPI, period, dimension or parameter.
    """
    wheres = dict(where or {})
    new, old = _periods(app, period, vs)
    check_words(app, kpi, new.kind, [*by, *wheres], params or {})
    kind = app.plugins.kpis[kpi]
    if new.start > app.clock.now():
        raise KpidError(f"{new.label} has not begun yet")
    settings = app.kpi_settings().get(kpi)
    definition = kind.definition({**(settings.params if settings else {}), **(params or {})})
    if all(isinstance(measure.clock, Now) for measure in definition.measures.values()) and not definition.uses:
        raise KpidError(f"KPI {kpi} speaks of this very moment: it has no earlier period to compare with")
    usable = usable_dimensions(kind, definition, app.plugins.dimensions)
    dimensions = tuple(by) or tuple(name for name in usable if name not in wheres)
    total = SeriesNeed(
        kpi=kpi,
        period=new.kind,
        params=tuple(sorted((params or {}).items())),
        where=tuple(sorted((name, tuple(values)) for name, values in wheres.items())),
    )
    needs = [total, *(_cut_by(total, name) for name in dimensions[:MOST_DIMENSIONS])]
    found = figures_at(needs, app.metrics_setup(), [new, old], now=app.clock.now())
    after, before = (side[0] for side in _sides(found[0], new, old))
    cuts = {name: _sides(figures, new, old) for name, figures in zip(dimensions, found[1:], strict=False)}
    why = explain(after, before, cuts, splits=can_be_split(definition))
    return _told(app, kind, definition, why)


def usable_dimensions(kpi: Kpi, definition: Definition, custom: Custom) -> tuple[str, ...]:
    """The dimensions that all measures of a definition can be cut by."""
    entities = [measure.entity for measure in definition.measures.values()]
    usable = []
    for name in kpi.dimensions:
        try:
            check_dimensions(kpi, entities, [name], custom)
        except ConfigError:
            continue
        usable.append(name)
    return tuple(usable)


def _cut_by(total: SeriesNeed, dimension: str) -> SeriesNeed:
    return SeriesNeed(total.kpi, total.period, (dimension,), total.params, total.where)


def _periods(app: App, period: str, vs: str) -> tuple[Period, Period]:
    calendar = app.calendar
    if is_kind(period):
        new = last_complete(period, app.clock.now(), calendar, 1)[-1]
    else:
        new = period_from_label(None, period, calendar)
    if vs in COMPARISONS:
        return new, reference(new, vs, calendar).period
    return new, period_from_label(None if is_kind(period) else new.kind, vs, calendar)


def _sides(figures: Sequence[Measurement], new: Period, old: Period) -> tuple[list[Measurement], list[Measurement]]:
    return [one for one in figures if one.period == new], [one for one in figures if one.period == old]


# ---- the answer
def _told(app: App, kpi: Kpi, definition: Definition, why: Why) -> dict[str, Any]:
    unit = definition.unit or kpi.unit
    currency = why.new.currency or why.old.currency
    sample = kpi.sample_noun(dict(why.new.params))
    interval = _change_interval(why)
    return {
        "kpi": kpi.id,
        "name": kpi.name,
        "unit": unit,
        "currency": currency,
        "sample": sample,
        "params": dict(why.new.params),
        "new": _figure(app, why.new),
        "old": _figure(app, why.old),
        "change": number(why.change),
        "change_low": interval[0] if interval else None,
        "change_high": interval[1] if interval else None,
        "sentence": _sentence(app, kpi.name, unit, currency, sample, why),
        "margin": _margin_text(interval, unit, currency),
        "reason": why.reason,
        "dimensions": [_told_cut(cut, unit, currency, sample) for cut in why.cuts if len(cut.segments) > 1],
        "alike": [cut.dimension for cut in why.cuts if len(cut.segments) <= 1],
    }


def _figure(app: App, one: Measurement) -> dict[str, Any]:
    return {
        "period": one.period.label,
        "period_name": period_text(one.period, app.calendar),
        "value": number(one.value),
        "low": number(one.low),
        "high": number(one.high),
        "n": one.n,
        "state": one.state.value,
        "reason": one.reason,
    }


def _change_interval(why: Why) -> tuple[float, float] | None:
    known = []
    for one in (why.new, why.old):
        if one.value is None or one.low is None or one.high is None:
            return None
        known.append((float(one.value), float(one.low), float(one.high)))
    return difference_interval(known[0], known[1])


def _sentence(app: App, name: str, unit: str, currency: str | None, sample: str, why: Why) -> str:
    """What moved, and the surest causes along the dimension that tells most."""
    if why.new.value is None or why.old.value is None:
        return f"{name}: {why.reason}"
    names = (period_text(why.new.period, app.calendar), period_text(why.old.period, app.calendar))
    moved = moved_text(name, why.new.value, why.old.value, unit, currency, names)
    if why.new.value == why.old.value:
        return moved
    causes = causes_of(why.best, TOP, along=True) if why.best else ()
    return f"{moved}: {causes_text(causes, unit, currency, sample)}" if causes else f"{moved}; {_no_cause(why)}"


def _no_cause(why: Why) -> str:
    if why.reason:
        return f"{why.reason}; the segments' own values are below"
    return "along no dimension do the parts add up to the whole" if why.cuts else "it has no dimensions to look along"


def _margin_text(interval: tuple[float, float] | None, unit: str, currency: str | None) -> str:
    if interval is None:
        return ""
    low, high = (change_text(Decimal(repr(end)), Decimal(0), unit, currency) for end in interval)
    chance = "; it may be chance" if interval[0] <= 0 <= interval[1] else ""
    return f"95 % interval of the change: {low} to {high}{chance}"


def _told_cut(cut: Cut, unit: str, currency: str | None, sample: str) -> dict[str, Any]:
    causes = causes_of(cut, TOP)
    told = {
        "dimension": cut.dimension,
        "exact": cut.explanation is not None,
        "reason": cut.reason,
        "sentence": causes_text(causes, unit, currency, sample),
        "parts": [plain(cause) for cause in causes],
    }
    if cut.explanation is None:
        rows = [_pair_row(*pair, unit, currency) for pair in cut.segments[:MOST_SEGMENTS]]
        return told | {"others": {"segments": len(cut.segments) - len(rows)}, "rows": rows}
    rows = [
        {
            "effect": change_text(cause.effect, Decimal(0), unit, currency),
            "segment": cause.segment,
            "how": detail_text(cause, unit, currency, sample),
            "beyond_chance": "yes" if cause.score >= SURE else "no",
        }
        for cause in causes
    ]
    others = [effect for effect in cut.explanation.effects[TOP:] if effect.effect]
    rest = sum((effect.effect for effect in others), Fraction(0))
    if others:
        words = change_text(decimal_from_fraction(rest), Decimal(0), unit, currency)
        rows.append({"effect": words, "segment": f"{len(others)} more", "how": "", "beyond_chance": ""})
    return told | {"others": {"segments": len(others), "effect": float(rest)}, "rows": rows}


def _pair_row(new: Measurement | None, old: Measurement | None, unit: str, currency: str | None) -> dict[str, Any]:
    """A segment whose figures can only be shown beside each other."""
    one = new or old
    return {
        "segment": one.dims[0].label if one and one.dims else "all",
        "before": value_text(old.value if old else None, unit, currency),
        "after": value_text(new.value if new else None, unit, currency),
        "n_before": old.n if old else 0,
        "n": new.n if new else 0,
    }
