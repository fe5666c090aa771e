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
        versions = [*_last_of_an_instant(found)]
        stages += [_stage(deal, *change) for change in _changes(versions, "StageName")]
        for name, field in FIELDS.items():
            fields += [_field(deal, name, field, *change) for change in _changes(versions, field)]
    return {"deal_stage_history": stages, "deal_field_history": fields}


def _last_of_an_instant(records: Iterable[Record]) -> Iterator[Record]:
    """Of several rows of one instant the last one counts."""
    for _, same in groupby(records, key=lambda record: record.get("CreatedDate")):
        yield list(same)[-1]


def _changes(versions: Sequence[Record], field: str) -> Iterator[tuple[Record, Any]]:
    """The versions with which a field got another value, and the instants at which it got the next one."""
    before = [None, *(version.get(field) for version in versions)]  # a field that was empty from the start has no history yet
    changed = [version for version, old in zip(versions, before, strict=False) if version.get(field) != old]
    for version, following in zip(changed, [*changed[1:], {}], strict=False):
        yield version, following.get("CreatedDate")


def _interval(deal: str, version: Record, end: Any) -> Row:
    start = version.get("CreatedDate")
    return {"deal_id": deal, "valid_from": start, "valid_to": end, "origin": "crm", "updated_at": end or start}


def _stage(deal: str, version: Record, end: Any) -> Row:
    return {
        **_interval(deal, version, end),
        "native_id": version["Id"],
        "stage_id": version.get("StageName"),
        "pipeline_id": PIPELINE,
        "entered_by": version.get("CreatedById"),
    }


def _field(deal: str, name: str, field: str, version: Record, end: Any) -> Row:
    return {
        **_interval(deal, version, end),
        "native_id": f"{version['Id']}-{name}",
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
