"""A fake of Shelf, a bench on it, and the contract that every connector must keep: all the tests by one import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import pytest
from kpid_shelf import COLUMNS, ShelfConnector, ShelfSettings

from kpid.testing import Answer, ConnectorContract, CrmBench, FakeClock, Request, StoredContract, VendorApi, WalkContract
from kpid.testing.crm import Record
from kpid.testing.vendor import Tokens

TOKEN = "access-fake-1"
"""The first that a fake gives."""
PAGE = 60


class FakeShelf(VendorApi):
    """What the vendor's server does, as far as the connector uses it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.tokens = Tokens(clock)
        self.tokens.exchange()
        self.route("GET", "/hello", lambda request: {})
        for kind in COLUMNS:
            self.route("GET", f"/{kind}", lambda request, kind=kind: self._changed(kind, request))
            self.route("GET", f"/{kind}/gone", lambda request, kind=kind: self._gone(kind, request))
            self.route("GET", f"/{kind}/ids", lambda request, kind=kind: self._ids(kind, request))
            self.route("GET", f"/{kind}/some", lambda request, kind=kind: self._some(kind, request))

    def error(self, kind: str, request: Request) -> Answer:
        status = {"token": 401, "scope": 403}.get(kind, 429)
        return Answer(status, {"error": kind, "lacks": self.scope_of(request)})

    def _changed(self, kind: str, request: Request) -> dict[str, Any]:
        start, end, after = (at and datetime.fromisoformat(at) for at in map(request.arg, ("from", "to", "after")))
        place = (after, request.arg("id")) if after else None
        found = self.crm.kinds[kind].changed(start or None, end or None, place, PAGE + 1)
        return {"items": [self._shown(record) for record in found[:PAGE]], "more": len(found) > PAGE}

    def _gone(self, kind: str, request: Request) -> dict[str, Any]:
        since = datetime.fromisoformat(request.arg("from")) if request.arg("from") else None
        gone = self.crm.gone(kind, since)
        return {"gone": [{"id": one.id, "at": one.deleted_at.isoformat(), "into": one.merged_into} for one in gone]}

    def _ids(self, kind: str, request: Request) -> dict[str, Any]:
        found = self.crm.kinds[kind].after(request.arg("after") or None, PAGE)
        return {"items": [self._shown(record) for record in found], "count": len(self.crm.kinds[kind])}

    def _some(self, kind: str, request: Request) -> dict[str, Any]:
        found = [self.crm.kinds[kind].get(key) for key in request.arg("ids").split(",")]
        return {"items": [self._shown(record) for record in found if record and not record.deleted_at]}

    def _shown(self, record: Record) -> dict[str, Any]:
        values = {**record.values, "created_at": record.created, "updated_at": record.modified}
        shown = {theirs: _text(values.get(column)) for column, theirs in COLUMNS[record.kind].items()}
        return {"id": record.id, **{name: text for name, text in shown.items() if (record.kind, name) not in self.hidden}}


def _text(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)


class ShelfBench(CrmBench):
    """A shelf, and connectors to it."""

    secrets = (TOKEN,)
    can = frozenset({"merges", "restore", "purge", "scopes", "listing", "count"})
    cap = PAGE
    pages = r"^/deals\?"
    silenced = ("accounts", "/accounts?")
    dropped = ("worth", "amount")
    lived_in: ClassVar[tuple[str, ...]] = ("deals", "deals", "accounts")
    compared: ClassVar[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "accounts": (("accounts",), ("name", "updated_at")),
        "deals": (("deals",), ("name", "state", "stage_id", "amount", "account_id", "created_at", "updated_at")),
    }

    def __init__(self) -> None:
        clock = FakeClock()
        super().__init__(FakeShelf(clock), clock)

    def options(self) -> dict[str, Any]:
        return {"base_url": self.api.url, "token": TOKEN, "allow_private": True, "read_timeout": 0.3}

    def connector(self, **options: Any) -> ShelfConnector:
        return ShelfConnector(ShelfSettings.model_validate({**self.options(), **options}), self.context())

    def revoke(self) -> None:
        self.api.tokens.expire()


class TestShelf(ConnectorContract):
    @pytest.fixture
    def bench(self) -> Iterator[ShelfBench]:
        with ShelfBench() as bench:
            yield bench


class TestShelfStored(StoredContract):
    @pytest.fixture
    def bench(self) -> Iterator[ShelfBench]:
        with ShelfBench() as bench:
            yield bench


class TestShelfLivedIn(WalkContract):
    @pytest.fixture
    def bench(self) -> Iterator[ShelfBench]:
        with ShelfBench() as bench:
            yield bench


def test_a_row_is_written_in_canonical_columns() -> None:
    with ShelfBench() as bench:
        (deal,) = bench.add(1)
        connector = bench.connector()
        (page,) = connector.pages("deals", None, bench.clock.now())
        connector.close()
    (row,) = page.rows["deals"]
    assert (row["native_id"], row["state"], row["currency"]) == (deal, "open", "EUR")
    assert page.through is not None
