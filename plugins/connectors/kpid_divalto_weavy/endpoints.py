"""Divalto weavy's endpoints: login, Dictionary, Select, paging, errors. Rows are made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, TypeAlias
from urllib.parse import quote

from kpid.plugin import AuthError, ConnectorError, KpidError, RateLimit, Response, SchemaError, SessionAuth, SourceContext
from kpid_divalto_weavy.settings import WeavySettings
from kpid_divalto_weavy.tables import code_of

Record: TypeAlias = Mapping[str, Any]
Place: TypeAlias = Mapping[str, Any]
Filter: TypeAlias = tuple[str, str, str]
"""Field, operator, value."""

LIFE = timedelta(hours=12) - timedelta(minutes=4)
"""A token holds twelve hours; it is renewed five minutes before."""
ANCHORS = 10
"""With offsets, each page begins again with the last rows of the one before: so it shows when rows have moved."""
NAMED = 50
"""Codes per question by code."""
SHAPES = ("rows", "data", "items", "result")
TOTALS = ("totalCount", "total", "totalRows", "rowCount", "count")
MOST = 2**30
"""No table has so many rows: a server that shows one there does not look at offsets."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, and where to go on; ``place`` is None at the end."""

    records: Sequence[Record]
    place: Place | None


class _AbsentError(SchemaError):
    """The server knows no such table."""


