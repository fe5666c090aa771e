"""The measures of a written KPI: entity, clock and aggregate, read from their texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import and_
from sqlalchemy.sql.expression import FromClause

from kpid.analysis.language import Mistake
from kpid.config.definitions import MeasureText
from kpid.config.model import KpiSettings
from kpid.config.problems import Key, near_miss
from kpid.metrics.written.meaning import condition, expression
from kpid.metrics.written.selects import select_entity
from kpid.metrics.written.typed import Columns, Field, Kind, Typed
from kpid.plugin.casts import Midnight
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import (
    ZONE,
    Aggregate,
    At,
    Balance,
    Clock,
    During,
    Expression,
    Measure,
    Now,
    count,
    count_distinct,
    max_,
    mean,
    min_,
    quantile,
    sum_,
)

_STILL = {
    ("deals", "closed_at"): "state = 'open'",
    ("tickets", "closed_at"): "coalesce(status, 'open') not in ('solved', 'closed')",
}
"""What a row without an end must be to count as open, by table and column of the end."""

_AGGREGATES: Mapping[str, Callable[[Expression, Expression | None], Aggregate]] = {
    "sum": sum_,
    "mean": mean,
    "min": min_,
    "max": max_,
    "median": lambda of, where: quantile(0.5, of, where),
}


class Note(Protocol):
    """Takes a mistake inside a text."""

    def __call__(self, mistake: Mistake, text: str, *path: Key) -> None:
        """``path`` leads to the text, below the KPI."""


class Refuse(Protocol):
    """Takes another mistake."""

    def __call__(self, what: str, hint: str, *path: Key) -> None:
        """``path`` leads to its place, below the KPI."""


@dataclass(frozen=True, slots=True)
class Made:
    """A measure and its unit: one of a KPI's, or ``number`` where nobody knows."""

    measure: Measure
    unit: str


@dataclass(frozen=True)
class MeasureReader:
    """Reads all measures of one KPI.

    Args:
        id: of the KPI.
        text: its definition.
        fields: custom fields by table and name.
        note: told of mistakes inside texts.
        refuse: told of others.
    """

    id: str
    text: KpiSettings
    fields: Mapping[str, Mapping[str, Field]]
    note: Note
    refuse: Refuse

    def read(self) -> dict[str, Made] | None:
        """The measures by name; None if nothing can be said of them."""
        rows = self._rows()
        if self.text.sql is not None and rows is None:
            return None
        made = {}
        if self.text.sql is not None and not self.text.measures:
            self.refuse("measures: is missing", "Say what to make of the rows: measures: {n: {at: at}}", "sql")
        for name, text in self.text.measures.items():
            if not name.isidentifier() or not name.isascii():
                self.refuse(f"{name!r} cannot be the name of a measure", "Use letters, digits and _", "measures", name)
            columns = rows or self._columns(name, text)
            if columns is not None:
                found = _OneMeasure(self, name, text, columns).read()
                if found is not None:
                    made[name] = found
        return made

    def _rows(self) -> Columns | None:
        """Of an ``sql:``, its columns."""
        sql = self.text.sql
        if sql is None:
            if self.text.columns:
                self.refuse("columns: belongs to sql:", "Custom fields are declared below fields:", "columns")
            return None
        if not self.text.columns:
            self.refuse("columns: is missing", "Name the columns of sql: and their types: {at: instant, amount: number}", "sql")
            return None
        kinds: dict[str, Kind] = dict(self.text.columns)
        try:
            return Columns(select_entity(sql, f"sql_{self.id}", kinds), "sql", kinds=kinds)
        except Mistake as mistake:
            self.note(mistake, sql, "sql")
            return None

    def _columns(self, name: str, text: MeasureText) -> Columns | None:
        if text.entity is None:
            self.refuse("entity: is missing", f"Name a table: {', '.join(ENTITIES)}", "measures", name)
            return None
        if text.entity not in ENTITIES:
            hint = near_miss(text.entity, ENTITIES, what="Tables")
            self.refuse(f"there is no table {text.entity!r}", hint, "measures", name, "entity")
            return None
        return Columns(ENTITIES[text.entity], text.entity, self.fields.get(text.entity, {}))


