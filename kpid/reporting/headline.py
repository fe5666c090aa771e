"""The sentences of a report: the headline says a number, its direction and the target; the lead says why and what else."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from kpid.analysis.wording import change_text, exact_text, limit_text, value_text
from kpid.reporting.context import Drivers, KpiLine

_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NOUNS = ("day", "week", "month", "quarter", "year")
_MOST_NAMES = 3
_WORTH_SAYING = Decimal("0.2")
"""A segment is named in the lead if it has at least this share of the change, in its direction, and no more than all of it."""


def period_noun(kind: str) -> str:
    """``week`` for weeks ..., ``fiscal quarter``; ``period`` for rolling and to-date ones."""
    if kind in _NOUNS:
        return kind
    return kind.replace("_", " ") if kind.startswith("fiscal") else "period"


def side_of_target(line: KpiLine) -> str:
    """On which side of its target a missed KPI is: ``below`` or ``above``."""
    return "below" if line.better == "up" else "above"


def headline(lines: Sequence[KpiLine], kind: str, period: str) -> str:
    """The one sentence. ``lines`` are sorted by trouble."""
    shown = [line for line in lines if line.status in {"off", "watch", "on", "none"} and line.value is not None]
    if not shown:
        return f"No numbers to judge for {period}"
    worst = shown[0]
    if worst.status in {"off", "watch"}:
        return _missed(worst, period_noun(kind))
    met = [line for line in shown if line.status == "on"]
    if met:
        count = "The one target is" if len(met) == 1 else f"All {len(met)} targets are"
        return f"{count} met: {_lower(_moved(met[0]))}"
    first = next((line for line in shown if line.previous is not None), worst)
    if first.previous is None or first.previous == first.value:
        return f"{_moved(first)} in {period}"
    change = change_text(first.value, first.previous, first.unit, first.currency)
    return f"{_moved(first)}, {change} on the {period_noun(kind)} before"


def lead(lines: Sequence[KpiLine], drivers: Drivers | None) -> tuple[str, ...]:
    """Up to four short sentences after the headline."""
    missed = [line for line in lines if line.status in {"off", "watch"}]
    sentences = [_driven(lines, drivers), _missed_too(missed[1:]), _met(lines, missed), _quiet(lines, missed), _unjudged(lines)]
    return tuple(sentence for sentence in sentences if sentence)


def _missed(line: KpiLine, noun: str) -> str:
    just = "just " if line.status == "watch" else ""
    target = limit_text(line.target, line.unit, line.currency)
    side = f"{just}{side_of_target(line)} the {target} target"
    if line.run < 2:
        return f"{_moved(line)}, {side}"
    ordinal = _ORDINALS[line.run] if line.run < len(_ORDINALS) else f"{line.run}th"
    return f"{_moved(line)}, the {ordinal} {noun} {side_of_target(line)} the {target} target"


def _moved(line: KpiLine) -> str:
    value = exact_text(line.value, line.target, line.unit, line.currency)
    if line.previous is None or line.value is None:
        verb = "was"
    elif line.value == line.previous:
        verb = "stayed at"
    else:
        verb = "rose to" if line.value > line.previous else "fell to"
    return f"{line.name} {verb} {value}"


def _driven(lines: Sequence[KpiLine], drivers: Drivers | None) -> str:
    if drivers is None or not drivers.rows:
        return ""
    line = next(line for line in lines if line.id == drivers.kpi)
    named = [row for row in drivers.rows if row.new]
    top = max(named, key=lambda row: row.effect / drivers.change, default=None)
    if top is None or not _WORTH_SAYING <= top.effect / drivers.change <= 1:
        return ""
    part = change_text(top.effect, Decimal(0), line.unit, line.currency)
    whole = change_text(drivers.change, Decimal(0), line.unit, line.currency)
    unit = part.removesuffix(" pt") if whole.endswith(" pt") else part
    return f"{top.segment} explains {unit} of the {whole}."


def _missed_too(missed: Sequence[KpiLine]) -> str:
    if not missed:
        return ""
    line = missed[0]
    value = exact_text(line.value, line.target, line.unit, line.currency)
    bound = "at least" if line.better == "up" else "at most"
    more = f", and {len(missed) - 1} more" if len(missed) > 1 else ""
    return f"{line.name} missed too: {value} against {bound} {limit_text(line.target, line.unit, line.currency)}{more}."


def _met(lines: Sequence[KpiLine], missed: Sequence[KpiLine]) -> str:
    met = [line for line in lines if line.status == "on"]
    if not missed or not met:
        return ""
    names = joined([line.name if index == 0 else _lower(line.name) for index, line in enumerate(met)])
    return f"{names} {'is' if len(met) == 1 else 'are'} on target."


def _quiet(lines: Sequence[KpiLine], missed: Sequence[KpiLine]) -> str:
    """When nothing was missed: how the next two went."""
    others = [line for line in lines if line.status in {"on", "none"} and line.value is not None][1:3]
    if missed or not others:
        return ""
    return f"{' and '.join([_moved(others[0]), *(_lower(_moved(line)) for line in others[1:])])}."


def _unjudged(lines: Sequence[KpiLine]) -> str:
    odd = [line for line in lines if line.status == "unjudged"]
    if not odd:
        return ""
    names = joined([line.name if index == 0 else _lower(line.name) for index, line in enumerate(odd)])
    return f"{names} {'is' if len(odd) == 1 else 'are'} not judged: see the table."


def joined(names: Sequence[str]) -> str:
    """``A, B and C``; ``A, B, C and 4 more``."""
    if len(names) > _MOST_NAMES + 1:
        names = [*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _lower(name: str) -> str:
    """A name inside a sentence: ``win rate``, but ``NPS`` and ``Net Promoter Score``."""
    return name if any(letter.isupper() for letter in name[1:]) else name[:1].lower() + name[1:]


def number_text(line: KpiLine) -> str:
    """The value of a scorecard row; ``n < 20`` where the sample is too small to show one."""
    if line.state == "insufficient_sample":
        return f"n < {line.low_sample}" if line.low_sample > line.n else "n too small"
    return value_text(line.value, line.unit, line.currency)
