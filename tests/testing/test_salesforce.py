"""The fake of Salesforce refuses what Salesforce refuses."""

from __future__ import annotations

import pytest

from kpid.testing import Request
from kpid.testing.salesforce import FakeSalesforce
from kpid.testing.salesforce_fields import sf_id
from kpid.testing.salesforce_soql import SoqlError, parse


@pytest.mark.parametrize(
    "text",
    [
        "", "SELECT FROM X", "SELECT Id FROM X WHERE", "SELECT Id FROM X WHERE a = 1 AND b = 2 OR c = 3", "SELECT Id,Id FROM X",
        "SELECT Id FROM X WHERE a = b", "SELECT Id FROM X LIMIT many", "SELECT Id FROM X; DROP", "SELECT Id FROM X WHERE a IN 1",
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(text):
    with pytest.raises(SoqlError):
        parse(text)


def test_conditions_hold_or_not():
    query = parse(
        "SELECT Id FROM X WHERE a >= 2 AND (b = 'it\\'s' OR c IN (null, true)) AND d != null ORDER BY a ASC, Id LIMIT 3"
    )
    values = {"a": 2, "b": "it's", "c": False, "d": 0}
    assert query.where.holds(values.get)
    assert not query.where.holds({**values, "b": ""}.get)
    assert query.where.holds({**values, "b": "", "c": None}.get)
    assert not query.where.holds({**values, "a": None}.get)
    assert not query.where.holds({**values, "d": None}.get)
    assert (query.order, query.limit, query.names()) == (("a", "Id"), 3, ["Id", "a", "b", "c", "d", "a", "Id"])


def test_ids_are_long_and_sorted_by_number():
    ids = [sf_id("deals", number) for number in range(1, 200)]
    assert ids == sorted(ids)
    assert {len(native_id) for native_id in ids} == {18}


def test_unknown_objects_and_fields_are_refused():
    with FakeSalesforce() as api:
        api.tokens = None
        for text, code in {
            "SELECT Id FROM Nothing": "INVALID_TYPE",
            "SELECT Nothing FROM Account": "INVALID_FIELD",
            "SELECT": "MALFORMED_QUERY",
        }.items():
            answer = api.answer(Request("GET", "/services/data/v66.0/query", {"q": [text]}, {}))
            assert (answer.status, answer.body[0]["errorCode"]) == (400, code)
