"""For authors of KPIs: measure a KPI over a handful of canonical rows, and the contract that every KPI must keep.

Rows are written as a connector yields them, with native ids::

    rows = {"deals": [{"id": "1", "state": "won", "closed_at": datetime(2017, 12, 1, tzinfo=UTC), "owner_id": "ada"}],
            "users": [{"id": "ada", "name": "Ada Example"}]}
    [december] = measure_rows(MY_KPI, rows, "2017-12", folder=tmp_path)
    assert december.value == 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from kpid.analysis.periods import Calendar, period_from_label
from kpid.metrics.compose import define
from kpid.metrics.dialects import compile_statement
from kpid.metrics.dimensions import check_dimensions
from kpid.metrics.measure import MetricsSetup, figures
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.statements import Setting, make_statement
from kpid.model import Measurement, MeasurementState, SeriesNeed
from kpid.plugin.connector import Row
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import Definition, Kpi
from kpid.warehouse import Warehouse, Watermark
from kpid.warehouse.duckdb import open_duckdb

_MAX_CASES = 64
Rows = Mapping[str, Sequence[Row]]
NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
"""The instant that measurements are made at unless another is given."""


def open_warehouse(folder: Path, rows: Rows, *, now: datetime = NOW, source: str = "crm") -> Warehouse:
    """A warehouse with these rows, and a source that has delivered everything up to ``now``."""
    file = folder / "kpi_test.duckdb"
    if is_new := not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_without_rows(now, source))
    warehouse = open_duckdb(file)
    if rows or not is_new:
        store_rows(warehouse, rows, now=now, source=source, delivered=not is_new)
    return warehouse


@lru_cache(maxsize=4)
def _without_rows(now: datetime, source: str) -> bytes:
    """The file of a warehouse where everything is delivered and nothing was there: to copy half a megabyte takes no time."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "kpi_test.duckdb"
        warehouse = open_duckdb(file)
        store_rows(warehouse, {}, now=now, source=source)
        warehouse.close()
        return file.read_bytes()


def store_rows(warehouse: Warehouse, rows: Rows, *, now: datetime = NOW, source: str = "crm", delivered: bool = True) -> None:
    """Store rows as a sync would: ids and references get the source's name, and every entity is delivered up to ``now``.

    Args:
        warehouse: where to.
        rows: by entity, with native ids.
        now: the instant that they are stored at.
        source: the source's name.
        delivered: False leaves the watermarks as they are.
    """
    with warehouse.batch() as batch:
        for entity, given in rows.items():
            if given:
                batch.upsert(entity, _table([_canonical(entity, row, now, source) for row in given]))
        for entity in ENTITIES if delivered else ():
            batch.save_watermark(Watermark(source, entity, None, now, now))


def measure_rows(
    kpi: Kpi,
    rows: Rows,
    label: str,
    *,
    folder: Path,
    by: Sequence[str] = (),
    params: Mapping[str, str] | None = None,
    now: datetime = NOW,
    timezone: str = "Europe/Berlin",
    currency: str = "EUR",
    others: Mapping[str, Kpi] | None = None,
) -> list[Measurement]:
    """Measure a KPI over rows for one period, named like ``2017-12`` or ``2017-Q4``: one measurement per segment.

    ``others`` are the KPIs that it uses.
    """
    warehouse = open_warehouse(folder, rows, now=now)
    try:
        setup = MetricsSetup(warehouse, {**(others or {}), kpi.id: kpi}, Calendar(timezone), currency)
        return _measured(setup, kpi, label, by, params or {}, now)
    finally:
        warehouse.close()


def _measured(
    setup: MetricsSetup, kpi: Kpi, label: str, by: Sequence[str], params: Mapping[str, str], now: datetime
) -> list[Measurement]:
    period = period_from_label(None, label, setup.calendar)
    need = SeriesNeed(kpi.id, period.kind, tuple(by), tuple(sorted(params.items())))
    return figures(need, setup, start=period.start, end=period.end, now=now, fill=not by)


