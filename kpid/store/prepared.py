"""Statements that are executed for each message: on SQLite by the driver, past what SQLAlchemy does each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql import ClauseElement


@dataclass
class Prepared:
    """A statement that changes rows, with a ``bindparam`` for each of its values."""

    statement: Any
    _text: str = ""
    _binds: list[tuple[str | None, Callable[[Any], Any] | None, Any]] = field(default_factory=list)

    def execute(self, conn: Connection, given: Mapping[str, Any]) -> int:
        """Change rows, and say how many.

        Args:
            conn: a transaction.
            given: a value for each name.

        Raises:
            KeyError: a value is missing.
            ValueError: a value is not fit for its column.
        """
        if conn.dialect.name != "sqlite":
            return int(conn.execute(self.statement, given).rowcount)
        if not self._text:
            self._compile(conn, self.statement)
        values = [held if name is None else bind(given[name]) if bind else given[name] for name, bind, held in self._binds]
        cursor = conn.connection.cursor()
        try:
            return int(cursor.execute(self._text, values).rowcount)
        finally:
            cursor.close()

    def _compile(self, conn: Connection, statement: ClauseElement) -> None:
        compiled: Any = statement.compile(dialect=conn.dialect)
        binds = []
        for name in compiled.positiontup or ():
            held = compiled.binds[name]
            bind = held.type.dialect_impl(conn.dialect).bind_processor(conn.dialect)
            if held.required:
                binds.append((name, bind, None))
            else:
                binds.append((None, None, bind(held.effective_value) if bind else held.effective_value))
        self._binds = binds
        self._text = str(compiled)
