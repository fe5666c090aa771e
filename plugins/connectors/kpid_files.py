"""Exports of a CRM as files: CSV, Parquet, JSON lines. Talks to nobody; needs read access to the folder.

    sources:
      crm:
        connector: files
        path: exports            # a folder, or one file
        entities:
          deals: {file: pipeline.csv, id: opportunity_id, columns: {owner_id: sales_agent, amount: close_value}}

Without ``entities`` files named like canonical tables (``deals.csv``, ``users.jsonl`` ...) with canonical columns map themselves.
A file is read whole when it has changed; a read that was interrupted goes on where it was. The data is as old as the file: an
export that stopped coming grows stale.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, TextIO
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from kpid.plugin import (
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
    Settings,
    SourceContext,
    ValueStyle,
    entities,
    filled_columns,
    hookimpl,
    known_zone,
)

CHUNK = 5_000  # rows per page
LONGEST = 16 * 1024 * 1024
"""A long e-mail in a cell is no fault; a quotation mark left open swallows no more than this."""
KINDS = {"csv": (".csv", ".tsv", ".txt"), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet", ".pq")}
SUFFIXES = {suffix: kind for kind, suffixes in KINDS.items() for suffix in suffixes}

Columns = Sequence[Sequence[Any]]


class FileEntity(Mapped):
    """One file: the rows of one entity."""

    file: str | None = Field(default=None, description="File name in `path`; not needed if `path` is the file.")
    format: Literal["csv", "jsonl", "parquet"] | None = Field(default=None, description="Default: by the file's ending.")


class FilesSettings(Settings):
    """Settings of a `files` source."""

    path: Path = Field(description="Folder with the files, or one file; relative to the configuration's folder.")
    entities: Mapping[str, FileEntity] = Field(
        default_factory=dict, description="What is in which file; default: files named like entities."
    )
    encoding: str = Field(default="utf-8-sig", description="Of CSV and JSON lines, for example cp1252 for exports from Excel.")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="Of CSV; default: as the header has it.")
    decimal: Literal[".", ","] = Field(default=".", description="Decimal sign of numbers; with `,` a point separates thousands.")
    timezone: str | None = Field(default=None, description="Zone of times that state none; default: the company's.")

    _known_zone = field_validator("timezone")(known_zone)


class FilesConnector(Connector[FilesSettings]):
    """Reads files that an export puts there."""

    name = "files"
    Settings = FilesSettings
    default_max_age: ClassVar[timedelta | None] = timedelta(hours=48)

    def __init__(self, settings: FilesSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        zone = ZoneInfo(settings.timezone) if settings.timezone else context.timezone
        self._style = ValueStyle(zone, decimal_comma=settings.decimal == ",")
        self._path = context.folder / settings.path

    def reads(self) -> Sequence[EntityReads]:
        """Full reads, in the order of the canonical tables."""
        wanted = self._wanted()
        history: Literal["full", "since_sync"] = "full" if "deal_stage_history" in wanted else "since_sync"
        return [EntityReads(name, "full", "absence", history) for name in entities.ENTITIES if name in wanted]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """All rows of the entity's file, from where an interrupted read of the same file was; none if it is unchanged."""
        try:
            yield from self._pages(entity, cursor, until)
        except OSError as error:  # gone or forbidden in the middle of it
            raise _unreadable(self._path, error) from error

    def _pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        wanted = self._wanted()[entity]
        file = self._file(wanted)
        print_, age = _fingerprint(file, wanted, self.settings, self.context.timezone)
        through = min(age, until)
        same = cursor is not None and cursor.get("fingerprint") == print_
        if cursor is not None and same and cursor.get("complete"):
            yield Page({}, cursor=cursor, through=through, unchanged=True)
            return
        done = int(cursor["rows"]) if cursor is not None and same else 0
        restarted = cursor is not None and not same
        mapper: Mapper | None = None
        for header, columns in _chunks(file, wanted, self.settings, done):
            if not header:  # JSON lines without a line
                continue
            mapper = mapper or Mapper(entity, wanted, header, self._style, str(file))
            rows = mapper.rows(columns)
            done += len(rows)
            yield Page({entity: rows}, cursor={"fingerprint": print_, "rows": done}, restarted=restarted)
            restarted = False
        if _fingerprint(file, wanted, self.settings, self.context.timezone)[0] != print_:
            raise ConnectorError("the file changed while it was read", where=str(file), hint="It is read again at the next sync")
        yield Page({}, cursor={"fingerprint": print_, "rows": done, "complete": True}, through=through, restarted=restarted)

    def check(self) -> Sequence[Finding]:
        """Each file is there and has the columns that the settings name; headers are read, no more."""
        findings = []
        for entity, wanted in self._wanted().items():
            subject = f"{self.context.source_id}/{entity}"
            try:
                file = self._file(wanted)
                header, _ = next(iter(_chunks(file, wanted, self.settings, 0, size=1)))
                if header:
                    Mapper(entity, wanted, header, self._style, str(file))
                findings.append(Finding(subject, ok=True, text=f"{file.name}: {len(header)} columns"))
            except (KpidError, OSError) as error:
                told = error if isinstance(error, KpidError) else _unreadable(self._path, error)
                findings.append(Finding(subject, ok=False, text=told.what, hint=told.hint or "", where=told.where or ""))
        return findings

    def fills(self) -> Mapping[str, frozenset[str]]:
        """By header and settings; JSON lines have no header, and a file that cannot be read now may have any column."""
        found = {}
        for entity, wanted in self._wanted().items():
            with suppress(KpidError, OSError):
                file = self._file(wanted)
                if (wanted.format or SUFFIXES.get(file.suffix.lower())) != "jsonl":
                    found[entity] = filled_columns(entity, wanted, next(_chunks(file, wanted, self.settings, 0, size=1))[0])
        return found

    def _wanted(self) -> Mapping[str, FileEntity]:
        """What is to be read: as set, or the files that are named like entities."""
        try:
            return self._set_or_found()
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def _set_or_found(self) -> Mapping[str, FileEntity]:
        for entity in self.settings.entities:
            if entity not in entities.ENTITIES:
                raise SchemaError(f"there is no entity {entity!r}", hint=f"There are: {', '.join(entities.ENTITIES)}")
        if self.settings.entities:
            return self.settings.entities
        folder = self._path.parent if self._path.is_file() else self._path
        files = [self._path] if self._path.is_file() else sorted(folder.iterdir()) if folder.is_dir() else []
        known = [file for file in files if file.stem in entities.ENTITIES and file.suffix in SUFFIXES]
        found = {file.stem: FileEntity(file=file.name) for file in known}
        if not found:
            raise ConnectorError(
                "there are no files to read",
                where=str(self._path),
                hint="Check `path`, or say under `entities:` which file holds what",
            )
        return found

    def _file(self, wanted: FileEntity) -> Path:
        file = self._path / wanted.file if wanted.file and not self._path.is_file() else self._path
        if not file.is_file():
            there = sorted(path.name for path in file.parent.iterdir())[:20] if file.parent.is_dir() else []
            raise ConnectorError(
                "the file is not there" if wanted.file else "this is a folder: say which file",
                where=str(file),
                hint=f"In the folder are: {', '.join(there)}" if there else "The folder is missing or empty",
            )
        return file


