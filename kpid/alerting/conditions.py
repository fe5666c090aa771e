"""Conditions as rules write them: ``< 40%``, ``>= 1_000_000 EUR``, ``drop > 15% vs previous``. A closed grammar, read exactly.

    condition = OP NUMBER [UNIT]                        the value itself; OP is literal: < <= > >= == !=
              | (drop | rise) (> | >=) NUMBER % vs previous      relative to the period before

What later versions will know (``vs last_year``, ``pace``, ``forecast``, ``change``, anomalies) is recognised and refused by name.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from kpid.analysis.durations import number_from_text

_OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MISWRITTEN = {
    "=": "==",
    "=<": "<=",
    "=>": ">=",
    "<>": "!=",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "below": "<",
    "under": "<",
    "above": ">",
    "over": ">",
    "is": "==",
}
_TOKEN = re.compile(r"\s*(?:(?P<op>[<>=!≤≥≠]+)|(?P<number>[+-]?(?:\d[\d_,.]*|\.\d+))|(?P<word>[A-Za-z_]\w*|%|\S))")
_LATER_REFERENCES = ("last_year", "avg", "median", "target")
_LATER_FORMS = ("pace", "forecast", "change", "anomaly")
_TIME_UNITS = {
    "s": 1, "second": 1, "seconds": 1, "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86_400, "day": 86_400, "days": 86_400,
}  # fmt: skip
_POINTS = ("point", "points", "pts")
_KNOWN = "Write it such as `< 40%`, `>= 1_000_000 EUR` or `drop > 15% vs previous`"


@dataclass(frozen=True, slots=True)
class Threshold:
    """The value compared with a number.

    Attributes:
        text: as written.
        op: one of ``< <= > >= == !=``.
        number: the number as written, ``50`` for ``50%``.
        unit: as written: empty, ``%``, a currency code, a word for time, ``points``.
    """

    text: str
    op: str
    number: Decimal
    unit: str = ""

    @property
    def needs_previous(self) -> bool:
        """Whether it compares with another period."""
        return False

    def limit(self, kpi_unit: str) -> Decimal:
        """The number in the unit of the KPI: ``50%`` of a ratio is 0.5, ``4h`` of a KPI in seconds 14400."""
        if self.unit == "%":
            return self.number / 100
        if self.unit in _TIME_UNITS and kpi_unit in {"days", "seconds"}:
            return self.number * _TIME_UNITS[self.unit] / (86_400 if kpi_unit == "days" else 1)
        return self.number

    def holds(self, value: Fraction, kpi_unit: str) -> bool:
        """Whether it is true of the value. Exact: nothing is rounded."""
        return _OPERATORS[self.op](value, Fraction(self.limit(kpi_unit)))


@dataclass(frozen=True, slots=True)
class Change:
    """The relative change against the period before: ``drop > 15% vs previous``.

    Attributes:
        text: as written.
        direction: which way is bad.
        op: ``>`` or ``>=``.
        percent: 15 for 15 %.
        reference: what it is compared with.
    """

    text: str
    direction: Literal["drop", "rise"]
    op: str
    percent: Decimal
    reference: str = "previous"

    @property
    def needs_previous(self) -> bool:
        """Whether it compares with another period."""
        return True

    def limit_from(self, previous: Fraction) -> Fraction:
        """The value at which it begins to hold."""
        part = Fraction(self.percent) / 100
        return previous * (1 - part if self.direction == "drop" else 1 + part)

    def holds(self, value: Fraction, previous: Fraction) -> bool:
        """Whether it is true of the value, against a positive previous one. Exact."""
        limit = self.limit_from(previous)
        worse = value < limit if self.direction == "drop" else value > limit
        return worse or (self.op == ">=" and value == limit)


Condition: TypeAlias = Threshold | Change


def condition_from_text(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: it is not one; the message says where it goes wrong and what to write.
    """
    tokens = _tokens(text)
    if not tokens:
        raise ValueError(f"the condition is empty. {_KNOWN}")
    kind, word, _ = tokens[0]
    if kind == "op" or word in _MISWRITTEN:
        return _threshold(text, tokens)
    if word.lower() in {"drop", "rise"}:
        return _change(text, tokens)
    if word.lower() in _LATER_FORMS:
        raise ValueError(f"{text!r}: `{word}` is not available yet. {_available()}")
    if kind == "number":
        raise ValueError(f"{text!r} lacks its operator: write `< {text.strip()}` or `> {text.strip()}`")
    near = difflib.get_close_matches(word.lower(), ["drop", "rise", *_LATER_FORMS, "below", "above"], n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    raise ValueError(f"{text!r}: {_at(tokens[0])} is not the start of a condition: {meant}{_KNOWN}")


def check_condition(condition: Condition, kpi_unit: str, better: str) -> str:
    """What is wrong with a condition for a KPI of this unit, and what to write; empty when nothing is.

    Args:
        condition: as read.
        kpi_unit: ``count``, ``ratio``, ``currency``, ``days``, ``seconds`` or ``score``.
        better: ``up``, ``down`` or ``none``: so that the hint goes the right way.
    """
    if isinstance(condition, Change):
        too_much = condition.direction == "drop" and condition.percent >= 100
        return f"`{condition.text}` can never hold: nothing drops by more than 100%" if too_much else ""
    return next(_misuses(condition, kpi_unit, "rise" if better == "down" else "drop"), "")


def _misuses(condition: Threshold, kpi_unit: str, change: str) -> Iterator[str]:
    op, number, unit = condition.op, f"{condition.number:f}", condition.unit
    measured = f"but the KPI is in {_unit_words(kpi_unit)}"
    if unit == "%" and kpi_unit != "ratio":
        yield (
            f"`{condition.text}` is a percentage, {measured}: write the number itself, "
            f"such as `{op} {number}`, or a change such as `{change} > {number}% vs previous`"
        )
    if kpi_unit == "ratio" and not unit and abs(condition.number) > 1:
        yield f"`{condition.text}` compares a ratio, which lies between 0 and 1, with {number}: write `{op} {number}%`"
    if unit in _TIME_UNITS and kpi_unit not in {"days", "seconds"}:
        yield f"`{condition.text}` is a length of time, {measured}: write `{op} {number}`"
    if unit in _POINTS and kpi_unit != "score":
        yield f"`{condition.text}` is in points, {measured}: write `{op} {number}`"
    if _is_currency(unit) and kpi_unit != "currency":
        yield f"`{condition.text}` is an amount of money, {measured}: write `{op} {number}`"


def check_levels(warn: Condition | None, critical: Condition | None, recover: Condition | None, kpi_unit: str) -> str:
    """What is wrong with the conditions of a rule taken together; empty when nothing is.

    ``critical`` must lie beyond ``warn``, and ``recover`` on the good side of both.
    """
    if warn is not None and critical is not None and not _is_beyond(critical, warn, kpi_unit):
        return f"critical `{critical.text}` holds before warn `{warn.text}` does: critical must be the worse of the two"
    for condition in (warn, critical):
        if condition is not None and recover is not None and _overlap(recover, condition, kpi_unit):
            return f"recover `{recover.text}` can hold together with `{condition.text}`: it must lie on the good side"
    return ""


def _is_beyond(worse: Condition, better: Condition, kpi_unit: str) -> bool:
    if isinstance(worse, Change) and isinstance(better, Change):
        return worse.direction != better.direction or worse.percent >= better.percent
    if isinstance(worse, Change) or isinstance(better, Change) or worse.op[0] != better.op[0]:
        return True
    if worse.op[0] == "<":
        return worse.limit(kpi_unit) <= better.limit(kpi_unit)
    return worse.op[0] != ">" or worse.limit(kpi_unit) >= better.limit(kpi_unit)


def _overlap(good: Condition, bad: Condition, kpi_unit: str) -> bool:
    if isinstance(good, Change) or isinstance(bad, Change):
        return False
    if good.op[0] == bad.op[0] and good.op[0] in "<>":
        return True
    low, high = good.limit(kpi_unit), bad.limit(kpi_unit)
    if good.op[0] == ">" and bad.op[0] == "<":
        return low < high or (low == high and good.op == ">=" and bad.op == "<=")
    if good.op[0] == "<" and bad.op[0] == ">":
        return low > high or (low == high and good.op == "<=" and bad.op == ">=")
    return False


_Token: TypeAlias = tuple[str, str, int]


def _tokens(text: str) -> list[_Token]:
    return [
        (match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0)) for match in _TOKEN.finditer(text)
    ]


