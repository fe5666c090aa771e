"""Random rows for every canonical table, made from its columns alone: what their names and descriptions say may be in them."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, Numeric

from kpid.plugin.entities import ENTITIES
from kpid.warehouse.types import arrow_schema

NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
SPAN = timedelta(days=430)
_LIST = re.compile(r"^[a-z_0-9]+(, [a-z_0-9]+)+$")
_WORDS = {
    "currency": ["EUR", "EUR", "EUR", "USD"],
    "from_currency": ["USD"],
    "to_currency": ["EUR"],
    "kind": ["nps", "csat", "ces", "call", "meeting"],
    "type": ["call", "meeting", "email"],
    "direction": ["outbound", "inbound"],
    "status": ["open", "solved", "completed", "active", "closed", "delivered", "new"],
    "origin": ["crm", "observed"],
    "email": ["ada@example.com", "bob@example.org"],
    "industry": ["Retail", "Chemie & Öl"],
}


def rows(seed: int, count: int = 40) -> dict[str, pa.Table]:
    """Tables of about ``count`` rows each, by entity; equal for equal seeds."""
    rng = random.Random(seed)
    return {name: _table(name, rng, count) for name in ENTITIES}


def _table(name: str, rng: random.Random, count: int) -> pa.Table:
    made = [{column.name: _cell(column, rng, count) for column in ENTITIES[name].columns} for _ in range(count)]
    for number, row in enumerate(made):
        row |= {
            "id": f"crm:{number}",
            "source_id": "crm",
            "native_id": str(number),
            "synced_at": NOW,
            "is_test": rng.random() < 0.03,
        }
        gone = rng.random()
        row["deleted_at"] = NOW + timedelta(days=rng.choice([-30, 5])) if gone < 0.05 else None
        row["merged_into_id"] = "crm:1" if 0.05 < gone < 0.08 else None
        row["deleted_reason"] = None
        _ordered(row, "valid_from", "valid_to")
        if row.get("lifecycle") == "internal" and number % 5:
            row["lifecycle"] = "customer"  # what belongs to internal accounts counts nowhere: too many would leave too little
        if name == "fx_rates":
            row |= {"rate": Decimal(rng.randrange(80, 120)) / 100, "valid_from": (NOW - SPAN).date(), "valid_to": None}
    return pa.Table.from_pylist(made, schema=arrow_schema(name))


def _ordered(row: dict[str, Any], first: str, second: str) -> None:
    if row.get(first) is not None and row.get(second) is not None and row[second] < row[first]:
        row[first], row[second] = row[second], row[first]


def _cell(column: Column[Any], rng: random.Random, count: int) -> Any:
    if rng.random() < 0.12:
        return None
    if "ref" in column.info:
        return (
            f"crm:{rng.randrange(count + 1)}" if column.info["ref"] not in ("users", "pipelines") else f"crm:{rng.randrange(4)}"
        )
    match column.type:
        case DateTime():
            return _instant(rng)
        case Date():
            return _instant(rng).date()
        case Boolean():
            return rng.random() < 0.6
        case Integer():
            return rng.randrange(0, 40)
        case Numeric():
            return (
                Decimal(rng.randrange(-50, 9000)) / rng.choice([1, 10, 100])
                if "score" not in column.name
                else Decimal(rng.randrange(0, 12))
            )
        case JSON():
            return rng.choice(['{"tier": "gold"}', '{"tier": null, "n": 3}', '{"tier": "sil\'ver"}', "{}"])
        case _:
            return _text(column, rng)


def _instant(rng: random.Random) -> datetime:
    chosen = rng.random()
    if chosen < 0.25:
        month = NOW.replace(hour=0) - timedelta(days=rng.randrange(400))
        edge = datetime(month.year, month.month, 1, tzinfo=UTC) - timedelta(hours=1)
        return edge + rng.choice([-1, 0, 1]) * timedelta(microseconds=1)
    at = NOW - SPAN + timedelta(seconds=rng.randrange(int((SPAN + timedelta(days=20)).total_seconds())))
    return at + timedelta(microseconds=rng.randrange(1_000_000)) if chosen < 0.4 else at


def _text(column: Column[Any], rng: random.Random) -> str:
    doc = column.doc or ""
    if _LIST.match(doc):
        return rng.choice(doc.split(", "))
    return rng.choice(_WORDS.get(column.name) or [f"{column.name} a", f"{column.name} b", 'it\'s \\ "odd"'])


def a_date(text: str) -> date:
    """A date from its text."""
    return date.fromisoformat(text)