def _unreadable(path: Path, error: OSError) -> ConnectorError:
    return ConnectorError(
        f"it cannot be read: {error.strerror or error}",
        where=str(error.filename or path),
        hint="Check that it is there, and that the user that kpid runs as may read it and look into its folder",
    )


def _fingerprint(file: Path, wanted: FileEntity, settings: FilesSettings, zone: ZoneInfo) -> tuple[str, datetime]:
    """What a file and the way it is read look like, and the file's age: another fingerprint means to read again."""
    stat = file.stat()
    how = [wanted.model_dump(mode="json"), settings.model_dump(mode="json", exclude={"entities", "path"}), str(zone)]
    seen = json.dumps([stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, how], sort_keys=True)
    return hashlib.sha256(seen.encode()).hexdigest()[:24], datetime.fromtimestamp(stat.st_mtime, UTC)


def _chunks(
    file: Path, wanted: FileEntity, settings: FilesSettings, skip: int, size: int = CHUNK
) -> Iterator[tuple[list[str], Columns]]:
    """Header and columns, chunk by chunk, after the first ``skip`` rows. An empty file gives one chunk without rows."""
    kind = wanted.format or SUFFIXES.get(file.suffix.lower())
    try:
        match kind:
            case "csv":
                yield from _csv_chunks(file, settings, skip, size)
            case "jsonl":
                yield from _json_chunks(file, settings, skip, size)
            case "parquet":
                yield from _parquet_chunks(file, skip, size)
            case _:
                hint = "Write `format:` csv, jsonl or parquet"
                raise ConnectorError(f"{file.suffix!r} is no known ending", where=str(file), hint=hint)
    except UnicodeError as error:
        hint, where = "Set `encoding:`, for example cp1252 or utf-16", _undecodable(file, settings.encoding)
        raise SchemaError(f"this is not {settings.encoding}", where=where, hint=hint) from error
    except LookupError as error:
        raise SchemaError(str(error), where=str(file), hint="Set `encoding:` to a known one, for example cp1252") from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _undecodable(file: Path, encoding: str) -> str:
    """Where a file is not in its encoding: the line, where bytes tell lines apart."""
    with file.open("rb") as stream:
        for number, line in enumerate(() if re.search("16|32", encoding) else stream, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return f"{file}:{number}"
    return str(file)


def _csv_chunks(file: Path, settings: FilesSettings, skip: int, size: int) -> Iterator[tuple[list[str], Columns]]:
    csv.field_size_limit(LONGEST)
    with file.open(encoding=settings.encoding, newline="") as stream:
        delimiter = settings.delimiter or max(",;\t|", key=stream.readline().count)
        stream.seek(0)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise SchemaError("the file has no header", where=str(file), hint="Its first line must name the columns")
        lines = (_checked(line, len(header), file, reader) for line in _lines(reader, file) if line)
        for _ in islice(lines, skip):
            pass
        yield header, []
        while chunk := list(islice(lines, size)):
            yield header, list(zip(*chunk, strict=True))


def _lines(reader: Any, file: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        where = f"{file}:{reader.line_num}"
        raise ConnectorError(
            f"it cannot be read: {error}", where=where, hint="Is a quotation mark left open before it?"
        ) from error


def _checked(line: list[str], width: int, file: Path, reader: Any) -> list[str]:
    if len(line) > width and not any(line[width:]):
        return line[:width]  # empty cells at the end, as spreadsheets leave them
    if len(line) != width:
        raise ConnectorError(
            f"the line has {len(line)} values, the header has {width}",
            where=f"{file}:{reader.line_num}",
            hint="The export was cut off, or a value with the delimiter in it is not quoted",
        )
    return line


def _json_chunks(file: Path, settings: FilesSettings, skip: int, size: int) -> Iterator[tuple[list[str], Columns]]:
    header: dict[str, None] = {}
    with file.open(encoding=settings.encoding) as stream:
        head = list(islice(_records(stream, file), size))
        for record in head:
            header.update(dict.fromkeys(record))
        if len(head) == size:  # a column may first appear far down: the names of all columns come before the first row
            for record in _records(stream, file):
                header.update(dict.fromkeys(record))
        stream.seek(0)
        records = _records(stream, file)
        for _ in islice(records, skip):
            pass
        names = list(header)
        yield names, [[] for _ in names]
        while chunk := list(islice(records, size)):
            yield names, [[record.get(name) for record in chunk] for name in names]


def _records(stream: TextIO, file: Path) -> Iterator[dict[str, Any]]:
    return (_record(line, file, number) for number, line in enumerate(stream, 1) if line.strip())


def _record(line: str, file: Path, number: int) -> dict[str, Any]:
    where = f"{file}:{number}"
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ConnectorError(f"this line is not whole JSON: {error}", where=where, hint="The export was cut off") from error
    if not isinstance(record, dict):
        raise ConnectorError("this line is not a JSON object", where=where)
    return record


def _parquet_chunks(file: Path, skip: int, size: int) -> Iterator[tuple[list[str], Columns]]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - 15 MB and a fifth of a second, and most exports are CSV

    try:
        with pq.ParquetFile(file) as parquet:
            header = parquet.schema_arrow.names
            yield header, []
            for batch in parquet.iter_batches(batch_size=size):
                rest = batch.slice(min(skip, batch.num_rows))
                skip -= batch.num_rows - rest.num_rows
                if rest.num_rows:
                    yield header, [_values(column) for column in rest.columns]
    except (ValueError, OSError, OverflowError) as error:  # Arrow's errors derive from these
        raise ConnectorError(f"this is not a whole Parquet file: {error}", where=str(file)) from error


def _values(column: Any) -> list[Any]:
    """Python values of an Arrow array; of times only microseconds, for Python knows no finer ones."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return list(column.to_pylist())


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """The `files` connector."""
    return [ConnectorInfo(FilesConnector, "CSV, Parquet and JSON lines", ("csv", "parquet", "jsonl", "excel", "export"))]
