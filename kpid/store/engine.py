"""Opens the state store, and the two ways into it: read and write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from kpid.store.tables import metadata


class Store:
    """The state store. Writes go through one lock, so that SQLite never sees two writers of this process.

    Args:
        url: SQLAlchemy URL; SQLite files get their folder made.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._lock = threading.RLock()
        self.engine = self._open()

    def _open(self) -> Engine:
        if self.url.get_backend_name() != "sqlite":
            return create_engine(self.url, hide_parameters=True, pool_pre_ping=True)
        if self.url.database and self.url.database != ":memory:":
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self.url, hide_parameters=True, connect_args={"timeout": 30, "autocommit": True})
        event.listen(engine, "connect", _set_pragmas)
        return engine

    def create(self) -> None:
        """Make the tables."""
        metadata.create_all(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading: one consistent snapshot."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if it raises."""
        with self._lock, self.engine.connect() as connection:
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def _set_pragmas(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
