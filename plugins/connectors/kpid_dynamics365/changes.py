"""Pages of entities: tables read one after the other, rows with what they need from others, cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kpid.plugin import Cursor, IdPage, Page, SchemaError, SourceContext, dig
from kpid_dynamics365.endpoints import ROOT, Endpoints
from kpid_dynamics365.mapping import PIPELINE, closed_stages, mapper_of, stage_row, team_row, user_row
from kpid_dynamics365.settings import DynamicsSettings
from kpid_dynamics365.tables import KINDS, STAGES, TIMES, USERS, WITH_MONEY, Kind
from kpid_dynamics365.tracking import Step, Tracking
from kpid_dynamics365.values import Place, Record, Row

_CLOSINGS = {
    "opportunity": ("opportunitycloses", "_opportunityid_value"),
    "incident": ("incidentresolutions", "_incidentid_value"),
}
"""Where the instant of closing is kept: the row itself has a day, or nothing."""


class Changes:
    """Reads what has changed and what has gone.

    Args:
        api: the environment.
        settings: what to read.
        context: zone and currency.
    """

    def __init__(self, api: Endpoints, settings: DynamicsSettings, context: SourceContext) -> None:
        self._api = api
        self._settings = settings
        self._context = context
        self._currencies: Mapping[str, str] | None = None
        self._meanings: Mapping[str, str] | None = None

    # -- changes -------------------------------------------------------------------------------------------------------------

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """As of a connector. Cursors hold what is kept of each table: ``{"kinds": {"opportunity": ...}}``."""
        if entity == "users":
            yield from self._users(until)
            return
        if entity == "pipelines":
            rows = {"pipelines": [{"native_id": PIPELINE, "name": "Sales", "sort_order": 0}], "stages": self.stages()}
            yield Page(rows, through=until)
            return
        kinds, kept = KINDS[entity], dict((cursor or {}).get("kinds", {}))
        through: dict[str, datetime] = {}
        for kind in kinds:
            for step in Tracking(self._api, kind, until).steps(kept.get(kind.logical)):
                kept[kind.logical] = step.state
                if step.through is not None:
                    through[kind.logical] = step.through
                is_last = kind is kinds[-1] and step.through is not None
                yield self._page(entity, kind, step, {"kinds": dict(kept)}, min(through.values()) if is_last else None)

    def _page(self, entity: str, kind: Kind, step: Step, cursor: Cursor, through: datetime | None) -> Page:
        place, warnings = self._place(entity, kind, step.records)
        to_row = mapper_of(entity, kind)
        records = step.records
        if entity == "fx_rates":
            records = [record for record in records if record.get("isocurrencycode") != place.base]
        rows = [to_row(record, place) for record in records]
        return Page({entity: rows}, cursor, through, warnings=(*self._absent(kind), *warnings), gone=step.gone)

    def _absent(self, kind: Kind) -> tuple[str, ...]:
        absent = ", ".join(self._api.found(kind).absent)
        return (f"Dynamics' table {kind.logical} has no column {absent}: what it fills stays empty",) if absent else ()

    def _place(self, entity: str, kind: Kind, records: Sequence[Record]) -> tuple[Place, tuple[str, ...]]:
        """What the rows need from other tables, and what of it may not be read."""
        warnings: tuple[str, ...] = ()
        closed: Mapping[str, str] = {}
        if kind.logical in _CLOSINGS:
            ids = [str(record[kind.key]) for record in records if record.get("statecode")]
            try:
                closed = self._closings(kind, ids)
            except SchemaError as error:
                told = f"{_CLOSINGS[kind.logical][0]} may not be read: closings are known by day at best"
                warnings = (f"Dynamics' {told}. {error.hint or ''}".rstrip(),)
        place = Place(
            self._context.timezone,
            self._context.currency,
            self.currencies() if kind.logical in WITH_MONEY and records else {},
            self._base() if entity == "fx_rates" and records else None,
            self._meaning() if kind.logical == "opportunity" else {},
            self._settings.stage_field,
            self._settings.fields.get(entity, {}),
            closed,
            self._made(records) if kind.logical == "lead" else {},
        )
        return place, warnings

    def _closings(self, kind: Kind, ids: Sequence[str]) -> dict[str, str]:
        """The last closing of each; a deal may have been opened again."""
        path, reference = _CLOSINGS[kind.logical]
        found: dict[str, str] = {}
        for row in self._api.belonging(path, reference, ids, f"{reference},actualend") if ids else ():
            at, key = row.get("actualend"), str(row.get(reference))
            if at and at > found.get(key, ""):
                found[key] = at
        return found

    def _made(self, leads: Sequence[Record]) -> dict[str, str]:
        """When the deals came to be that leads became; none, if deals may not be read."""
        ids = [str(deal) for lead in leads if (deal := lead.get("_qualifyingopportunityid_value"))]
        try:
            rows = list(self._api.belonging("opportunities", "opportunityid", ids, "opportunityid,createdon") if ids else ())
        except SchemaError:
            return {}
        return {str(row["opportunityid"]): row["createdon"] for row in rows}

    # -- small tables --------------------------------------------------------------------------------------------------------

    def _users(self, until: datetime) -> Iterator[Page]:
        select = ",".join((USERS.key, *self._api.found(USERS).select))
        people = [user_row(record) for record in self._api.whole(f"{USERS.set}?$select={select}")]
        warnings: tuple[str, ...] = ()
        teams: list[Row] = []
        try:
            teams = [team_row(record) for record in self._api.whole("teams?$select=teamid,name")]
        except SchemaError as error:
            warnings = (f"Dynamics' teams may not be read: records that they own have no owner. {error.hint or ''}".rstrip(),)
        owners = [{**team, "role": "team", "is_active": True} for team in teams]
        yield Page({"users": [*people, *owners], "teams": teams}, through=until, warnings=warnings)

    def stages(self) -> list[Row]:
        """The stages that deals go through, and the two in which they end."""
        meanings = self._settings.stages
        if self._settings.stage_field == "process":
            select = ",".join((STAGES.key, *(name for name in self._api.found(STAGES).select if name not in TIMES)))
            records = [
                record
                for record in self._api.whole(f"{STAGES.set}?$select={select}")
                if record.get("primaryentitytypecode", "opportunity") == "opportunity"
            ]
            records.sort(key=lambda record: (str(record.get("_processid_value")), record.get("stagecategory") or 0))
            rows = [stage_row(record, order, meanings) for order, record in enumerate(records)]
        else:
            rows = [
                stage_row({"processstageid": f"salesstage-{value}", "stagename": name}, order, meanings)
                for order, (value, name) in enumerate(self._choices("opportunity", "salesstage"))
            ]
        return [*rows, *closed_stages(len(rows))]

    def _choices(self, table: str, column: str) -> list[tuple[Any, str]]:
        """The values of a choice, with their labels."""
        path = (
            f"{ROOT}/EntityDefinitions(LogicalName='{table}')/Attributes(LogicalName='{column}')"
            "/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet($select=Options)"
        )
        options = dig(self._api.http.get(path).json(), "OptionSet.Options") or ()
        named = ((option.get("Value"), dig(option, "Label.UserLocalizedLabel.Label")) for option in options)
        return [(value, str(name or value)) for value, name in named]

    def check_stages(self) -> None:
        """SchemaError if the settings name a stage that is not there."""
        self._meaning()

    def _meaning(self) -> Mapping[str, str]:
        """What stages mean by id, where the settings say."""
        if self._meanings is None:
            named = self._settings.stages
            rows = self.stages() if named else []
            unknown = named.keys() - {str(row[name]) for row in rows for name in ("native_id", "name")}
            if unknown:
                known = ", ".join(sorted(str(row["name"]) for row in rows))
                raise SchemaError(
                    f"Dynamics has no stage {', '.join(sorted(unknown))}",
                    where=self._api.http.name,
                    hint=f"Correct `stages`. There are: {known}",
                )
            self._meanings = {
                str(row["native_id"]): named.get(str(row["native_id"])) or named.get(str(row["name"])) or str(row["state"])
                for row in rows
                if {str(row["native_id"]), str(row["name"])} & named.keys()
            }
        return self._meanings

    def _base(self) -> str | None:
        """The code of the environment's own currency."""
        found = next(self._api.whole("organizations?$select=_basecurrencyid_value"), {})
        return self.currencies().get(str(found.get("_basecurrencyid_value")))

    def currencies(self) -> Mapping[str, str]:
        """Codes of currencies by id."""
        if self._currencies is None:
            rows = self._api.whole("transactioncurrencies?$select=transactioncurrencyid,isocurrencycode")
            self._currencies = {str(row["transactioncurrencyid"]): str(row["isocurrencycode"]) for row in rows}
        return self._currencies

    # -- by id ---------------------------------------------------------------------------------------------------------------

    def ids(self, entity: str, cursor: Cursor | None) -> Iterator[IdPage]:
        """Every row by id; rows that were merged into others are none."""
        kinds, place = KINDS[entity], cursor or {}
        names = [kind.logical for kind in kinds]
        first = names.index(place["kind"]) if place.get("kind") in names else 0
        for number, kind in enumerate(kinds[first:], start=first):
            select = (kind.key, "modifiedon", *(("merged",) if kind.merges else ()))
            begin = place.get("next") if number == first else None
            for batch in self._api.read(begin or self._api.address(kind, select, orderby=kind.key)):
                told = [
                    (kind.prefix + str(record[kind.key]), datetime.fromisoformat(record["modifiedon"]))
                    for record in batch.records
                    if not record.get("merged")
                ]
                yield IdPage(told, {"kind": kind.logical, "next": batch.next} if batch.next else _following(names, number))

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Rows by id, complete."""
        for kind in KINDS[entity]:
            own = [id_.removeprefix(kind.prefix) for id_ in ids if id_.startswith(kind.prefix)]
            if own:
                yield self._page(entity, kind, Step(list(self._api.by_id(kind, own)), {}), {}, None)


def _following(names: Sequence[str], number: int) -> Cursor | None:
    return {"kind": names[number + 1], "next": None} if number + 1 < len(names) else None