def _at(token: _Token) -> str:
    return f"{token[1]!r} at position {token[2] + 1}"


def _operator(text: str, token: _Token) -> str:
    if token[1] in _OPERATORS:
        return token[1]
    if meant := _MISWRITTEN.get(token[1]):
        raise ValueError(f"{text!r}: {_at(token)} is not an operator: write `{meant}`")
    raise ValueError(f"{text!r}: {_at(token)} is not an operator: use one of {' '.join(_OPERATORS)}")


def _number(text: str, tokens: list[_Token], place: int) -> Decimal:
    if place >= len(tokens):
        raise ValueError(f"{text!r} ends where a number should be. {_KNOWN}")
    kind, word, _ = tokens[place]
    if kind != "number":
        raise ValueError(f"{text!r}: {_at(tokens[place])} should be a number")
    if "," in word:
        plain = word.replace(",", "_") if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", word) else word.replace(",", ".")
        raise ValueError(f"{text!r}: {_at(tokens[place])} has a comma: write `{plain}`")
    try:
        return number_from_text(word)
    except ValueError as error:
        raise ValueError(f"{text!r}: {_at(tokens[place])}: {error}") from None


def _threshold(text: str, tokens: list[_Token]) -> Threshold:
    op = _operator(text, tokens[0])
    number = _number(text, tokens, 1)
    unit = tokens[2][1] if len(tokens) > 2 else ""
    rest = tokens[3:]
    if unit == "%" and rest and rest[0][1].lower() in {"vs", "of"}:
        raise ValueError(f"{text!r}: {_at(rest[0])}: a change needs its direction: write `drop > {number:f}% vs previous`")
    if unit == "pp":
        raise ValueError(f"{text!r}: points (`pp`) belong to `change`, which is not available yet. {_available()}")
    if unit and unit != "%" and unit not in _TIME_UNITS and unit not in _POINTS and not _is_currency(unit):
        raise ValueError(f"{text!r}: {_at(tokens[2])} is not a unit: use %, a currency code, days, hours, minutes or points")
    if rest:
        raise ValueError(f"{text!r}: nothing may follow `{op} {tokens[1][1]}{unit}`, but {_at(rest[0])} does")
    return Threshold(" ".join(text.split()), op, number, unit)


