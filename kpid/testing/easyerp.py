"""A fake of EasyERP (open source edition): its session of two minutes, its lists by page number, its day filter, its silences.

Built after a running server (see ``tests/data/easyerp``), with its traps: without a session everything is a 404; totals are 0
past the end; records are gone without a word; a nonsense date filters nothing; ``/invoice/`` with another content type is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from zoneinfo import ZoneInfo

from kpid.clock import Clock
from kpid.testing.api import Answer, Request
from kpid.testing.crm import KINDS, Crm, Record
from kpid.testing.easyerp_papers import CURRENCIES, FORMS, LISTED, LISTS, STATUS, stage_document
from kpid.testing.vendor import Tokens, VendorApi, shown

LOGIN, PASSWORD, DATABASE = "kpid-reader", "easyerp-password-fake", "CRM"
SESSION = timedelta(minutes=2)
_OPEN = {"/users/login", "/getDBS"}
_EVERYTHING = 10**9


class EasyErpCrm(Crm):
    """A CRM in which a converted lead becomes a deal with its own id, and goes when that goes."""

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed, _object_id, whole=timedelta(milliseconds=1))

    def convert_lead(self, lead: str, *, deal: bool = True) -> tuple[str, str, str | None]:
        """The lead's record becomes a deal; a company and a person are made of it."""
        old = self.kinds["leads"].true(lead).values
        owner = old.get("owner_id")
        account = self.create("accounts", {"name": old.get("company"), "owner_id": owner})
        contact = self.create("contacts", {"name": old.get("name"), "email": old.get("email"), "account_id": account})
        if not deal:
            return account, contact, None
        self.add_deal_of(lead, {"account_id": account, "primary_contact_id": contact, "owner_id": owner})
        super().edit("leads", lead, status="converted", converted_at=self._now(None), converted_deal_id=lead)
        return account, contact, lead

    def add_deal_of(self, lead: str, values: Mapping[str, Any]) -> None:
        """The deal that a lead becomes; created when the lead was."""
        old = self.kinds["leads"].true(lead)
        source = old.values.get("lead_source")
        made = self.add_deal(lead_id=lead, lead_source=source, **values)
        record = self.kinds["deals"].true(made)
        self.kinds["deals"].drop(made)
        self._put(replace(record, id=lead, created=old.created))

    def edit(self, kind: str, native_id: str, *, at: datetime | None = None, touch: bool = True, **changes: Any) -> None:
        """Change values. A converted lead is a deal: nobody finds it among the leads any more."""
        if kind != "leads" or native_id not in self.kinds["deals"].ids:
            super().edit(kind, native_id, at=at, touch=touch, **changes)

    def delete(self, kind: str, native_id: str, *, at: datetime | None = None, touch: bool = False) -> None:
        """Delete a record; a deal and the lead that it was are one."""
        for one in self._one(kind, native_id):
            super().delete(one, native_id, at=at, touch=touch)

    def purge(self, kind: str, native_id: str) -> None:
        """There is no other way of deleting."""
        for one in self._one(kind, native_id):
            super().purge(one, native_id)

    def _one(self, kind: str, native_id: str) -> list[str]:
        """As what a record is known that may be deal and lead at once."""
        return [
            one for one in (("deals", "leads") if kind in {"deals", "leads"} else (kind,)) if native_id in self.kinds[one].ids
        ]