class Weavy:
    """One project's Data API.

    Args:
        settings: address, credentials, page size.
        context: clock and name.
    """

    def __init__(self, settings: WeavySettings, context: SourceContext) -> None:
        self._settings = settings
        self._project = quote(settings.project, safe="")
        self._fields: dict[str, frozenset[str]] = {}
        self._asking = ""
        self.password_expires: datetime | None = None
        """Told by the login; None before, or if it is not told."""
        self.server_now: datetime | None = None
        """The server's clock at the last look into the Dictionary."""
        secret = settings.password.get_secret_value()
        account = f"{settings.base_url} {settings.project} {settings.user}"
        self._login = settings.client(
            context, vendor="divalto_weavy login", account=account, secrets=(secret,), error_hook=self._refused_login
        )
        self.http = settings.client(
            context,
            vendor="divalto_weavy",
            account=account,
            auth=SessionAuth(self._log_in, context.clock, LIFE, secrets=[settings.password]),
            limits=[RateLimit(settings.requests_per_10s, 10.0)],
            error_hook=self._refused,
        )

    def close(self) -> None:
        """Let go of connections."""
        self._login.close()
        self.http.close()

    # -- login ---------------------------------------------------------------------------------------------------------------

    def _log_in(self) -> Mapping[str, str]:
        settings = self._settings
        told = {"scope": "API", "projectCode": settings.project, "userName": settings.user}
        answer = self._login.post("/v1/Authenticate", json={**told, "password": settings.password.get_secret_value()}).json()
        token = answer.get("authToken") if isinstance(answer, Mapping) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            raise AuthError("the login gave no token", where=self.http.name, hint="Check base_url, project and user")
        expires = answer.get("passwordExpiryUTC")
        with suppress(TypeError, ValueError):
            self.password_expires = datetime.fromisoformat(expires).replace(tzinfo=UTC)
        return {"Authorization": f"Bearer {token}"}

    def _refused_login(self, response: Response) -> KpidError | None:
        if response.status not in {400, 401, 403, 404}:
            return None
        settings = self._settings
        return AuthError(
            f"Divalto weavy refused the login of {settings.user} to the project {settings.project} ({response.status})",
            where=self._login.name,
            hint="Check project, user and password (it may have expired), and that the user is an API account",
        )

    def _refused(self, response: Response) -> KpidError | None:
        """A table that is not there or may not be read ends its entity, not the whole source."""
        where, table = self.http.name, self._asking
        if response.status == 404:
            return _AbsentError(f"the project {self._settings.project} has no table {table}", where=where)
        if response.status == 403:
            hint = f"Give {self._settings.user} the right to read {table}, or leave the entity out of `entities`"
            return SchemaError(f"the user may not read the table {table}", where=where, hint=hint)
        return None

    # -- what there is -------------------------------------------------------------------------------------------------------

    def fields(self, table: str) -> frozenset[str]:
        """The fields of a table, as the Dictionary tells them; asked once."""
        if table not in self._fields:
            self._asking = table
            try:
                response = self.http.get(f"/v1/Dictionary/{self._project}/{quote(table, safe='')}")
            except _AbsentError as error:
                raise SchemaError(error.what, where=self.http.name, hint=self._near(table)) from error
            self.server_now = response.date or self.server_now
            told = response.json()
            fields = told.get("fields") if isinstance(told, Mapping) else None
            if not isinstance(fields, list):
                raise SchemaError(f"the Dictionary does not tell the fields of {table}", where=self.http.name)
            self._fields[table] = frozenset(_names(fields, "fieldName"))
        return self._fields[table]

    def tables(self) -> list[str]:
        """The tables of the project, as far as the Dictionary lists them."""
        self._asking = "(all)"
        told = self.http.get(f"/v1/Dictionary/{self._project}").json()
        return _names(rows_in(told, self.http.name), "entityName")

    def _near(self, table: str) -> str:
        known: list[str] = []
        with suppress(ConnectorError):  # how the list is told is not documented
            known = self.tables()
        near = get_close_matches(table, known, n=3, cutoff=0.4)
        return "Name the right one in `tables`" + (f": perhaps {', '.join(near)}" if near else "")

    # -- rows ----------------------------------------------------------------------------------------------------------------

    def read(
        self,
        table: str,
        names: Sequence[str],
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        place: Place | None = None,
        attrib: int | None = None,
    ) -> Iterator[Batch]:
        """Rows in the order of their codes, page by page from ``place`` on; the last page is empty.

        Args:
            table: the vendor's name.
            names: fields; the code comes with them.
            start: changed at this instant or later.
            end: changed before this instant.
            place: of an earlier batch.
            attrib: rows with this ``srvAttrib``; None: living ones.
        """
        filters = [("srvDate", "GreaterThanOrEqual", _text(start))] if start else []
        filters += [("srvDate", "LessThan", _text(end))] if start and end else []
        by = self._by_offset if self._settings.paging == "offset" else self._by_key
        yield from by(table, names, filters, place or {}, attrib)

    def named(self, table: str, names: Sequence[str], codes: Sequence[str]) -> Iterator[Batch]:
        """Living rows with these codes."""
        code = code_of(table)
        for first in range(0, len(codes), NAMED):
            some = codes[first : first + NAMED]
            rows = self._select(table, names, [(code, "Equal", value) for value in some], operator="OR")
            yield Batch([row for row in rows if str(row[code]) in set(some)], None)

    def first(self, table: str) -> Sequence[Record]:
        """The smallest question that shows whether a table may be read."""
        return self._select(table, [], [], limit=1)

    def count(self, table: str, only: Sequence[Filter] = ()) -> int | None:
        """How many living rows there are (of which one of ``only`` holds), as the server tells; None if it does not.

        An answer may tell a total. Else it is found by offsets, which rows by code do not go by: is there a row behind so many?
        """
        answer = self._answer(table, [], only, operator="OR", limit=1)
        if not rows_in(answer, self.http.name):
            return 0
        told = next((answer[name] for name in TOTALS if name in answer), None) if isinstance(answer, Mapping) else None
        if isinstance(told, int) and told > 1:
            return told

        def is_there(offset: int) -> bool:
            return bool(rows_in(self._answer(table, [], only, operator="OR", offset=offset, limit=1), self.http.name))

        low, high = 0, self._settings.page_size
        while is_there(high):
            low, high = high, high * 4
            if high > MOST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_there(middle) else (low, middle)
        return high

    def _by_key(
        self, table: str, names: Sequence[str], filters: Sequence[Filter], place: Place, attrib: int | None
    ) -> Iterator[Batch]:
        """By the last code: rows that come or go meanwhile move nothing."""
        code, after = code_of(table), place.get("after")
        while True:
            beyond = [(code, "GreaterThan", after)] if after is not None else []
            rows = self._select(table, names, [*filters, *beyond], attrib=attrib)
            if not rows:
                yield Batch([], None)
                return
            if after in (codes := [str(row[code]) for row in rows]):
                text = f"the pages of {table} stand still at {after}: the server does not compare codes"
                raise SchemaError(text, where=self.http.name, hint="Set `paging: offset`")
            after = codes[-1]
            yield Batch(rows, {"after": after})

    def _by_offset(
        self, table: str, names: Sequence[str], filters: Sequence[Filter], place: Place, attrib: int | None
    ) -> Iterator[Batch]:
        """By offset. Rows that go meanwhile move others to the front: if no row of the last page is met again, back we go."""
        code, size = code_of(table), self._settings.page_size
        offset, anchors = int(place.get("offset", 0)), list(place.get("anchors", ()))
        while True:
            rows = self._select(table, names, filters, offset=offset, attrib=attrib)
            codes = [str(row[code]) for row in rows]
            if offset and not set(anchors) & set(codes):
                offset = max(0, offset - size + ANCHORS)
            elif set(codes) <= set(anchors):
                yield Batch(rows, None)
                return
            else:
                anchors = codes[-ANCHORS:]
                offset = max(0, offset + len(codes) - ANCHORS)
                yield Batch(rows, {"offset": offset, "anchors": anchors})

    def _select(
        self,
        table: str,
        names: Sequence[str],
        filters: Sequence[Filter],
        *,
        operator: str = "AND",
        offset: int = 0,
        limit: int | None = None,
        attrib: int | None = None,
    ) -> list[Record]:
        answer = self._answer(table, names, filters, operator=operator, offset=offset, limit=limit, attrib=attrib)
        rows, code = rows_in(answer, self.http.name), code_of(table)
        if not all(isinstance(row, Mapping) and row.get(code) not in {None, ""} for row in rows):
            raise SchemaError(f"rows of {table} have no {code}", where=self.http.name)
        return rows

    def _answer(
        self,
        table: str,
        names: Sequence[str],
        filters: Sequence[Filter],
        *,
        operator: str = "AND",
        offset: int = 0,
        limit: int | None = None,
        attrib: int | None = None,
    ) -> Any:
        code, settings = code_of(table), self._settings
        keys = [f"f{number}" for number in range(len(filters))]
        question = {
            "entityName": table,
            "limit": limit or settings.page_size,
            "offset": offset,
            "returnFields": [{"fieldName": name} for name in dict.fromkeys((code, *names))],
            "sortFields": [{"fieldName": code, "sortOrder": "Ascending"}],
        }
        if filters:
            question["filterFields"] = [
                {"filterKey": key, "fieldName": name, "operator": how, "filterValues": [value]}
                for key, (name, how, value) in zip(keys, filters, strict=True)
            ]
            question["filterGroups"] = [{"groupKey": "g", "groupLogicalOperator": operator, "filterKeys": keys}]
        if attrib is not None:
            question["srvAttrib"] = attrib
        if settings.company:
            question["companyCode"] = settings.company
        self._asking = table
        return self.http.post(f"/v1/Data/{self._project}/Select", json=question).json()


def rows_in(answer: Any, where: str) -> list[Any]:
    """The rows of an answer: it is a list, or an object that holds one (both are in use; the vendor documents neither)."""
    if isinstance(answer, list):
        return answer
    if isinstance(answer, Mapping):
        for name in SHAPES:
            if isinstance(answer.get(name), list):
                return list(answer[name])
    kind = f"an object of {', '.join(sorted(map(str, answer))[:8])}" if isinstance(answer, Mapping) else "no list"
    hint = f"Lists are known, and objects with {', '.join(SHAPES)}"
    raise SchemaError(f"an answer holds no list of rows: it is {kind}", where=where, hint=hint)


def _names(told: Sequence[Any], key: str) -> list[str]:
    return [str(one[key]) if isinstance(one, Mapping) else str(one) for one in told if not isinstance(one, Mapping) or key in one]


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