def _change(text: str, tokens: list[_Token]) -> Change:
    direction: Literal["drop", "rise"] = "drop" if tokens[0][1].lower() == "drop" else "rise"
    sample = f"write `{direction} > 15% vs previous`"
    if len(tokens) < 3:
        raise ValueError(f"{text!r} is not whole: {sample}")
    if tokens[1][1] not in {">", ">="}:
        raise ValueError(f"{text!r}: {_at(tokens[1])}: the size of a {direction} is compared with > or >=: {sample}")
    op, percent = tokens[1][1], _number(text, tokens, 2)
    if percent < 0:
        raise ValueError(f"{text!r}: {_at(tokens[2])}: the size of a {direction} is not negative: {sample}")
    _check_reference(text, tokens[3:], f"{direction} {op} {percent:f}% vs previous")
    return Change(" ".join(text.split()), direction, op, percent)


def _check_reference(text: str, rest: list[_Token], whole: str) -> None:
    if not rest or rest[0][1] != "%":
        if rest and rest[0][1] == "pp":
            raise ValueError(f"{text!r}: points (`pp`) belong to `change`, which is not available yet. {_available()}")
        raise ValueError(f"{text!r}: a drop or rise is relative: write `{whole}`")
    if len(rest) < 3 or rest[1][1].lower() != "vs":
        raise ValueError(f"{text!r} does not say compared with what: write `{whole}`")
    reference = rest[2][1].lower()
    if reference in _LATER_REFERENCES:
        raise ValueError(f"{text!r}: `vs {reference}` is not available yet. {_available()}")
    if reference != "previous":
        near = difflib.get_close_matches(reference, ["previous", *_LATER_REFERENCES], n=1)
        meant = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"{text!r}: {_at(rest[2])} is nothing to compare with{meant}: write `{whole}`")
    if len(rest) > 3:
        raise ValueError(f"{text!r}: nothing may follow `{whole}`, but {_at(rest[3])} does")


def _available() -> str:
    return "Available are a comparison such as `< 40%`, and `drop > 15% vs previous` or `rise > 15% vs previous`"


def _is_currency(unit: str) -> bool:
    return len(unit) == 3 and unit.isalpha() and unit.isupper()


def _unit_words(kpi_unit: str) -> str:
    return {"ratio": "a ratio", "currency": "money", "score": "points"}.get(kpi_unit, kpi_unit)
