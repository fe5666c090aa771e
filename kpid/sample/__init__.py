"""Sample data: two years of an invented, believable B2B company as CSV files in canonical columns.

Seeded: the same seed and day give the same files. In it on purpose: yearly seasons, a push at quarter ends, six sellers of
different skill, one of them with a win rate that breaks down in the last ten weeks, and a support desk that falls behind in the
last four. All names are invented, and plainly so.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from kpid.sample import company, packs, sales, service

SEED = 7


def write_sample(folder: Path, *, seed: int, now: datetime) -> dict[str, int]:
    """Write the sample as CSV files, one per entity, replacing earlier ones.

    Args:
        folder: where the files go; made if missing.
        seed: the same seed and local day give the same files.
        now: aware instant at which the data ends.

    Returns:
        Rows written per entity.
    """
    yesterday = now.astimezone(company.ZONE).date() - timedelta(days=1)
    span = company.Span(yesterday - timedelta(days=company.DAYS), yesterday, now)
    accounts = company.accounts(Random(f"{seed} accounts"), span)
    deals, history = sales.deals(Random(f"{seed} deals"), span, accounts)
    tables: dict[str, Sequence[dict[str, Any]]] = {
        "users": company.users(),
        "accounts": accounts,
        "pipelines": [{"native_id": "sales", "name": "Sales", "sort_order": 1}],
        "stages": sales.stages(),
        "deals": deals,
        "deal_stage_history": history,
        "leads": list(sales.leads(Random(f"{seed} leads"), span)),
        "activities": list(sales.activities(Random(f"{seed} activities"), span, accounts)),
        "tickets": list(service.tickets(Random(f"{seed} tickets"), span, accounts)),
        "survey_responses": list(service.surveys(Random(f"{seed} surveys"), span, accounts)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        _write(folder / f"{name}.csv", rows)
    return {name: len(rows) for name, rows in tables.items()}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    fresh = path.with_suffix(".new")
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    fresh.replace(path)


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return "" if value is None else value


def write_configuration(folder: Path) -> list[Path]:
    """Copy the sample configuration to ``folder``, with every pack of rules; files that are there already stay as they are.

    Returns:
        The files written.
    """
    origin = packs.origin()
    found = [file for part in ("rules", "rules/tests", "kpis", "reports") for file in sorted((origin / part).glob("*.yml"))]
    return list(packs.copy_files(folder, ["kpid.yml", *(str(file.relative_to(origin)) for file in found)]))
