"""Ranges of stored ids: what they say to be new is new, whatever was written, in whatever order and process."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.errors import StoreError
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb
from kpid.warehouse.spans import Spans, spans
from tests.warehouse.rows import deals

IDS = st.lists(st.one_of(st.integers(0, 3000).map(str), st.text("aé😀zZ9-", max_size=3)).map("crm:{}".format), max_size=8)


@given(st.lists(IDS, max_size=8), IDS)
@settings(max_examples=60, deadline=None)
def test_what_is_stored_is_never_called_new(batches: list[list[str]], asked: list[str]) -> None:
    known = Spans()
    known.add("deals", [])
    for batch in batches:
        known.add("deals", spans(batch))
    if not known.may_hold("deals", asked):
        assert not {key for batch in batches for key in batch}.intersection(asked)


def test_numbers_in_their_order_are_new_and_others_are_not_sure_to_be() -> None:
    known = Spans()
    assert known.may_hold("deals", ["crm:1"])  # nothing has been read yet
    for start in range(0, 12_000, 1_000):
        batch = [f"crm:{number}" for number in range(start, start + 1_000)]
        if start:
            assert not known.may_hold("deals", batch)
        known.add("deals", spans(batch))
    assert known.may_hold("deals", ["crm:12000", "crm:500"])
    assert known.may_hold("contacts", ["crm:12000"])


def _store(warehouse: DuckDBWarehouse, numbers: range, owner: str = "crm:anna") -> int:
    with warehouse.batch() as batch:
        return batch.upsert("deals", deals(*({"id": f"crm:{n}", "owner_id": owner} for n in numbers))).changed


def test_rows_of_an_earlier_process_are_found_by_a_large_batch(tmp_path: Path) -> None:
    warehouse = open_duckdb(tmp_path / "crm.duckdb")
    assert _store(warehouse, range(9_000, 10_500)) == 1_500
    warehouse.close()
    warehouse = open_duckdb(tmp_path / "crm.duckdb")
    assert warehouse.may_hold("deals", ["crm:1"])
    assert _store(warehouse, range(10_000, 11_500)) == 1_000
    assert not warehouse.may_hold("deals", ["crm:11500", "crm:8999"])
    assert _store(warehouse, range(11_500, 13_000)) == 1_500
    assert _store(warehouse, range(9_000, 9_002), "crm:ben") == 2
    assert warehouse.query("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM deals").to_pylist() == [{"n": 4000, "ids": 4000}]
    warehouse.close()


def test_rows_of_a_batch_that_failed_are_stored_by_the_next(tmp_path: Path) -> None:
    warehouse = open_duckdb(tmp_path / "crm.duckdb")
    with pytest.raises(StoreError), warehouse.batch() as batch:  # noqa: PT012
        assert batch.upsert("deals", deals(*({"id": f"crm:{n}"} for n in range(1_000)))).changed == 1_000
        batch.upsert("nothing", deals({"id": "crm:1"}))
    assert _store(warehouse, range(1_000)) == 1_000
    assert _store(warehouse, range(1_000)) == 0
    warehouse.close()
