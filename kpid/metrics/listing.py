"""The records behind a count: the very rows that a figure has counted, with the columns that people want to see of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, Text, cast, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.expression import FromClause

from kpid.analysis.wording import value_text
from kpid.config.alerting import RowsText
from kpid.errors import ConfigError, KpidError
from kpid.metrics.dialects import compile_statement
from kpid.metrics.dimensions import NO_CUSTOM, Custom, dimension_of, labels_table
from kpid.metrics.measure import MetricsSetup, _Run
from kpid.metrics.plan import Scan, make_plan
from kpid.metrics.spine import Setting
from kpid.metrics.statements import Writer
from kpid.model import Dims, Period, Rows, SeriesNeed
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import Definition, Kpi, Measure, Now

_NAMED = {
    "owner": "users", "account": "accounts", "contact": "contacts", "deal": "deals", "ticket": "tickets", "stage": "stages",
    "pipeline": "pipelines", "campaign": "campaigns", "product": "products", "lead": "leads",
}  # fmt: skip
"""Tables whose names people read in place of an id, by the column without its ``_id``."""
_THROUGH = ("deal", "ticket", "lead", "account", "contact")
"""Records of which a derived row is one: what the row itself does not have is theirs."""
_MONEY = ("amount", "price", "mrr", "discount", "tax")
UNREADABLE = "These records cannot be read"
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def rows_behind(
    need: SeriesNeed, period: Period, dims: Dims, wanted: RowsText, *, setup: MetricsSetup, now: datetime
) -> Rows | None:
    """The records that a figure has counted, the first ``wanted.limit`` of them.

    Args:
        need: KPI and cut, as measured.
        period: of the figure.
        dims: its segment; empty for the total.
        wanted: columns and order. A column is one of the records' own (``amount``), a dimension (``owner``), what one of their
            ids is the name of, or one of the deal, ticket or account that they are about.
        setup: where the facts are.
        now: the instant that the figure was measured at.

    Returns:
        The records as texts, and how many there are; None if the figure counts no records. Where they cannot be read, one row
        that says why, of 0: an alert goes out without its records.
    """
    try:
        return _read(need, period, dims, wanted, setup, now)
    except (KpidError, SQLAlchemyError) as error:
        return Rows((UNREADABLE,), ((str(error).partition("\n")[0],),), 0)


def _read(need: SeriesNeed, period: Period, dims: Dims, wanted: RowsText, setup: MetricsSetup, now: datetime) -> Rows | None:
    run = _Run(setup, now)
    ask = replace(run.ask(need), days=None)
    name = counted_measure(ask.definition)
    if name is None:
        return None
    plan = make_plan([replace(ask, periods=(period,))])
    number, place = plan.places[0, name]
    scan = plan.scans[number]
    segment = tuple((one.dimension, (one.id,)) for one in dims if one.dimension not in scan.measures[place].across)
    scan = replace(scan, where=(*scan.where, *segment), measures=[scan.measures[place]], cuts=[(need.period, ())])
    setting = run._setting()
    statement = _Lister(scan, setting).listing(wanted)
    sql, parameters = compile_statement(statement, setup.warehouse.dialect, {**setting.values, **scan.values})
    table = setup.warehouse.query(sql, parameters)
    found = [
        dict(zip(table.column_names, cells, strict=True)) for cells in zip(*(c.to_pylist() for c in table.columns), strict=True)
    ]
    zone = ZoneInfo(setup.calendar.timezone)
    rows = tuple(_texts(row, wanted.show, zone) for row in found)
    return Rows(tuple(wanted.show), rows, int(found[0]["kpid_total"]) if found else 0)


def check_columns(kpi: Kpi, definition: Definition, wanted: RowsText, custom: Custom = NO_CUSTOM) -> None:
    """See that a rule's ``rows:`` can be listed, without contacting anything.

    Raises:
        ConfigError: the KPI counts no records, or they have no such column.
    """
    name = counted_measure(definition)
    if name is None:
        raise ConfigError(f"KPI {kpi.id} counts no records: there are no rows to list", hint="Take rows: out")
    measure = definition.measures[name]
    setting = Setting(_EPOCH, "UTC", "EUR", custom=custom)
    lister = _Lister(Scan(measure.entity, Now(), "now", (), measures=[measure], periods={}), setting)
    for column in [*wanted.show, *([wanted.sort.lstrip("-")] if wanted.sort else [])]:
        lister.column(column)


def counted_measure(definition: Definition) -> str | None:
    """The measure whose rows stand behind a figure: its sample, or the first that counts or adds rows up."""
    counts = [name for name, measure in definition.measures.items() if _lists(measure)]
    return definition.sample if definition.sample in counts else next(iter(counts), None)


def _lists(measure: Measure) -> bool:
    return measure.agg.kind in {"count", "count_distinct", "sum", "top_sum"}


@dataclass
class _Lister(Writer):
    """Writes the SELECT of the rows of a scan's one measure, for its one period."""

    looked_up: dict[tuple[str, str], FromClause] = field(default_factory=dict)

    def listing(self, wanted: RowsText) -> Select[Any]:
        """Columns ``c0``, ``c1`` ... with ``m<n>`` for the currency of an amount, and ``kpid_total``."""
        _, numbered = self.begin()
        _, _, counted = self.counted(self.scan.measures[0])
        shown: list[ColumnElement[Any]] = []
        for number, name in enumerate(wanted.show):
            column = self.column(name)
            shown.append(column.label(f"c{number}"))
            if (currency := self._currency_of(column)) is not None:
                shown.append(currency.label(f"m{number}"))
        order = self._order(wanted.sort)
        total = func.count().over().label("kpid_total")
        rows = select(*shown, total).select_from(self.source()).where(*self.conditions)
        if counted is not None:
            rows = rows.where(counted)
        return rows.order_by(*order).limit(wanted.limit).add_cte(*self.ctes(numbered))

    def column(self, name: str) -> ColumnElement[Any]:
        """What a column is of each record.

        Raises:
            ConfigError: the records have none of this name.
        """
        entity = self.scan.entity
        found = _own(entity, name)
        if found is None and dimension_of(entity, name, self.setting.custom) is not None:
            found = self._named(self.dimension(name), labels_table(name) or _NAMED.get(name))
        if found is None:
            found = self._reference(entity, name) or self._through(entity, name)
        if found is None:
            known = ", ".join(sorted(column for column in entity.c.keys() if not column.startswith("_")))  # noqa: SIM118
            raise ConfigError(f"rows: the records have no column {name!r}", hint=f"They have {known}")
        return found

    def _reference(self, table: FromClause, name: str) -> ColumnElement[Any] | None:
        """The name of what an id leads to: ``account`` for ``account_id``."""
        stem = name.removesuffix("_id")
        if stem not in _NAMED or f"{stem}_id" not in table.c:
            return None
        return self._named(table.c[f"{stem}_id"], _NAMED[stem])

    def _through(self, table: FromClause, name: str) -> ColumnElement[Any] | None:
        """A column of the deal, ticket, lead, account or contact that a row is about."""
        for stem in _THROUGH:
            if f"{stem}_id" not in table.c:
                continue
            other = self._joined(table.c[f"{stem}_id"], _NAMED[stem])
            found = _own(other, name)
            if found is None:
                found = self._reference(other, name)
            if found is not None:
                return found
        return None

    def _named(self, key: ColumnElement[Any], table: str | None) -> ColumnElement[Any]:
        if table is None or "name" not in ENTITIES[table].c:
            return key
        return func.coalesce(self._joined(key, table).c.name, key)

    def _joined(self, key: ColumnElement[Any], table: str) -> FromClause:
        place = (str(key), table)
        if place not in self.looked_up:
            other = ENTITIES[table].alias(f"listed_{len(self.looked_up)}")
            self.looked_up[place] = other
            self.joins[other.name] = (other, other.c.id == key)
        return self.looked_up[place]

    def _currency_of(self, column: ColumnElement[Any]) -> ColumnElement[Any] | None:
        table = getattr(column, "table", None)
        is_money = str(getattr(column, "name", "")).endswith(_MONEY)
        return table.c["currency"] if is_money and table is not None and "currency" in table.c else None

    def _order(self, sort: str | None) -> list[ColumnElement[Any]]:
        entity = self.scan.entity
        last: list[ColumnElement[Any]] = [cast(entity.c["id"], Text)] if "id" in entity.c else []
        if not sort:
            return last
        column = self.column(sort.lstrip("-"))
        return [column.is_(None), column.desc() if sort.startswith("-") else column.asc(), *last]


