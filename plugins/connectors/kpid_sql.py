"""Any database that SQLAlchemy can reach: a CRM's own tables, a data warehouse, a replica. One select per entity.

    sources:
      crm:
        connector: sql
        url: ${env:CRM_DB}                # postgresql+psycopg://reader@db.example.com/crm: a user that may only read
        entities:
          deals:
            select: select id as native_id, owner as owner_id, stage as state, amount, changed_at as updated_at from opportunity
            cursor: updated_at            # read only what has changed; without it everything is read each time

Columns are named like canonical ones, or mapped with ``columns:`` as for files. The cursor's column must be one of the select's
and must move at every change; rows where it is null are read each time. A select with ``:since`` in it does its own filtering.
Reads are inclusive and overlap by 5 minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator
from sqlalchemy import URL, Connection, CursorResult, create_engine, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from kpid.plugin import (
    AuthError,
    Connector,
    ConnectorError,
    ConnectorInfo,
    Cursor,
    EntityReads,
    Finding,
    KpidError,
    Mapped,
    Mapper,
    Page,
    SchemaError,
    Secret,
    Settings,
    SourceContext,
    ValueStyle,
    entities,
    filled_columns,
    hookimpl,
    known_zone,
)

CHUNK = 5_000
"""Rows per page, and per fetch from the server."""
History: TypeAlias = Literal["full", "since_sync"]

FIRST = datetime(1970, 1, 1)  # noqa: DTZ001 - databases without zones compare naive times
"""What ``:since`` is at the first read."""


class SqlEntity(Mapped):
    """One entity: a select, and how to read on."""

    select: str = Field(description="One SELECT; its columns are named like canonical ones, or mapped by `columns`.")
    cursor: str | None = Field(
        default=None, description="Column of the select that moves at every change: a time or a growing number."
    )
    overlap_minutes: int = Field(default=5, ge=0, description="How far before the cursor a read begins again.")

    @field_validator("select")
    @classmethod
    def _only_reads(cls, value: str) -> str:
        bare = re.sub(r"--[^\n]*|/\*.*?\*/", " ", value, flags=re.DOTALL).strip()
        if not re.match(r"[\s(]*(select|with)\b", bare, re.IGNORECASE):
            raise ValueError("kpid only reads: this must be one SELECT (it may begin with WITH)")
        return value


class SqlSettings(Settings):
    """Settings of an `sql` source."""

    url: Secret = Field(description="SQLAlchemy URL, from ${env:...} or ${file:...}; the user needs to read only.")
    entities: Mapping[str, SqlEntity] = Field(min_length=1, description="A select per entity.")
    timezone: str | None = Field(default=None, description="Zone of times that state none; default: the company's.")

    _known_zone = field_validator("timezone")(known_zone)


class SqlConnector(Connector[SqlSettings]):
    """Reads selects."""

    name = "sql"
    Settings = SqlSettings
    default_max_age: ClassVar[timedelta | None] = None

    def __init__(self, settings: SqlSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._zone = ZoneInfo(settings.timezone) if settings.timezone else context.timezone

    def reads(self) -> Sequence[EntityReads]:
        """In the order of the canonical tables."""
        for entity in self.settings.entities:
            if entity not in entities.ENTITIES:
                raise SchemaError(f"there is no entity {entity!r}", hint=f"There are: {', '.join(entities.ENTITIES)}")
        wanted = self.settings.entities
        history: History = "full" if "deal_stage_history" in wanted else "since_sync"
        return [_reads(name, wanted[name], history) for name in entities.ENTITIES if name in wanted]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """The select's rows; with a cursor column those from the cursor on, sorted by it unless the select filters for itself."""
        wanted = self.settings.entities[entity]
        last = None if cursor is None else cursor.get("last")
        sorted_ = wanted.cursor is not None and ":since" not in wanted.select
        with self._result(entity, wanted, last) as result:
            mapper = self._mapper(entity, wanted, result)
            place = _cursor_place(entity, wanted, result)
            while chunk := result.fetchmany(CHUNK):
                columns = list(zip(*chunk, strict=True))
                if place is not None:
                    last = _later(last, columns[place], until, self._zone)
                yield Page({entity: mapper.rows(columns)}, cursor={"last": last} if sorted_ and last is not None else None)
        yield Page({}, cursor={"last": last} if last is not None else None, through=until)

    def fills(self) -> Mapping[str, frozenset[str]]:
        """Mapped columns, and canonical names that stand in the select; one that selects ``*`` may give any."""
        found = {}
        for entity, wanted in self.settings.entities.items():
            if entity in entities.ENTITIES and not re.search(r"(?<!count\()\*", wanted.select, re.IGNORECASE):
                found[entity] = filled_columns(entity, wanted, re.findall(r"\w+", wanted.select))
        return found

    def check(self) -> Sequence[Finding]:
        """Connect, and run each select without taking its rows."""
        findings = []
        for entity, wanted in self.settings.entities.items():
            subject = f"{self.context.source_id}/{entity}"
            try:
                with self._result(entity, wanted, None) as result:
                    self._mapper(entity, wanted, result)
                    _cursor_place(entity, wanted, result)
                    findings.append(Finding(subject, ok=True, text=f"{len(result.keys())} columns"))
            except KpidError as error:
                findings.append(Finding(subject, ok=False, text=error.what, hint=error.hint or "", where=error.where or ""))
        return findings

    def _mapper(self, entity: str, wanted: SqlEntity, result: CursorResult[Any]) -> Mapper:
        return Mapper(entity, wanted, list(result.keys()), ValueStyle(self._zone), f"select for {entity}")

    @contextmanager
    def _result(self, entity: str, wanted: SqlEntity, last: Any) -> Iterator[CursorResult[Any]]:
        """The select's rows as a stream: the whole result is held neither here nor in the driver."""
        engine = None
        try:
            engine = create_engine(self.settings.url.get_secret_value(), hide_parameters=True)
            _check_there(engine.url)
            with engine.connect() as connection:
                _forbid_writes(connection)
                streaming = connection.execution_options(stream_results=True, max_row_buffer=CHUNK)
                with _execute(streaming, wanted, last, self._zone) as result:
                    yield result
        except SQLAlchemyError as error:
            raise _explained(error, entity, self.settings.url.get_secret_value()) from None
        finally:
            if engine is not None:
                engine.dispose()


