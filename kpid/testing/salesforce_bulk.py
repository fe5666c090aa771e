"""Bulk API 2.0 of the fake of Salesforce: query jobs that take a while, and their results as CSV in chunks."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from kpid.testing.api import Answer, Request
from kpid.testing.crm import Record
from kpid.testing.salesforce_fields import shown_value
from kpid.testing.salesforce_objects import OBJECTS
from kpid.testing.salesforce_soql import Query, SoqlError, parse

if TYPE_CHECKING:
    from kpid.testing.salesforce import FakeSalesforce

JOB_LIFE = timedelta(days=7)


@dataclass
class Job:
    """A query job: what it found when it was made, and how often it will still be said to be in progress."""

    query: Query
    found: list[Record]
    waits: int
    made: datetime


class BulkJobs:
    """The query jobs of an organisation.

    Args:
        api: where they are asked for.
        root: path of the API's version.

    Attributes:
        jobs: by id.
        unsupported: objects that Bulk refuses.
        fails: jobs end as failed.
        waits: how often a new job is said to be in progress.
        lie: jobs say that they processed so many records more than they give.
    """

    def __init__(self, api: FakeSalesforce, root: str) -> None:
        self._api = api
        self.jobs: dict[str, Job] = {}
        self.unsupported: set[str] = set()
        self.fails = False
        self.waits = 2
        self.lie = 0
        self._made = 0
        api.route("POST", f"{root}/jobs/query", self._create)
        api.route("GET", f"{root}/jobs/query/(?P<job>\\w+)", self._state)
        api.route("GET", f"{root}/jobs/query/(?P<job>\\w+)/results", self._results)
        api.route("DELETE", f"{root}/jobs/query/(?P<job>\\w+)", self._delete)

    def _create(self, request: Request) -> Answer:
        asked = request.json()
        try:
            query = parse(asked["query"])
        except SoqlError as error:
            return self._refusal("API_ERROR", str(error))
        if query.object not in OBJECTS or query.object in self.unsupported or not query.fields:
            return self._refusal("INVALIDENTITY", f"Entity '{query.object}' is not supported by the Bulk API.")
        if unknown := set(query.names()) - self._api.fields_of(query.object):
            return self._refusal("API_ERROR", f"No such column '{unknown.pop()}'")
        self._made += 1
        found = self._api.found(query, gone=asked["operation"] == "queryAll")
        name = f"750KP{self._made:010d}AAA"
        self.jobs[name] = Job(query, found, self.waits, self._api.clock.now())
        return Answer(200, {"id": name, "operation": asked["operation"], "object": query.object, "state": "UploadComplete"})

    def _state(self, request: Request) -> Answer:
        job = self._job(request)
        if job is None:
            return self._refusal("NOT_FOUND", "The requested resource does not exist", 404)
        job.waits -= 1
        state = "InProgress" if job.waits >= 0 else "Failed" if self.fails else "JobComplete"
        return Answer(200, {"id": request.match["job"], "state": state, "numberRecordsProcessed": len(job.found) + self.lie})

    def _results(self, request: Request) -> Answer:
        job = self._job(request)
        if job is None:
            return self._refusal("NOT_FOUND", "The requested resource does not exist", 404)
        start, size = int(request.arg("locator") or 0), int(request.arg("maxRecords") or 50_000)
        part = job.found[start : start + size]
        following = str(start + size) if start + size < len(job.found) else "null"
        headers = {"Sforce-Locator": following, "Sforce-NumberOfRecords": str(len(part)), "Content-Type": "text/csv"}
        return Answer(200, self._csv(job.query, part), headers)

    def _delete(self, request: Request) -> Answer:
        self.jobs.pop(request.match["job"], None)
        return Answer(204)

    def _job(self, request: Request) -> Job | None:
        job = self.jobs.get(request.match["job"])
        return None if job is None or self._api.clock.now() - job.made > JOB_LIFE else job

    def _csv(self, query: Query, records: list[Record]) -> str:
        fields, out = OBJECTS[query.object].fields, io.StringIO()
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(query.fields)
        for record in records:
            values = [fields[name](record, self._api.crm) if name in fields else record.values.get(name) for name in query.fields]
            writer.writerow([_text(value) for value in values])
        return out.getvalue()

    @staticmethod
    def _refusal(code: str, message: str, status: int = 400) -> Answer:
        return Answer(status, [{"message": message, "errorCode": code}])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(shown_value(value)).replace("+0000", "Z") if isinstance(value, datetime) else str(shown_value(value))
