"""The history of deals as intervals: which stage they were in, and what their fields held. Pure.

Salesforce writes a row whenever the stage, the amount, the probability or the close date changes: rows in which a field is as it
was before are no change of that field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from kpid_salesforce.mapping import FORECASTS, PIPELINE
from kpid_salesforce.values import Record, Row, share

FIELDS = {
    "amount": "Amount",
    "probability": "Probability",
    "expected_close_date": "CloseDate",
    "forecast_category": "ForecastCategory",
}
ORDER = ("OpportunityId", "CreatedDate", "Id")


def history_rows(records: Iterable[Record]) -> dict[str, list[Row]]:
    """Rows of both histories from rows of ``OpportunityHistory`` in the order of :data:`ORDER`, whole deals of them."""
    stages, fields = list[Row](), list[Row]()
    for deal, found in groupby(records, key=lambda record: str(record["OpportunityId"])):
        instants = [*_instants(found)]
        stages += [_stage(deal, *change) for change in _changes(instants, "StageName")]
        for name, field in FIELDS.items():
            fields += [_field(deal, name, field, *change) for change in _changes(instants, field)]
    return {"deal_stage_history": stages, "deal_field_history": fields}


def _instants(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The rows of each instant: the last one counts."""
    for _, same in groupby(records, key=lambda record: record.get("CreatedDate")):
        yield list(same)


def _changes(instants: Sequence[list[Record]], field: str) -> Iterator[tuple[Record, Any]]:
    """What counted after each instant at which a field changed (perhaps there and back), and until when."""
    before = [None, *(same[-1].get(field) for same in instants)]  # a field that was empty from the start has no history yet
    changed = [
        same[-1] for same, old in zip(instants, before, strict=False) if any(version.get(field) != old for version in same)
    ]
    for version, following in zip(changed, [*changed[1:], {}], strict=False):
        yield version, following.get("CreatedDate")


def _interval(deal: str, version: Record, end: Any) -> Row:
    start = version.get("CreatedDate")
    return {"deal_id": deal, "valid_from": start, "valid_to": end, "origin": "crm", "updated_at": end or start}


def _id(deal: str, version: Record) -> str:
    """Of deal and instant: what is written later for the same instant takes its place."""
    return f"{deal}-{version.get('CreatedDate')}"


def _stage(deal: str, version: Record, end: Any) -> Row:
    return {
        **_interval(deal, version, end),
        "native_id": _id(deal, version),
        "stage_id": version.get("StageName"),
        "pipeline_id": PIPELINE,
        "entered_by": version.get("CreatedById"),
    }


def _field(deal: str, name: str, field: str, version: Record, end: Any) -> Row:
    return {
        **_interval(deal, version, end),
        "native_id": f"{_id(deal, version)}-{name}",
        "field": name,
        "value": _text(name, version.get(field)),
        "changed_by": version.get("CreatedById"),
    }


_WRITTEN: Mapping[str, Any] = {"probability": share, "forecast_category": lambda value: FORECASTS.get(value, value)}


def _text(name: str, value: Any) -> str | None:
    """A value as histories write it: a decimal without needless zeros, an ISO date, a word."""
    value = _WRITTEN.get(name, lambda same: same)(value)
    if isinstance(value, int | Decimal):
        return f"{Decimal(value).normalize():f}"
    return None if value is None else str(value)
