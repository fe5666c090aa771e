"""The small parts of rows of a fake Dataverse environment: ids, lookups, choices, instants, and how they look in JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kpid.testing.crm import STAGES

ZONE = ZoneInfo("Europe/Berlin")
"""In which the environment's calendar dates are."""
CURRENCIES = {
    f"9e9e9e9e-0000-4000-8000-{number:012d}": (iso, rate)
    for number, (iso, rate) in enumerate((("EUR", "1"), ("USD", "1.087"), ("CHF", "0.931")), start=1)
}
"""By id: code, and how many of it make one unit of the base currency."""
BASE = "EUR"
REASONS = {1: "In Bearbeitung", 4: "Preis"}
"""Status reasons of opportunities."""
_FORMATTED = "OData.Community.Display.V1.FormattedValue"
_LOGICAL = "Microsoft.Dynamics.CRM.lookuplogicalname"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A reference to a record of another table."""

    id: str | None
    table: str


@dataclass(frozen=True, slots=True)
class Option:
    """A choice, with its label in the caller's language."""

    value: Any
    label: str | None = None


def stamp(at: datetime | None) -> str | None:
    """An instant as the API writes it."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rendered(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Columns with their annotations, in JSON values."""
    for name, value in fields.items():
        match value:
            case Lookup(id=found, table=table):
                yield name, found
                if found is not None:
                    yield f"{name}@{_LOGICAL}", table
            case Option(value=chosen, label=label):
                yield name, chosen
                if label is not None:
                    yield f"{name}@{_FORMATTED}", label
            case Decimal():
                yield name, float(value)
            case datetime():
                yield name, stamp(value)
            case date():
                yield name, value.isoformat()
            case _:
                yield name, value


def annotated(body: dict[str, Any], prefer: str) -> dict[str, Any]:
    """An answer with those annotations of columns alone that a ``Prefer`` header asks for."""
    match = re.search(r'odata\.include-annotations="([^"]*)"', prefer)
    wanted = set(match[1].split(",")) if match else set()

    def told(row: Mapping[str, Any]) -> dict[str, Any]:
        parts = ((name, name.partition("@")) for name in row)
        return {name: row[name] for name, (column, _, said) in parts if not column or not said or {said, "*"} & wanted}

    return {**body, "value": [told(row) for row in body["value"]]} if "value" in body else told(body)


def attribute(column: str) -> str:
    """What the metadata call a column: a lookup's column is ``_ownerid_value``, its attribute ``ownerid``."""
    return column[1:-6] if column.startswith("_") and column.endswith("_value") else column


def vendor_id(kind: str, number: int) -> str:
    """A GUID, the same in every run; closing is a state, not a stage, and has no GUID."""
    if kind == "stages":
        names = list(STAGES)
        if number <= len(names) and STAGES[names[number - 1]][1] != "open":
            return names[number - 1]
    return f"{sum(map(ord, kind)):08x}-0000-4000-8000-{number:012d}"


class Currencies:
    """The environment's currencies: how many of each make one unit of the base currency, and since when."""

    logical, set, key = "transactioncurrency", "transactioncurrencies", "transactioncurrencyid"
    columns = (key, "isocurrencycode", "exchangerate", "createdon", "modifiedon")

    def __init__(self, at: datetime) -> None:
        self._made = at
        self.rates = {iso: (Decimal(rate), at) for iso, rate in CURRENCIES.values()}
        """By code: the rate, and when it was set."""

    def rows(self, start: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
        """The currencies of which the rate was set in ``[start, end)``."""
        return [
            {
                self.key: key, "isocurrencycode": iso, "exchangerate": float(self.rates[iso][0]),
                "createdon": stamp(self._made), "modifiedon": stamp(self.rates[iso][1]),
            }
            for key, (iso, _) in CURRENCIES.items()
            if (start is None or self.rates[iso][1] >= start) and (end is None or self.rates[iso][1] < end)
        ]  # fmt: skip


def reasons(table: str) -> list[dict[str, Any]]:
    """The options of the choice ``statuscode`` of a table."""
    names = {"opportunity": REASONS}.get(table, {})
    return [{"Value": value, "Label": {"UserLocalizedLabel": {"Label": name}}} for value, name in names.items()]


def sales_stages() -> list[dict[str, Any]]:
    """The options of the choice ``salesstage``."""
    names = ("Qualifizieren", "Entwickeln")
    return [{"Value": at, "Label": {"UserLocalizedLabel": {"Label": name}}} for at, name in enumerate(names)]
