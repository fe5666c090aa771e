"""EasyERP's endpoints: login, session, lists, detail views, and what their errors mean. Rows are made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from kpid.plugin import (
    AuthError,
    ConnectorError,
    HttpFailure,
    KpidError,
    Response,
    SchemaError,
    SessionAuth,
    SourceContext,
    dig,
)  # fmt: skip
from kpid_easyerp.met import Met
from kpid_easyerp.settings import LISTS, EasyErpSettings

SESSION = timedelta(minutes=2)
"""A session ends after so long without a request."""
TRIES = 3
"""So often a list is read that changes under the reader."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """One page of a list.

    Args:
        records: those that were not on an earlier page as they are.
        total: how many the list has, as its first page says.
        is_last: nothing comes after it.
        has_moved: records went away while the list was read: some may have slipped by.
        warning: what is wrong with the list as a whole; only on the last.
    """

    records: Sequence[Record]
    total: int
    is_last: bool = False
    has_moved: bool = False
    warning: str = ""


class Endpoints:
    """One database of a server.

    Args:
        settings: address and login.
        context: clock and name.
    """

    def __init__(self, settings: EasyErpSettings, context: SourceContext) -> None:
        self._settings = settings
        self._asking = "a list"
        self._password = settings.password.get_secret_value()
        who = f"{settings.base_url} {settings.database}"
        bare = partial(settings.client, context, vendor="easyerp", account=who, secrets=(self._password,), max_bytes=1_000_000)
        self._login = bare(error_hook=self._refused, after=self._expect_session)
        self._probe = bare()
        self._session = SessionAuth(self._log_in, context.clock, SESSION, rolling=True, secrets=(settings.password,))
        self.http = settings.client(
            context,
            vendor="easyerp",
            account=who,
            auth=self._session,
            expired=lambda response: response.status == 404,  # no session, and no such path: the server tells no difference
            error_hook=self._meaning,
        )

    def close(self) -> None:
        """Let go of connections."""
        self._login.close()
        self._probe.close()
        self.http.close()

    # -- session -------------------------------------------------------------------------------------------------------------

    def _log_in(self) -> Mapping[str, str]:
        body = {"login": self._settings.login, "pass": self._password, "dbId": self._settings.database}
        response = self._login.request("POST", "/users/login", json=body, parse=False)
        return {"Cookie": f"pwd={_session_in(response)}"}

    def _expect_session(self, response: Response) -> None:
        """A login that was accepted gives a cookie; another page (a proxy's) does not, and the next try may."""
        if response.ok and not _session_in(response):
            where, hint = self._login.name, "Is base_url the address of EasyERP?"
            raise HttpFailure("the login gave no session", status=response.status, response=response, where=where, hint=hint)

    def _refused(self, response: Response) -> KpidError | None:
        """What an error of the login means: a wrong password is a 400, a database that is not there a 500."""
        where = self._login.name
        if response.status in {400, 401, 403}:
            hint = "Check `login` and `password`; the user must be able to log in at the browser"
            return AuthError("EasyERP refused the login", where=where, hint=hint)
        if response.status == 500 and (names := self._databases()) and self._settings.database not in names:
            there = f"There are: {', '.join(sorted(names))}"
            return SchemaError(f"EasyERP has no database {self._settings.database}", where=where, hint=there)
        return _without_trace(response, where, "POST /users/login")

    def _databases(self) -> set[str]:
        """The names that the login page offers; empty if the server does not say."""
        try:
            response = self._probe.request_raw("GET", "/getDBS")
            names = dig(response.json(), "dbsNames") if response.ok else None
        except (ConnectorError, ValueError):
            return set()
        return set(names) if isinstance(names, dict) else set()

    def _meaning(self, response: Response) -> KpidError | None:
        """What an error of a list means. A 404 that a new login did not mend: is it the session or the address?"""
        if response.status == 404 and self._has_session():
            text = f"EasyERP has no list {self._asking}, or {self._settings.login} may not see it"
            return SchemaError(
                text, where=self.http.name, hint="Give the user's profile access to it, or leave it out of `entities`"
            )
        return _without_trace(response, self.http.name, f"the list {self._asking}")

    def _has_session(self) -> bool:
        try:
            return self._probe.request_raw("GET", "/currentDb", headers=self._session.headers()).ok
        except ConnectorError:
            return False

    # -- reading -------------------------------------------------------------------------------------------------------------

    def now(self) -> datetime | None:
        """The server's clock."""
        return self.http.request("GET", "/currentDb", parse=False).date

    def first(self, kind: str, count: int = 1) -> Mapping[str, Any]:
        """The beginning of a list: ``total`` and ``data``."""
        return self._page(kind, 1, count, None)

    def listed(self, kind: str, since: datetime | None = None) -> Iterator[Batch]:
        """The records of a list that changed on the day of ``since`` or later (None: all), newest first, each at least once.

        Newest first, since what is edited or added meanwhile then moves nothing out of sight; only a record that goes away
        draws others onto pages that were read already. That shows in the total, and the list is read once more.
        """
        met = Met()
        for attempt in range(TRIES):
            number, first, before, has_shrunk = 1, None, 0, False
            while True:
                page = self._page(kind, number, self._settings.page_size, since)
                records, total = page["data"], int(page["total"] or 0)
                first = total if first is None else first
                is_last = len(records) < self._settings.page_size
                has_shrunk |= bool(records) and total < before
                before = total if records else before
                fresh = [record for record in records if met.is_new(record["_id"], edited(record))]
                if is_last:
                    break
                yield Batch(fresh, first, has_moved=has_shrunk or attempt > 0)
                number += 1
            is_whole = not has_shrunk and len(met) >= first
            if is_whole or attempt == TRIES - 1:
                yield Batch(fresh, first, True, has_shrunk, warning="" if is_whole else _short(kind, len(met), first))
                return
            yield Batch(fresh, first, has_moved=True)

    def _page(self, kind: str, number: int, count: int, since: datetime | None) -> Mapping[str, Any]:
        listing = LISTS[kind]
        params: dict[str, Any] = {"viewType": "list", "contentType": listing.content_type, "page": number, "count": count}
        params |= listing.extra or {}
        if kind not in _UNSORTED:
            params["sort[editedBy.date]"] = -1
        if since is not None:
            day = (since - timedelta(days=1)).date().isoformat()  # whole days, by the server's own zone
            params |= {
                "filter[m][type]": "date",
                "filter[m][backend][key]": "editedBy.date",
                "filter[m][backend][operator][]": ["$gte", "$lte"],
                "filter[m][value][]": day,
            }
        body = self._get(listing.path, params)
        records = dig(body, "data")
        if not isinstance(records, list) or not all(isinstance(record, dict) and record.get("_id") for record in records):
            raise SchemaError(f"the list {listing.path} is not one of records with ids", where=self.http.name)
        return {"total": dig(body, "total") or 0, "data": records}

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        self._asking = path[: path.rindex("/") + 1] if path.count("/") > 1 else path
        return self.http.get(path, params=params).json()

    def form(self, kind: str, native_id: str) -> Record | None:
        """A record's detail view; None if it is gone."""
        body = self._get(f"{LISTS[kind].path}{native_id}", {"viewType": "form"})
        return body if isinstance(body, dict) and body.get("_id") else None

    def stages(self, kind: str) -> Sequence[Record]:
        """The stages of ``Opportunities`` or ``Leads``."""
        found = dig(self._get("/workflows/", {"id": kind}), "data")
        return [stage for stage in found if isinstance(stage, dict) and stage.get("_id")] if isinstance(found, list) else []

    def campaigns(self) -> Sequence[Record]:
        """The names of campaigns: a short list of its own shape."""
        found = dig(self._get("/campaigns/"), "data")
        if not isinstance(found, list):
            raise SchemaError("the list /campaigns/ is not one of records", where=self.http.name)
        return [one for one in found if isinstance(one, dict) and one.get("_id")]

    def currencies(self) -> Mapping[str, str]:
        """ISO codes by the symbols that stand in for them."""
        found = dig(self._get("/currency/getForDd"), "data")
        return {str(one.get("symbol")): str(one["_id"]) for one in found or () if isinstance(one, dict) and one.get("_id")}


def _session_in(response: Response) -> str | None:
    found = re.search(r"(?:^|[,;]\s*)pwd=([^;,\s]+)", response.headers.get("Set-Cookie", ""))
    return found[1] if found else None


_UNSORTED = {"orders", "quotations", "payments", "products"}
"""Lists that do not know when their records changed."""


def edited(record: Record) -> str | None:
    """When a record changed, as the server says it."""
    by = record.get("editedBy")
    at = by.get("date") if type(by) is dict else None
    return at if type(at) is str else None


def _short(kind: str, met: int, total: int) -> str:
    return f"EasyERP counts {total:,} {kind} and showed {met:,}: the list changed each time that it was read"


def _without_trace(response: Response, where: str, what: str) -> KpidError | None:
    """Errors of the program itself, whose text is a stack trace: said in our own words."""
    if response.status == 500:
        return HttpFailure(f"{what} answered 500: EasyERP failed", status=500, transient=True, response=response, where=where)
    return None