def _check_there(url: URL) -> None:
    """SQLite would make an empty database where there is none."""
    file = url.database if url.get_backend_name() == "sqlite" else None
    if file and file != ":memory:" and not file.startswith("file:") and not Path(file).exists():
        raise ConnectorError("the database file is not there", where=file, hint="Correct `url`")


def _forbid_writes(connection: Connection) -> None:
    """What is not committed is rolled back; but what some databases commit by themselves must fail, too."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    elif connection.dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)


def _reads(entity: str, wanted: SqlEntity, history: History) -> EntityReads:
    if wanted.cursor is None:
        return EntityReads(entity, mode="full", deletes="absence", history=history)
    tells = "deleted_at" in wanted.select or "deleted_at" in wanted.columns
    overlap = timedelta(minutes=wanted.overlap_minutes)
    return EntityReads(entity, deletes="inline" if tells else "none", history=history, overlap=overlap)


def _execute(connection: Connection, wanted: SqlEntity, last: Any, zone: ZoneInfo) -> CursorResult[Any]:
    select = wanted.select.strip().rstrip(";")
    since = _since(last, timedelta(minutes=wanted.overlap_minutes), zone)
    if ":since" in select:
        return connection.execute(text(select), {"since": FIRST if since is None else since})
    if wanted.cursor is None:
        return connection.execute(text(select))
    name = f"kpid_rows.{connection.dialect.identifier_preparer.quote(wanted.cursor)}"
    order = f"ORDER BY {name}"
    if since is None:
        return connection.execute(text(f"SELECT * FROM ({select}) AS kpid_rows {order}"))
    filtered = f"SELECT * FROM ({select}) AS kpid_rows WHERE {name} >= :kpid_since OR {name} IS NULL {order}"
    return connection.execute(text(filtered), {"kpid_since": since})


def _cursor_place(entity: str, wanted: SqlEntity, result: CursorResult[Any]) -> int | None:
    names = list(result.keys())
    if wanted.cursor is None:
        return None
    if wanted.cursor not in names:
        raise SchemaError(
            f"the select gives no column {wanted.cursor!r} for `cursor`",
            where=f"select for {entity}",
            hint=f"It gives: {', '.join(names)}",
        )
    return names.index(wanted.cursor)


def _later(last: Any, values: Sequence[Any], until: datetime, zone: ZoneInfo) -> Any:
    """The largest cursor value yet, in a shape that JSON can hold; times never beyond ``until``."""
    known = [value for value in values if value is not None]
    if not known:
        return last
    try:
        newest = max(known)
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in known}))
        raise SchemaError(f"the column of `cursor` mixes kinds of values: {kinds}", hint="Cast it in the select") from None
    if isinstance(newest, date) and not isinstance(newest, datetime):
        newest = datetime.combine(newest, time())
    if isinstance(newest, datetime):
        bound = until if newest.tzinfo else until.astimezone(zone).replace(tzinfo=None)
        newest = min(newest, bound)
        earlier = datetime.fromisoformat(last["time"]) if isinstance(last, Mapping) else newest
        return {"time": max(newest, earlier).isoformat()}
    if isinstance(newest, str):
        newest = _bounded_text(newest, until, zone)
    elif isinstance(newest, Decimal):
        newest = int(newest)
    elif not isinstance(newest, int | float):
        kind = type(newest).__name__
        raise SchemaError(
            f"a cursor of the kind {kind} cannot be remembered", hint="Cast it in the select, to a time or a number"
        )
    return last if _is_comparable(last, newest) and last > newest else newest


def _is_comparable(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers or (isinstance(one, str) and isinstance(other, str))


def _bounded_text(newest: str, until: datetime, zone: ZoneInfo) -> str:
    """A time that is kept as text, but never later than ``until``: one wrong date must not hide all that comes after it."""
    try:
        found = datetime.fromisoformat(newest)
    except ValueError:
        return newest
    bound = until.astimezone(found.tzinfo or zone).replace(tzinfo=None, microsecond=0)
    return min(newest, bound.isoformat(sep=newest[10])) if len(newest) > 10 else min(newest, f"{bound:%Y-%m-%d}")


def _twice(local: datetime, zone: ZoneInfo) -> timedelta:
    """How much of local time comes twice around an instant, when clocks are set back: changes in it may look older."""
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return max(first - second, timedelta())


def _since(last: Any, overlap: timedelta, zone: ZoneInfo) -> Any:
    """Where a read begins: the cursor less the overlap, for times; the cursor itself, inclusive, for numbers."""
    if isinstance(last, Mapping):
        time = datetime.fromisoformat(last["time"])
        return time - overlap - (_twice(time, zone) if time.tzinfo is None else timedelta())
    if not isinstance(last, str):
        return last
    try:
        found = datetime.fromisoformat(last)
    except ValueError:
        return last
    # Times kept as text compare as text: a bound cut to the second, in the same spelling, is below every text not earlier.
    again = _twice(found, zone) if found.tzinfo is None else timedelta()
    return (found - overlap - again).replace(tzinfo=None, microsecond=0).isoformat(sep=last[10] if len(last) > 10 else "T")


def _explained(error: SQLAlchemyError, entity: str, url: str) -> ConnectorError:
    where = f"select for {entity}"
    if isinstance(error, ArgumentError | NoSuchModuleError):
        return SchemaError(
            "`url` is no database address", where=where, hint="Write it like postgresql+psycopg://user@host/database"
        )
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip().split("\n", maxsplit=1)[0]
    said = said.replace(url, "***")
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    if password:
        said = said.replace(password, "***")
    low = said.lower()
    if "password" in low or "authentication" in low or "permission denied" in low or "access denied" in low:
        return AuthError(
            f"the database refused us: {said}", where=where, hint="Check the user, the password and its right to read"
        )
    if any(word in low for word in ("no such", "does not exist", "syntax", "unknown column", "ambiguous")):
        return SchemaError(f"the select does not work: {said}", where=where, hint="Try it in the database's own console")
    return ConnectorError(f"the database cannot be read: {said}", where=where, hint="Is it running and reachable from here?")


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """The `sql` connector."""
    return [ConnectorInfo(SqlConnector, "any SQL database, one select per entity", ("postgresql", "mysql", "sqlite", "database"))]
