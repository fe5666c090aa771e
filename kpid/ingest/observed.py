"""Stage history for sources that keep none: what two successive syncs saw to differ. Pure.

An interval is half-open. The stage that a deal has left is known from the last sync's row; the moment it left it is the deal's
own ``updated_at``, or else the end of this sync's reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Record = Mapping[str, Any]


def observed_intervals(
    stored: Iterable[Record], incoming: Iterable[Record], running: Iterable[Record], at: datetime
) -> list[dict[str, Any]]:
    """Rows for ``deal_stage_history`` (ids complete), one or two per deal that changed its stage.

    Args:
        stored: the deals as they were: ``id, stage_id, pipeline_id, updated_at, synced_at``.
        incoming: the deals as they are now, same columns; of several of one id the last counts.
        running: the observed intervals without an end, of these deals.
        at: the end of this sync's reach: nothing is observed later than this.
    """
    now = {deal["id"]: deal for deal in incoming}
    open_intervals = {row["deal_id"]: row for row in running}
    rows: list[dict[str, Any]] = []
    for old in stored:
        new = now.get(old["id"])
        if new is None or old["stage_id"] is None or new["stage_id"] == old["stage_id"]:
            continue
        began = old["updated_at"] or old["synced_at"]
        moved = min(new["updated_at"] or at, at)
        if moved < began:
            moved = max(began, at)
        last = open_intervals.get(old["id"])
        rows.append({**last, "valid_to": moved} if last else _interval(old, began, moved))
        if new["stage_id"] is not None:
            rows.append(_interval(new, moved, None))
    return rows


def _interval(deal: Record, start: datetime, end: datetime | None) -> dict[str, Any]:
    source, _, native = deal["id"].partition(":")
    own = f"observed:{native}:{start.isoformat()}:{deal['stage_id']}"
    return {
        "id": f"{source}:{own}",
        "source_id": source,
        "native_id": own,
        "deal_id": deal["id"],
        "stage_id": deal["stage_id"],
        "pipeline_id": deal["pipeline_id"],
        "valid_from": start,
        "valid_to": end,
        "origin": "observed",
        "is_test": False,
    }
