"""A server that behaves like Divalto weavy's Data API: a login for twelve hours, the Dictionary, Select over tables.

What the vendor's public pages leave open is a switch: the shape of answers, the zone of ``srvDate``, the mark of deleted rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

from kpid.clock import Clock
from kpid.testing.api import Answer, Request
from kpid.testing.crm import Crm, Kind, Record
from kpid.testing.vendor import Tokens, VendorApi
from kpid.testing.weavy_tables import PICK_LISTS, SYSTEM, TABLES, fields_of, row_of

PROJECT, USER, PASSWORD = "example", "kpid@example.com", "weavy-password-fake-1"
JWT = "eyJ0eXAiOiJKV1QifQ."
LETTERS = {
    "users": "U",
    "accounts": "C",
    "contacts": "K",
    "deals": "D",
    "stages": "S",
    "leads": "L",
    "tickets": "I",
    "orders": "O",
    "calls": "E",
    "lines": "N",
    "products": "P",
}
_MANY = 10**9


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a question's filters say of code and time, as far as they narrow it down; the rest is looked at row by row.

    Args:
        named: codes of which the row's has to be one.
        after: the row's code is greater.
        start: changed at this instant or later.
        end: changed before this instant.
        enough: so many rows in the order of codes answer the question; None: not known.
        skipped: so many rows in the order of codes are not wanted.
    """

    named: frozenset[str] | None = None
    after: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    enough: int | None = None
    skipped: int = 0


