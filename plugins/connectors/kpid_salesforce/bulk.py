"""Bulk API 2.0: a first read of many records as a job whose results come as CSV, chunk by chunk.

Results are kept for a week: a run that was killed goes on at its chunk. Objects that Bulk does not know are read by queries.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from kpid.plugin import ConnectorError, HttpFailure, Response, SchemaError, SourceContext, dig
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.faults import AskAgainError
from kpid_salesforce.values import Record

LONGEST_PAUSE = 30.0
LONGEST_FIELD = 1 << 24


class NoBulkError(Exception):
    """Bulk does not give these records: they have to be had by queries, from the beginning."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records of a job.

    Args:
        records: as a query would give them.
        place: where to go on.
        is_last: there are no more.
    """

    records: list[Record]
    place: Mapping[str, Any]
    is_last: bool


class Bulk:
    """Query jobs.

    Args:
        api: the organisation.
        context: the clock on which jobs are waited for.
        timeout: how long a job may take.
        chunk: records of one answer: what is held in memory.
    """

    def __init__(self, api: Endpoints, context: SourceContext, timeout: timedelta, chunk: int) -> None:
        self._api = api
        self._clock = context.clock
        self._timeout = timeout
        self._chunk = chunk

    def read(self, text: str, types: Mapping[str, str], place: Mapping[str, Any] | None, *, everything: bool) -> Iterator[Chunk]:
        """The chunks of a job: a new one, or the one at ``place``. The first is empty: its place names the job.

        Args:
            text: the query.
            types: of the object's fields.
            place: where a killed run was.
            everything: archived records too.

        Raises:
            NoBulkError: Bulk refuses, fails, takes too long, or has forgotten the job.
            ConnectorError: records are missing.
        """
        if place is None:
            place = {"job": self._make(text, everything=everything), "locator": None, "rows": 0}
            yield Chunk([], place, is_last=False)
        job, rows = str(place["job"]), int(place["rows"])
        processed = self._wait(job)
        while True:
            answer = self._ask("GET", f"/{job}/results", params=self._params(place["locator"]), parse=False)
            records = _records(answer, types)
            if str(len(records)) != answer.headers.get("Sforce-NumberOfRecords"):
                raise ConnectorError("an answer of Bulk was cut short", where=self._api.http.name)
            rows, following = rows + len(records), answer.headers.get("Sforce-Locator", "null")
            place = {"job": job, "locator": following, "rows": rows}
            if following != "null":
                yield Chunk(records, place, is_last=False)
                continue
            if isinstance(processed, int) and processed != rows:
                raise ConnectorError(f"Bulk has processed {processed:,} records and given {rows:,}", where=self._api.http.name)
            yield Chunk(records, place, is_last=True)
            with suppress(HttpFailure, SchemaError):  # it goes by itself after a week
                self._api.send("DELETE", f"{self._api.jobs}/{job}")
            return

    def _make(self, text: str, *, everything: bool) -> str:
        operation = "queryAll" if everything else "query"
        form = {"contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"}
        job = dig(self._ask("POST", "", json={"operation": operation, "query": text, **form}).json(), "id")
        if not isinstance(job, str):
            raise NoBulkError
        return job

    def _wait(self, job: str) -> Any:
        """How many records a job has processed, once it is complete."""
        pause, waited = 1.0, 0.0
        while True:
            found = self._ask("GET", f"/{job}").json()
            match dig(found, "state"):
                case "JobComplete":
                    return dig(found, "numberRecordsProcessed")
                case "Failed" | "Aborted":
                    raise NoBulkError
            if waited >= self._timeout.total_seconds():
                raise NoBulkError
            self._clock.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE)

    def _ask(self, method: str, path: str, **options: Any) -> Response:
        try:
            return self._api.send(method, f"{self._api.jobs}{path}", **options)
        except (SchemaError, AskAgainError) as error:
            raise NoBulkError from error
        except HttpFailure as failure:
            if failure.transient:
                raise
            raise NoBulkError from failure

    def _params(self, locator: Any) -> dict[str, Any]:
        return {"maxRecords": self._chunk, **({"locator": locator} if locator else {})}


def _records(answer: Response, types: Mapping[str, str]) -> list[Record]:
    """Records as a query gives them. An empty field is null; some texts hold NUL."""
    csv.field_size_limit(LONGEST_FIELD)
    lines = csv.reader(io.StringIO(answer.text.replace("\0", ""), newline=""))
    names = next(lines, [])
    convert = [(at, name, _KINDS[types[name]]) for at, name in enumerate(names) if types.get(name) in _KINDS]
    found: list[dict[str, Any]] = []
    for line in lines:
        if len(line) == len(names):
            record: dict[str, Any] = dict(zip(names, [value or None for value in line], strict=True))
            for at, name, to_value in convert:
                record[name] = to_value(line[at])
            found.append(record)
    paths = [name for name in names if "." in name]
    return [_nested(record, paths) for record in found] if paths else list(found)


def _nested(record: dict[str, Any], paths: Sequence[str]) -> Record:
    """What a query gives as an object within a record, Bulk gives as a column whose name is the path."""
    for path in paths:
        *steps, last = path.split(".")
        inner = record
        for step in steps:
            inner = inner.setdefault(step, {})
        inner[last] = record.pop(path)
    return record


def _number(value: str) -> Decimal | str | None:
    try:
        return Decimal(value) if value else None
    except InvalidOperation:
        return value


def _whole(value: str) -> int | str | None:
    return int(value) if value.lstrip("-").isdigit() else value or None


_KINDS: Mapping[str, Callable[[str], Any]] = {
    "boolean": lambda value: value == "true",
    "int": _whole,
    **dict.fromkeys(("double", "currency", "percent"), _number),
}
"""How the texts of a type become values."""
