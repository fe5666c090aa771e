"""Stage intervals from two looks at the same deal."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kpid.ingest.observed import observed_intervals

T0 = datetime(2026, 3, 1, tzinfo=UTC)
T1, T2 = T0 + timedelta(days=1), T0 + timedelta(days=2)


def deal(stage: str | None, updated: datetime | None, synced: datetime = T0) -> dict[str, Any]:
    return {"id": "crm:1", "stage_id": stage, "pipeline_id": "crm:p", "updated_at": updated, "synced_at": synced}


def spans(*args: Any) -> list[tuple[Any, ...]]:
    return [(row["stage_id"], row["valid_from"], row["valid_to"]) for row in observed_intervals(*args)]


def test_a_new_deal_and_a_steady_one_show_nothing() -> None:
    assert spans([], [deal("a", T0)], [], T2) == []
    assert spans([deal("a", T0)], [deal("a", T1)], [], T2) == []
    assert spans([deal(None, T0)], [deal("a", T1)], [], T2) == []


def test_a_move_closes_one_interval_and_opens_the_next() -> None:
    assert spans([deal("a", T0)], [deal("b", T1)], [], T2) == [("a", T0, T1), ("b", T1, None)]


def test_a_running_interval_is_closed_not_repeated() -> None:
    (_, running) = observed_intervals([deal("a", T0)], [deal("b", T1)], [], T2)
    closed, opened = observed_intervals([deal("b", T1)], [deal("c", None)], [running], T2)
    assert closed == {**running, "valid_to": T2}
    assert (opened["stage_id"], opened["valid_from"]) == ("c", T2)


def test_nothing_is_observed_later_than_the_syncs_reach_or_before_the_last_look() -> None:
    assert spans([deal("a", T0)], [deal("b", T2 + timedelta(days=9))], [], T2) == [("a", T0, T2), ("b", T2, None)]
    assert spans([deal("a", T1)], [deal("b", T0)], [], T2) == [("a", T1, T2), ("b", T2, None)]


def test_a_stage_that_was_taken_away_ends() -> None:
    assert spans([deal("a", T0)], [deal(None, T1)], [], T2) == [("a", T0, T1)]
