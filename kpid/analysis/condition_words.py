"""Conditions of rules as people say them: ``below 40%``, ``more than 15% below the average of 8 periods``. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from kpid.analysis.wording import bound_text

_OPERATORS = {"<": "below", "<=": "at or below", ">": "above", ">=": "at or above", "==": "at", "=": "at", "!=": "off"}
_REFERENCES = {
    "previous": "the period before",
    "last_year": "the same period last year",
    "last_year_iso_week": "the same week last year",
    "last_year_364d": "the same weekday 364 days before",
    "same_weekday": "the same weekday a week before",
    "same_weekday_14d": "the same weekday two weeks before",
    "target": "the target",
    "benchmark": "the benchmark",
    "total": "the total",
}
_WINDOWS = {"avg": "the average", "median": "the median", "max": "the highest", "min": "the lowest"}


def condition_text(condition: str, unit: str = "", currency: str | None = None) -> str:
    """A rule's condition in words; one that is not known stays as it is written. Of several joined ones each is said.

    Args:
        condition: as written.
        unit: of the rule's KPI; a bare number gets it: ``below 3×``.
        currency: ISO code, where the unit is a currency.
    """
    text = " ".join(condition.split())
    parts = _JOINED.split(text)
    if len(parts) > 1 and all(said := [_member(part, unit, currency) for part in parts[::2]]):
        return "".join(f"{one} {word} " for one, word in zip(said, parts[1::2], strict=False)) + said[-1]
    return _said(text, unit, currency) or text


def _said(text: str, unit: str = "", currency: str | None = None) -> str:
    if unit and (bare := re.fullmatch(rf"({_OP} ?|outside |inside )({_BARE})(?:\.\.({_BARE}))?", text)):
        sizes = [bound_text(Decimal(size.replace("_", "")), unit, currency) for size in bare.groups()[2:] if size]
        if bool(bare[2]) == (len(sizes) == 1):
            return f"{_OPERATORS[bare[2]] if bare[2] else bare[1].strip()} {' to '.join(sizes)}"
    for pattern, say in _FORMS:
        if found := re.fullmatch(pattern, text):
            return say(found)
    return ""


def _member(text: str, unit: str, currency: str | None) -> str:
    """One of several conditions, perhaps on another KPI: ``win_rate below 60%``; empty if it is none."""
    kpi, _, rest = text.partition(" ")
    if own := _said(text, unit, currency):
        return own
    return f"{kpi} {other}" if re.fullmatch(r"[a-z]\w*", kpi) and (other := _said(rest)) else ""


def _simple(found: re.Match[str]) -> str:
    return f"{_OPERATORS[found[1]]} {found[2]}"


def _of(found: re.Match[str]) -> str:
    """``below 90% of the target``, ``a pace below 90% of the target``."""
    what = {"pace ": "a pace ", "forecast ": "a forecast "}.get(found[1] or "", "")
    share = f"{found[3]} of " if found[3] else ""
    return f"{what}{_OPERATORS[found[2]]} {share}the {found[4]}{f', {found[5]} sure' if found[5] else ''}"


def _moved(found: re.Match[str]) -> str:
    """``more than 15% below the period before``."""
    amount = "more than" if found[2] == ">" else "at least"
    return f"{amount} {found[3]} {'below' if found[1] == 'drop' else 'above'} {_reference(found[4] or 'previous')}"


def _changed(found: re.Match[str]) -> str:
    """``more than 10 pp below the average of 8 periods``; a change towards the other side is said as it is written."""
    op, number, unit, reference = found[1], found[2], found[3].strip(), _reference(found[4] or "previous")
    size = f"{number.lstrip('-+')}{f' {unit}' if unit and unit != '%' else unit}"
    falls = number.startswith("-")
    if falls != op.startswith("<"):
        return f"a change of {_OPERATORS[op]} {number}{f' {unit}' if unit and unit != '%' else unit} from {reference}"
    return f"{'at least' if op.endswith('=') else 'more than'} {size} {'below' if falls else 'above'} {reference}"


def _band(found: re.Match[str]) -> str:
    return f"{found[1]} {found[2]} to {found[3]}"


def _run(found: re.Match[str]) -> str:
    return f"{'falling' if found[1] == 'falls' else 'rising'} {found[2]} times in a row"


def _slope(found: re.Match[str]) -> str:
    return f"a slope {_OPERATORS[found[1]]} {found[2]} a period over {found[3]} periods"


def _reference(text: str) -> str:
    window = re.fullmatch(r"(avg|median|max|min)\((\d+)( same_weekdays)?\)", text)
    if window:
        return f"{_WINDOWS[window[1]]} of {window[2]} {'same weekdays' if window[3] else 'periods'}"
    return _REFERENCES.get(text, text)


_JOINED = re.compile(r" (and|or) ")
_BARE = r"[+-]?\d[\d_]{0,30}(?:\.\d{1,30})?"
_OP = r"(<=|>=|<|>|==|=|!=)"
_FORMS = (
    (rf"(pace |forecast )?{_OP} ?(?:(\S+%) of )?(target|benchmark)(?: with (\S+%))?", _of),
    (rf"{_OP} ?(.+)", _simple),
    (r"(drop|rise) ?(>=|>) ?(\S+)(?: vs (.+))?", _moved),
    (r"change ?(<=|>=|<|>) ?([+-]?[\d.,]+) ?(\S*?)(?: vs (.+))?", _changed),
    (r"(outside|inside) (\S+?)\.\.(.+)", _band),
    (r"(falls|rises) (\d+)x", _run),
    (rf"slope ?{_OP} ?(\S+) over (\d+)x", _slope),
)
"""How conditions are written, the first that fits, and how each is said."""
