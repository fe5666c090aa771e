"""Columns of a source into canonical ones, as the settings say."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from kpid.plugin import ColumnMap, Mapped, Mapper, SchemaError, ValueStyle

STYLE = ValueStyle(ZoneInfo("Europe/Berlin"))


def mapped(header: list[str], *rows: tuple[Any, ...], style: ValueStyle = STYLE, **settings: Any) -> list[dict[str, Any]]:
    mapper = Mapper("deals", Mapped(**settings), header, style, "here")
    return mapper.rows(list(zip(*rows, strict=True)))


def test_canonical_names_map_themselves_and_others_are_left() -> None:
    assert mapped(["native_id", "name", "colour"], ("1", " Example ", "red")) == [{"native_id": "1", "name": "Example"}]


def test_a_setting_beats_the_name() -> None:
    found = mapped(["key", "name", "title"], ("1", "a", "b"), id="key", columns={"name": "title"})
    assert found == [{"native_id": "1", "name": "b"}]


@pytest.mark.parametrize(
    ("values", "given", "stored"),
    [
        ({"Won": "won"}, "Won", "won"),
        ({"Won": "won"}, "Lost", "Lost"),
        ({"Won": "won", "*": "open"}, "Lost", "open"),
        ({"Won": "won", "*": "open"}, "", "open"),
        ({"Won": "won"}, "", None),
        ({"Won": None}, "Won", None),
        ({"1": "won"}, 1, "won"),
        ({"*": None}, "x", None),
    ],
)
def test_values_are_replaced(values: dict[str, str | None], given: Any, stored: Any) -> None:
    assert mapped(["native_id", "s"], ("1", given), columns={"state": {"column": "s", "values": values}})[0]["state"] == stored


def test_values_are_replaced_before_dates_are_read() -> None:
    column = {"column": "d", "values": {"never": None}, "date": "%d/%m/%y"}
    found = mapped(["native_id", "d"], ("1", "never"), ("2", "05/01/26"), columns={"closed_at": column})
    assert [row["closed_at"] for row in found] == [None, date(2026, 1, 5)]


def test_date_columns_keep_their_own_date() -> None:
    found = mapped(["native_id", "crm_close_date"], ("1", "2026-01-05T23:30:00"), ("2", datetime(2026, 1, 5, 23, 30)))
    assert [row["crm_close_date"] for row in found] == [datetime(2026, 1, 5, 23, 30)] * 2


@pytest.mark.parametrize(
    ("written", "number"),
    [("1.234,50", Decimal("1234.50")), ("1 234,5", Decimal("1234.5")), ("-3", Decimal(-3)), ("x", "x"), (2.5, 2.5), ("", None)],
)
def test_numbers_with_a_comma(written: Any, number: Any) -> None:
    assert (
        mapped(["native_id", "amount"], ("1", written), style=ValueStyle(STYLE.timezone, decimal_comma=True))[0]["amount"]
        == number
    )


def test_custom_fields_are_kept_without_empty_ones() -> None:
    found = mapped(["native_id", "a", "b"], ("1", "x", ""), ("2", "", ""), extra=("a", "b"))
    assert [row["extra"] for row in found] == [{"a": "x"}, {}]


def test_no_rows_are_no_rows() -> None:
    assert Mapper("deals", Mapped(), ["native_id"], STYLE, "here").rows([]) == []


def test_the_id_is_looked_for_first() -> None:
    with pytest.raises(SchemaError, match=r"here: there is no column 'native_id'\. There are: a, b"):
        mapped(["a", "b"], ("1", "2"), columns={"name": "zzz"})


@pytest.mark.parametrize("wrong", [{}, {"column": "a", "const": "b"}, {"colum": "a"}, {"column": "a", "values": ["x"]}])
def test_a_column_map_has_one_origin(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ColumnMap(**wrong)