def check_kpi(kpi: Kpi, folder: Path, others: Mapping[str, Kpi] | None = None) -> None:
    """The contract of a KPI, for every combination of its parameters (beyond 64, for each choice beside the defaults).

    It is described, it compiles for every dialect with every dimension it declares, and over no rows a ratio, a mean or a
    quantile is undefined, never 0.

    Args:
        kpi: the KPI.
        folder: an empty folder.
        others: the KPIs that it uses.

    Raises:
        AssertionError: says which part of the contract is broken.
    """
    for text in ("name", "category", "formula_text", "why", "misleads"):
        _demand(bool(getattr(kpi, text)), f"{kpi.id}: {text} is empty")
    kpis = {**(others or {}), kpi.id: kpi}
    warehouse = open_warehouse(folder, {})
    try:
        setup = MetricsSetup(warehouse, kpis, Calendar("Europe/Berlin"), "EUR")
        for params in _choices(kpi):
            _check_compiles(kpi, params, kpis)
            for nothing in _measured(setup, kpi, "2017-12", (), params, NOW):
                _check_nothing(kpi, params, nothing)
    finally:
        warehouse.close()


def _choices(kpi: Kpi) -> list[dict[str, str]]:
    names = list(kpi.params)
    every = list(product(*(kpi.params[name].choices for name in names)))
    if len(every) <= _MAX_CASES:
        return [dict(zip(names, values, strict=True)) for values in every]
    defaults = {name: param.default for name, param in kpi.params.items()}
    return [defaults, *({**defaults, name: value} for name in names for value in kpi.params[name].choices[1:])]


def _check_nothing(kpi: Kpi, params: Mapping[str, str], nothing: Measurement) -> None:
    _demand(nothing.n == 0, f"{kpi.id}: n is {nothing.n} over no rows")
    unit = kpi.definition(params).unit or kpi.unit
    if nothing.denominator is not None or (unit in ("ratio", "times") and nothing.value is not None):
        told = f"{kpi.id} {dict(params)}: {nothing.value} over no rows, it has to be undefined"
        _demand(nothing.state is MeasurementState.UNDEFINED, told)


def _check_compiles(kpi: Kpi, params: Mapping[str, str], kpis: Mapping[str, Kpi]) -> None:
    calendar = Calendar("Europe/Berlin")
    for filled in (frozenset[str](), frozenset(ENTITIES)):
        definition = define(kpi, params, kpis, lambda _: {}, has_rows=filled.__contains__)
        _check_definition(kpi, params, definition, calendar)


def _check_definition(kpi: Kpi, params: Mapping[str, str], definition: Definition, calendar: Calendar) -> None:
    for kind, by in (("month", ()), ("rolling_30d", kpi.dimensions)):
        check_dimensions(kpi, [measure.entity for measure in definition.measures.values()], by)
        need = SeriesNeed(kpi.id, kind, by)
        period = period_from_label(kind, "2017-12-01" if by else "2017-12", calendar)
        ask = Ask(need, kpi, definition, params, kpi.min_sample, (period,))
        for scan in make_plan([ask]).scans:
            entity = str(scan.entity.description)
            statement = make_statement(scan, Setting(NOW, calendar.timezone, "EUR", frozenset({entity})))
            for dialect in ("duckdb", "postgresql"):
                compile_statement(statement.select, dialect, statement.values)


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table with the columns of all rows: Arrow by itself takes those of the first."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def _canonical(entity: str, row: Row, now: datetime, source: str) -> dict[str, Any]:
    native = str(row["id"])
    stored: dict[str, Any] = {"synced_at": now, "is_test": False, **row}
    for column in ENTITIES[entity].columns:
        if "ref" in column.info and stored.get(column.name) is not None:
            stored[column.name] = f"{source}:{stored[column.name]}"
    return {**stored, "id": f"{source}:{native}", "source_id": source, "native_id": native}


def _demand(is_kept: bool, text: str) -> None:
    if not is_kept:
        raise AssertionError(text)