class Sessions(Tokens):
    """Sessions that end two minutes after their last request."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, life_s=SESSION.total_seconds())

    def is_good(self, token: str) -> bool:
        """Whether the session lives; each request makes it live on."""
        is_good = super().is_good(token)
        if is_good:
            self._given_at = self._clock.now()
        return is_good


class FakeEasyErp(VendorApi):
    """A server with one database.

    Args:
        crm: what it serves; None = an empty one.
        clock: shared with the connector under test.
        strict_limits: there are none.
        zone: the server's own: its days are the filter's.
    """

    def __init__(
        self, crm: Crm | None = None, *, clock: Clock | None = None, strict_limits: bool = True, zone: str = "Europe/Kyiv"
    ) -> None:
        super().__init__(crm, clock=clock, strict_limits=strict_limits)
        self.zone = ZoneInfo(zone)
        self.password = PASSWORD
        self.tokens = Sessions(self.clock)
        self.route("POST", "/users/login", self._login)
        self.route("GET", "/getDBS", lambda _: {"dbsNames": {DATABASE: {"DBname": DATABASE}, "saas": {"DBname": "saas"}}})
        self.route("GET", "/currentDb", lambda _: Answer(200, DATABASE, {"Content-Type": "text/html"}))
        self.route("GET", "/workflows/", self._stages)
        self.route("GET", "/campaigns/", self._campaigns)
        self.route("GET", "/currency/getForDd", lambda _: {"data": CURRENCIES})
        for path in LISTS:
            self.route("GET", path, self._list)
        for path in FORMS:
            self.route("GET", f"{path}(?P<id>[^/]+)", self._form)

    def empty_crm(self, clock: Clock) -> Crm:
        """With ids as MongoDB makes them."""
        return EasyErpCrm(clock)

    def token_of(self, request: Request) -> str:
        """The session's cookie."""
        cookie = SimpleCookie(request.headers.get("Cookie", "")).get("pwd")
        return cookie.value if cookie else ""

    def needs_token(self, request: Request) -> bool:
        """All but the login page's."""
        return request.path not in _OPEN

    def error(self, kind: str, request: Request) -> Answer:
        """Who has no session is told that there is nothing."""
        if request.path in {"/currentDb", "/account/authenticated"}:
            return Answer(401, "")
        return Answer(404, {"error": "\nError\n    at module.exports [as handle] (<server>/helpers/checkAuth.js:9:11)"})

    def _login(self, request: Request) -> Answer:
        body = request.json()
        if body.get("dbId") not in {DATABASE, "saas"}:
            return Answer(500, {"error": "Cannot read properties of undefined (reading 'findOne')\nTypeError: Cannot read"})
        is_known = (body.get("login"), body.get("pass")) == (LOGIN, self.password)
        session = self.tokens.exchange() if self.tokens is not None and is_known else None
        if session is None:
            return Answer(
                400, {"error": "Incorrect Username or Password\nError: Incorrect Username or Password\n    at <server>"}
            )
        headers = {"Content-Type": "text/plain; charset=utf-8", "Set-Cookie": f"pwd={session}; Path=/; HttpOnly"}
        return Answer(200, "OK", headers)

    def _stages(self, request: Request) -> dict[str, Any]:
        if request.arg("id") == "Leads":
            return {"data": [{"_id": f"lead-{name}", "name": name.title(), "status": status} for name, status in STATUS.items()]}
        if request.arg("id") != "Opportunities":
            return {"data": []}
        stages = self.crm.kinds["stages"].after(None, _EVERYTHING)
        return {"data": [stage_document(stage, self.renamed) for stage in stages]}

    def _campaigns(self, request: Request) -> dict[str, Any]:
        found = self.crm.kinds["campaigns"].after(None, _EVERYTHING)
        return {"data": [{"_id": one.id, "sequence": at, "name": one.values.get("name")} for at, one in enumerate(found)]}

    def _list(self, request: Request) -> Answer | dict[str, Any]:
        listed = LISTS[request.path]
        if request.arg("contentType") != listed.content_type:
            return Answer(manner="hang") if request.path == "/invoice/" else {"total": 0, "data": []}
        start = self._filtered_from(request)
        if start is not None and not listed.has_modified:
            return {"total": 0, "data": []}
        found = [one for one in self.crm.kinds[listed.kind].changed(start, None, None, _EVERYTHING) if listed.shows(one)]
        if request.arg("sort[editedBy.date]") != "1":
            found.reverse()
        count = int(request.arg("count")) if request.arg("count").isdigit() else 100
        first = (int(request.arg("page", "1")) - 1) * count
        page = found[first : first + count]
        total = len(found) if page or listed.keeps_total else 0
        return {"total": total, "data": [{**self._document(LISTED[request.path], one), "total": total} for one in page]}

    def _filtered_from(self, request: Request) -> datetime | None:
        """The filter's beginning: the start of a day where the server stands; of a nonsense date none."""
        if request.arg("filter[m][backend][key]") != "editedBy.date":
            return None
        try:
            day = datetime.fromisoformat(request.arg("filter[m][value][]")).replace(tzinfo=UTC)
        except ValueError:
            return None
        return day.astimezone(self.zone).replace(hour=0, minute=0, second=0, microsecond=0)

    def _form(self, request: Request) -> Answer | dict[str, Any]:
        native_id = request.match["id"]
        if len(native_id) != 24:
            return Answer(500, {"error": f"Cast to ObjectId failed for value \"{{ _id: '{native_id}' }}\"\n    at <server>"})
        for kind in ("deals", "leads"):  # one collection: a converted lead is a deal
            record = self.crm.kinds[kind].get(native_id)
            if record is not None and record.deleted_at is None:
                return self._document(FORMS["/opportunities/" if kind == "deals" else "/leads/"], record)
        return Answer(200, "")

    def _document(self, write: Callable[[Record, Crm], dict[str, Any]], record: Record) -> dict[str, Any]:
        return shown(write(record, self.crm), self.hidden, record.kind)


def _object_id(kind: str, number: int) -> str:
    """As MongoDB makes them: 24 hexadecimal digits."""
    return f"57ce{KINDS.index(kind):04x}{number:016x}"
