from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import StatementError

from kpid.errors import StoreError
from kpid.store.engine import Store
from kpid.store.prepared import Prepared
from kpid.store.tables import metadata, problems

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
ADD = problems.insert().values(hint="h", count=3, **{name: bindparam(f"new_{name}") for name in ("subject", "text")}).values(
    first_at=bindparam("now", type_=problems.c.first_at.type), last_at=bindparam("now", type_=problems.c.last_at.type)
)  # fmt: skip
CHANGE = update(problems).where(problems.c.text == bindparam("old")).values(text=bindparam("new"), last_at=bindparam("now"))


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/state.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    store = Store(url)
    store.create()
    yield store
    if request.param == "postgres":
        metadata.drop_all(store.engine)
    store.close()


def test_prepared_statement_changes_rows_and_counts_them(store: Store) -> None:
    add, change = Prepared(ADD.execution_options(preserve_rowcount=True)), Prepared(CHANGE)
    with store.write() as conn:
        for subject in ("a", "b"):
            assert add.execute(conn, {"new_subject": subject, "new_text": "x", "now": NOW}) == 1
        assert change.execute(conn, {"old": "x", "new": "y", "now": NOW}) == 2
        assert change.execute(conn, {"old": "x", "new": "y", "now": NOW}) == 0
    with store.read() as conn:
        rows = conn.execute(select(problems).order_by(problems.c.subject)).all()
    assert [(row.subject, row.text, row.hint, row.count, row.first_at, row.last_at) for row in rows] == [
        (subject, "y", "h", 3, NOW, NOW) for subject in ("a", "b")
    ]


def test_prepared_statement_is_part_of_its_transaction(store: Store) -> None:
    def fail() -> None:
        with store.write() as conn:
            Prepared(ADD).execute(conn, {"new_subject": "a", "new_text": "x", "now": NOW})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.read() as conn:
        assert conn.execute(select(problems)).all() == []


def test_value_that_is_not_fit_is_refused(store: Store) -> None:
    naive = {"new_subject": "a", "new_text": "x", "now": NOW.replace(tzinfo=None)}
    with pytest.raises((ValueError, StatementError), match="naive"), store.write() as conn:
        Prepared(ADD).execute(conn, naive)


def test_store_that_refuses_is_told_as_always(tmp_path: Path) -> None:
    made = Store(f"sqlite:///{tmp_path}/state.db")
    made.create()
    with made.write() as conn:
        conn.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StoreError, match="cannot be written"), made.write() as conn:
        Prepared(ADD).execute(conn, {"new_subject": "a", "new_text": "x", "now": NOW})
    made.close()
