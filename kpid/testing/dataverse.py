"""A fake of the Dataverse Web API: delta links with positions, page links that must come back as they are, batches, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from kpid.clock import Clock
from kpid.testing.api import Answer, Request
from kpid.testing.crm import Crm, Record
from kpid.testing.dataverse_batch import answered, asked
from kpid.testing.dataverse_login import Proofs
from kpid.testing.dataverse_query import RefusedError, page_size, query_of, refusal, wanted_ids, window_of
from kpid.testing.dataverse_shapes import Currencies, annotated, attribute, reasons, rendered, sales_stages, vendor_id
from kpid.testing.dataverse_side import SIDE, side_rows
from kpid.testing.dataverse_tables import TABLES, TableOf
from kpid.testing.vendor import Limit, Tokens, VendorApi, shown

ROOT = "/api/data/v9.2"
TENANT = "0e5a7a00-0000-4000-8000-00000000feed"
CLIENT_SECRET = "client-secret-fake-d365"  # noqa: S105  opens nothing
TEAM = "7ea30000-0000-4000-8000-000000000001"
_DEFINITION = rf"{ROOT}/EntityDefinitions\(LogicalName='(?P<name>[a-z_]+)'\)"
_CHOICE = _DEFINITION + r"/Attributes\(LogicalName='salesstage'\)/Microsoft\.Dynamics\.CRM\.PicklistAttributeMetadata"
_REASONS = _DEFINITION + r"/Attributes\(LogicalName='statuscode'\)/Microsoft\.Dynamics\.CRM\.StatusAttributeMetadata"
_SET = rf"{ROOT}/(?P<set>[A-Za-z_]+)(\((?P<key>[^)]*)\))?"
_COOKIE = r'<cookie pagenumber="(\d+)" pagingcookie="([^"]*)" istracking="False" />'
_LIMITS = {"requests": "0x80072322", "time": "0x80072321", "concurrent": "0x80072326"}


@dataclass(frozen=True, slots=True)
class _Token:
    """What a delta link stands for: a table as it was."""

    table: str
    given_at: datetime
    select: str
    then: Mapping[str, Record]


@dataclass(frozen=True, slots=True)
class _Read:
    """A read in pages.

    ``size`` is that of its first page; ``token`` the delta token that it ends with; ``rows`` what it gives, where that is fixed
    when it begins.
    """

    size: int
    query: str
    token: int | None = None
    rows: Sequence[dict[str, Any]] | None = None


class FakeDataverse(VendorApi):
    """One environment.

    Attributes:
        untracked: logical names of tables without change tracking.
        narrow: logical names of tables that our user may only read in part: tracked reads are refused.
        absent: names of sets that are not installed.
        deleted_as_url: deletions are told by address rather than by id.
        token_at_end: a delta token stands for the end of the first read rather than for its beginning.
        token_days: how long a delta link is good for.
        refuses_with: status of the answer to a delta link that is too old.
        tells_reasons: the metadata may be asked what reasons for a state are called.
        teams: names of teams by id.
        currencies: with their rates.
        own: the company's own columns: by kind and column, values by id.
        proofs: takes claims that are signed with the key of a certificate; None of them without one.
    """

    def __init__(
        self, crm: Crm | None = None, *, clock: Clock | None = None, strict_limits: bool = True, limits: tuple[Limit, ...] = ()
    ) -> None:
        usual = (Limit(6000, 300.0, "requests", suffix="", pause=7),)
        super().__init__(crm, clock=clock, strict_limits=strict_limits, limits=limits or usual)
        self.tokens = Tokens(self._true_clock)
        self.untracked: set[str] = set()
        self.narrow: set[str] = set()
        self.absent: set[str] = set()
        self.deleted_as_url = False
        self.token_at_end = False
        self.token_days = 7
        self.refuses_with = 400
        self.tells_reasons = True
        self.teams = {TEAM: "Vertrieb Nord"}
        self.currencies = Currencies(self._true_clock.now() - timedelta(days=900))
        self.own: dict[str, dict[str, dict[str, Any]]] = {}
        self.proofs = Proofs(lambda: f"{self.url}/{TENANT}/oauth2/v2.0/token", self._true_clock)
        self._tokens: list[_Token] = []
        self._reads: list[_Read] = []
        self.route("POST", f"/{TENANT}/oauth2/v2.0/token", self._token)
        self.route("POST", f"{ROOT}/\\$batch", self._batch)
        self.route("GET", _DEFINITION, self._definition)
        self.route("GET", _CHOICE, lambda _: {"LogicalName": "salesstage", "OptionSet": {"Options": sales_stages()}})
        self.route("GET", _SET, self._get)

    def empty_crm(self, clock: Clock) -> Crm:
        """With GUIDs."""
        return Crm(clock, ids=vendor_id)

    # -- who may ask, and how often ------------------------------------------------------------------------------------------

    def needs_token(self, request: Request) -> bool:
        """The API does, the login does not."""
        return request.path.startswith(ROOT)

    def error(self, kind: str, request: Request) -> Answer:
        """As the Web API says it: 401 without a word, privileges and limits by code."""
        if kind == "token":
            return Answer(401, "", {"WWW-Authenticate": "Bearer authorization_uri=https://login.example.com"})
        if kind == "scope":
            return refusal(403, "0x80040220", "Principal user is missing a privilege").answer
        wait = str(7 + 5 * self.calls_while_waiting)
        answer = refusal(429, _LIMITS.get(kind, _LIMITS["requests"]), f"Number of {kind} exceeded the limit").answer
        return Answer(answer.status, answer.body, {"Retry-After": wait})

    def scope_of(self, request: Request) -> str | None:
        """By the name of a set."""
        name = request.path.rpartition("/")[2].partition("(")[0]
        return name if name in self.forbidden else None

    def _token(self, request: Request) -> Answer:
        form = request.form()
        is_known = form.get("client_secret") == CLIENT_SECRET or self.proofs.accepts(form)
        token = self.tokens.exchange() if self.tokens and is_known else None
        if token is None or not form.get("scope", "").endswith("/.default"):
            told = "AADSTS7000215: Invalid client secret provided."
            return Answer(401, {"error": "invalid_client", "error_description": told, "error_codes": [7000215]})
        return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token})

    # -- routes --------------------------------------------------------------------------------------------------------------

    def _batch(self, request: Request) -> Answer:
        try:
            return answered([self._one(part) for part in asked(request)])
        except ValueError as error:
            return refusal(400, "0x80048d19", str(error)).answer

    def _one(self, part: Request) -> Answer:
        """One request of a batch."""
        if self.scope_of(part):
            return self.error("scope", part)
        if match := re.fullmatch(_REASONS, part.path):
            told = {"LogicalName": "statuscode", "OptionSet": {"Options": reasons(match["name"])}}
            return Answer(200, told) if self.tells_reasons else self.error("scope", part)
        definition, table = re.fullmatch(_DEFINITION, part.path), re.fullmatch(_SET, part.path)
        match = definition or table
        if match is None:
            return refusal(404, "0x8006088a", "Resource not found").answer
        known = Request(part.method, part.path, part.query, part.headers, match=match.groupdict())
        return (self._definition if definition else self._get)(known)

    def _definition(self, request: Request) -> Answer:
        name = request.match["name"]
        if name == Currencies.logical:
            columns = [{"LogicalName": column} for column in Currencies.columns]
            return Answer(200, {"LogicalName": name, "ChangeTrackingEnabled": False, "Attributes": columns})
        table = next((table for table in TABLES.values() if table.logical == name and table.set not in self.absent), None)
        if table is None:
            return refusal(404, "0x80060888", f"Entity {name} does not exist").answer
        names = [attribute(column) for column in self._columns(table)]
        told = {"LogicalName": name, "ChangeTrackingEnabled": name not in self.untracked}
        return Answer(200, {**told, "Attributes": [{"LogicalName": each} for each in names]})

    def _get(self, request: Request) -> Answer:
        name = request.match["set"]
        try:
            if name in self.absent:
                raise refusal(404, "0x8006088a", f"Resource not found for the segment '{name}'.")
            if name == Currencies.set:
                return Answer(200, {"value": self.currencies.rows(*window_of(request.arg("$filter")))})
            if name in SIDE:
                found = {"value": side_rows(name, request, self.crm, self.teams)}
                return Answer(200, annotated(found, request.headers.get("Prefer", "")))
            if name not in TABLES:
                raise refusal(404, "0x8006088a", f"Resource not found for the segment '{name}'.")
            return Answer(200, annotated(self._table(TABLES[name], request), request.headers.get("Prefer", "")))
        except RefusedError as refused:
            return refused.answer

    # -- tables --------------------------------------------------------------------------------------------------------------

    def _table(self, table: TableOf, request: Request) -> dict[str, Any]:
        select = request.arg("$select")
        self._check_columns(table, select)
        key = request.match.get("key")
        if key:
            record = self.crm.kinds[table.kind].get(key)
            if record is None or not table.shows(record):
                raise refusal(404, "0x80040217", f"{table.logical} With Id = {key} Does Not Exist")
            return self._row(table, record, select)
        if request.arg("$skiptoken"):
            return self._next(table, request)
        if request.arg("$deltatoken"):
            return self._delta(table, request)
        return self._first(table, request)

    def _columns(self, table: TableOf) -> list[str]:
        names = (*table.columns(self.crm), *self.own.get(table.kind, ()))
        return [name for name in names if (table.kind, name) not in self.hidden]

    def _check_columns(self, table: TableOf, select: str) -> None:
        known = set(self._columns(table))
        if unknown := [name for name in select.split(",") if name and name not in known]:
            kind = f"Microsoft.Dynamics.CRM.{table.logical}"
            raise refusal(400, "0x0", f"Could not find a property named '{unknown[0]}' on type '{kind}'.")

    def _row(self, table: TableOf, record: Record, select: str) -> dict[str, Any]:
        own = {name: values.get(record.id) for name, values in self.own.get(table.kind, {}).items()}
        fields = shown({**table.fields(record, self.crm), **own}, self.hidden, table.kind)
        names = {table.key, *select.split(",")} if select else fields.keys()
        told = {name: value for name, value in fields.items() if name in names}
        return {"@odata.etag": f'W/"{int(record.modified.timestamp()) % 10**7}"', **dict(rendered(told))}

    def _first(self, table: TableOf, request: Request) -> dict[str, Any]:
        prefer = request.headers.get("Prefer", "")
        token = None
        if "odata.track-changes" in prefer:
            token = self._tracked(table, request)
        read = _Read(page_size(prefer), query_of(request), token)
        if request.arg("$count"):
            return self._counted(table, request)
        return self._page(table, read, request, 1, None)

    def _tracked(self, table: TableOf, request: Request) -> int:
        if {"$filter", "$orderby", "$expand", "$top"} & request.query.keys():
            raise refusal(400, "0x80060888", "Change tracking allows no other options")
        if table.logical in self.untracked:
            raise refusal(400, "0x80060887", f"Change tracking is not enabled for {table.logical}")
        if table.logical in self.narrow:
            raise refusal(403, "0x80040220", "Organization-level read is needed")
        return self._stand(table, request.arg("$select"))

    def _stand(self, table: TableOf, select: str) -> int:
        kind = self.crm.kinds[table.kind]
        self._tokens.append(_Token(table.set, self._true_clock.now(), select, {key: kind.true(key) for key in kind.ids}))
        return len(self._tokens) - 1

    def _counted(self, table: TableOf, request: Request) -> dict[str, Any]:
        count = sum(1 for record in self.crm.kinds[table.kind].every() if table.shows(record))
        return {"@odata.count": min(count, 5000), "value": []}

    def _page(
        self, table: TableOf, read: _Read, request: Request, number: int, after: tuple[datetime, str] | None
    ) -> dict[str, Any]:
        """A page of records, in the order of their ids or of their changes, and the link to what follows."""
        kind, key = self.crm.kinds[table.kind], table.key
        by_time = request.arg("$orderby") == f"modifiedon,{key}"
        if not by_time and request.arg("$orderby") not in {"", key}:
            raise refusal(400, "0x80060888", "no such order")
        if (ids := wanted_ids(request.arg("$filter"), key)) is not None:
            found = [record for id_ in ids if (record := kind.get(id_)) is not None and table.shows(record)]
            return {"value": [self._row(table, record, request.arg("$select")) for record in found]}
        start, end = window_of(request.arg("$filter"))
        if by_time:
            records = kind.changed(start, end, after, read.size, gone=True)
        else:
            records = kind.after(after[1] if after else None, read.size, gone=True)
        top = int(request.arg("$top") or read.size)
        rows = [self._row(table, record, request.arg("$select")) for record in records if table.shows(record)][:top]
        if len(records) == read.size and not request.arg("$top"):
            self._reads.append(read)
            return {"value": rows, "@odata.nextLink": self._link(table, read, number + 1, records[-1])}
        answer: dict[str, Any] = {"value": rows}
        if read.token is not None:
            token = self._stand(table, request.arg("$select")) if self.token_at_end else read.token
            answer["@odata.deltaLink"] = self._delta_link(table, token)
        return answer

    def _link(self, table: TableOf, read: _Read, number: int, last: Record) -> str:
        cookie = f"{last.modified.isoformat()}|{last.id}|{len(self._reads) - 1}"
        told = f'<cookie pagenumber="{number}" pagingcookie="{quote(quote(cookie))}" istracking="False" />'
        joined = f"{read.query}&" if read.query else ""
        return f"{self.url}{ROOT}/{table.set}?{joined}$skiptoken={quote(told, safe='=')}"

    def _next(self, table: TableOf, request: Request) -> dict[str, Any]:
        token = re.fullmatch(
            r'<cookie pagenumber="(\d+)" pagingcookie="([^"]*)" istracking="False" />', request.arg("$skiptoken")
        )
        if token is None or re.search(r"%(?!25)", token[2]):
            raise refusal(400, "0x80040203", "Invalid paging cookie")
        modified, last, place = unquote(unquote(token[2])).split("|")
        read = self._reads[int(place)]
        if page_size(request.headers.get("Prefer", "")) != read.size or query_of(request) != read.query:
            raise refusal(400, "0x80040203", "The page size or the query has changed")
        number = int(token[1])
        if read.rows is not None:
            return self._delta_page(table, read, number)
        return self._page(table, read, request, number, (datetime.fromisoformat(modified), last))

    # -- changes -------------------------------------------------------------------------------------------------------------

    def _delta_link(self, table: TableOf, token: int) -> str:
        stood = self._tokens[token]
        told = f"{919000 + token}!{stood.given_at:%m/%d/%Y %H:%M:%S}"
        return f"{self.url}{ROOT}/{table.set}?$select={stood.select}&$deltatoken={quote(told, safe='').lower()}"

    def _delta(self, table: TableOf, request: Request) -> dict[str, Any]:
        token = re.fullmatch(r"(\d+)!\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", request.arg("$deltatoken"))
        stood = self._tokens[int(token[1]) - 919000] if token else None
        if stood is None or stood.table != table.set or stood.select != request.arg("$select"):
            raise refusal(400, "0x80060888", "Invalid delta token")
        if self._true_clock.now() - stood.given_at > timedelta(days=self.token_days) or table.logical in self.untracked:
            raise refusal(self.refuses_with, "0x80044352", "The delta token has expired")
        rows = [*self._updated(table, stood), *self._deleted(table, stood)]
        read = _Read(page_size(request.headers.get("Prefer", "")), query_of(request), self._stand(table, stood.select), rows)
        return self._delta_page(table, read, 1)

    def _updated(self, table: TableOf, stood: _Token) -> Iterator[dict[str, Any]]:
        for record in self.crm.kinds[table.kind].every():
            if table.shows(record) and stood.then.get(record.id) is not record:
                yield self._row(table, record, stood.select)

    def _deleted(self, table: TableOf, stood: _Token) -> Iterator[dict[str, Any]]:
        for record in self.crm.kinds[table.kind].every():
            before = stood.then.get(record.id)
            if not table.shows(record) and before is not record:
                told = f"{self.url}{ROOT}/{table.set}({record.id})" if self.deleted_as_url else record.id
                context = f"{self.url}{ROOT}/$metadata#{table.set}/$deletedEntity"
                yield {"@odata.context": context, "id": told, "reason": "deleted"}

    def _delta_page(self, table: TableOf, read: _Read, number: int) -> dict[str, Any]:
        rows = read.rows or ()
        answer: dict[str, Any] = {
            "@odata.context": f"{self.url}{ROOT}/$metadata#{table.set}/$delta",
            "value": rows[(number - 1) * read.size : number * read.size],
        }
        if number * read.size < len(rows):
            self._reads.append(read)
            last = Record(table.kind, "0", {}, self._true_clock.now(), self._true_clock.now())
            return {**answer, "@odata.nextLink": self._link(table, read, number + 1, last)}
        return {**answer, "@odata.deltaLink": self._delta_link(table, read.token or 0)}
