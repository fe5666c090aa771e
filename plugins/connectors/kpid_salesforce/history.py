"""The history of deals as intervals: which stage they were in, and what their fields held. Pure.

Salesforce writes a row whenever the stage, the amount, the probability or the close date changes: rows in which a field is as it
was before are no change of that field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import Any

from kpid.plugin import dig
from kpid_salesforce.mapping import FORECASTS
from kpid_salesforce.values import Record, Row, pipeline_of, share, stage_in

FIELDS = {
    "amount": "Amount",
    "probability": "Probability",
    "expected_close_date": "CloseDate",
    "forecast_category": "ForecastCategory",
}
RECORD_TYPE = "Opportunity.RecordTypeId"

OWNER_IDS = ("005", "00G")
"""What the ids of users and of queues begin with."""


def history_rows(records: Iterable[Record], *, by_record_type: bool = False) -> dict[str, list[Row]]:
    """Rows of both histories from rows of ``OpportunityHistory`` in the order of deal and time, whole deals of them.

    They do not say which record type a deal had then: all of its stages are told as of the pipeline that it is in now.
    """
    stages, fields = list[Row](), list[Row]()
    for deal, found in groupby(records, key=lambda record: str(record["OpportunityId"])):
        instants = [*_instants(found)]
        starts = [same[-1].get("CreatedDate") for same in instants]
        keys = [f"{deal}-{start}".replace("Z", "+0000") for start in starts]  # Bulk writes instants otherwise
        pipeline = pipeline_of(_record_type(instants), by_record_type=by_record_type)
        stages += [
            _stage(deal, pipeline, instants[at][-1], keys[at], starts[at], end)
            for at, end in _changes(instants, "StageName", starts)
        ]
        for name, field in FIELDS.items():
            fields += [
                _field(deal, name, field, instants[at][-1], keys[at], starts[at], end)
                for at, end in _changes(instants, field, starts)
            ]
    return {"deal_stage_history": stages, "deal_field_history": fields}


def _record_type(instants: Sequence[list[Record]]) -> Any:
    return dig(instants[-1][-1], RECORD_TYPE)


def _instants(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The rows of each instant: the last one counts."""
    for _, same in groupby(records, key=lambda record: record.get("CreatedDate")):
        yield list(same)


def _changes(instants: Sequence[Sequence[Record]], field: str, starts: Sequence[Any]) -> list[tuple[int, Any]]:
    """The places of the instants at which a field changed (perhaps there and back), each with the beginning of the next."""
    changed, old = list[int](), None  # a field that was empty from the start has no history yet
    for at, same in enumerate(instants):
        new = same[-1].get(field)
        if new != old or (len(same) > 1 and any(version.get(field) != old for version in same)):
            changed.append(at)
        old = new
    return list(zip(changed, [*(starts[at] for at in changed[1:]), None], strict=True)) if changed else []


def _stage(deal: str, pipeline: str, version: Record, key: str, start: Any, end: Any) -> Row:
    """Its id is made of deal and instant: what is written later for the same instant takes its place."""
    return {
        "deal_id": deal,
        "valid_from": start,
        "valid_to": end,
        "origin": "crm",
        "updated_at": end or start,
        "native_id": key,
        "stage_id": stage_in(pipeline, version.get("StageName")),
        "pipeline_id": pipeline,
        "entered_by": version.get("CreatedById"),
    }


def _field(deal: str, name: str, field: str, version: Record, key: str, start: Any, end: Any) -> Row:
    return {
        "deal_id": deal,
        "valid_from": start,
        "valid_to": end,
        "origin": "crm",
        "updated_at": end or start,
        "native_id": f"{key}-{name}",
        "field": name,
        "value": _text(name, version.get(field)),
        "changed_by": version.get("CreatedById"),
    }


def owner_rows(records: Iterable[Record], source: str) -> list[Row]:
    """Who owned deals when, from rows of ``OpportunityFieldHistory`` in the order of deal and time.

    Salesforce writes a change of owner twice: with names, and with ids, which are what counts. Deals that always had one owner
    have no rows.
    """
    found = list[Row]()
    for deal, changes in groupby(records, key=lambda record: str(record["OpportunityId"])):
        told = [change for change in changes if _is_user(change.get("NewValue")) and _is_user(change.get("OldValue"))]
        if told:
            ends = [change.get("CreatedDate") for change in told]
            spans = zip([dig(told[0], "Opportunity.CreatedDate"), *ends], [*ends, None], strict=True)
            owners = [told[0]["OldValue"], *(change["NewValue"] for change in told)]
            found += [_owned(f"{source}:{deal}", deal, owner, *span) for owner, span in zip(owners, spans, strict=True)]
    return found


def _is_user(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(OWNER_IDS) and len(value) in {15, 18}


def _owned(object_id: str, deal: str, owner: str, start: Any, end: Any) -> Row:
    return {
        "native_id": f"{deal}-{start}".replace("Z", "+0000"),
        "updated_at": end or start,
        "object_type": "deals",
        "object_id": object_id,
        "owner_id": owner,
        "valid_from": start,
        "valid_to": end,
        "origin": "crm",
    }


_WRITTEN: Mapping[str, Any] = {"probability": share, "forecast_category": lambda value: FORECASTS.get(value, value)}


def _text(name: str, value: Any) -> str | None:
    """A value as histories write it: a decimal without needless zeros, an ISO date, a word."""
    if name in _WRITTEN:
        value = _WRITTEN[name](value)
    if isinstance(value, int | Decimal):
        return _number_text(value)
    return None if value is None else str(value)


@lru_cache(maxsize=10_000)
def _number_text(value: int | Decimal) -> str:
    return f"{Decimal(value).normalize():f}"
