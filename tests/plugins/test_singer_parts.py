"""The parts of the singer connector that start nothing: what is chosen in a catalog, and what becomes of a record."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from kpid_singer import Stream
from kpid_singer.catalog import selection
from kpid_singer.messages import messages
from kpid_singer.references import references
from kpid_singer.rows import Reader
from kpid_singer.settings import check_apart

from kpid.plugin import SchemaError, ValueStyle

UNTIL = datetime(2026, 11, 20, 9, tzinfo=UTC)


def reader(fields: dict[str, Any], **options: Any) -> Reader:
    found = Reader("deals", Stream(entity="deals", columns=fields, **options), ValueStyle(ZoneInfo("Europe/Berlin")), UNTIL)
    found.describe({}, ("id",))
    return found


def row(fields: dict[str, Any], record: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What becomes of a record, written as a tap writes it."""
    line = json.dumps({"type": "RECORD", "stream": "deals", "record": {"id": 1, **record}}).encode()
    (message,) = messages([line, b"", b"  \n"])
    one = reader(fields, **options)
    one.take(message["record"])
    (found,) = one.rows()
    return dict(found)


@pytest.mark.parametrize(
    ("column", "field", "value", "expected"),
    [
        ("created_at", "at", 1795168800, datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("created_at", "at", 1795168800123, datetime(2026, 11, 20, 10, 0, 0, 123000, tzinfo=UTC)),
        ("created_at", "at", 1795168800.5, datetime(2026, 11, 20, 10, 0, 0, 500000, tzinfo=UTC)),
        ("created_at", "at", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),  # read with its whole column
        ("created_at", "at", "2026-11-20 11:00:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("created_at", "at", True, True),
        ("created_at", "at", None, None),
        ("owner_id", "owner", 7, "7"),
        ("owner_id", "owner", 7.0, "7"),
        ("owner_id", "owner", None, None),
        ("owner_id", "owner.id", {"id": "u1"}, "u1"),
        ("owner_id", "owner.id", None, None),
        ("owner_id", "owner.id", "no object", None),
        ("state", {"column": "won", "values": {"true": "won", "*": "open"}}, True, "won"),
        ("state", {"column": "won", "values": {"true": "won", "*": "open"}}, None, "open"),
        ("state", {"column": "code", "values": {"3": "lost"}}, 3.0, "lost"),
        ("name", "name", "  Example  ", "Example"),
    ],
)
def test_a_value_becomes_what_its_column_holds(column: str, field: Any, value: Any, expected: Any) -> None:
    source = field if isinstance(field, str) else field["column"]
    assert row({column: field}, {source.partition(".")[0]: value})[column] == expected


def test_a_field_whose_name_has_a_point_is_found_too() -> None:
    assert row({"name": "properties.name"}, {"properties.name": "flat", "properties": {"name": "deep"}})["name"] == "flat"
    assert row({"name": "properties.name.value"}, {"properties": {"name.value": "mixed"}})["name"] == "mixed"


def test_custom_fields_are_kept() -> None:
    found = row(
        {}, {"region": "north", "score": 7.5, "tags": ["a", 2.0], "none": None}, extra=("region", "score", "tags", "none")
    )
    assert found["extra"] == {"region": "north", "score": 7.5, "tags": ["a", 2]}


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2026-11-01T08:00:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01T09:00:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        (1795168800, datetime(2026, 11, 20, 10, tzinfo=UTC)),
        (True, UNTIL),
        ("yes", UNTIL),
    ],
)
def test_a_deleted_record_is_told_by_instant_or_truth(told: Any, at: datetime) -> None:
    one = reader({}, deleted="gone", prefix="d-")
    one.take({"id": 5, "gone": told})
    assert one.rows() == []
    assert one.gone["d-5"].at == at


def test_the_last_word_on_a_record_counts() -> None:
    one = reader({}, deleted="gone")
    for gone in (True, False, None, 0, ""):
        one.take({"id": 5, "gone": gone})
    assert one.gone == {}
    one.take({"id": 5, "gone": True})
    assert list(one.gone) == ["5"]


def test_a_stream_without_a_key_needs_one_in_the_mapping() -> None:
    one = Reader("deals", Stream(entity="deals"), ValueStyle(ZoneInfo("UTC")), UNTIL)
    with pytest.raises(SchemaError, match="tells no key") as caught:
        one.describe({"properties": {"ident": {}}}, ())
    assert "Write `id:`" in str(caught.value.hint)


