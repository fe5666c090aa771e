"""What has changed in an organisation, and what has gone from it, page by page with the cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kpid.plugin import Course, Cursor, DeletedPage, IdPage, Leg, Page, SchemaError, SourceContext, Tombstone
from kpid_salesforce.bulk import Bulk
from kpid_salesforce.commerce_rows import cost_row, rate_row
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.history import history_rows
from kpid_salesforce.mapping import MAPPERS, PIPELINE, queue_row, stage_row, user_row
from kpid_salesforce.objects import BY_NAME, CURRENCIES, KINDS, QUEUES, RATES, STAGES, USERS, Kind, soql
from kpid_salesforce.reading import Reading, whole_minute
from kpid_salesforce.settings import SalesforceSettings
from kpid_salesforce.values import Place, Record

OVERLAP = timedelta(minutes=10)
"""Long transactions show with the time at which they began."""
REACH = timedelta(days=14)
"""How long the delete log goes back: fifteen days, one of which is ours for doubt."""
MINUTE = timedelta(minutes=1)


class Changes:
    """Reads what has changed and what has gone.

    Args:
        api: the organisation.
        settings: what to read.
        context: zone and currency.
    """

    def __init__(self, api: Endpoints, settings: SalesforceSettings, context: SourceContext) -> None:
        self._api = api
        self._settings = settings
        self._context = context
        own = {kind.name: tuple(settings.fields.get(entity, {}).values()) for entity, kinds in KINDS.items() for kind in kinds}
        bulk = Bulk(api, context, timedelta(seconds=settings.bulk_timeout))
        self.reading = Reading(api, own, settings.page_size, bulk, settings.bulk_above)

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """As of a connector."""
        match entity:
            case "users":
                yield self._users(until)
            case "pipelines":
                yield self._stages(until)
            case "fx_rates":
                yield self._rates(until)
            case _:
                course = Course([kind.name for kind in KINDS[entity]], cursor, until, overlap=OVERLAP)
                yield from course.still()
                for leg in course.legs():
                    yield from self._leg(entity, leg)

    def _users(self, until: datetime) -> Page:
        people = self._all(USERS, ["UserType = 'Standard'"])
        queues = self._all(QUEUES, ["Type = 'Queue'"])
        rows = [*(user_row(record) for record in people), *(queue_row(record) for record in queues)]
        return Page({"users": rows}, through=until)

    def _stages(self, until: datetime) -> Page:
        place = self._place("deals")
        stages = [stage_row(record, place) for record in self._all(STAGES)]
        pipeline = {"native_id": PIPELINE, "name": "Sales", "sort_order": 0}
        return Page({"pipelines": [pipeline], "stages": stages}, through=until)

    def _rates(self, until: datetime) -> Page:
        """Rates with their dates, if the organisation keeps such."""
        currencies = self._all(CURRENCIES)
        corporate = next((str(record["IsoCode"]) for record in currencies if record.get("IsCorporate")), "")
        try:
            rates = self._all(RATES)
        except SchemaError:
            rates = []
        rows = [row for record in rates or currencies if (row := rate_row(record, corporate))]
        return Page({"fx_rates": rows}, through=until)

    def _all(self, kind: Kind, conditions: Sequence[str] = ()) -> list[Record]:
        return self._api.query(soql(self.reading.known(kind), kind.name, conditions, ("Id",))).records

    def _leg(self, entity: str, leg: Leg) -> Iterator[Page]:
        kind = BY_NAME[leg.kind]
        for batch in self.reading.leg(kind, leg):
            cursor, through = leg.done() if batch.is_last else (leg.at(batch.place), None)
            yield Page(self._rows(entity, kind, batch.records), cursor, through, warnings=self._warnings(kind))

    def _rows(self, entity: str, kind: Kind, records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
        to_row, place = MAPPERS[kind.name], self._place(entity)
        rows = {entity: [to_row(record, place) for record in records]}
        if entity == "deals" and records:
            rows |= history_rows(self.reading.history([str(record["Id"]) for record in records]))
        if entity == "campaigns":
            rows["campaign_costs"] = [cost_row(record, place) for record in records]
        return rows

    def _place(self, entity: str) -> Place:
        settings, context = self._settings, self._context
        states: Mapping[str, str] = {"tickets": settings.ticket_states, "orders": settings.order_states}.get(
            entity, settings.stages
        )
        return Place(context.timezone, context.currency, states, settings.fields.get(entity, {}))

    def _warnings(self, kind: Kind) -> tuple[str, ...]:
        absent = ", ".join(self.reading.absent(kind))
        text = f"Salesforce's {kind.name} has no field {absent} that the user may see: what it fills stays empty"
        return (text,) if absent else ()

    # -- by id ---------------------------------------------------------------------------------------------------------------

    def ids(self, entity: str, cursor: Cursor | None) -> Iterator[IdPage]:
        """Every living record by id. Cursors are the object and the last id."""
        kinds, place = KINDS[entity], dict(cursor or {})
        first = next((number for number, kind in enumerate(kinds) if kind.name == place.get("kind")), 0)
        for kind in kinds[first:]:
            after = place.get("after") if kind.name == place.get("kind") else None
            for batch in self.reading.listed(kind, after):
                told = [(str(record["Id"]), datetime.fromisoformat(record["SystemModstamp"])) for record in batch.records]
                last = told[-1][0] if told else after
                yield IdPage(told, {"kind": kind.name, "after": last})

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Living records by id, with what they carry."""
        for kind in KINDS[entity]:
            if mine := [native_id for native_id in ids if native_id.startswith(kind.prefix)]:
                for records in self.reading.by_id(kind, mine):
                    yield Page(self._rows(entity, kind, records))

    def count(self, entity: str) -> int:
        """How many records live."""
        return sum(self.reading.count(kind) for kind in KINDS[entity])

    # -- what has gone -------------------------------------------------------------------------------------------------------

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """Merges first, for to the delete log their losers are deleted like any other. Cursors are ``{"since": instant}``.

        Where the log does not go back so far there is nothing to tell: comparing ids finds what is gone.
        """
        known = datetime.fromisoformat(cursor["since"]) if cursor else None
        start = whole_minute(max(until - REACH, known - OVERLAP) if known else until - REACH)
        end = max(whole_minute(until), start + MINUTE)
        for kind in KINDS[entity]:
            if kind.merges:
                losers = self.reading.merged(kind, known - OVERLAP if known else None)
                stones = [Tombstone(str(one["Id"]), _instant(one), "merged", str(one["MasterRecordId"])) for one in losers]
                yield DeletedPage(stones, cursor)
            yield DeletedPage(self._logged(kind, start, end), cursor)
        yield DeletedPage((), {"since": end.isoformat()})

    def _logged(self, kind: Kind, start: datetime, end: datetime) -> list[Tombstone]:
        """What the log tells, without those that live again."""
        log = self._api.deleted(kind.name, start, end)
        told = {str(line["id"]): line.get("deletedDate") for line in log["deletedRecords"]} if log else {}
        alive = self.reading.living(kind, list(told)) if told else set()
        gone = {native_id: at for native_id, at in told.items() if native_id not in alive}
        return [Tombstone(native_id, at and datetime.fromisoformat(at)) for native_id, at in gone.items()]


def _instant(record: Record) -> datetime:
    return datetime.fromisoformat(record["SystemModstamp"])
