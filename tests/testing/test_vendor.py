"""A tiny vendor on the common parts of fakes, a connector to it, and every switch turned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from kpid.plugin import (
    ApiSettings,
    AuthError,
    ClientCredentials,
    Connector,
    Course,
    Cursor,
    DeferredError,
    DeletedPage,
    EntityReads,
    Finding,
    IdPage,
    KpidError,
    OAuth,
    Page,
    RateLimit,
    SchemaError,
    Secret,
    Tombstone,
)  # fmt: skip
from kpid.testing import Answer, ConnectorContract, FakeClock, MemorySync, Request, WalkContract
from kpid.testing.crm import Crm, Record
from kpid.testing.crm_bench import CrmBench
from kpid.testing.vendor import Daily, Limit, Tokens, VendorApi, shown

SECRET = "client-secret-fake-1"
PAGE = 60
OVERLAP = timedelta(minutes=5)


class FakeLedger(VendorApi):
    """One list of deals in the order of (modified, id), a delete log, ids; a token by client credentials."""

    def __init__(self, crm: Crm | None = None, **options: Any) -> None:
        super().__init__(crm, limits=(Limit(50, 10.0, "burst", pause=10),), **options)
        self.tokens = Tokens(self.clock)
        self.daily = Daily(100_000)
        self.route("POST", "/token", self._token)
        self.route("GET", "/deals", self._changed)
        self.route("GET", "/deals/ids", self._ids)
        self.route("GET", "/deals/gone", self._gone)

    def needs_token(self, request: Request) -> bool:
        return request.path != "/token"

    def error(self, kind: str, request: Request) -> Answer:
        headers = {"burst": {"Retry-After": "10"}, "daily": {"Retry-After": "40000"}}.get(kind, {})
        return Answer({"token": 401, "scope": 403}.get(kind, 429), {"message": "no", "code": kind}, headers)

    def _token(self, request: Request) -> Answer:
        token = self.tokens.exchange() if request.form().get("client_secret") == SECRET else None
        return Answer(200, {"access_token": token}) if token else Answer(400, {"error": "invalid_client"})

    def _changed(self, request: Request) -> dict[str, Any]:
        start, end = (datetime.fromisoformat(at) if (at := request.arg(name)) else None for name in ("start", "end"))
        place = (datetime.fromisoformat(request.arg("after")), request.arg("id")) if request.arg("after") else None
        return {"deals": [self._shown(record) for record in self.crm.kinds["deals"].changed(start, end, place, PAGE)]}

    def _shown(self, record: Record) -> dict[str, Any]:
        values = {"Amount": str(record.values.get("amount") or "") or None, "Name": record.values["name"]}
        rest = {name: record.values.get(name) for name in ("stage_id", "state", "account_id", "owner_id")}
        return {"id": record.id, "modified": record.modified.isoformat(), **shown(values, self.hidden, "deals"), **rest}

    def _ids(self, request: Request) -> dict[str, Any]:
        found = self.crm.kinds["deals"].after(request.arg("after") or None, PAGE)
        return {"ids": [[record.id, record.modified.isoformat()] for record in found], "count": len(self.crm.kinds["deals"])}

    def _gone(self, request: Request) -> dict[str, Any]:
        return {"gone": [[record.id, record.deleted_at.isoformat()] for record in self.crm.gone("deals")]}


class LedgerSettings(ApiSettings):
    client_secret: Secret


class LedgerConnector(Connector[LedgerSettings]):
    """Reads the ledger."""

    name = "ledger"
    Settings = LedgerSettings

    def __init__(self, settings, context):
        super().__init__(settings, context)
        login = settings.client(context, vendor="ledger", account="login")
        auth = OAuth(login, "/token", ClientCredentials("kpid", settings.client_secret), clock=context.clock)
        limits = [RateLimit(40, 10.0)]
        self.http = settings.client(context, vendor="ledger", account="a", auth=auth, limits=limits, error_hook=self._error)

    def _error(self, response: Any) -> KpidError | None:
        lacks = response.status == 403 and response.is_json() and response.json().get("code") == "scope"
        return SchemaError("the token may not read deals", hint="Give it the right to") if lacks else None

    def reads(self):
        return [EntityReads("deals", deletes="pass", overlap=OVERLAP, listing=True, by_id=False, counted=True)]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        course = Course(("deals",), cursor, until, overlap=OVERLAP)
        yield from course.still()
        for leg in course.legs():
            place = leg.place
            while True:
                params = {"start": leg.start and leg.start.isoformat(), "end": leg.start and leg.end.isoformat(), **(place or {})}
                deals = self.http.get("/deals", params=params).json()["deals"]
                if len(deals) < PAGE:
                    yield Page({"deals": [self._row(deal) for deal in deals]}, *leg.done())
                    break
                place = {"after": deals[-1]["modified"], "id": deals[-1]["id"]}
                yield Page({"deals": [self._row(deal) for deal in deals]}, leg.at(place))

    def _row(self, deal: dict[str, Any]) -> dict[str, Any]:
        rest = {name: deal[name] for name in ("stage_id", "state", "account_id", "owner_id")}
        amount = Decimal(deal["Amount"]) if deal.get("Amount") else None
        return {"native_id": deal["id"], "name": deal["Name"], "updated_at": deal["modified"], "amount": amount, **rest}

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        gone = self.http.get("/deals/gone").json()["gone"]
        yield DeletedPage([Tombstone(native_id, datetime.fromisoformat(at)) for native_id, at in gone])

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        place: Cursor = cursor or {}
        while found := self.http.get("/deals/ids", params=place).json()["ids"]:
            place = {"after": found[-1][0]}
            yield IdPage([(native_id, datetime.fromisoformat(at)) for native_id, at in found], place)

    def count(self, entity: str) -> int:
        return self.http.get("/deals/ids").json()["count"]

    def server_time(self) -> datetime | None:
        return self.http.get("/deals/ids").date

    def check(self) -> list[Finding]:
        try:
            self.http.get("/deals/ids")
        except KpidError as error:
            return [Finding("ledger", False, error.what, error.hint or "")]
        return [Finding("ledger", True, "can be read")]

    def close(self) -> None:
        self.http.close()


class LedgerBench(CrmBench):
    """The ledger and connectors to it."""

    secrets = (SECRET,)
    can = frozenset({"restore", "purge", "listing", "count", "tokens", "daily", "scopes"})
    cap = PAGE
    pages = r"^/deals\?"
    lived_in: ClassVar[tuple[str, ...]] = ("deals",)

    def __init__(self) -> None:
        clock = FakeClock()
        super().__init__(FakeLedger(clock=clock), clock)

    def options(self) -> dict[str, Any]:
        return {"base_url": self.api.url, "client_secret": SECRET, "allow_private": True, "read_timeout": 0.3}

    def connector(self, **options: Any) -> LedgerConnector:
        return LedgerConnector(LedgerSettings(**{**self.options(), **options}), self.context())

    def column(self, record: Record, column: str) -> Any:
        value = super().column(record, column)
        return value or None if column == "amount" else value


@pytest.fixture
def bench() -> Iterator[LedgerBench]:
    with LedgerBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    """The contract of connectors, on a fake of these parts."""

    @pytest.fixture
    def bench(self) -> Iterator[LedgerBench]:
        with LedgerBench() as bench:
            yield bench


class TestWalks(WalkContract):
    """Random walks, on a fake of these parts; without purges, which only a reconciliation finds."""

    @pytest.fixture
    def bench(self) -> Iterator[LedgerBench]:
        with LedgerBench() as bench:
            bench.can -= {"purge"}
            yield bench


def synced(bench):
    held, connector = MemorySync(), bench.connector()
    try:
        held.run(connector)
    finally:
        connector.close()
    return held


def test_a_token_that_expires_in_the_middle_is_renewed(bench):
    bench.add(300)
    bench.api.tokens.life_calls = 2
    assert len(synced(bench).live("deals")) == 300
    assert bench.api.tokens.given > 2


def test_a_token_grows_old_by_the_clock():
    clock = FakeClock()
    tokens = Tokens(clock, life_s=60)
    token = tokens.exchange()
    assert tokens.is_good(token)
    clock.advance(timedelta(seconds=60))
    assert not tokens.is_good(token)


def test_a_rotated_refresh_token_is_good_once():
    tokens = Tokens(FakeClock(), rotate=True)
    first = tokens.refresh_token
    assert tokens.exchange(first)
    assert tokens.exchange(first) is None
    assert tokens.exchange(tokens.refresh_token)
    tokens.revoked = True
    assert tokens.exchange(tokens.refresh_token) is None


def test_an_expired_token_is_refused_until_the_next_exchange(bench):
    bench.add(3)
    connector = bench.connector()
    connector.count("deals")
    bench.expire_token()
    connector.count("deals")
    connector.close()
    assert bench.api.tokens.given == 2


def test_a_spent_day_defers_and_nobody_calls_while_waiting(bench):
    bench.add(3)
    bench.spend_day()
    with pytest.raises(DeferredError) as caught:
        synced(bench)
    assert caught.value.until == bench.clock.now() + timedelta(seconds=40_000)
    assert bench.api.refused == ["daily"]
    assert bench.api.daily.left == 0


def test_a_passed_limit_is_counted_and_so_is_who_does_not_wait():
    clock = FakeClock()
    with VendorApi(clock=clock, limits=(Limit(1, 10.0, "burst", pause=10),)) as api:
        api.route("GET", "/x", lambda _: {})
        statuses = [api.answer(Request("GET", "/x", {}, {})).status for _ in range(3)]
        assert (statuses, api.refused, api.calls_while_waiting) == ([200, 429, 429], ["burst", "burst"], 1)
        clock.advance(timedelta(seconds=10))
        assert api.answer(Request("GET", "/x", {}, {})).status == 200
    with VendorApi(clock=clock, strict_limits=False, limits=(Limit(0, 1.0, "none"),)) as api:
        assert api.limits == []


def test_limits_of_our_own_keep_within_the_vendors(bench):
    bench.add(1)
    connector = bench.connector()
    for _ in range(120):
        connector.count("deals")
    connector.close()
    assert bench.api.refused == []
    assert bench.clock.sleeps


def test_a_missing_right_is_said(bench):
    bench.add(3)
    bench.lose_scope("deals")
    with pytest.raises(SchemaError, match="may not read"):
        synced(bench)


def test_the_servers_clock_may_be_ahead(bench):
    bench.api.skew = timedelta(minutes=10)
    connector = bench.connector()
    answer = connector.http.get("/deals/ids")
    connector.close()
    assert answer.date == bench.clock.now() + timedelta(minutes=10)
    assert bench.api.skew == timedelta(minutes=10)


def test_a_silent_path_never_answers(bench):
    bench.api.silent = {"/gone"}
    connector = bench.connector(read_timeout=0.1)
    with pytest.raises(KpidError, match="gave no answer"):
        list(connector.deleted("deals", None, bench.clock.now()))
    connector.close()


def test_revoked_credentials_are_refused_at_the_token_endpoint(bench):
    bench.revoke()
    with pytest.raises(AuthError, match="invalid_client"):
        synced(bench)


def test_a_hidden_field_is_not_shown(bench):
    assert shown({"a": 1, "b": 2}, {("deals", "a"), ("accounts", "b")}, "deals") == {"b": 2}