def _own(table: FromClause, name: str) -> ColumnElement[Any] | None:
    """A table's column of this name, or nearly: ``reason`` for ``loss_reason``, ``expected_close_at`` for the date of it."""
    columns = table.c
    if name in columns and not name.endswith("_id"):
        return columns[name]
    stem = name.removesuffix("_at").removesuffix("_date")
    near = [one for one in columns.keys() if one in {f"{stem}_at", f"{stem}_date"} or one.endswith(f"_{name}")]  # noqa: SIM118
    return columns[near[0]] if len(near) == 1 else None


def _texts(row: dict[str, Any], names: Sequence[str], zone: ZoneInfo) -> tuple[str, ...]:
    return tuple(_text(row[f"c{number}"], row.get(f"m{number}"), zone) for number in range(len(names)))


def _text(value: Any, currency: str | None, zone: ZoneInfo) -> str:
    """A cell as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            local = value.astimezone(zone)
            return f"{local:%Y-%m-%d}" if (local.hour, local.minute) == (0, 0) else f"{local:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case Decimal() | float() | int():
            return _number(Decimal(str(value)), currency)
        case _:
            return str(value)


def _number(value: Decimal, currency: str | None) -> str:
    if currency:
        return value_text(value, "currency", currency)
    return f"{value.normalize():,f}"
