"""Shelf, an invented CRM: lists what changed by (changed, id), what is gone, and ids; needs a token."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from pydantic import Field

import kpid.plugin as kp

OVERLAP = timedelta(minutes=5)
COLUMNS = {
    "accounts": {"name": "title", "created_at": "made", "updated_at": "changed"},
    "deals": {"name": "title", "created_at": "made", "updated_at": "changed", "closed_at": "closed", "state": "status",
              "stage_id": "stage", "account_id": "account", "owner_id": "owner", "amount": "worth", "currency": "money"},
}  # fmt: skip


class ShelfSettings(kp.ApiSettings):
    base_url: str = Field("https://api.shelf.example.com", description="Address of the API.")
    token: kp.Secret = Field(description="Token of a service account: ${env:SHELF_TOKEN}.")
    entities: tuple[Literal["accounts", "deals"], ...] = Field(("accounts", "deals"), description="What to read.")


class ShelfConnector(kp.Connector[ShelfSettings]):
    name = "shelf"
    Settings = ShelfSettings

    def __init__(self, settings: ShelfSettings, context: kp.SourceContext) -> None:
        super().__init__(settings, context)
        account, limits, auth = settings.token.get_secret_value(), [kp.RateLimit(90, 10.0)], kp.BearerAuth(settings.token)
        self.http = settings.client(context, vendor="shelf", account=account, auth=auth, limits=limits, error_hook=_refused)

    def reads(self) -> Sequence[kp.EntityReads]:
        able = partial(kp.EntityReads, deletes="pass", overlap=OVERLAP, listing=True, by_id=True, counted=True)
        every = {"accounts": able("accounts"), "deals": able("deals", history="since_sync")}
        return [every[entity] for entity in self.settings.entities]

    def pages(self, entity: str, cursor: kp.Cursor | None, until: datetime) -> Iterator[kp.Page]:
        course = kp.Course((entity,), cursor, until, overlap=OVERLAP)
        yield from course.still()
        for leg in course.legs():
            window = {} if leg.start is None else {"from": leg.start.isoformat(), "to": leg.end.isoformat()}
            place, more = leg.place or {}, True
            while more:
                answer = self.http.get(f"/{entity}", params={**window, **place}).json()
                rows, more = {entity: [_row(entity, item) for item in answer["items"]]}, answer["more"]
                if more:
                    place = {"after": answer["items"][-1]["changed"], "id": answer["items"][-1]["id"]}
                yield kp.Page(rows, leg.at(place)) if more else kp.Page(rows, *leg.done())

    def deleted(self, entity: str, cursor: kp.Cursor | None, until: datetime) -> Iterator[kp.DeletedPage]:
        gone = self.http.get(f"/{entity}/gone", params=cursor or {}).json()["gone"]
        tombstones = [kp.Tombstone(one["id"], datetime.fromisoformat(one["at"]), merged_into=one["into"]) for one in gone]
        yield kp.DeletedPage(tombstones, {"from": (until - OVERLAP).isoformat()})

    def ids(self, entity: str, cursor: kp.Cursor | None, until: datetime) -> Iterator[kp.IdPage]:
        while items := self.http.get(f"/{entity}/ids", params=cursor or {}).json()["items"]:
            cursor = {"after": items[-1]["id"]}
            yield kp.IdPage([(item["id"], datetime.fromisoformat(item["changed"])) for item in items], cursor)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[kp.Page]:
        items = self.http.get(f"/{entity}/some", params={"ids": ",".join(ids)}).json()["items"]
        yield kp.Page({entity: [_row(entity, item) for item in items]})

    def count(self, entity: str) -> int | None:
        return int(self.http.get(f"/{entity}/ids").json()["count"])

    def server_time(self) -> datetime | None:
        return self.http.get("/hello").date

    def check(self) -> Sequence[kp.Finding]:
        return [self._check(entity, f"{self.context.source_id}: {entity}") for entity in self.settings.entities]

    def _check(self, entity: str, subject: str) -> kp.Finding:
        try:
            return kp.Finding(subject, True, f"{self.count(entity)} can be read")
        except kp.ConnectorError as error:
            return kp.Finding(subject, False, error.what, error.hint or "")

    def close(self) -> None:
        self.http.close()


def _row(entity: str, item: Mapping[str, Any]) -> kp.Row:
    row = {"native_id": item["id"], **{column: item.get(theirs) for column, theirs in COLUMNS[entity].items()}}
    return row if row.get("amount") is None else {**row, "amount": Decimal(row["amount"])}


def _refused(response: kp.Response) -> kp.ConnectorError | None:
    if response.status != 403 or not response.is_json() or not (lacks := response.json().get("lacks")):
        return None
    return kp.SchemaError(f"the token may not read {lacks}", hint=f"Give the service account the right `{lacks}:read`")


@kp.hookimpl
def kpid_connectors() -> Sequence[kp.ConnectorInfo]:
    return [kp.ConnectorInfo(ShelfConnector, "Shelf, an invented CRM", example={"token": "example"})]
