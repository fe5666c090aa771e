"""Pages of entities: tables read one after the other, rows with what they need from others, cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from kpid.plugin import Cursor, IdPage, Page, SchemaError, SourceContext, Tombstone
from kpid_dynamics365.beside import Beside
from kpid_dynamics365.endpoints import Endpoints, choice, options
from kpid_dynamics365.mapping import PIPELINE, closed_stages, mapper_of, stage_row, team_row, user_row
from kpid_dynamics365.settings import DynamicsSettings
from kpid_dynamics365.tables import RATING, STAGES, TIMES, USERS, WITH_MONEY, Kind
from kpid_dynamics365.tracking import Step, Tracking
from kpid_dynamics365.values import Place, Record, Row, Survey


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
        self.beside = Beside(api)
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
        kinds, kept = self._settings.kinds(entity), dict((cursor or {}).get("kinds", {}))
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
        made = [to_row(record, place) for record in records]
        rows = [row for row in made if row is not None]
        # of a first read nobody knows what it leaves out
        left_out = () if "pull" in step.state else zip(records, made, strict=True)
        void = [str(record[kind.key]) for record, row in left_out if row is None]
        gone = [*step.gone, *(Tombstone(kind.prefix + native_id) for native_id in void)]
        return Page({entity: rows}, cursor, through, warnings=(*self._absent(kind), *warnings), gone=gone)

    def _absent(self, kind: Kind) -> tuple[str, ...]:
        absent = ", ".join(self._api.found(kind).absent)
        return (f"Dynamics' table {kind.logical} has no column {absent}: what it fills stays empty",) if absent else ()

    def _place(self, entity: str, kind: Kind, records: Sequence[Record]) -> tuple[Place, tuple[str, ...]]:
        """What the rows need from other tables, and what of it may not be read."""
        settings, known = self._settings, self.beside.of(kind, records)
        place = Place(
            self._context.timezone,
            self._context.currency,
            self.currencies() if kind.logical in WITH_MONEY and records else {},
            self._base() if entity == "fx_rates" and records else None,
            self._meaning() if kind.logical == "opportunity" else {},
            settings.stage_field,
            settings.fields.get(entity, {}),
            known.closed,
            known.made,
            known.rivals,
            known.replies,
            known.people,
            settings.states_of_orders,
            Survey(settings.survey_score, settings.survey_kind, settings.survey_scale, settings.survey_submitted),
            self._api.found(kind).reasons,
        )
        return place, known.warnings

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
                for order, (value, name) in enumerate(options(self._api.http.get(choice("opportunity", "salesstage")).json()))
            ]
        return [*rows, *closed_stages(len(rows))]

    def try_out(self, entity: str) -> None:
        """SchemaError if the settings name a stage that is not there, or a table beside may not be read that has to be."""
        if entity == "pipelines":
            self.stages()
        if entity == "deals":
            self._meaning()
        if entity == "fx_rates" or any(kind.logical in WITH_MONEY for kind in self._settings.kinds(entity)):
            self.currencies()
        if entity == "fx_rates":
            self._base()

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
        kinds, place = self._settings.kinds(entity), cursor or {}
        names = [kind.logical for kind in kinds]
        first = names.index(place["kind"]) if place.get("kind") in names else 0
        for number, kind in enumerate(kinds[first:], start=first):
            rated = (RATING,) if entity == "survey_responses" and RATING in kind.columns else ()
            select = (kind.key, "modifiedon", *(("merged",) if kind.merges else ()), *rated)
            begin = place.get("next") if number == first else None
            for batch in self._api.read(begin or self._api.address(kind, select, orderby=kind.key)):
                told = [
                    (kind.prefix + str(record[kind.key]), datetime.fromisoformat(record["modifiedon"]))
                    for record in batch.records
                    if not record.get("merged") and all(record.get(name) is not None for name in rated)
                ]
                yield IdPage(told, {"kind": kind.logical, "next": batch.next} if batch.next else _following(names, number))

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Rows by id, complete."""
        for kind in self._settings.kinds(entity):
            own = [id_.removeprefix(kind.prefix) for id_ in ids if id_.startswith(kind.prefix)]
            if own:
                yield self._page(entity, kind, Step(list(self._api.by_id(kind, own)), {}), {}, None)


def _following(names: Sequence[str], number: int) -> Cursor | None:
    return {"kind": names[number + 1], "next": None} if number + 1 < len(names) else None
