"""What has changed in a database, page by page with the cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import ConnectorError, Course, Cursor, IdPage, Leg, Page, SchemaError, SourceContext, dig
from kpid_easyerp.endpoints import Batch, Endpoints, Record, edited
from kpid_easyerp.history import field_rows
from kpid_easyerp.mapping import MAPPERS, campaign_row, converted_at, stage_rows, stages_of, team_row
from kpid_easyerp.settings import LISTS, EasyErpSettings
from kpid_easyerp.values import Place, Row, Stage

OVERLAP = timedelta(minutes=10)
MOMENT = timedelta(seconds=2)
RECENT = 500
"""So many records of the overlap are known again by the next read."""
REMEMBERED = 5_000
"""So many deals that never were leads are remembered for the length of a sync: their detail views are read once."""
TELLING = 20
"""A field that so many records do not have is not there."""


class Changes:
    """Reads what has changed.

    Args:
        api: the database.
        settings: what to read.
        context: currency and name.
    """

    def __init__(self, api: Endpoints, settings: EasyErpSettings, context: SourceContext) -> None:
        self._api = api
        self._settings = settings
        self._context = context
        self._stages: dict[str, tuple[Sequence[Record], Mapping[str, Stage]]] = {}
        self._places: dict[str, Place] = {}
        self._no_leads: set[tuple[str, str | None]] = set()

    # -- full reads ----------------------------------------------------------------------------------------------------------

    def everything(self, entity: str, until: datetime) -> Iterator[Page]:
        """Entities that are read whole each time: people, stages, products, papers."""
        if entity == "pipelines":
            records, stages = self.stages("Opportunities")
            pipeline = {"native_id": "Opportunities", "name": "Opportunities", "sort_order": 0}
            yield Page({"pipelines": [pipeline], "stages": stage_rows(records, stages)}, through=until)
            return
        if entity == "campaigns":
            yield Page({entity: [campaign_row(record) for record in self._api.campaigns()]}, through=until)
            return
        kinds, place, teams = self._settings.kinds(entity), self._place(entity), dict[str, Row]()
        for kind in kinds:
            for batch in self._api.listed(kind):
                self._refuse_short(batch)
                rows = [row for record in batch.records if (row := MAPPERS[kind](record, place)) is not None]
                is_end = batch.is_last and kind == kinds[-1]
                told = [row for record in batch.records if (row := team_row(record))] if entity == "users" else ()
                new = {row["native_id"]: row for row in told if row["native_id"] not in teams}
                teams |= new
                found = {entity: rows, "teams": list(new.values())} if entity == "users" else {entity: rows}
                yield Page(found, through=until if is_end else None, total=batch.total)

    def _refuse_short(self, batch: Batch) -> None:
        """What is not met in a list of everything would count as gone."""
        if batch.warning:
            raise ConnectorError(batch.warning, where=self._context.source_id, hint="The next sync tries again")

    # -- changes -------------------------------------------------------------------------------------------------------------

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """What changed since the cursor; the place within a leg is how far down a list, newest first, a read has come."""
        course = Course(self._settings.kinds(entity), cursor, until, overlap=OVERLAP)
        yield from course.still()
        recent = _Recent(cursor)
        for leg in course.legs():
            yield from self._leg(entity, leg, recent)

    def _leg(self, entity: str, leg: Leg, recent: _Recent) -> Iterator[Page]:
        met, absent = 0, set(self._settings.fields.get(entity, {}).values())
        down_to = _instant(leg.place)
        for batch in self._api.listed(leg.kind, leg.start):
            due = [
                record
                for record in batch.records
                if _is_due(at := _instant(edited(record)), leg, down_to) and not recent.holds(record, at, leg)
            ]
            whole = [full for record in due if (full := self._whole(entity, leg.kind, record)) is not None]
            met, absent = met + len(whole), {path for path in absent if not any(_has(full, path) for full in whole)}
            rows = self._rows(entity, whole)
            if not batch.is_last:
                yield Page(rows, leg.at(_further(batch)), total=batch.total)
                continue
            told = [batch.warning] if batch.warning else []
            if absent and (met >= TELLING or (met and leg.start is None)):
                names = ", ".join(sorted(absent))
                told.append(f"EasyERP's {leg.kind} have no field {names}: what it fills stays empty")
            end, through = leg.done()
            yield Page(rows, recent.within(end, through), through, batch.total, warnings=tuple(told))

    def _whole(self, entity: str, kind: str, record: Record) -> Record | None:
        """A record as it is mapped: the detail view where there is one. None if it is gone meanwhile, or of no use."""
        if not (self._settings.details and LISTS[kind].has_form):
            return record
        key = (record["_id"], edited(record))
        if entity == "leads" and key in self._no_leads:
            return None
        form = self._api.form(kind, record["_id"])
        if form is not None and entity == "deals" and not converted_at(form) and len(self._no_leads) < REMEMBERED:
            self._no_leads.add(key)
        return form

    def _rows(self, entity: str, records: Sequence[Record]) -> dict[str, list[Row]]:
        """Rows of an entity, and what they carry."""
        place, mapper = self._place(entity), MAPPERS[_MAPPED[entity]]
        rows = {entity: [row for record in records if (row := mapper(record, place)) is not None]}
        if entity == "deals" and self._settings.details:
            rows["deal_field_history"] = [row for record in records for row in field_rows(record, place)]
        return rows

    # -- single records ------------------------------------------------------------------------------------------------------

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Detail views, one by one."""
        kind = self._settings.kinds(entity)[0]
        found = [record for native_id in ids if (record := self._api.form(kind, native_id)) is not None]
        is_deal = entity == "deals"
        yield Page(self._rows(entity, [one for one in found if not is_deal or one.get("isOpportunitie") is not False]))

    def ids(self, entity: str) -> Iterator[IdPage]:
        """The lists' ids. Any deal may have been a lead: which were, only fetching tells."""
        met: set[str] = set()
        for kind in self._settings.kinds(entity):
            is_other = entity == "leads" and kind != "leads"
            for batch in self._api.listed(kind):
                self._refuse_short(batch)
                fresh = {record["_id"]: None if is_other else _instant(edited(record)) for record in batch.records}
                yield IdPage([(native_id, at) for native_id, at in fresh.items() if native_id not in met])
                met |= fresh.keys()

    # -- metadata ------------------------------------------------------------------------------------------------------------

    def stages(self, kind: str) -> tuple[Sequence[Record], Mapping[str, Stage]]:
        """The stages of deals or leads, asked for once a sync.

        Raises:
            SchemaError: the configuration names a stage that is not there.
        """
        if kind not in self._stages:
            records = self._api.stages(kind)
            known = stages_of(records, self._settings.stages)
            names = {text for native_id, stage in known.items() for text in (native_id, stage.name)}
            if kind == "Opportunities" and (unknown := self._settings.stages.keys() - names):
                raise SchemaError(
                    f"EasyERP has no stage {', '.join(sorted(unknown))}",
                    where=self._context.source_id,
                    hint=f"There are: {', '.join(sorted(stage.name for stage in known.values()))}",
                )
            self._stages[kind] = (records, known)
        return self._stages[kind]

    def names(self, entity: str) -> set[str]:
        """The fields that some of the newest records show, as they are named in the settings."""
        kind = self._settings.kinds(entity)[0]
        newest = (self._whole(entity, kind, record) for record in self._api.first(kind, 5)["data"])
        return {path for record in newest if record is not None for path in _paths(record)}

    def _place(self, entity: str) -> Place:
        if entity not in self._places:
            kind = _STAGED.get(entity)
            self._places[entity] = Place(
                ZoneInfo(self._settings.server_timezone),
                self._context.currency,
                self.stages(kind)[1] if kind else {},
                self._api.currencies() if entity == "deals" else {},
                self._settings.fields.get(entity, {}),
            )
        return self._places[entity]