def test_how_a_stream_is_read_is_told_to_taps_of_databases() -> None:
    def chosen(**options: Any) -> dict[str, Any]:
        entry = {"stream": "deal", "tap_stream_id": "public-deal", "schema": {"properties": {"id": {}, "name": {}, "at": {}}}}
        catalog = {"streams": [entry, {"stream": "deal", "tap_stream_id": "old-deal", "schema": {}}]}
        stream = Stream(entity="deals", columns={"name": "name"}, **options)
        (found,) = selection(catalog, {"public-deal": stream})["streams"]
        assert entry == catalog["streams"][0]
        assert "metadata" not in entry, "the catalog itself stays as it is"
        return found

    incremental = chosen(replication_key="at")
    assert (incremental["replication_method"], incremental["replication_key"]) == ("INCREMENTAL", "at")
    root, *fields = incremental["metadata"]
    assert root["metadata"] == {"selected": True, "replication-method": "INCREMENTAL", "replication-key": "at"}
    assert [one["breadcrumb"][1] for one in fields] == ["name", "at"]
    assert chosen(full=True)["replication_method"] == "FULL_TABLE"
    assert "replication_method" not in chosen()


def test_a_name_that_two_streams_have_is_no_name() -> None:
    catalog = {"streams": [{"stream": "deal", "tap_stream_id": name} for name in ("a-deal", "b-deal")]}
    with pytest.raises(SchemaError, match="no stream 'deal'"):
        selection(catalog, {"deal": Stream(entity="deals")})


@pytest.mark.parametrize("catalog", [None, [], {}, {"streams": {}}, {"streams": [1]}, {"streams": [{}]}])
def test_what_is_no_catalog_is_told(catalog: Any) -> None:
    with pytest.raises(SchemaError, match="this is no catalog"):
        selection(catalog, {"deals": Stream(entity="deals")})


# -- references --------------------------------------------------------------------------------------------------------------

TWO = {
    "companies": {"entity": "accounts", "prefix": "company-"},
    "people": {"entity": "accounts", "prefix": "person-"},
    "members": {"entity": "users", "prefix": "member-"},
}


def with_deals(**deal: Any) -> dict[str, Stream]:
    return {name: Stream(**stream) for name, stream in {**TWO, "deals": {"entity": "deals", **deal}}.items()}


def read(streams: dict[str, Stream], *records: dict[str, Any]) -> list[dict[str, Any]]:
    check_apart(streams)
    style = ValueStyle(ZoneInfo("Europe/Berlin"))
    told = Reader("deals", streams["deals"], style, UNTIL, references(streams, "deals"))
    told.describe({}, ("id",))
    for number, record in enumerate(records):
        told.take({"id": number, **record})
    return [dict(row) for row in told.rows()]


def test_a_reference_has_the_prefix_of_the_stream_that_it_names() -> None:
    columns = {"account_id": "company", "owner_id": "seller", "name": "company"}
    rows = read(with_deals(columns=columns, refs={"account_id": "companies"}), {"company": 7, "seller": 3}, {"company": None})
    assert [(row["account_id"], row["owner_id"], row["name"]) for row in rows] == [
        ("company-7", "member-3", "7"),
        (None, None, None),
    ]


def test_a_reference_may_mean_records_of_several_streams() -> None:
    by = {"by": "kind", "streams": {"org": "companies", "private": "people"}}
    streams = with_deals(columns={"account_id": "customer.id"}, refs={"account_id": by})
    customer = {"customer": {"id": "7"}}
    rows = read(streams, {**customer, "kind": "org"}, {**customer, "kind": "private"}, {**customer, "kind": "ship"}, customer)
    assert [row["account_id"] for row in rows] == ["company-7", "person-7", None, None]
    assert streams["deals"].asked == ("customer.id", "kind")


@pytest.mark.parametrize(
    ("deal", "said"),
    [
        ({"columns": {"account_id": "company"}}, "which companies and people fill: say by `refs: {account_id: ...}`"),
        ({"columns": {"account_id": "company"}, "refs": {"account_id": "members"}}, "streams of accounts are: companies, people"),
        ({"columns": {"account_id": "company"}, "refs": {"account_id": "nobody"}}, "names 'nobody'"),
        ({"columns": {"name": "title"}, "refs": {"name": "people"}}, "no mapped column that points to a record"),
        ({"columns": {}, "refs": {"account_id": "people"}}, "no mapped column that points to a record"),
        ({"columns": {"account_id": {"const": "1"}}, "refs": {"account_id": "people"}}, "no mapped column that points"),
    ],
)
def test_a_reference_that_points_nowhere_is_told(deal: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_apart(with_deals(**deal))


def test_a_stream_without_a_prefix_is_what_references_mean_if_nothing_is_said() -> None:
    streams = with_deals(columns={"account_id": "company"}) | {"companies": Stream(entity="accounts")}
    assert read(streams, {"company": 7})[0]["account_id"] == "7"
