"""Names of owners, accounts, pipelines and stages: looked up after the figures, never joined to them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from kpid.metrics.dialects import compile_statement
from kpid.metrics.dimensions import labels_table
from kpid.metrics.plan import Ask, Where
from kpid.metrics.results import Answers
from kpid.model import SeriesNeed
from kpid.plugin.entities import ENTITIES
from kpid.warehouse import Warehouse

_MAX_LOOKED_UP = 2_000
"""Up to so many ids are looked up one by one; for more, all names are read."""


class Labels:
    """Names of ids in one warehouse; each table is read at most once as a whole."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._names: dict[str, dict[str, str]] = {}

    def where(self, need: SeriesNeed) -> Where:
        """The segments that a need is restricted to, by id; written by id or by name, the empty text for "no value"."""
        found = []
        for name, wanted in sorted(need.where):
            table = labels_table(name)
            names = self._all(table) if table and any(wanted) else {}
            meant = {key for key, label in names.items() if label in wanted}
            meant |= {value for value in wanted if value and value not in names.values()}
            found.append((name, (*sorted(meant), *((None,) if "" in wanted else ()))))
        return tuple(found)

    def unknown(self, need: SeriesNeed) -> tuple[tuple[str, ...], bool]:
        """What to say of the names in ``where`` that nobody has, and whether a dimension has no others.

        An id is taken as it is: the table of names need not be there.
        """
        texts, nobody = [], False
        for name, wanted in sorted(need.where):
            if (table := labels_table(name)) is None:
                continue
            names = set(self._all(table).values())
            strange = [value for value in wanted if value and ":" not in value and value not in names]
            texts += [f"no {name} is called {value!r}" for value in strange]
            nobody = nobody or len(strange) == len(wanted) > 0
        return tuple(texts), nobody

    def of(self, asks: Sequence[Ask], answers: Sequence[Answers]) -> dict[str, dict[str, str]]:
        """Names by id of every reference dimension that the answers are cut by."""
        labels = {}
        for name in sorted({name for ask in asks for name in ask.by}):
            if (table := labels_table(name)) is not None:
                ids = {key for answer in answers for key in answer.values_of(name) if key is not None}
                labels[name] = self._some(table, sorted(ids))
        return labels

    def _some(self, table: str, ids: Sequence[str]) -> dict[str, str]:
        if table in self._names or len(ids) > _MAX_LOOKED_UP:
            return self._all(table)
        return self._query(table, ids) if ids else {}

    def _all(self, table: str) -> dict[str, str]:
        if table not in self._names:
            self._names[table] = self._query(table, None)
        return self._names[table]

    def _query(self, table: str, ids: Sequence[str] | None) -> dict[str, str]:
        columns = ENTITIES[table].c
        statement = select(columns.id, columns.name).where(columns.name.is_not(None))
        if ids is not None:
            statement = statement.where(columns.id.in_(ids))
        found = self._warehouse.query(*compile_statement(statement, self._warehouse.dialect))
        return dict(zip(found["id"].to_pylist(), found["name"].to_pylist(), strict=True))