_STAGED = {"deals": "Opportunities", "leads": "Leads"}
_MAPPED = {"accounts": "companies", "contacts": "persons", "deals": "deals", "leads": "leads", "activities": "tasks"}


class _Recent:
    """Records that were read shortly before a window's end: the next one begins earlier, and need not read them one by one again.

    Only those that had not changed in the last moment before the end: of a change since then the server tells another instant.

    Args:
        cursor: the one that the last read left behind.
    """

    def __init__(self, cursor: Cursor | None) -> None:
        self._known = {(str(native_id), str(at)) for native_id, at in (cursor or {}).get("recent", ())}
        self._met: dict[str, str] = {}

    def holds(self, record: Record, at: datetime | None, leg: Leg) -> bool:
        """Whether a record that changed at this instant is as it was when it was last read; remembers it."""
        if at is not None and leg.end - OVERLAP <= at < leg.end - MOMENT and len(self._met) < RECENT:
            self._met[str(record["_id"])] = edited(record) or ""
        return bool(self._known) and (str(record["_id"]), edited(record) or "") in self._known

    def within(self, cursor: Cursor, through: datetime | None) -> Cursor:
        """The cursor with what is to be remembered, at the end of a window."""
        return cursor if through is None or not self._met else {**cursor, "recent": sorted(self._met.items())}


def _instant(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _is_due(at: datetime | None, leg: Leg, down_to: datetime | None) -> bool:
    """Whether a record of the list belongs to what the leg has still to give: the filter only knows whole days."""
    if at is None:
        return True
    return (leg.start is None or at >= leg.start) and not (down_to is not None and down_to < at < leg.end)


def _further(batch: Batch) -> str | None:
    """How far down the list a page reaches."""
    return edited(batch.records[-1]) if batch.records and not batch.has_moved else None


def _has(record: Record, path: str) -> bool:
    """Whether a record has a field, be it empty."""
    parent, _, name = path.rpartition(".")
    holder: Any = dig(record, parent) if parent else record
    return isinstance(holder, dict) and name in holder


def _paths(record: Record) -> Iterator[str]:
    for name, value in record.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
