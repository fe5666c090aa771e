"""The contract suites pass what keeps the contract and catch what breaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

import pytest

from kpid.plugin import (
    BearerAuth,
    Connector,
    ConnectorError,
    Cursor,
    DeletedPage,
    DeliveryError,
    EntityReads,
    Finding,
    HttpClient,
    HttpFailure,
    Message,
    Notifier,
    NotifierContext,
    Page,
    Receipt,
    Secret,
    Settings,
    SourceContext,
    Tombstone,
)  # fmt: skip
from kpid.testing import (
    Answer,
    ConnectorContract,
    FakeApi,
    FakeClock,
    NotifierBench,
    NotifierContract,
    Request,
    SourceBench,
)

TOKEN = "token-1234567890"
PAGE = 100


class ShelfSettings(Settings):
    base_url: str
    token: Secret


class ShelfConnector(Connector[ShelfSettings]):
    """Reads an invented CRM with one list: records in order of (modified, id), deleted ones marked."""

    name = "shelf"
    Settings = ShelfSettings
    inclusive = True
    tie_break = True
    leaks = False
    retries = 5

    def __init__(self, settings: ShelfSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.http = HttpClient(
            settings.base_url, name=context.source_id, clock=context.clock, auth=BearerAuth(settings.token), allow_private=True,
            max_tries=self.retries,
        )  # fmt: skip

    def reads(self) -> list[EntityReads]:
        return [EntityReads("deals", deletes="pass")]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        place = dict(cursor or {"since": 0, "id": 0})
        while True:
            records = self._list(place)
            rows = [
                {"native_id": str(record["id"]), "name": record["name"], "amount": record.get("amount")} for record in records
            ]
            if records:
                place = {"since": records[-1]["modified"], "id": records[-1]["id"] if self.tie_break else 10**9}
            done = len(records) < PAGE
            yield Page({"deals": rows}, {"since": place["since"], "id": 0 if self.inclusive else 10**9} if done else place)
            if done:
                return

    def _list(self, place: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            return self.http.get("/deals", params=place).json()["deals"]
        except HttpFailure as failure:
            if self.leaks:
                raise ConnectorError(f"failed with {self.settings.token.get_secret_value()}") from failure
            raise

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        yield DeletedPage([Tombstone(str(id_)) for id_ in self.http.get("/deleted").json()["ids"]])

    def check(self) -> list[Finding]:
        try:
            self.http.get("/deals", params={"since": 0, "id": 0})
        except ConnectorError as error:
            return [Finding("shelf", False, error.what, error.hint or "")]
        return [Finding("shelf", True, "can be read")]

    def close(self) -> None:
        self.http.close()


class ShelfBench(SourceBench):
    entity = "deals"
    secrets = (TOKEN,)

    def __init__(self, kind: type[ShelfConnector]) -> None:
        self.kind = kind
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        self.records: dict[int, dict[str, Any]] = {}
        self.gone: list[int] = []
        self.token = TOKEN
        self.api.route("GET", "/deals", self.guarded(self.listed))
        self.api.route("GET", "/deleted", self.guarded(lambda _: Answer(200, {"ids": self.gone})))

    def guarded(self, handler: Any) -> Any:
        def answer(request: Request) -> Answer:
            good = request.headers["Authorization"] == f"Bearer {self.token}"
            return handler(request) if good else Answer(401, {"message": "who are you?"})

        return answer

    def listed(self, request: Request) -> Answer:
        after = (int(request.arg("since")), int(request.arg("id")))
        ordered = sorted(self.records.values(), key=lambda record: (record["modified"], record["id"]))
        return Answer(200, {"deals": [record for record in ordered if (record["modified"], record["id"]) > after][:PAGE]})

    def connector(self) -> ShelfConnector:
        settings = ShelfSettings(base_url=self.api.url, token=Secret(TOKEN))
        return self.kind(settings, SourceContext("crm", ZoneInfo("UTC"), Path(), self.clock))

    def add(self, count: int, *, same_instant: bool = False) -> list[str]:
        start = len(self.records) + len(self.gone) + 1
        for number in range(start, start + count):
            self.clock.advance(timedelta(0) if same_instant else timedelta(seconds=1))
            self.records[number] = {"id": number, "name": f"D{number}", "amount": "5", "modified": self._now()}
        return [str(number) for number in range(start, start + count)]

    def _now(self) -> int:
        return round(self.clock.now().timestamp())

    def change(self, native_id: str) -> None:
        self.records[int(native_id)] |= {"name": "changed", "modified": self._now()}

    def delete(self, native_id: str) -> None:
        self.gone.append(self.records.pop(int(native_id))["id"])

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        return {str(number): {"name": record["name"]} for number, record in self.records.items()}

    def revoke(self) -> None:
        self.token = "another"

    def drop_field(self) -> str:
        for record in self.records.values():
            del record["amount"]
        return "amount"

    def __enter__(self) -> Self:
        self.api.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.api.__exit__()


class TestAGoodConnector(ConnectorContract):
    @pytest.fixture
    def bench(self) -> Iterator[ShelfBench]:
        with ShelfBench(ShelfConnector) as bench:
            yield bench


class WithoutTieBreak(ShelfConnector):
    tie_break = False


class Exclusive(ShelfConnector):
    inclusive = False


class WithoutRetries(ShelfConnector):
    retries = 1


class Leaky(ShelfConnector):
    leaks = True


class WithoutDeletes(ShelfConnector):
    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        return iter(())


class WithAnInventedColumn(ShelfConnector):
    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        for page in super().pages(entity, cursor, until):
            yield Page({"deals": [{**row, "colour": "red"} for row in page.rows["deals"]]}, page.cursor)


class Optimistic(ShelfConnector):
    def check(self) -> list[Finding]:
        return [Finding("shelf", True, "surely fine")]


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (WithoutTieBreak, "test_records_of_one_instant_are_not_lost"),
        (Exclusive, "test_records_that_come_with_an_instant_already_seen_are_not_lost"),
        (WithoutRetries, "test_passing_faults_are_survived"),
        (WithoutRetries, "test_a_limit_is_waited_for"),
        (Leaky, "test_no_error_tells_a_secret"),
        (WithoutDeletes, "test_additions_changes_and_deletions_are_seen"),
        (WithAnInventedColumn, "test_rows_have_canonical_columns_and_text_ids"),
        (Optimistic, "test_check_says_what_works"),
    ],
)
def test_the_contract_catches_a_connector_that_breaks_it(kind, test):
    with ShelfBench(kind) as bench, pytest.raises((AssertionError, ConnectorError)):
        getattr(ConnectorContract(), test)(bench)


class HornSettings(Settings):
    base_url: str
    token: Secret


class Horn(Notifier[HornSettings]):
    """Hands messages to an invented service as JSON."""

    name = "horn"
    Settings = HornSettings
    longest: ClassVar[int] = 2000
    knows_unknown: ClassVar[bool] = True
    leaks: ClassVar[bool] = False
    final: ClassVar[frozenset[int]] = frozenset({400, 401, 403, 404})

    def send(self, message: Message) -> Receipt:
        body = {"title": message.title[:100], "text": message.text[: self.longest]}
        with HttpClient(
            self.settings.base_url, name="horn", clock=self.context.clock, auth=BearerAuth(self.settings.token),
            allow_private=True, timeout=(1.0, 0.4), max_tries=1,
        ) as http:  # fmt: skip
            try:
                response = http.request_raw("POST", "/send", json=body)
            except HttpFailure as failure:
                raise DeliveryError(failure.what, unknown=failure.unknown and self.knows_unknown) from failure
        if response.ok:
            return Receipt(detail="taken")
        said = response.text if self.leaks else ""
        wait = response.headers.get("Retry-After")
        raise DeliveryError(
            f"answered {response.status} {said}",
            permanent=response.status in self.final,
            retry_after=timedelta(seconds=int(wait)) if wait else None,
        )

    def check(self) -> list[Finding]:
        return []


class HornBench(NotifierBench):
    secrets = (TOKEN,)
    statuses: ClassVar[dict[int, Any]] = {200: "sent", 400: "refused", 401: "refused", 429: "retry", 500: "retry"}
    max_bytes = 20_000

    def __init__(self, api: FakeApi, kind: type[Horn]) -> None:
        self.api, self.kind = api, kind
        api.route("POST", "/send", lambda _: Answer(200, {}))

    def notifier(self, *, reachable: bool = True) -> Horn:
        url = self.api.url if reachable else "http://127.0.0.1:1"
        return self.kind(HornSettings(base_url=url, token=Secret(TOKEN)), NotifierContext("r", Path(), FakeClock()))

    def texts(self, request: Request) -> str:
        return " ".join(json.loads(request.body).values())


class TestAGoodNotifier(NotifierContract):
    @pytest.fixture
    def bench(self) -> Iterator[HornBench]:
        with FakeApi() as api:
            yield HornBench(api, Horn)


class Deaf(Horn):
    knows_unknown = False


class Endless(Horn):
    longest = 10**9


class Blabbing(Horn):
    leaks = True


class Stubborn(Horn):
    final = frozenset()


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Deaf, "test_a_lost_answer_is_an_unknown_outcome"),
        (Endless, "test_an_over_long_text_is_cut_not_refused"),
        (Blabbing, "test_no_error_tells_a_secret"),
        (Stubborn, "test_every_status_means_what_the_table_says"),
    ],
)
def test_the_contract_catches_a_notifier_that_breaks_it(kind, test):
    with FakeApi() as api, pytest.raises(AssertionError):
        getattr(NotifierContract(), test)(HornBench(api, kind))
