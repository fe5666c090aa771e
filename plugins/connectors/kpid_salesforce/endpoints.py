"""Salesforce's endpoints: login, queries, descriptions of objects, the delete log, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from kpid.plugin import (
    Budget,
    ClientCredentials,
    ConnectorError,
    Grant,
    HttpFailure,
    JwtBearer,
    OAuth,
    RefreshToken,
    Response,
    Secret,
    SourceContext,
    dig,
)  # fmt: skip
from kpid_salesforce.faults import PAUSE, AskAgainError, codes_of, meaning, refusal, refused_login
from kpid_salesforce.settings import SalesforceSettings
from kpid_salesforce.soql import literal

DOMAINS = ("salesforce.com", "force.com", "salesforce.mil", "sfcrmproducts.cn")
"""Where an organisation's instance may be."""
SMALLEST_BATCH = 200
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105  an address
TIMES = 3
LONGEST = 14_000
"""Address and headers may have 16,384 bytes together; a header holds the token."""
_USED = re.compile(r"api-usage=(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Answered:
    """All records of a query, and how many it found when it was asked (some may be gone since)."""

    records: list[Mapping[str, Any]]
    total: int


class Endpoints:
    """One organisation's API.

    Args:
        settings: address, credentials, limits.
        context: clock and name.
    """

    def __init__(self, settings: SalesforceSettings, context: SourceContext) -> None:
        self._base = settings.base_url
        self._data = f"/services/data/v{settings.api_version}"
        self._batch = str(max(SMALLEST_BATCH, settings.page_size))
        self._budget = Budget(settings.max_daily_share, context.clock, pause=PAUSE, where=context.source_id)
        self.jobs = f"{self._data}/jobs/query"
        self._fields: dict[str, Mapping[str, str]] = {}
        self._subject = "Salesforce"
        self._is_home = False
        self._login = settings.client(
            context, vendor="salesforce login", account=settings.client_id, base_url=settings.login_url or settings.base_url
        )
        self._where, self._clock = context.source_id, context.clock
        where = context.source_id
        grant = _grant(settings, context)
        refused = partial(refused_login, where=where)
        self._auth = OAuth(self._login, TOKEN_PATH, grant, clock=context.clock, refused=refused)
        self.http = settings.client(
            context,
            vendor="salesforce",
            account=settings.base_url,
            auth=self._auth,
            error_hook=lambda answer: meaning(answer, self._subject, where, context.clock.now()),
            after=self._counted,
            transient=(406, 420),
        )

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()
        self._login.close()

    def get(self, path: str, **options: Any) -> Response:
        """A question; see :meth:`send`."""
        return self.send("GET", path, **options)

    def send(self, method: str, path: str, **options: Any) -> Response:
        """A request to the organisation's own instance, which the login names."""
        if not self._is_home:
            self._auth.headers()
            named = self._auth.answer.get("instance_url")
            if isinstance(named, str) and _origin(named) != _origin(self._base):
                self.http.rebase(named, within=DOMAINS)
            self._is_home = True
        return self.http.request(method, path, **options)

    def now(self) -> datetime | None:
        """The server's clock."""
        return self.get(f"{self._data}/").date

    def versions(self) -> list[str]:
        """The versions of the API that the organisation has."""
        found = self.get("/services/data/").json()
        return [str(dig(one, "version")) for one in found] if isinstance(found, list) else []

    def fields(self, name: str) -> Mapping[str, str]:
        """The fields of an object that we may see, with their types; asked once."""
        if name not in self._fields:
            self._subject = name
            described = dig(self.get(f"{self._data}/sobjects/{name}/describe").json(), "fields")
            if not isinstance(described, list):
                raise _odd(self.http.name, f"the description of {name}")
            self._fields[name] = {str(dig(field, "name")): str(dig(field, "type")) for field in described}
        return self._fields[name]

    def picklist(self, name: str, field: str, record_type: str) -> frozenset[str]:
        """The values that records of a type are offered for a field."""
        self._subject = name
        path = f"{self._data}/ui-api/object-info/{name}/picklist-values/{record_type}/{field}"
        values = dig(self.get(path).json(), "values")
        return frozenset(str(dig(value, "value")) for value in values) if isinstance(values, list) else frozenset()

    def record_counts(self, names: Iterable[str]) -> Mapping[str, int]:
        """About how many records of objects there are, whoever may see them."""
        self._subject = "the counts of records"
        listed = dig(self.get(f"{self._data}/limits/recordCount", params={"sObjects": ",".join(names)}).json(), "sObjects")
        counts = {str(dig(one, "name")): dig(one, "count") for one in listed} if isinstance(listed, list) else {}
        return {name: count for name, count in counts.items() if isinstance(count, int)}

    def query(self, text: str, *, everything: bool = False) -> Answered:
        """All that a query finds, however many answers that takes. ``everything``: archived and deleted records too.

        Raises:
            AskAgainError: it was broken off again and again.
        """
        for tried in range(TIMES):
            try:
                return self._asked(text, everything=everything)
            except AskAgainError:
                if tried == TIMES - 1:
                    raise
        raise AssertionError

    def count(self, text: str, *, everything: bool = False) -> int:
        """The answer to a query that counts."""
        return self._asked(text, everything=everything).total

    def deleted(self, name: str, start: datetime, end: datetime) -> Mapping[str, Any] | None:
        """The delete log; None if it does not go back so far, or has too many lines."""
        self._subject = name
        span = {"start": literal(start), "end": literal(end)}
        try:
            found = self.get(f"{self._data}/sobjects/{name}/deleted/", params=span).json()
        except HttpFailure as failure:
            if codes_of(failure.response) & {"INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT"}:
                return None
            raise
        if not isinstance(found, dict) or not isinstance(found.get("deletedRecords"), list):
            raise _odd(self.http.name, f"the delete log of {name}")
        return found

    def _asked(self, text: str, *, everything: bool) -> Answered:
        self._subject = text.partition(" FROM ")[2].partition(" ")[0]
        options = {"Sforce-Query-Options": f"batchSize={self._batch}"}
        path = f"{self._data}/{'queryAll' if everything else 'query'}"
        body = self._first(path, text, options)
        records, total = self._records(body), dig(body, "totalSize")
        met = set[str]()
        while not dig(body, "done"):
            following = dig(body, "nextRecordsUrl")
            if not isinstance(following, str) or following in met:
                raise ConnectorError(f"a query of {self._subject} does not come to its end", where=self.http.name)
            met.add(following)
            body = self.get(following, headers=options).json()
            records += self._records(body)
        return Answered(records, int(total) if isinstance(total, int) else len(records))

    def _first(self, path: str, text: str, headers: Mapping[str, str]) -> Any:
        if len(address := f"{path}?q={quote(text)}") > LONGEST:
            return self._in_a_body(address)
        return self.get(path, params={"q": text}, headers=headers).json()

    def _in_a_body(self, address: str) -> Any:
        """The answer to a question that is too long for an address: as Salesforce advises, a composite request of that alone."""
        asked = {"method": "GET", "url": address, "referenceId": "query"}
        found = dig(self.send("POST", f"{self._data}/composite", json={"compositeRequest": [asked]}).json(), "compositeResponse")
        answer = found[0] if isinstance(found, list) and found else None
        status, body = dig(answer, "httpStatusCode"), dig(answer, "body")
        if not isinstance(status, int):
            raise _odd(self.http.name, f"a query of {self._subject}")
        if status >= 400:
            raise refusal(status, body, self._subject, self._where, self._clock.now())
        return body

    def _records(self, body: Any) -> list[Mapping[str, Any]]:
        records = dig(body, "records")
        is_whole = isinstance(records, list) and all(isinstance(record, dict) and "Id" in record for record in records)
        if not is_whole or not isinstance(dig(body, "done"), bool):
            raise _odd(self.http.name, f"a query of {self._subject}")
        return list(records)

    def _counted(self, response: Response) -> None:
        if used := _USED.search(response.headers.get("Sforce-Limit-Info", "")):
            self._budget.told(int(used[1]), int(used[2]))


def _grant(settings: SalesforceSettings, context: SourceContext) -> Grant:
    secret, key = settings.client_secret or Secret(""), settings.private_key or Secret("")
    match settings.auth:
        case "refresh":
            token = settings.refresh_token or Secret("")
            return RefreshToken(settings.client_id, secret, token, keep=context.keep)
        case "jwt":
            return JwtBearer(settings.client_id, settings.username or "", settings.audience, key, context.clock)
    return ClientCredentials(settings.client_id, secret)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _odd(where: str, what: str) -> ConnectorError:
    return ConnectorError(f"{what} was answered with something else than Salesforce answers", where=where)
