"""What has changed in an organisation, and what has gone from it, page by page with the cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from kpid.plugin import Course, Cursor, DeletedPage, IdPage, Leg, Page, SourceContext, Tombstone
from kpid_salesforce.bulk import Bulk
from kpid_salesforce.carried import Carried
from kpid_salesforce.commerce_rows import cost_row
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.families import Families
from kpid_salesforce.history import RECORD_TYPE
from kpid_salesforce.mapping import MAPPERS
from kpid_salesforce.metadata import Metadata
from kpid_salesforce.objects import BACKFILLED, HISTORY, KINDS, TOUCHING, Kind, beside_tasks, of_models, without_reductions
from kpid_salesforce.reading import Batch, Reading, whole_minute
from kpid_salesforce.settings import SalesforceSettings
from kpid_salesforce.surveys import survey_kinds, survey_mappers
from kpid_salesforce.values import Place, Record, Row

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
        bulk = Bulk(api, context, timedelta(seconds=settings.bulk_timeout), settings.page_size)
        self.kinds = kinds_of(settings)
        self._by_title = {kind.title: kind for kinds in self.kinds.values() for kind in kinds}
        self.mappers = {**MAPPERS, **survey_mappers(settings.surveys)}
        self.reading = Reading(api, _own_fields(settings), settings.page_size, bulk, settings.bulk_above)
        self._families = Families(api, self.reading, settings.page_size)
        self._carried = Carried(self.reading, self._families, context.source_id, settings.ticket_states)
        self._metadata = Metadata(api, self.reading)

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """As of a connector."""
        match entity:
            case "users":
                yield self._metadata.users(until)
            case "pipelines":
                yield self._metadata.stages(until, self._place("deals"))
            case "fx_rates":
                yield self._metadata.rates(until)
            case "targets":
                settings, source = self._settings, self._context.source_id
                yield self._metadata.quotas(until, self._place(entity), settings.quota_kpi, settings.forecast, source)
            case _:
                kinds = (*self.kinds[entity], *BACKFILLED.get(entity, ()), *TOUCHING.get(entity, ()))
                course = Course([kind.title for kind in kinds], cursor, until, overlap=OVERLAP)
                yield from course.still()
                for leg in course.legs():
                    yield from self._pages_of(entity, leg)

    def _pages_of(self, entity: str, leg: Leg) -> Iterator[Page]:
        beside = [kind for kind in (*BACKFILLED.get(entity, ()), *TOUCHING.get(entity, ())) if kind.title == leg.kind]
        if not beside:
            is_there = self._by_title[leg.kind] in self.there(entity)
            yield from self._leg(entity, leg) if is_there else (Page({}, *leg.done()),)
            return
        (kind,) = beside
        is_first, is_touching = leg.start is None, kind in TOUCHING.get(entity, ())
        if is_first == is_touching or not (kind is HISTORY or self.reading.is_there(kind)):
            yield Page({}, *leg.done())  # what is carried later comes by itself at first, and the other way round
            return
        for batch in self.reading.leg(kind, leg) if is_touching else self._families.all(kind, leg):
            cursor, through = leg.done() if batch.is_last else (leg.at(batch.place), None)
            if is_touching:
                rows, owners = self._touched(entity, kind, batch.records)
                whole = self._carried.whole(owners)
                yield Page(rows, cursor, through, gone=self._stood_for(entity, kind, batch), whole=whole)
            else:
                yield Page(self._carried.histories(kind, batch.records, self._place(entity)), cursor, through)

    def _touched(self, entity: str, kind: Kind, records: Sequence[Record]) -> tuple[dict[str, list[Row]], set[str]]:
        """The records that these hang on, anew, and the objects that they are of."""
        ids = list(dict.fromkeys(str(record[kind.of]) for record in records))
        found: dict[str, list[Row]] = {}
        owners = set[str]()
        for owner in self.there(entity):
            for owned in self.reading.by_id(owner, self._of_kind(entity, owner, ids)):
                owners.add(owner.name)
                for name, rows in self._rows(entity, owner, owned).items():
                    found.setdefault(name, []).extend(rows)
        return found, owners

    def _stood_for(self, entity: str, kind: Kind, batch: Batch) -> list[Tombstone]:
        """Records that stood for themselves as long as nothing else stood for them."""
        if all(other.name != kind.name for other in self.kinds[entity]):
            return []
        return [Tombstone(str(record["Id"]), _instant(record)) for record in batch.records]

    def there(self, entity: str) -> list[Kind]:
        """The objects that fill an entity here: without those which not every organisation has, and this one has not."""
        return [kind for kind in self.kinds[entity] if not kind.spare or self.reading.is_there(kind)]

    def _of_kind(self, entity: str, kind: Kind, ids: Sequence[str]) -> list[str]:
        """Those ids that are of a kind, by what they begin with."""
        others = tuple(other.prefix for other in self.kinds[entity] if other.prefix)
        return [one for one in ids if (one.startswith(kind.prefix) if kind.prefix else not one.startswith(others))]

    def _leg(self, entity: str, leg: Leg) -> Iterator[Page]:
        kind = self._by_title[leg.kind]
        for batch in self.reading.leg(kind, leg):
            cursor, through = leg.done() if batch.is_last else (leg.at(batch.place), None)
            rows = self._rows(entity, kind, batch.records, is_first=leg.start is None)
            yield Page(rows, cursor, through, warnings=self._warnings(kind), whole=self._carried.whole([kind.name]))

    def _rows(self, entity: str, kind: Kind, records: Sequence[Record], *, is_first: bool = False) -> dict[str, list[Row]]:
        """Rows with what they carry; of a first read some of that comes later, by itself."""
        to_row, place = self.mappers[kind.title], self._place(entity)
        rows = [to_row(record, place) for record in records]
        found = {entity: rows}
        match entity:
            case _ if not records:
                return found
            case "deals" if not is_first:
                return found | self._carried.with_deals([str(record["Id"]) for record in records], place)
            case "tickets":
                return found | self._carried.with_cases(records, rows)
            case "activities":
                return found | self._carried.with_activities(kind.name, records, rows)
            case "campaigns":
                return found | {"campaign_costs": [cost_row(record, place) for record in records]}
        return found

    def _place(self, entity: str) -> Place:
        settings, context = self._settings, self._context
        own: Mapping[str, Mapping[str, str]] = {
            "tickets": settings.ticket_states,
            "orders": settings.order_states,
            "attributions": settings.influence_models,
        }
        states = own.get(entity, settings.stages)
        by_record_type = settings.pipelines == "record_types"
        return Place(context.timezone, context.currency, states, settings.fields.get(entity, {}), by_record_type)

    def _warnings(self, kind: Kind) -> tuple[str, ...]:
        absent = ", ".join(self.reading.absent(kind))
        text = f"Salesforce's {kind.name} has no field {absent} that the user may see: what it fills stays empty"
        return (text,) if absent else ()

    # -- by id ---------------------------------------------------------------------------------------------------------------

    def ids(self, entity: str, cursor: Cursor | None) -> Iterator[IdPage]:
        """Every living record by id. Cursors are the object and the last id."""
        kinds, place = self.there(entity), dict(cursor or {})
        first = next((number for number, kind in enumerate(kinds) if kind.title == place.get("kind")), 0)
        for kind in kinds[first:]:
            after = place.get("after") if kind.title == place.get("kind") else None
            for batch in self.reading.listed(kind, after):
                told = [(str(record["Id"]), datetime.fromisoformat(record["SystemModstamp"])) for record in batch.records]
                last = told[-1][0] if told else after
                yield IdPage(told, {"kind": kind.title, "after": last})

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Living records by id, with what they carry."""
        for kind in self.kinds[entity]:  # one that was there and is not any more is an error: its records are not gone
            if mine := self._of_kind(entity, kind, ids):
                for records in self.reading.by_id(kind, mine):
                    yield Page(self._rows(entity, kind, records), whole=self._carried.whole([kind.name]))

    def count(self, entity: str) -> int:
        """How many records live."""
        return sum(self.reading.count(kind) for kind in self.there(entity))

    # -- what has gone -------------------------------------------------------------------------------------------------------

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """Merges first, for to the delete log their losers are deleted like any other. Cursors are ``{"since": instant}``.

        Where the log does not go back so far there is nothing to tell: comparing ids finds what is gone.
        """
        known = datetime.fromisoformat(cursor["since"]) if cursor else None
        start = whole_minute(max(until - REACH, known - OVERLAP) if known else until - REACH)
        end = max(whole_minute(until), start + MINUTE)
        for kind in self.there(entity):
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


def kinds_of(settings: SalesforceSettings) -> Mapping[str, tuple[Kind, ...]]:
    """Which objects fill which entity, as the configuration wants it."""
    kinds = {**KINDS, **survey_kinds(settings.surveys)}
    kinds = of_models(kinds, settings.influence_models) if settings.influence_models else kinds
    kinds = kinds if settings.activity_objects is None else beside_tasks(kinds, settings.activity_objects)
    return without_reductions(kinds) if "refunds" in settings.entities else kinds


def _own_fields(settings: SalesforceSettings) -> dict[str, tuple[str, ...]]:
    """What is asked of each object besides, by the configuration."""
    mine = [(kind.title, entity) for entity, kinds in KINDS.items() for kind in kinds if not kind.spare]
    own = {title: tuple(settings.fields.get(entity, {}).values()) for title, entity in mine}
    if settings.pipelines == "record_types":
        own |= {"Opportunity": (*own["Opportunity"], "RecordTypeId"), HISTORY.name: (RECORD_TYPE,)}
    return own


def _instant(record: Record) -> datetime:
    return datetime.fromisoformat(record["SystemModstamp"])
