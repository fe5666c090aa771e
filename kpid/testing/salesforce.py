"""A server that behaves like Salesforce's REST API, over the neutral CRM.

Queries with locators, fields that are hidden, the delete log with its reach, a token endpoint for three grants, the budget of the
day in every answer, errors as lists. What is not modelled is refused, as Salesforce refuses what it does not know.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from kpid.clock import Clock
from kpid.testing.api import Answer, FakeApi, Request
from kpid.testing.crm import Crm, Record
from kpid.testing.salesforce_beside import Beside
from kpid.testing.salesforce_bulk import BulkJobs
from kpid.testing.salesforce_fields import field_type, sf_id, shown_value
from kpid.testing.salesforce_objects import OBJECTS, made_of, records_of
from kpid.testing.salesforce_soql import Query, SoqlError, parse
from kpid.testing.vendor import Daily, Tokens, VendorApi

CLIENT_ID, CLIENT_SECRET = "consumer-key-fake-1", "consumer-secret-fake-1"
VERSION = "/services/data/v66.0"
REACH = timedelta(days=15)
LOCATOR_LIFE = timedelta(days=2)
LONGEST = 16_000
STATUSES = {"token": 401, "daily": 403}
CODES = {
    "token": ("INVALID_SESSION_ID", "Session expired or invalid"),
    "daily": ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "scope": ("INVALID_TYPE", "sObject type is not supported."),
}


@dataclass
class _Cursor:
    """An open query: which records it found when it was asked."""

    query: Query
    found: list[Record]
    gone: bool
    opened: datetime


class FakeSalesforce(VendorApi):
    """One organisation.

    Args:
        crm: what it holds.
        clock: shared with the connector.
        strict_limits: as of any vendor; Salesforce has a budget of the day alone.
        page: records of one answer, unless the client wishes for fewer.

    Attributes:
        multi_currency: records have a currency.
        metadata: of objects that are not the neutral CRM's (queues, currencies) the records, by object and id.
        own_fields: by object the company's own, whose values records have under these names.
        offered: by record type the stages of its sales process.
        lacks: objects that the organisation has not.
        unshared: by object ids of records that nobody has shared with the user.
        told_gone: further lines of the delete log by object: id and instant.
        log_reach: how far the delete log goes back.
        instance_url: what the login names as the organisation's address, if it is not this server's.
        bulk: its query jobs.
        issuer: what a signed claim has to name: issuer, subject and audience.
    """

    def __init__(
        self, crm: Crm | None = None, *, clock: Clock | None = None, strict_limits: bool = True, page: int = 2000
    ) -> None:
        super().__init__(crm, clock=clock, strict_limits=strict_limits)
        self.tokens = Tokens(self.clock)
        self.daily = Daily(100_000)
        self.page = page
        self.multi_currency = True
        self.metadata: dict[str, dict[str, dict[str, Any]]] = {
            "CaseStatus": {"1": {"name": "open", "label": "Open"}, "2": {"name": "closed", "label": "Closed", "closed": True}},
            "UserPermissionAccess": {"1": {}},
        }
        self.own_fields: dict[str, set[str]] = {}
        self.offered: dict[str, list[str]] = {}
        self.lacks: set[str] = {"VoiceCall"}
        self.unshared: dict[str, set[str]] = {}
        self.told_gone: dict[str, list[tuple[str, datetime]]] = {}
        self.log_reach = REACH
        self.instance_url: str | None = None
        self.issuer = (CLIENT_ID, "robot@example.com", "https://login.salesforce.com")
        self._cursors: dict[str, _Cursor] = {}
        self.bulk = BulkJobs(self, VERSION)
        Beside(self, VERSION)
        self.route("POST", "/services/oauth2/token", self._token)
        self.route("GET", "/services/data/?", lambda _: [{"label": "Spring", "url": VERSION, "version": "66.0"}])
        self.route("GET", f"{VERSION}/", lambda _: {"query": f"{VERSION}/query", "sobjects": f"{VERSION}/sobjects"})
        self.route("GET", f"{VERSION}/limits", self._limits)
        self.route("GET", f"{VERSION}/(?P<way>query|queryAll)", self._query)
        self.route("GET", f"{VERSION}/query/(?P<locator>[^/]+)", self._more)
        self.route("GET", f"{VERSION}/sobjects/(?P<object>\\w+)/describe", self._describe)
        self.route("GET", f"{VERSION}/sobjects/(?P<object>\\w+)/deleted/", self._deleted)

    def empty_crm(self, clock: Clock) -> Crm:
        """With Salesforce's ids."""
        return Crm(clock, ids=sf_id)

    def needs_token(self, request: Request) -> bool:
        """All but the token endpoint."""
        return request.path != "/services/oauth2/token"

    def answer(self, request: Request) -> Answer:
        """Every answer of the API says how much of the day's budget is used; the token endpoint is none of it."""
        if not self.needs_token(request):
            return FakeApi.answer(self, request)
        answer = super().answer(request)
        if self.daily is None or answer.status == 401:
            return answer
        used = f"api-usage={self.daily.used}/{self.daily.total}; per-app-api-usage=17/250(appName=kpid)"
        return replace(answer, headers={"Sforce-Limit-Info": used, **answer.headers})

    def error(self, kind: str, request: Request) -> Answer:
        """A list of one error."""
        if kind == "scope" and "/sobjects/" in request.path:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        code, text = CODES[kind]
        return refusal(STATUSES.get(kind, 400), code, text)

    def scope_of(self, request: Request) -> str | None:
        """The object that a query or a path names."""
        named = set(request.path.split("/"))
        if query := request.arg("q"):
            named |= {query.partition(" FROM ")[2].partition(" ")[0]}
        return next((name for name in sorted(self.forbidden) if name in named), None)

    def lose_locators(self) -> None:
        """Open queries cannot be gone on with."""
        self._cursors.clear()

    # -- the token endpoint --------------------------------------------------------------------------------------------------

    def _token(self, request: Request) -> Answer:
        form = request.form()
        match form.get("grant_type"):
            case "client_credentials":
                refused = self._client_refused(form)
                token = None if refused else self.tokens.exchange() if self.tokens else "open"
            case "refresh_token":
                refused = self._client_refused(form)
                token = None if refused or self.tokens is None else self.tokens.exchange(form.get("refresh_token"))
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                refused = self._claims_refused(form.get("assertion", ""))
                token = None if refused or self.tokens is None else self.tokens.exchange()
            case _:
                refused, token = "unsupported_grant_type", None
        if token is None:
            return Answer(400, {"error": refused or "invalid_grant", "error_description": "refused"})
        issued = str(round(self.clock.now().timestamp() * 1000))
        body = {"access_token": token, "instance_url": self.instance_url or self.url, "token_type": "Bearer", "issued_at": issued}
        is_new = form.get("refresh_token") and self.tokens is not None and self.tokens.rotate
        return Answer(200, {**body, "refresh_token": self.tokens.refresh_token} if is_new and self.tokens else body)

    def _client_refused(self, form: Mapping[str, str]) -> str:
        if form.get("client_id") != CLIENT_ID:
            return "invalid_client_id"
        return "" if form.get("client_secret") == CLIENT_SECRET else "invalid_client"

    def _claims_refused(self, assertion: str) -> str:
        """The claims have to be ours and to expire soon; a test that has the key checks the signature."""
        try:
            part = assertion.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except (IndexError, ValueError, binascii.Error):
            return "invalid_grant"
        named = (claims.get("iss"), claims.get("sub"), claims.get("aud"))
        left = claims.get("exp", 0) - self.clock.now().timestamp()
        return "" if named == self.issuer and 0 < left <= 180 else "invalid_grant"

    # -- queries -------------------------------------------------------------------------------------------------------------

    def _limits(self, _request: Request) -> dict[str, Any]:
        daily = self.daily or Daily(0)
        return {"DailyApiRequests": {"Max": daily.total, "Remaining": daily.left}}

    def _query(self, request: Request) -> Answer:
        if len(quote(request.arg("q"))) > LONGEST:
            return Answer(414, "URI Too Long")
        return self.asked(request)

    def asked(self, request: Request) -> Answer:
        """The answer to a query, however long."""
        try:
            query = parse(request.arg("q"))
        except SoqlError as error:
            return refusal(400, "MALFORMED_QUERY", str(error))
        if query.object not in OBJECTS or query.object in self.lacks:
            return refusal(400, "INVALID_TYPE", f"sObject type '{query.object}' is not supported.")
        known = self.fields_of(query.object)
        for name in query.names():
            if name not in known:
                return refusal(400, "INVALID_FIELD", f"No such column '{name}' on entity '{query.object}'")
        gone = request.match["way"] == "queryAll"
        found = self.found(query, gone=gone)
        if not query.fields:
            return Answer(200, {"totalSize": len(found), "done": True, "records": []})
        locator = f"0r8KpidDemo{len(self._cursors):04d}AAA"
        self._cursors[locator] = _Cursor(query, found, gone, self.clock.now())
        return self._page(locator, 0, self._wished(request))

    def _more(self, request: Request) -> Answer:
        locator, _, place = request.match["locator"].partition("-")
        cursor = self._cursors.get(locator)
        if cursor is None or not place.isdigit() or self.clock.now() - cursor.opened > LOCATOR_LIFE:
            return refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(locator, int(place), self._wished(request))

    def _wished(self, request: Request) -> int:
        wish = request.headers.get("Sforce-Query-Options", "").removeprefix("batchSize=")
        return min(self.page, int(wish)) if wish.isdigit() else self.page

    def _page(self, locator: str, start: int, size: int) -> Answer:
        """Which records were found is settled when the query is asked; what they hold, when they are fetched."""
        cursor = self._cursors[locator]
        part = cursor.found[start : start + size]
        done = start + size >= len(cursor.found)
        body = {
            "totalSize": len(cursor.found),
            "done": done,
            "records": [self.shown(cursor.query, record) for record in self._current(part, gone=cursor.gone)],
        }
        if done:
            del self._cursors[locator]
            return Answer(200, body)
        return Answer(200, {**body, "nextRecordsUrl": f"{VERSION}/query/{locator}-{start + size}"})

    def _current(self, records: Sequence[Record], *, gone: bool) -> list[Record]:
        found = []
        for record in records:
            now = self.crm.kinds[record.kind].get(record.id) if record.kind in self.crm.kinds else record
            if now is not None and (gone or now.deleted_at is None):
                found.append(now)
        return found

    def found(self, query: Query, *, gone: bool) -> list[Record]:
        """What a query finds, in its order."""
        epoch = datetime(2020, 1, 1, tzinfo=UTC)
        records = [Record("", key, values, epoch, epoch) for key, values in self.metadata.get(query.object, {}).items()]
        keys = query.bound(OBJECTS[query.object].parent, "IN")
        records += records_of(self.crm, query.object, gone=gone, keys=keys)
        fields = OBJECTS[query.object].fields
        start, end = query.bound("SystemModstamp", ">="), query.bound("SystemModstamp", "<")
        hidden = self.unshared.get(query.object, set())
        found = [
            record
            for record in records
            if (gone or not record.values.get("is_archived"))
            and record.id not in hidden
            and (start is None or record.modified >= start)
            and (end is None or record.modified < end)
            and query.where.holds(lambda name, of=record: fields[name](of, self.crm))  # type: ignore[misc]
        ]
        if query.order:
            found.sort(key=lambda record: [_sortable(fields[name](record, self.crm)) for name in query.order])
        return found[: query.limit]

    def fields_of(self, name: str) -> set[str]:
        """The fields that a user may see."""
        found = OBJECTS[name]
        hidden = {field for kind, field in self.hidden if kind in found.kinds}
        if not self.multi_currency:
            hidden |= {"CurrencyIsoCode"}
        return (found.fields.keys() | self.own_fields.get(name, set())) - hidden

    def shown(self, query: Query, record: Record) -> dict[str, Any]:
        """A record as JSON."""
        fields = OBJECTS[query.object].fields
        body: dict[str, Any] = {"attributes": {"type": query.object, "url": f"{VERSION}/sobjects/{query.object}/{record.id}"}}
        for name in query.fields:
            value = shown_value(fields[name](record, self.crm) if name in fields else record.values.get(name))
            outer, is_nested, inner = name.partition(".")
            if not is_nested:
                body[outer] = value
            elif value is not None or outer not in body:
                body[outer] = None if value is None else {**(body.get(outer) or {}), inner: value}
        return body

    # -- objects -------------------------------------------------------------------------------------------------------------

    def _describe(self, request: Request) -> Answer:
        name = request.match["object"]
        if name not in OBJECTS or name in self.lacks:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        fields = sorted(field for field in self.fields_of(name) if "." not in field)
        described = [{"name": field, "type": field_type(field)} for field in fields]
        return Answer(200, {"name": name, "queryable": True, "fields": described})

    def _deleted(self, request: Request) -> Answer:
        name = request.match["object"]
        if name not in OBJECTS:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        start, end = (datetime.fromisoformat(request.arg(name)).replace(second=0) for name in ("start", "end"))
        earliest = self.clock.now() - self.log_reach
        if start < earliest or end - start < timedelta(minutes=1):
            return refusal(400, "INVALID_REPLICATION_DATE", "startDate or endDate is out of range")
        lines = [*self.told_gone.get(name, ())]
        for kind in OBJECTS[name].kinds:
            gone = (one for record in self.crm.gone(kind) for one in made_of(OBJECTS[name], record))
            lines += [(record.id, record.deleted_at) for record in gone if record.deleted_at is not None]
        told = [{"id": key, "deletedDate": shown_value(at)} for key, at in lines if start <= at.replace(second=0) < end]
        covered = {"earliestDateAvailable": shown_value(earliest), "latestDateCovered": shown_value(end)}
        return Answer(200, {"deletedRecords": told, **covered})


def refusal(status: int, code: str, message: str) -> Answer:
    """An error as Salesforce writes it."""
    return Answer(status, [{"message": message, "errorCode": code}])


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is not None, value
