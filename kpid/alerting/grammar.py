"""Conditions as rules write them. A closed grammar, read exactly; what is no condition is refused with what to write instead.

condition = OP NUMBER [UNIT]                            the value itself; OP is literal: < <= > >= == !=
          | (inside | outside) NUMBER .. NUMBER [UNIT]  a band; its ends lie inside
          | OP NUMBER % of (target | benchmark)
          | pace OP NUMBER % of target                  a period that is still running
          | forecast OP [NUMBER % of] target [with NUMBER %]
          | (drop | rise) (> | >=) NUMBER % vs REF      relative
          | change OP NUMBER [pp | points | UNIT] vs REF    in the KPI's own unit
          | (falls | rises) Nx                          so many times in a row
          | slope OP NUMBER % over Nx                   a period, of the mean
REF       = previous | last_year | last_year_iso_week | last_year_364d | same_weekday | same_weekday_14d
          | target | benchmark | total | (avg | median | max | min) ( N [same_weekdays] )
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Literal, TypeAlias

from kpid.alerting.baselines import NAMES, WINDOWS, Against
from kpid.alerting.changes import Change, Difference, Run, Slope
from kpid.alerting.conditions import OPERATORS, POINTS, TIME_UNITS, Band, Condition, Portion, Threshold
from kpid.alerting.paces import Outlook, Pace
from kpid.analysis.durations import number_from_text

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
_NUMBER = r"[+-]?(?:\d[\d_,]*(?:\.(?!\.)[\d_,]*)*|\.\d+)"
_TOKEN = re.compile(rf"\s*(?:(?P<op>[<>=!≤≥≠]+)|(?P<dots>\.\.)|(?P<number>{_NUMBER})|(?P<word>[A-Za-z_]\w*|%|\S))")
_KNOWN = "Write it such as `< 40%`, `>= 1_000_000 EUR` or `drop > 15% vs previous`"
_WINDOW_UPTO = 104
_MAPPINGS = {
    "anomaly": "an anomaly is a mapping: write `{anomaly: down}`",
    "unusual": "what is unusual is a mapping: write `{anomaly: down}`",
    "since": "a gain since an event is a mapping: write `{since: 2026-03-01, months: 3, gain: 5pp}`",
}

_Token: TypeAlias = tuple[str, str, int]


def condition_from_text(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: it is not one; the message says where it goes wrong and what to write.
    """
    reader = _Reader(text)
    if not reader.tokens:
        raise ValueError(f"the condition is empty. {_KNOWN}")
    kind, word, _ = reader.tokens[0]
    word = word.lower()
    if kind == "op" or word in _MISWRITTEN:
        return _value(reader)
    if word in _FORMS:
        return _FORMS[word](reader)
    if word in _MAPPINGS:
        raise ValueError(f"{text!r}: {_MAPPINGS[word]}")
    if kind == "number":
        raise ValueError(f"{text!r} lacks its operator: write `< {text.strip()}` or `> {text.strip()}`")
    near = difflib.get_close_matches(word, [*_FORMS, "below", "above"], n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    raise ValueError(f"{text!r}: {_at(reader.tokens[0])} is not the start of a condition: {meant}{_KNOWN}")


class _Reader:
    """The tokens of a condition, taken one after another."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.plain = " ".join(text.split())
        self.tokens: list[_Token] = [
            (match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0))
            for match in _TOKEN.finditer(text)
        ]
        self.place = 0

    def peek(self, ahead: int = 0) -> str:
        """The next word, in lower case; empty at the end."""
        place = self.place + ahead
        return self.tokens[place][1].lower() if place < len(self.tokens) else ""

    def take(self) -> str:
        """The next word, as written."""
        word = self.tokens[self.place][1]
        self.place += 1
        return word

    def skip(self, word: str) -> bool:
        """Take a word if it comes next."""
        found = self.peek() == word
        self.place += found
        return found

    def wrong(self, what: str) -> ValueError:
        """An error at the next token."""
        if self.place < len(self.tokens):
            return ValueError(f"{self.text!r}: {_at(self.tokens[self.place])} {what}")
        return ValueError(f"{self.text!r} is not whole: {what.partition(': ')[2] or what}")

    def operator(self, allowed: tuple[str, ...], sample: str) -> str:
        """An operator."""
        word = self.peek()
        if word in allowed:
            return self.take()
        if meant := _MISWRITTEN.get(word):
            raise self.wrong(f"is not an operator: write `{meant}`")
        raise self.wrong(f"is not an operator: use one of {' '.join(allowed)}, {sample}")

    def number(self) -> Decimal:
        """A number."""
        if self.place >= len(self.tokens):
            raise ValueError(f"{self.text!r} ends where a number should be. {_KNOWN}")
        kind, word, _ = self.tokens[self.place]
        if kind != "number":
            raise self.wrong("should be a number")
        if "," in word:
            plain = word.replace(",", "_") if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", word) else word.replace(",", ".")
            raise self.wrong(f"has a comma: write `{plain}`")
        try:
            found = number_from_text(word)
        except ValueError as error:
            raise ValueError(f"{self.text!r}: {_at(self.tokens[self.place])}: {error}") from None
        self.place += 1
        return found

    def count(self, least: int, sample: str) -> int:
        """A whole number of periods from ``least`` on."""
        if self.place < len(self.tokens) and self.tokens[self.place][0] == "number" and self.peek().isdecimal():
            found = int(self.peek())
            if least <= found <= _WINDOW_UPTO:
                self.place += 1
                return found
        raise self.wrong(f"should be a whole number of periods from {least} to {_WINDOW_UPTO}: {sample}")

    def end(self, whole: str) -> None:
        """Nothing may follow."""
        if self.place < len(self.tokens):
            raise ValueError(f"{self.text!r}: nothing may follow `{whole}`, but {_at(self.tokens[self.place])} does")


def _at(token: _Token) -> str:
    return f"{token[1]!r} at position {token[2] + 1}"


def _value(reader: _Reader) -> Condition:
    """``< 40%``, ``< 90% of target``."""
    text, word = reader.text, reader.tokens[0][1]
    if word not in OPERATORS:
        if meant := _MISWRITTEN.get(word.lower()):
            raise reader.wrong(f"is not an operator: write `{meant}`")
        raise reader.wrong(f"is not an operator: use one of {' '.join(OPERATORS)}")
    op, number = reader.take(), reader.number()
    written = reader.tokens[1][1]
    unit = reader.take() if reader.peek() else ""
    if unit == "%" and reader.skip("of"):
        return _portion(reader, op, number)
    if reader.peek() == "vs":
        better = f"drop > {abs(number):f}% vs previous" if unit == "%" else f"change {op} {number:f}{unit} vs previous"
        raise reader.wrong(f"a change needs its direction: write `{better}`")
    if unit == "pp":
        raise ValueError(f"{text!r}: points (`pp`) belong to a change: write `change {op} {number:f}pp vs previous`")
    if unit and not _is_unit(unit):
        at = _at(reader.tokens[2])
        raise ValueError(f"{text!r}: {at} is not a unit: use %, a currency code, days, hours, minutes or points")
    reader.end(f"{op} {written}{unit}")
    return Threshold(reader.plain, op, number, unit)


def _is_unit(unit: str) -> bool:
    return unit == "%" or unit in TIME_UNITS or unit in POINTS or is_currency(unit)


def is_currency(unit: str) -> bool:
    """Whether a unit is a currency code."""
    return len(unit) == 3 and unit.isalpha() and unit.isupper()


def _portion(reader: _Reader, op: str, percent: Decimal) -> Portion:
    sample = f"write `{op} {percent:f}% of target` or `of benchmark`"
    if reader.peek() not in {"target", "benchmark"}:
        raise reader.wrong(f"is nothing to have a part of: {sample}")
    of: Literal["target", "benchmark"] = "target" if reader.take().lower() == "target" else "benchmark"
    reader.end(f"{op} {percent:f}% of {of}")
    return Portion(reader.plain, op, percent, of)


def _band(reader: _Reader) -> Band:
    where: Literal["inside", "outside"] = "inside" if reader.take().lower() == "inside" else "outside"
    sample = f"write `{where} 20%..40%`"
    low = reader.number()
    unit = reader.take() if reader.peek() not in {"..", ""} else ""
    if not reader.skip(".."):
        raise reader.wrong(f"should be two dots: {sample}")
    high = reader.number()
    last = reader.take() if reader.peek() else ""
    if unit and last and unit != last:
        raise ValueError(f"{reader.text!r}: its ends are in {unit} and {last}: write both alike")
    if (unit or last) and not _is_unit(unit or last):
        raise ValueError(
            f"{reader.text!r}: {unit or last!r} is not a unit: use %, a currency code, days, hours, minutes or points"
        )
    if low >= high:
        raise ValueError(f"{reader.text!r}: its ends are the wrong way round: write the smaller one first")
    reader.end(f"{where} {low:f}..{high:f}{last}")
    return Band(reader.plain, where, low, high, unit or last)


def _change(reader: _Reader) -> Change:
    direction: Literal["drop", "rise"] = "drop" if reader.take().lower() == "drop" else "rise"
    sample = f"write `{direction} > 15% vs previous`"
    if len(reader.tokens) < 3:
        raise ValueError(f"{reader.text!r} is not whole: {sample}")
    if reader.peek() not in {">", ">="}:
        raise reader.wrong(f"the size of a {direction} is compared with > or >=: {sample}")
    op, at, percent = reader.take(), reader.place, reader.number()
    if percent < 0:
        raise ValueError(f"{reader.text!r}: {_at(reader.tokens[at])}: the size of a {direction} is not negative: {sample}")
    whole = f"{direction} {op} {percent:f}% vs previous"
    if reader.peek() in {"pp", *POINTS}:
        points = f"change {'<' if direction == 'drop' else '>'} {'-' if direction == 'drop' else ''}{percent:f}pp vs previous"
        raise ValueError(f"{reader.text!r}: a {direction} is relative: write `{whole}`, or for points `{points}`")
    if not reader.skip("%"):
        raise ValueError(f"{reader.text!r}: a drop or rise is relative: write `{whole}`")
    return Change(reader.plain, direction, op, percent, _against(reader, whole))


def _difference(reader: _Reader) -> Difference:
    reader.take()
    op = reader.operator(("<", "<=", ">", ">="), "such as `change < -3pp vs previous`")
    number = reader.number()
    unit = reader.take() if reader.peek() not in {"vs", ""} else ""
    size = f"{op} {number:f}{unit}"
    if unit == "%":
        word = "drop" if op[0] == "<" else "rise"
        hint = f"write `{word} > {abs(number):f}% vs previous`, or for points `change {op} {number:f}pp vs previous`"
        raise ValueError(f"{reader.text!r}: a change in percent is a drop or a rise: {hint}")
    if unit and unit != "pp" and not _is_unit(unit):
        raise ValueError(f"{reader.text!r}: {unit!r} is not a unit: use pp, points, a currency code, days, hours or minutes")
    return Difference(reader.plain, op, number, unit, _against(reader, f"change {size} vs previous"))


def _against(reader: _Reader, whole: str) -> Against:
    """``vs previous``, ``vs avg(8 same_weekdays)``."""
    if not reader.skip("vs") or not reader.peek():
        raise ValueError(f"{reader.text!r} does not say compared with what: write `{whole}`")
    at, name = reader.tokens[reader.place], reader.peek()
    if name not in {*NAMES, *WINDOWS}:
        near = difflib.get_close_matches(name, [*NAMES, *WINDOWS], n=1)
        meant = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"{reader.text!r}: {_at(at)} is nothing to compare with{meant}: write `{whole}`")
    reader.take()
    if name in NAMES:
        reader.end(f"{whole.rpartition(' ')[0]} {name}")
        return Against(name)
    sample = f"write `{name}(8)`"
    if not reader.skip("("):
        raise reader.wrong(f"should say of how many periods: {sample}")
    count = reader.count(2, sample)
    weekdays = reader.skip("same_weekdays")
    if not reader.skip(")"):
        raise reader.wrong(f"should be a bracket: {sample} or `{name}(8 same_weekdays)`")
    found = Against(name, count, weekdays)
    reader.end(f"{whole.rpartition(' ')[0]} {found}")
    return found


def _pace(reader: _Reader) -> Pace:
    reader.take()
    sample = "write `pace < 90% of target`"
    op, percent = reader.operator(tuple(OPERATORS)[:4], sample), reader.number()
    if not (reader.skip("%") and reader.skip("of") and reader.skip("target")):
        raise reader.wrong(f"does not belong there: {sample}")
    reader.end(f"pace {op} {percent:f}% of target")
    return Pace(reader.plain, op, percent)


def _forecast(reader: _Reader) -> Outlook:
    reader.take()
    sample = "write `forecast < target`, `forecast < 90% of target` or `forecast < target with 80%`"
    op, percent = reader.operator(tuple(OPERATORS)[:4], sample), Decimal(100)
    if reader.peek() != "target":
        percent = reader.number()
        if not (reader.skip("%") and reader.skip("of")):
            raise reader.wrong(f"does not belong there: {sample}")
    if not reader.skip("target"):
        raise reader.wrong(f"should be `target`: {sample}")
    chance = None
    if reader.skip("with"):
        chance = reader.number()
        if not reader.skip("%") or not 0 < chance <= 100:
            raise ValueError(f"{reader.text!r}: how sure it must be lies between 0% and 100%: {sample}")
    reader.end(f"forecast {op} target")
    return Outlook(reader.plain, op, percent, chance)


def _run(reader: _Reader) -> Run:
    direction: Literal["falls", "rises"] = "falls" if reader.take().lower() == "falls" else "rises"
    sample = f"write `{direction} 4x`"
    steps = reader.count(2, sample)
    if not reader.skip("x"):
        raise reader.wrong(f"should be an x: {sample}")
    reader.end(f"{direction} {steps}x")
    return Run(reader.plain, direction, steps)


def _slope(reader: _Reader) -> Slope:
    reader.take()
    sample = "write `slope < -2% over 6x`"
    op, percent = reader.operator(tuple(OPERATORS)[:4], sample), reader.number()
    if not (reader.skip("%") and reader.skip("over")):
        raise reader.wrong(f"does not belong there: {sample}")
    steps = reader.count(3, sample)
    if not reader.skip("x"):
        raise reader.wrong(f"should be an x: {sample}")
    reader.end(f"slope {op} {percent:f}% over {steps}x")
    return Slope(reader.plain, op, percent, steps)


_FORMS: dict[str, Callable[[_Reader], Condition]] = {
    "drop": _change,
    "rise": _change,
    "change": _difference,
    "inside": _band,
    "outside": _band,
    "pace": _pace,
    "forecast": _forecast,
    "falls": _run,
    "rises": _run,
    "slope": _slope,
}