class FakeWeavy(VendorApi):
    """One project's API.

    Attributes:
        shape: whether Select answers with a bare array, or with an object of rows and total.
        zone: in which ``srvDate`` is written and compared.
        deleted_attrib: the ``srvAttrib`` of deleted rows.
        cap: rows that an answer holds at most, whatever is asked.
        ignores_order: operators on the code are ignored, as an older server might.
        password_expires: told at login.
        own: fields of the company's own: table -> field -> code -> value.
    """

    def __init__(self, crm: Crm | None = None, *, clock: Clock | None = None, strict_limits: bool = True) -> None:
        super().__init__(crm, clock=clock, strict_limits=strict_limits)
        self.tokens: Tokens = Tokens(self._true_clock, life_s=43_200)
        self.shape: Literal["array", "rows"] = "array"
        self.zone = ZoneInfo("UTC")
        self.deleted_attrib = 1
        self.cap = 1000
        self.ignores_order = False
        self.password_expires = self.clock.now() + timedelta(days=70)
        self.own: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.route("POST", "/v1/Authenticate", self._authenticate)
        self.route("GET", f"/v1/Dictionary/{PROJECT}", lambda _: [{"entityName": name} for name in self._tables()])
        self.route("GET", f"/v1/Dictionary/{PROJECT}/(?P<table>[^/]+)", self._dictionary)
        self.route("POST", f"/v1/Data/{PROJECT}/Select", self._select)

    def empty_crm(self, clock: Clock) -> Crm:
        """With codes like ``D000123``."""
        return Crm(clock, ids=lambda kind, number: f"{LETTERS.get(kind, 'X')}{number:06d}")

    def needs_token(self, request: Request) -> bool:
        """All but the login."""
        return request.path != "/v1/Authenticate"

    def token_of(self, request: Request) -> str:
        """The bearer token without what makes it look like a JWT."""
        return super().token_of(request).removeprefix(JWT)

    def scope_of(self, request: Request) -> str | None:
        """Tables are named in the path or in the question."""
        if request.path.endswith("/Select"):
            table = str(request.json().get("entityName"))
            return table if table in self.forbidden else None
        return super().scope_of(request)

    # -- what it answers -----------------------------------------------------------------------------------------------------

    def _tables(self) -> list[str]:
        return [name for name in (*TABLES, "generictype") if (name, "") not in self.hidden]

    def _authenticate(self, request: Request) -> Answer:
        told = request.json() or {}
        wanted = {"scope": "API", "projectCode": PROJECT, "userName": USER, "password": PASSWORD}
        token = self.tokens.exchange() if told == wanted else None
        if token is None:
            return Answer(401, {"message": "Authentication failed"})
        times = {"generatedTimeUTC": self.clock.now(), "passwordExpiryUTC": self.password_expires}
        texts = {name: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") for name, at in times.items()}
        return Answer(200, {"authToken": JWT + token, "expiresIn": 43_200, **texts})

    def _dictionary(self, request: Request) -> Answer:
        table = request.match["table"]
        if table not in self._tables():
            return Answer(404, {"message": "unknown entity"})
        fields = [
            {"fieldName": name, "fieldType": "string", "fieldLength": 50, "translations": []} for name in self._fields(table)
        ]
        return Answer(200, {"entityName": table, "translations": [], "fields": fields})

    def _fields(self, table: str) -> list[str]:
        return [name for name in (*fields_of(table), *self.own.get(table, ())) if (table, name) not in self.hidden]

    def _select(self, request: Request) -> Answer:
        told = request.json()
        table = str(told["entityName"])
        if table not in self._tables():
            return Answer(404, {"message": "unknown entity"})
        names = [field["fieldName"] for field in told.get("returnFields", ())]
        used = [told_["fieldName"] for told_ in (*told.get("filterFields", ()), *told.get("sortFields", ()))]
        unknown = {*names, *used} - {*self._fields(table), *SYSTEM}
        if unknown:
            return Answer(400, {"message": f"unknown field {', '.join(sorted(unknown))}"})
        attrib = int(told.get("srvAttrib", 0))
        bounds = self._bounds(told, f"code{table}")
        rows = [
            row for row in self._candidates(table, told, bounds) if row.get("srvAttrib", 0) == attrib and self._holds(told, row)
        ]
        for order in reversed(told.get("sortFields", ())):
            rows.sort(key=lambda row: str(row[order["fieldName"]] or ""), reverse=order["sortOrder"] == "Descending")
        offset, limit = int(told.get("offset", 0)) - bounds.skipped, min(int(told.get("limit", 1000)), self.cap)
        shown = [{name: row[name] for name in names} for row in rows[offset : offset + limit]]
        return Answer(200, shown if self.shape == "array" else {"rows": shown, "totalCount": len(rows)})

    def _candidates(self, table: str, told: Mapping[str, Any], bounds: _Bounds) -> Iterable[dict[str, Any]]:
        """Rows among which all are that the filters let through: in a large table only those that they point to."""
        if table == "generictype":
            columns = ("codegenerictype", "dataType", "label")
            return [{**dict(zip(columns, found, strict=True)), "originalCode": found[0], "srvAttrib": 0} for found in PICK_LISTS]
        kind = self.crm.kinds[TABLES[table].kind]
        own, gone = self.own.get(table, {}), bool(told.get("srvAttrib"))
        return [
            row_of(table, record, self.zone, self.deleted_attrib) | {name: values.get(record.id) for name, values in own.items()}
            for record in _found(kind, bounds, gone=gone)[bounds.skipped :]
        ]

    def _bounds(self, told: Mapping[str, Any], code: str) -> _Bounds:
        """Of filters that all have to hold; for any others nothing is narrowed down."""
        filters, groups = told.get("filterFields", ()), told.get("filterGroups", ())
        kinds = {group.get("groupLogicalOperator") for group in groups}
        if kinds == {"OR"} and all((one["fieldName"], one["operator"]) == (code, "Equal") for one in filters):
            return _Bounds(named=frozenset(value for one in filters for value in one["filterValues"]))
        if kinds - {"AND"}:
            return _Bounds()
        orders = [order["fieldName"] for order in told.get("sortFields", ())]
        offset = int(told.get("offset", 0))
        enough = offset + min(int(told.get("limit", 1000)), self.cap) if orders == [code] else None
        by = {(one["fieldName"], one["operator"]): one["filterValues"][0] for one in filters}
        after = None if self.ignores_order else by.get((code, "GreaterThan"))
        start, end = by.get(("srvDate", "GreaterThanOrEqual")), by.get(("srvDate", "LessThan"))
        known = {(code, "GreaterThan"), ("srvDate", "GreaterThanOrEqual"), ("srvDate", "LessThan")}
        enough = None if by.keys() - known or self.shape == "rows" else enough  # the shape with rows tells their number
        skipped = 0 if start or end or enough is None or told.get("srvAttrib") or code == "codegenerictype" else offset
        return _Bounds(None, after, start and self._instant(start), end and self._instant(end), enough, skipped)

    def _instant(self, text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=self.zone).astimezone(UTC)

    def _holds(self, told: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        truths = {one["filterKey"]: self._is_true(one, row) for one in told.get("filterFields", ())}
        for group in told.get("filterGroups", ()):
            holds = any if group["groupLogicalOperator"] == "OR" else all
            truths = {**truths, group["groupKey"]: holds(truths[key] for key in group["filterKeys"])}
        last = told.get("filterGroups", ())
        return truths[last[-1]["groupKey"]] if last else all(truths.values())

    def _is_true(self, one: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        if self.ignores_order and one["fieldName"].startswith("code"):
            return True
        held, values = str(row[one["fieldName"]] or ""), one["filterValues"]
        match one["operator"]:
            case "Equal":
                return bool(held in values)
            case "GreaterThan":
                return bool(held > values[0])
            case "GreaterThanOrEqual":
                return bool(held >= values[0])
            case "LessThan":
                return bool(held < values[0])
        raise AssertionError(f"the fake knows no operator {one['operator']}")


def _found(kind: Kind, bounds: _Bounds, *, gone: bool) -> Sequence[Record]:
    """Records in the order of their codes, all deleted (``gone``) or all living; more than asked for, never fewer."""
    if bounds.named is not None:
        return [record for code in sorted(bounds.named) if (record := kind.get(code)) is not None]
    if bounds.start is None and bounds.end is None and not gone:
        return kind.after(bounds.after, _MANY if bounds.enough is None else bounds.enough)
    records = kind.changed(bounds.start, bounds.end, None, _MANY, gone=gone)
    shown = [record for record in records if (record.deleted_at is not None) == gone and record.id > (bounds.after or "")]
    return sorted(shown, key=attrgetter("id"))[: bounds.enough]
