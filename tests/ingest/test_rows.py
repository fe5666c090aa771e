"""Rows into canonical types: what each column takes, and what is counted instead of stored."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kpid.errors import SchemaError
from kpid.ingest.rows import Converted, table_from_rows
from kpid.plugin.entities import ENTITIES
from kpid.warehouse.types import arrow_schema

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def convert(*rows: dict[str, Any], entity: str = "deals", timezone: ZoneInfo = BERLIN) -> Converted:
    return table_from_rows(entity, rows, source="crm", synced_at=NOW, timezone=timezone)


def one(entity: str, column: str, value: Any) -> Any:
    """What a single value becomes; a problem's text if it is not stored."""
    done = convert({"native_id": "1", column: value}, entity=entity)
    stored = done.table.column(column)[0].as_py()
    assert not (done.problems and stored not in (None, False)), "a bad value is not stored"
    return f"! {done.problems[0].what}" if done.problems else stored


def test_every_entity_converts_to_its_own_columns() -> None:
    for entity in ENTITIES:
        done = convert({"native_id": "1"}, {"native_id": 2}, entity=entity)
        assert done.table.schema == arrow_schema(entity)
        assert done.table.column("id").to_pylist() == ["crm:1", "crm:2"]
        assert done.table.column("is_test").to_pylist() == [False, False]
        assert done.table.column("synced_at").to_pylist() == [NOW, NOW]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("10", Decimal(10)),
        ("0.1", Decimal("0.1")),
        (0.1, Decimal("0.1")),
        (7, Decimal(7)),
        (Decimal("1.23456789"), Decimal("1.234568")),
        ("1.23456789", Decimal("1.234568")),
        ("1e3", Decimal(1000)),
        (" 12 ", Decimal(12)),
        ("-0.5", Decimal("-0.5")),
        ("", None),
        (None, None),
        ("a lot", "! not a number: 'a lot'"),
        ("1,234.50", "! not a number: '1,234.50'"),
        ("1_000", "! not a number: '1_000'"),
        ("NaN", "! not a number: 'NaN'"),
        (float("inf"), "! not a number: 'inf'"),
        (True, "! not a number: 'True'"),
        (10**14, "! not a number: '100000000000000'"),
        ([1], "! not a number: '[1]'"),
    ],
)
def test_money_is_exact_or_counted(value: Any, stored: Any) -> None:
    assert one("deals", "amount", value) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123+02:00", datetime(2026, 3, 1, 8, 0, 0, 123000, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456789Z", datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        (datetime(2026, 3, 1, 10, tzinfo=timezone(timedelta(hours=-5))), datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        (date(2026, 7, 1), datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("", None),
        ("2026-02-30", "! not a date or time: '2026-02-30'"),
        ("soon", "! not a date or time: 'soon'"),
        ("0001-01-01T00:00:00Z", "! not a date or time: '0001-01-01T00:00:00Z'"),
        (date(9999, 12, 31), "! not a date or time: '9999-12-31'"),
        (1767225600, "! not a date or time: '1767225600'"),
    ],
)
def test_instants_are_utc_and_dates_are_local_midnight(value: Any, stored: Any) -> None:
    assert one("deals", "closed_at", value) == stored


def test_midnight_that_a_clock_change_skips_is_the_first_moment_of_the_day() -> None:
    done = convert({"native_id": "1", "closed_at": date(2026, 3, 29)}, timezone=ZoneInfo("Asia/Beirut"))
    assert done.table.column("closed_at")[0].as_py() == datetime(2026, 3, 28, 22, tzinfo=UTC)


@pytest.mark.parametrize("value", ["2026-03-01T10:00:00", datetime(2026, 3, 1, 10)])
def test_a_time_without_a_zone_is_refused(value: Any) -> None:
    with pytest.raises(SchemaError, match=r"deals\.closed_at of 1: .* has no time zone"):
        convert({"native_id": "1", "closed_at": value})


@pytest.mark.parametrize(
    ("entity", "column", "value", "stored"),
    [
        ("deals", "crm_close_date", "2026-03-01", date(2026, 3, 1)),
        ("deals", "crm_close_date", "2026-03-01T23:59:00-08:00", date(2026, 3, 1)),
        ("deals", "crm_close_date", date(2026, 3, 1), date(2026, 3, 1)),
        ("deals", "crm_close_date", "31.02.2026", "! not a date: '31.02.2026'"),
        ("deals", "crm_close_date", 5, "! not a date: '5'"),
        ("activities", "duration_s", "90", 90),
        ("activities", "duration_s", 90.5, 90),
        ("activities", "duration_s", "9" * 19, f"! not a whole number: '{'9' * 19}'"),
        ("activities", "duration_s", "long", "! not a whole number: 'long'"),
        ("activities", "is_automated", "TRUE", True),
        ("activities", "is_automated", 0, False),
        ("activities", "is_automated", "maybe", "! not a value of this column: 'maybe'"),
        ("activities", "is_test", None, False),
        ("activities", "is_test", "yes", True),
        ("users", "name", 12.0, "12"),
        ("users", "name", "", None),
        ("users", "name", "bad \ud800 surrogate", "bad ? surrogate"),
        ("users", "name", {"first": "Ada"}, "! not a value of this column: \"{'first': 'Ada'}\""),
        ("deals", "owner_id", 7, "crm:7"),
        ("deals", "owner_id", "", None),
        ("deals", "extra", {"b": 1, "a": Decimal("1.5")}, '{"a":"1.5","b":1}'),
        ("deals", "extra", {}, None),
        ("fx_rates", "rate", "1.0833333333", Decimal("1.0833333333")),
    ],
)
def test_values_by_kind(entity: str, column: str, value: Any, stored: Any) -> None:
    assert one(entity, column, value) == stored


def test_mixed_columns_keep_their_good_values() -> None:
    amounts = ["1.5", 2, 2.5, None, "x", Decimal(3), "y"]
    done = convert(*({"native_id": str(i), "amount": amount} for i, amount in enumerate(amounts)))
    assert done.table.column("amount").to_pylist() == [Decimal("1.5"), Decimal(2), Decimal("2.5"), None, None, Decimal(3), None]
    (problem,) = done.problems
    assert (problem.entity, problem.column, problem.count, problem.example) == ("deals", "amount", 2, "4")


@pytest.mark.parametrize("missing", [None, "", "  ", True, {"id": 1}])
def test_rows_without_an_id_are_left_out_and_counted(missing: Any) -> None:
    done = convert({"native_id": "1"}, {"native_id": missing, "amount": "x"}, {"amount": 1}, {"native_id": 4.0})
    assert done.table.column("native_id").to_pylist() == ["1", "4"]
    assert [(p.column, p.count) for p in done.problems] == [("native_id", 2)]


def test_an_unknown_column_is_a_fault_of_the_mapping() -> None:
    with pytest.raises(SchemaError, match="Did you mean 'amount'"):
        convert({"native_id": "1", "amuont": 1})
    with pytest.raises(SchemaError, match="`extra`"):
        convert({"native_id": "1", "zzz_custom": 1})
    with pytest.raises(SchemaError, match="'source_id'"):
        convert({"native_id": "1", "source_id": "other"})


def test_no_rows_are_no_rows() -> None:
    assert convert().table.num_rows == 0
