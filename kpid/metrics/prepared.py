"""Statements that are kept: the same scan at another time differs in a few parameters only. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from kpid.analysis.periods import Calendar
from kpid.metrics.dialects import compile_named
from kpid.metrics.plan import Scan
from kpid.metrics.spine import Setting, late_values
from kpid.metrics.statements import Statement, make_statement
from kpid.model import Period

_KEPT = 4_000_000
"""Characters of SQL that are kept at most: the statements of all KPIs in several cuts take half of that."""
_kept: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True)
class _Kept:
    """A compiled scan. ``scan`` and ``custom`` are held, so that the ids in the key stay theirs."""

    statement: Statement
    sql: str
    names: Sequence[str]
    values: Mapping[str, Any]
    held: tuple[Any, ...]


def prepare(scan: Scan, setting: Setting, dialect: str) -> tuple[Statement, str, list[Any]]:
    """The statement of a scan, its SQL text and its parameters; written anew only if it never was for these periods.

    Args:
        scan: not empty.
        setting: what it depends on besides.
        dialect: name of the engine's dialect.
    """
    periods = tuple(period for some in scan.periods.values() for period in some)
    key = _key(scan, periods, setting, dialect)
    with _lock:
        kept = _kept.get(key)
        if kept is not None:
            _kept.move_to_end(key)
    if kept is None:
        statement = make_statement(scan, setting)
        sql, names, values = compile_named(statement.select, dialect, {**statement.values, **scan.values})
        kept = _Kept(statement, sql, names, values, (scan.entity, setting.custom))
        with _lock:
            _kept[key] = kept
            while sum(len(one.sql) for one in _kept.values()) > _KEPT:
                _kept.popitem(last=False)
    values = {**kept.values, **late_values(periods, setting, scan.trailing)}
    return kept.statement, kept.sql, [values[name] for name in kept.names]


def _key(scan: Scan, periods: tuple[Period, ...], setting: Setting, dialect: str) -> tuple[Any, ...]:
    today = Calendar(setting.timezone).day_of(setting.now)  # opening hours and trailing days reach up to it
    depends = (setting.timezone, setting.currency, setting.rate_day, setting.foreign, setting.history, id(setting.custom), today)
    calendars = tuple(setting.calendars.items())
    kinds = tuple((kind, len(some)) for kind, some in scan.periods.items())
    return scan.key, tuple(scan.texts), kinds, periods, tuple(scan.cuts), depends, setting.scope, calendars, dialect
