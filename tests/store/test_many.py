"""Many rows at once: the same rows as one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import bindparam, func, select, update

from kpid.errors import KpidError
from kpid.store.alerts import SeriesRow
from kpid.store.engine import Store
from kpid.store.many import add_rows, change_rows
from kpid.store.tables import series

NOW = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = SeriesRow._fields


def a_row(key: str, **more: object) -> SeriesRow:
    row = SeriesRow("r", key, "{}", {"owner": "Ada"}, "m", "ok", "none", "fresh", 0, None, {"n": [1, None]}, NOW)
    return row._replace(**more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    return store


def rows_of(store: Store) -> Sequence[SeriesRow]:
    with store.read() as conn:
        found = conn.execute(select(*(series.c[name] for name in NAMES)).order_by(series.c.series_key))
        return [SeriesRow(*row) for row in found]


def test_rows_come_back_as_they_went_in(store: Store) -> None:
    rows = [a_row("a"), a_row("b", last_slot=NOW, state={}), a_row("c", names={"owner": None, "sp'ot": '"'})]
    with store.write() as conn:
        add_rows(conn, series, NAMES, rows)
        add_rows(conn, series, NAMES, [])
    assert rows_of(store) == rows


def test_rows_replace_those_of_the_same_key_and_no_others(store: Store) -> None:
    with store.write() as conn:
        add_rows(conn, series, NAMES, [a_row("a"), a_row("b")])
        add_rows(conn, series, NAMES, iter([a_row("b", status="firing"), a_row("c")]), replace=True)
    assert rows_of(store) == [a_row("a"), a_row("b", status="firing"), a_row("c")]


def test_a_key_that_is_there_is_refused_and_nothing_is_written(store: Store) -> None:
    with store.write() as conn:
        add_rows(conn, series, NAMES, [a_row("a")])
    with pytest.raises(Exception, match="UNIQUE") as caught, store.write() as conn:
        add_rows(conn, series, NAMES, [a_row("b"), a_row("a")])
    assert not isinstance(caught.value, KpidError)
    assert rows_of(store) == [a_row("a")]


def test_a_naive_instant_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="naive"), store.write() as conn:
        add_rows(conn, series, NAMES, [a_row("a", updated_at=datetime(2026, 3, 2))])
    assert rows_of(store) == []


def test_each_set_of_values_changes_its_row_and_all_that_changed_are_counted(store: Store) -> None:
    with store.write() as conn:
        add_rows(conn, series, NAMES, [a_row("a"), a_row("b"), a_row("c", status="firing")])
        mine = (series.c.series_key == bindparam("key"), series.c.status == "ok")
        change = update(series).where(*mine).values(names=bindparam("called"), last_slot=bindparam("slot"), level="warn")
        given = [{"key": key, "called": {"owner": key}, "slot": NOW} for key in ("a", "c", "b", "z")]
        assert change_rows(conn, change, given) == 2
        assert change_rows(conn, change, []) == 0
        assert conn.scalar(select(func.count()).where(series.c.level == "warn")) == 2
    changed = {"last_slot": NOW, "level": "warn"}
    assert rows_of(store) == [
        a_row("a", names={"owner": "a"}, **changed),
        a_row("b", names={"owner": "b"}, **changed),
        a_row("c", status="firing"),
    ]