@dataclass
class _OneMeasure:
    """Reads one measure."""

    reader: MeasureReader
    name: str
    text: MeasureText
    columns: Columns
    faults: int = 0

    def read(self) -> Made | None:
        """The measure; None if there are mistakes."""
        if self.reader.text.sql is not None and self.text.entity is not None:
            self._refuse("entity: and sql: exclude each other", "The rows are those of sql:", "entity")
        clock = self._clock()
        where = self._where()
        found = self._aggregate(where)
        money = self._money()
        rate_at = tuple(self._instants("rate_at", number, text) for number, text in enumerate(self.text.rate_at))
        if self.faults or clock is None or found is None:
            return None
        agg, unit = found
        if unit == "currency" and money is None:
            self._refuse("it is an amount", "Say in which column its currency is: money: currency", self.text.aggregate)
            return None
        if money is not None and agg.kind in ("count", "count_distinct"):
            self._refuse("money: belongs to an amount, and this counts", "Take money: out", "money")
            return None
        label = self.text.label or f"{self.name} {self.columns.label if self.text.entity else 'rows'}".replace("_", " ")
        dates = tuple(date for date in rate_at if date is not None)
        entity: FromClause = self.columns.entity
        return Made(Measure(entity, clock, agg, money, dates, label), "currency" if money is not None else unit)

    def _clock(self) -> Clock | None:
        match self.text.clock:
            case "now":
                return Now()
            case "at":
                instant = self._instant(self.text.at or "", "at")
                return None if instant is None else At(instant)
            case kind:
                ends = self.text.balance or self.text.during or ()
                start, end = (self._instant(text, kind, number) for number, text in enumerate(ends))
                if start is None or end is None:
                    return None
                make = Balance if kind == "balance" else During
                return make(start, end, self._still(ends[1]))

    def _still(self, end: str) -> Expression | None:
        usual = None if self.text.entity is None else _STILL.get((self.text.entity, end.strip()))
        text = self.text.still or usual
        return None if text is None else self._condition(text, "still")

    def _where(self) -> Expression | None:
        return None if self.text.where is None else self._condition(self.text.where, "where")

    def _money(self) -> Expression | None:
        if self.text.money is None:
            return None
        found = self._typed(self.text.money, ("text",), "money")
        return None if found is None else found.sql

    def _aggregate(self, where: Expression | None) -> tuple[Aggregate, str] | None:
        kind = self.text.aggregate
        if kind == "quantile":
            assert self.text.quantile is not None  # noqa: S101 - what `aggregate` has found
            found = self._typed(self.text.quantile.of, ("number",), "quantile", "of")
            return None if found is None else (quantile(float(self.text.quantile.q), found.sql, where), found.unit or "number")
        text = getattr(self.text, kind) or ""
        if kind == "count" and not text.strip():
            return count(where), "count"
        found = self._typed(text, () if kind.startswith("count") else ("number",), kind)
        if found is None:
            return None
        if kind == "count":
            has_value = found.sql.is_not(None)
            return count(has_value if where is None else and_(where, has_value)), "count"
        if kind == "count_distinct":
            return count_distinct(found.sql, where), "count"
        return _AGGREGATES[kind](found.sql, where), found.unit or "number"

    # ---- texts

    def _instants(self, key: str, number: int, text: str) -> Expression | None:
        found = self._typed(text, ("instant", "date"), key, number)
        return None if found is None else found.sql

    def _instant(self, text: str, *path: Key) -> Expression | None:
        found = self._typed(text, ("instant", "date"), *path)
        if found is None:
            return None
        return Midnight(found.sql, ZONE) if found.kind == "date" else found.sql

    def _typed(self, text: str, kinds: tuple[Kind, ...], *path: Key) -> Typed | None:
        try:
            return expression(text, self.columns, *kinds)
        except Mistake as mistake:
            self.faults += 1
            self.reader.note(mistake, text, "measures", self.name, *path)
            return None

    def _condition(self, text: str, *path: Key) -> Expression | None:
        try:
            return condition(text, self.columns)
        except Mistake as mistake:
            self.faults += 1
            self.reader.note(mistake, text, "measures", self.name, *path)
            return None

    def _refuse(self, what: str, hint: str, *path: Key) -> None:
        self.faults += 1
        self.reader.refuse(f"{self.name}: {what}", hint, "measures", self.name, *path)
