from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from kpid.store.engine import Store
from kpid.store.reports import find_run, list_report_runs, save_run
from tests.reporting.weeks import NOW, WEEK, WEEKS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    return store


def test_run_is_found_by_report_and_due_time(store: Store) -> None:
    with store.write() as conn:
        number = save_run(conn, "weekly", WEEK, "2026-11-16T07:30:00", {"a": 1}, NOW)
    with store.read() as conn:
        run = find_run(conn, "weekly", "2026-11-16T07:30:00")
        assert run is not None
        assert (run.id, run.period_kind, run.period_start, run.context) == (number, "week", WEEK.start, {"a": 1})
        assert find_run(conn, "weekly", "2026-11-23T07:30:00") is None
        assert find_run(conn, "monthly", "2026-11-16T07:30:00") is None
    store.close()


def test_second_run_for_a_due_time_is_refused(store: Store) -> None:
    with store.write() as conn:
        save_run(conn, "weekly", WEEK, "x", {}, NOW)
    with pytest.raises(IntegrityError), store.write() as conn:
        save_run(conn, "weekly", WEEK, "x", {}, NOW)
    store.close()


def test_runs_are_listed_newest_first(store: Store) -> None:
    with store.write() as conn:
        for number, name in enumerate(("weekly", "weekly", "monthly")):
            save_run(conn, name, WEEKS[number], str(number), {}, NOW)
    with store.read() as conn:
        assert [run.due for run in list_report_runs(conn)] == ["2", "1", "0"]
        assert [run.due for run in list_report_runs(conn, "weekly", limit=1)] == ["1"]
    store.close()
