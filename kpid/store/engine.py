"""Opens the state store, and the two ways into it: read and write.

SQLite gets one writing connection behind one lock (WAL, every commit synced to disk); reading connections are read-only, see one
snapshot and never wait. Several writing connections could lose commits at a checkpoint in SQLite before 3.51.3.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kpid.errors import PlaceError, StoreError
from kpid.store.creation import create_tables
from kpid.store.jsons import from_json_text, json_text

_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000")
_SETTINGS: dict[str, Any] = {"hide_parameters": True, "json_serializer": json_text, "json_deserializer": from_json_text}


class Store:
    """The state store. Writes go through one lock, so that SQLite never sees two writers of this process.

    Args:
        url: SQLAlchemy URL; SQLite files get their folder made.

    Raises:
        StoreError: the URL cannot be used, or the file's folder cannot be made (PlaceError).
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError as error:
            hint = "Write `sqlite:///var/kpid.db` or `postgresql+psycopg://user@host/name`"
            raise StoreError(f"{url.rsplit('@', maxsplit=1)[-1]!r} is not the URL of a state store", hint=hint) from error
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        self._lock = threading.Lock()
        self._writing: int | None = None
        self._memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        self.engine, self._reader = self._open()
        with self._told():
            self.engine.connect().close()  # the writer comes first: it is the one to turn the log on

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is a SQLite file (or memory)."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for servers and memory."""
        return Path(str(self.url.database)) if self.is_sqlite and not self._memory else None

    @property
    def where(self) -> str:
        """The store's name for people: the file, or the URL without its password."""
        return str(self.file or self.url.render_as_string(hide_password=True))

    def _open(self) -> tuple[Engine, Engine]:
        if not self.is_sqlite:
            try:
                engine = create_engine(self.url, **_SETTINGS, pool_pre_ping=True)
            except (NoSuchModuleError, ImportError) as error:
                hint = "Install the driver: pip install 'kpid[postgres]'"
                raise StoreError("no driver for this state store", where=self.where, hint=hint) from error
            return engine, engine.execution_options(isolation_level="REPEATABLE READ")
        if self.file is not None:
            _make_folder(self.file.parent)
        args: dict[str, Any] = {"timeout": 30, "check_same_thread": False}
        if self._memory:
            engine = create_engine(self.url, **_SETTINGS, connect_args=args, poolclass=StaticPool)
            _prepare(engine, begin="BEGIN", pragmas=_PRAGMAS)
            return engine, engine
        engine = create_engine(self.url, **_SETTINGS, connect_args=args, pool_size=1, max_overflow=0)
        _prepare(engine, begin="BEGIN IMMEDIATE", pragmas=("journal_mode=WAL", *_PRAGMAS))
        reader = create_engine(self.url, **_SETTINGS, connect_args=args, pool_size=4, max_overflow=12)
        _prepare(reader, begin="BEGIN", pragmas=(*_PRAGMAS, "wal_autocheckpoint=0", "query_only=ON"))
        return engine, reader

    def create(self) -> None:
        """Make all tables as they are declared, with no mark of their version: for tests."""
        with self.write() as connection:
            create_tables(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading: one consistent snapshot. Never waits for a writer.

        Raises:
            StoreError: the store cannot be read; says what to do.
        """
        if self._memory:  # one connection is all there is
            with self.write() as connection:
                yield connection
            return
        with self._told(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if it raises. Not to be nested.

        Args:
            synced: the commit waits until the disk has it. False (SQLite; a server has settings of its own): what is committed
                outlives the process, whatever kills it, but reaches the disk with the next commit that is synced; a power cut
                in between undoes it, and leaves the store whole.

        Raises:
            StoreError: the store cannot be written; says what to do.
        """
        if not self.is_sqlite:
            with self._told(), self.engine.begin() as connection:
                yield connection
            return
        if self._writing == threading.get_ident():
            raise RuntimeError("a transaction inside a transaction of the same thread would wait for itself")
        with self._lock:
            self._writing = threading.get_ident()
            try:
                with self._told(), self.engine.connect() as connection:
                    level = "FULL" if synced else "NORMAL"
                    connection.connection.cursor().execute(f"PRAGMA synchronous={level}").close()
                    with connection.begin():
                        yield connection
            finally:
                self._writing = None

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError as error:
            raise StoreError("too many readers at once", where=self.where) from error
        except (DBAPIError, sqlite3.Error) as error:
            told = store_error(error, self.where)
            if told is None:
                raise
            raise told from error

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log back into the file: nothing but one file is left for a backup."""
        if self.file is not None:
            with self._lock, self._told(), self.engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def give_back_memory(self) -> None:
        """Let go of what only makes the next statements faster: idle readers, pages of the writer, compiled statements."""
        for engine in (self.engine, self._reader):
            engine.clear_compiled_cache()
        if self.file is None:
            return
        self._reader.dispose()
        with self._lock, self._told(), self.engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA shrink_memory").close()

    def close(self) -> None:
        """Let go of all connections."""
        self._reader.dispose()
        self.engine.dispose()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "Make it writable for this user, or set `state:` to a place that is"
        raise PlaceError(
            f"the folder of the state store cannot be made: {error.strerror}", where=str(folder), hint=hint
        ) from error


def _prepare(engine: Engine, *, begin: str, pragmas: tuple[str, ...]) -> None:
    """Our own BEGIN (the driver's starts too late for a snapshot, and as a reader), and the pragmas."""

    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin).close()  # by the driver: every transaction pays for this

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


_TOLD = (
    ("readonly", "the state store cannot be written", "Check the owner and the mode of the file and of its folder"),
    ("unable to open", "the state store cannot be opened", "Check the owner and the mode of the file and of its folder"),
    (
        "malformed",
        "the state store is damaged",
        "Stop kpid and put back a copy: newest `*.backup-*` beside it, or your own backup",
    ),
    ("not a database", "this file is not a state store", "Put back a copy: newest `*.backup-*` beside it, or your own backup"),
    ("disk is full", "the disk is full", "Make room; kpid goes on by itself"),
    ("disk i/o error", "the disk failed to read or write", "Check the disk; then start kpid again"),
    ("locked", "another program holds the state store", "Close it; `kpid` commands never do this to each other"),
    ("refused", "the database server does not answer", "Check that it runs and that `state:` names it"),
    ("authentication failed", "the database server refused our credentials", "Check user and password in `state:`"),
)
_PLACE = ("readonly", "unable to open")


def store_error(error: DBAPIError | sqlite3.Error, where: str) -> StoreError | None:
    """The error as a person needs it; None if it is none of the store's own troubles."""
    text = str(error.orig if isinstance(error, DBAPIError) else error).lower()
    for part, what, hint in _TOLD:
        if part in text:
            kind = PlaceError if part in _PLACE else StoreError
            return kind(what, where=where, hint=hint)
    return None


def open_store(url: str, *, migrate: bool = True) -> Store:
    """Open the state store, at the schema of this version.

    Args:
        url: SQLAlchemy URL.
        migrate: bring an older store up to date (after a copy of a SQLite file); otherwise an older one is refused.

    Raises:
        StoreError: it cannot be opened, is damaged, or belongs to a newer kpid.
    """
    from kpid.store.migrate import bring_up_to_date  # noqa: PLC0415 - it needs Store

    store = Store(url)
    try:
        bring_up_to_date(store, migrate=migrate)
    except BaseException:
        store.close()
        raise
    return store
