"""Asks the warehouse of a configuration whether everything that is mapped is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.engine import make_url

from kpid.config.model import Config
from kpid.config.problems import Place, near_miss
from kpid.errors import KpidError, StoreError
from kpid.model import Finding
from kpid.plugin.entities import ENTITIES
from kpid.warehouse.columns import columns_in
from kpid.warehouse.mapped import Engine, MappedEntity, MappedWarehouse, names_query
from kpid.warehouse.opening import is_in_place, mappings_of, open_engine, open_warehouse

_SUBJECT = "warehouse"


def check_warehouse(config: Config, place: Place) -> list[Finding]:
    """One finding per mistake, or one that says that all is there. An embedded warehouse is not opened.

    Args:
        config: the configuration.
        place: ``file:line`` of keys.
    """
    if config.warehouse.startswith("duckdb:"):
        return []
    where = place("warehouse")
    try:
        if not is_in_place(config):
            warehouse = open_warehouse(config, "read")
            if warehouse is not None:
                warehouse.close()
            return [Finding(_SUBJECT, True, "the server answers", where=where)]
        engine = open_engine(make_url(config.warehouse))
    except KpidError as error:
        return [Finding(_SUBJECT, False, error.what, error.hint or "", where)]
    try:
        mappings = mappings_of(config.tables)
        found = [finding for mapping in mappings for finding in _check(engine, mapping, place)]
        text = f"{len(mappings)} table{'' if len(mappings) == 1 else 's'} of {engine.where} can be read in place"
        return found or [Finding(_SUBJECT, True, text, where=where)]
    finally:
        engine.close()


def _check(engine: Engine, mapping: MappedEntity, place: Place) -> Iterator[Finding]:
    subject, path = f"tables.{mapping.entity}", ("tables", mapping.entity)
    try:
        columns = engine.columns_of(mapping.table)
    except StoreError as error:
        yield Finding(subject, False, error.what, error.hint or "", place(*path, "table"))
        return
    if columns is None:
        hint = "Correct `table:`, or grant the right to read it"
        yield Finding(subject, False, f"there is no table {'.'.join(mapping.table)}", hint, place(*path, "table"))
        return
    mistakes = list(_missing(mapping, columns, subject, place))
    yield from mistakes or _tried(engine, mapping, subject, place)


def _missing(mapping: MappedEntity, columns: Sequence[str], subject: str, place: Place) -> Iterator[Finding]:
    """Columns that the table does not have."""
    path = ("tables", mapping.entity)
    table = ".".join(mapping.table)
    for name, tree in mapping.columns.items():
        for column in columns_in(tree):
            if column.parts[0] not in columns:
                hint = near_miss(column.parts[0], columns, what="It has")
                text = f"{table} has no column {column.parts[0]!r}"
                yield Finding(subject, False, text, hint, place(*path, "columns", name))
    through = mapping.through
    if through is not None and not names_query(through) and through.split(".")[0] not in columns:
        hint = near_miss(through, columns, what="It has")
        yield Finding(subject, False, f"{table} has no column {through!r}", hint, place(*path, "through"))
    known = {*mapping.columns, *(columns if mapping.same_names else ())}
    if through is None and "updated_at" not in known:
        hint = "Add `through:`, a column or a query, or map `updated_at`: until then nobody knows how old the data is"
        yield Finding(subject, False, f"nothing says how far {table} reaches", hint, place(*path), warning=True)


def _tried(engine: Engine, mapping: MappedEntity, subject: str, place: Place) -> Iterator[Finding]:
    """What goes wrong when a row is read: a conversion that the engine cannot do."""
    names = ", ".join(column.name for column in ENTITIES[mapping.entity].columns if column.name in mapping.columns) or "id"
    prefixed = f"kpid_table_{mapping.entity}"
    try:
        warehouse = MappedWarehouse(engine, [mapping])
        warehouse.query(f"SELECT {names} FROM {prefixed} LIMIT 1")
        warehouse.watermarks()
    except KpidError as error:
        yield Finding(subject, False, error.what, error.hint or "Correct its columns", place("tables", mapping.entity))
