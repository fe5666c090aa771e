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
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from kpid.analysis.periods import Calendar, period_from_label
from kpid.metrics.dialects import compile_statement
from kpid.metrics.measure import MetricsSetup, figures
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.statements import Setting, make_statement
from kpid.model import Measurement, MeasurementState, SeriesNeed
from kpid.plugin.connector import Row
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import Kpi
from kpid.warehouse import Warehouse, Watermark
from kpid.warehouse.duckdb import open_duckdb

Rows = Mapping[str, Sequence[Row]]
NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
"""The instant that measurements are made at unless another is given."""


def open_warehouse(folder: Path, rows: Rows, *, now: datetime = NOW, source: str = "crm") -> Warehouse:
    """A warehouse with these rows, and a source that has delivered everything up to ``now``."""
    warehouse = open_duckdb(folder / "kpi_test.duckdb")
    store_rows(warehouse, rows, now=now, source=source)
    return warehouse


def store_rows(warehouse: Warehouse, rows: Rows, *, now: datetime = NOW, source: str = "crm") -> None:
    """Store rows as a sync would: ids and references get the source's name, and every entity is delivered up to ``now``."""
    with warehouse.batch() as batch:
        for entity, given in rows.items():
            if given:
                batch.upsert(entity, pa.Table.from_pylist([_canonical(entity, row, now, source) for row in given]))
        for entity in ENTITIES:
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
) -> list[Measurement]:
    """Measure a KPI over rows for one period, named like ``2017-12`` or ``2017-Q4``: one measurement per segment."""
    warehouse = open_warehouse(folder, rows, now=now)
    try:
        setup = MetricsSetup(warehouse, {kpi.id: kpi}, Calendar(timezone), currency)
        period = period_from_label(None, label, setup.calendar)
        need = SeriesNeed(kpi.id, period.kind, tuple(by), tuple(sorted((params or {}).items())))
        return figures(need, setup, start=period.start, end=period.end, now=now, fill=not by)
    finally:
        warehouse.close()


def check_kpi(kpi: Kpi, folder: Path) -> None:
    """The contract of a KPI, for every combination of its parameters.

    It is described, it compiles for every dialect with every dimension it declares, and over no rows a ratio, a mean or a
    quantile is undefined, never 0.

    Raises:
        AssertionError: says which part of the contract is broken.
    """
    for text in ("name", "category", "formula_text", "why", "misleads"):
        _demand(bool(getattr(kpi, text)), f"{kpi.id}: {text} is empty")
    names = list(kpi.params)
    for values in product(*(kpi.params[name].choices for name in names)):
        params = dict(zip(names, values, strict=True))
        _check_compiles(kpi, params)
        folder_of_case = folder / "-".join((kpi.id, *values))
        folder_of_case.mkdir(parents=True)
        for nothing in measure_rows(kpi, {}, "2017-12", folder=folder_of_case, params=params):
            _demand(nothing.n == 0, f"{kpi.id}: n is {nothing.n} over no rows")
            if nothing.denominator is not None or (kpi.unit == "ratio" and nothing.value is not None):
                _demand(
                    nothing.state is MeasurementState.UNDEFINED, f"{kpi.id}: {nothing.value} over no rows, it has to be undefined"
                )


def _check_compiles(kpi: Kpi, params: Mapping[str, str]) -> None:
    calendar = Calendar("Europe/Berlin")
    definition = kpi.definition(params)
    for kind, by in (("month", ()), ("rolling_30d", kpi.dimensions)):
        need = SeriesNeed(kpi.id, kind, by)
        period = period_from_label(kind, "2017-12-01" if by else "2017-12", calendar)
        ask = Ask(need, kpi, definition, params, kpi.min_sample, (period,))
        for scan in make_plan([ask]).scans:
            entity = str(scan.entity.description)
            statement = make_statement(scan, Setting(NOW, calendar.timezone, "EUR", frozenset({entity})))
            for dialect in ("duckdb", "postgresql"):
                compile_statement(statement.select, dialect, statement.values)


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
