"""The Web API of one environment: addresses, headers, pages, batches, what errors mean. Rows are made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from kpid.plugin import (
    AuthError,
    ConnectorError,
    HttpFailure,
    KpidError,
    OAuth,
    RateLimit,
    Response,
    SourceContext,
    dig,
)  # fmt: skip
from kpid_dynamics365.batch import CONTENT_TYPE, Part, parts_of, request_body
from kpid_dynamics365.faults import meaning, no_table, refusal, refused_login
from kpid_dynamics365.settings import DynamicsSettings
from kpid_dynamics365.tables import KINDS, STAGES, TIMES, USERS, Kind, attribute
from kpid_dynamics365.values import FORMATTED, LOGICAL

ROOT = "/api/data/v9.2"
PARTS = 100
"""Reads in one batch; the service takes a thousand."""
PER_FILTER = 30
"""Ids in one filter: long addresses are refused."""
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
BATCH_TRIES = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What the metadata say of a table.

    Args:
        tracked: its changes are tracked.
        select: the columns of ours that it has.
        absent: the columns of ours that it does not have, though every environment should.
        reasons: what its status reasons are called, where this was asked for.
    """

    tracked: bool
    select: tuple[str, ...]
    absent: tuple[str, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A page: its rows, the link to the next one, and on the last page of a tracked read the link to what changes later."""

    records: Sequence[Mapping[str, Any]]
    next: str | None = None
    delta: str | None = None


class Endpoints:
    """One environment.

    Args:
        settings: address, credentials, limits.
        context: clock and name.
    """

    def __init__(self, settings: DynamicsSettings, context: SourceContext) -> None:
        self._settings = settings
        self._clock = context.clock
        self._asked = ""
        self._found: dict[str, Found] = {}
        self._date: datetime | None = None
        base = settings.base_url.rstrip("/").removesuffix(ROOT)
        self._prefix = urlsplit(base).path
        self._login = settings.client(context, vendor="entra", account=settings.client_id, base_url=settings.login_url)
        path, grant = f"/{settings.tenant}/oauth2/v2.0/token", settings.grant(context)
        auth = OAuth(self._login, path, grant, clock=context.clock, refused=self._refused)
        self.http = settings.client(
            context,
            vendor="dynamics365",
            account=base,
            base_url=base,
            auth=auth,
            limits=[RateLimit(settings.requests_per_minute, 60.0)],
            headers={"OData-Version": "4.0", "OData-MaxVersion": "4.0", "Accept": "application/json"},
            error_hook=self._meaning,
        )

    def _refused(self, response: Response) -> AuthError | None:
        return refused_login(response, self._login.name)

    def _meaning(self, response: Response) -> KpidError | None:
        return meaning(response, self._asked, self.http.name)

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()
        self._login.close()

    # -- pages ---------------------------------------------------------------------------------------------------------------

    def read(self, link: str, kind: Kind | None = None, *, tracked: bool = False) -> Iterator[Batch]:
        """The page behind an address and the ones that follow it. Links are sent back as they came, with the same ``Prefer``.

        Args:
            link: the address.
            kind: the table, if rows are made of what is read: then it comes with what lookups refer to, and with labels.
            tracked: begin to track changes.
        """
        parts = ("odata.track-changes" if tracked else "", f"odata.maxpagesize={self._settings.page_size}", self._wanted(kind))
        headers = {"Prefer": ",".join(filter(None, parts))}
        following: str | None = link
        self._asked = _set_of(link)
        while following is not None:
            body = self.http.get(following, headers=headers).json()
            records = dig(body, "value")
            if not isinstance(body, dict) or not isinstance(records, list):
                raise ConnectorError("the answer has no list of rows", where=self.http.name)
            given = body.get("@odata.nextLink")
            if given is not None and given == following:
                raise ConnectorError("the link to the next page leads to the same page", where=self.http.name)
            following = given
            yield Batch(records, following, body.get("@odata.deltaLink"))

    def _wanted(self, kind: Kind | None) -> str:
        """What ``Prefer`` says of annotations: each is told of every column, and the labels are half of an answer."""
        if kind is None:
            return ""
        labels = kind.labels or (kind.reasons and not self.found(kind).reasons)
        return _annotations(LOGICAL, FORMATTED) if labels else _annotations(LOGICAL)

    def address(self, kind: Kind, select: Sequence[str], **options: str) -> str:
        """The address of a table with its query."""
        asked = {"select": ",".join(select), **options}
        return f"{ROOT}/{kind.set}?" + "&".join(f"${name}={quote(value, safe=',')}" for name, value in asked.items())

    def whole(self, path: str) -> Iterator[Mapping[str, Any]]:
        """All rows of a small table."""
        for batch in self.read(f"{ROOT}/{path}"):
            yield from batch.records

    def try_out(self, path: str) -> None:
        """Read a single row of a table.

        Raises:
            SchemaError: it may not be read, or is not there.
        """
        next(self.read(f"{ROOT}/{path}?$top=1"))

    def count(self, kind: Kind) -> int | None:
        """How many rows a table has; above 5,000 the service does not count."""
        self._asked = kind.set
        body = self.http.get(self.address(kind, (kind.key,), top="1", count="true")).json()
        count = body.get("@odata.count") if isinstance(body, dict) else None
        return count if isinstance(count, int) and 0 <= count < 5000 else None

    # -- batches -------------------------------------------------------------------------------------------------------------

    def batch(self, addresses: Sequence[str], prefer: str = "") -> Iterator[Part]:
        """The answers to many reads. A read that the service had no time for makes its batch be asked again."""
        for start in range(0, len(addresses), PARTS):
            yield from self._batch(addresses[start : start + PARTS], prefer)

    def _batch(self, addresses: Sequence[str], prefer: str) -> list[Part]:
        headers = (("Accept", "application/json"), *((("Prefer", prefer),) if prefer else ()))
        body = request_body([f"{self._prefix}{address}" for address in addresses], headers)
        for attempt in range(BATCH_TRIES):
            answer = self.http.request("POST", f"{ROOT}/$batch", data=body, headers={"Content-Type": CONTENT_TYPE}, parse=False)
            self._date = answer.date or self._date
            try:
                parts = parts_of(answer.content, answer.headers.get("Content-Type", ""), len(addresses))
            except ValueError:
                parts = []
            if parts and all(part.status not in TRANSIENT for part in parts):
                return parts
            self._clock.sleep(2.0**attempt)
        raise HttpFailure("the answer to a batch of reads is not complete", transient=True, where=self.http.name)

    def by_id(self, kind: Kind, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Rows by id; those that are gone are left out."""
        select = ",".join((kind.key, *self.found(kind).select))
        addresses = [f"{ROOT}/{kind.set}({quote(id_, safe='')})?$select={select}" for id_ in ids]
        for part in self.batch(addresses, self._wanted(kind)):
            if part.status == 200 and isinstance(part.body, dict):
                yield part.body
            elif part.status != 404:
                raise self._part_error(part, kind.set)

    def belonging(
        self, path: str, reference: str, ids: Sequence[str], select: str, *, labels: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        """Rows of a table that refer to one of ``ids``; ``labels``: with the names of what they refer to.

        Raises:
            SchemaError: the table may not be read, or is not there.
        """
        test = f"{reference}%20eq%20"
        chunks = [quote(",".join(ids[start : start + PER_FILTER]), safe=",") for start in range(0, len(ids), PER_FILTER)]
        filters = [test + chunk.replace(",", f"%20or%20{test}") for chunk in chunks]
        addresses = [f"{ROOT}/{path}?$select={select}&$filter={told}" for told in filters]
        for part in self.batch(addresses, _annotations(FORMATTED) if labels else ""):
            if part.status != 200 or not isinstance(part.body, dict):
                raise self._part_error(part, path)
            yield from part.body.get("value", ())

    def _part_error(self, part: Part, name: str) -> KpidError:
        if part.status == 404:
            return no_table(name, self.http.name)
        if part.status == 403:
            return refusal(dig(part.body, "error.code"), name, self.http.name)
        return HttpFailure(f"a read of {name} in a batch was answered {part.status}", status=part.status, where=self.http.name)

    # -- metadata ------------------------------------------------------------------------------------------------------------

    def server_time(self) -> datetime | None:
        """The service's clock, from the answer about the metadata."""
        self._look_up()
        return self._date

    def found(self, kind: Kind) -> Found:
        """What the environment says of a table.

        Raises:
            SchemaError: there is no such table.
        """
        self._look_up()
        if kind.logical not in self._found:
            raise no_table(kind.logical, self.http.name)
        return self._found[kind.logical]

    def _look_up(self) -> None:
        if self._date is not None or self._found:
            return
        kinds = [(entity, kind) for entity in KINDS if entity in self._settings.entities for kind in self._settings.kinds(entity)]
        kinds += [("users", USERS), ("pipelines", STAGES)]
        expand = quote("Attributes($select=LogicalName)", safe="$(),=")
        definitions = [
            f"{ROOT}/EntityDefinitions(LogicalName='{kind.logical}')?$select=LogicalName,ChangeTrackingEnabled&$expand={expand}"
            for _, kind in kinds
        ]
        reasoned = [kind.logical for _, kind in kinds if kind.reasons and not kind.labels]
        told = list(self.batch([*definitions, *map(_reasons, reasoned)]))
        reasons = dict(zip(reasoned, map(_named, told[len(kinds) :]), strict=True))
        for (entity, kind), part in zip(kinds, told, strict=False):
            if part.status == 404:
                continue
            before = self._found.get(kind.logical, Found(True, (), ()))  # campaigns fill two entities
            own = self._settings.fields.get(entity, {}).values()
            wanted = tuple(dict.fromkeys((*kind.columns, *TIMES, *own, *before.select, *before.absent, *kind.perhaps)))
            body = part.body if part.status == 200 and isinstance(part.body, dict) else {}
            known = {str(found.get("LogicalName")) for found in body.get("Attributes", ())}
            absent = tuple(name for name in wanted if known and attribute(name) not in known)
            unsure = set() if known else set(kind.perhaps)  # what is there was not told
            select = tuple(name for name in wanted if name not in absent and name not in unsure)
            missed = tuple(name for name in absent if name not in kind.perhaps)
            tracked = body.get("ChangeTrackingEnabled", True) is True
            self._found[kind.logical] = Found(tracked, select, missed, reasons.get(kind.logical, {}))

    def attributes(self, kind: Kind) -> list[str]:
        """The names of all columns of a table."""
        path = f"{ROOT}/EntityDefinitions(LogicalName='{kind.logical}')?$expand=Attributes($select=LogicalName)"
        part = next(self.batch([path]))
        return [str(dig(found, "LogicalName")) for found in dig(part.body, "Attributes") or ()]


def choice(table: str, column: str, kind: str = "Picklist") -> str:
    """Where the metadata tell the values of a choice."""
    path = f"{ROOT}/EntityDefinitions(LogicalName='{table}')/Attributes(LogicalName='{column}')"
    return f"{path}/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$select=LogicalName&$expand=OptionSet($select=Options)"


def options(body: Any) -> list[tuple[Any, str]]:
    """The values of a choice, with their labels."""
    found = dig(body, "OptionSet.Options") or ()
    return [(one.get("Value"), str(dig(one, "Label.UserLocalizedLabel.Label") or one.get("Value"))) for one in found]


def _reasons(table: str) -> str:
    return choice(table, "statuscode", "Status")


def _named(part: Part) -> Mapping[int, str]:
    return dict(options(part.body)) if part.status == 200 else {}


def _annotations(*names: str) -> str:
    return f'odata.include-annotations="{",".join(names)}"'


def _set_of(link: str) -> str:
    """The table that an address leads to."""
    found = re.search(r"/v\d+\.\d+/([A-Za-z_]+)", link)
    return found[1] if found else "a table"


def window(start: datetime, end: datetime | None) -> str:
    """The filter for what changed from ``start`` on, and before ``end``."""
    before = "" if end is None else f" and modifiedon lt {_instant(end + timedelta(microseconds=999_999))}"
    return f"modifiedon ge {_instant(start)}{before}"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
