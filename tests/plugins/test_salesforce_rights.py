"""What a user of Salesforce does not get to see, and queries that are too long for an address."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kpid.plugin import SchemaError
from kpid.testing import MemorySync
from kpid.testing.salesforce import refusal
from tests.vendors.salesforce import SalesforceBench


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench(entities=("accounts", "deals", "tickets", "activities")) as bench:
        yield bench


def findings(bench, subject="crm: rights"):
    connector = bench.connector()
    found = [finding for finding in connector.check() if finding.subject == subject]
    connector.close()
    return found


def withhold(bench):
    """Nobody shares two thirds of the deals with the user."""
    deals = bench.add(300)
    bench.api.unshared["Opportunity"] = set(deals[100:])
    bench.api.metadata["UserPermissionAccess"] = {"1": {"view_all": False}}


def test_a_user_who_sees_all_is_told_so(bench):
    bench.add(3)
    (finding,) = findings(bench)
    assert (finding.ok, finding.text) == (True, "the user sees all records (View All Data)")


@pytest.mark.parametrize("is_told", [True, False])
def test_a_user_who_sees_a_part_is_told_of_which_object_and_which_permission(bench, is_told):
    withhold(bench)
    if not is_told:
        bench.api.forbidden.add("UserPermissionAccess")
    (finding,) = findings(bench)
    assert finding.warning
    assert finding.text == "the user sees 100 of about 300 records of Opportunity"
    assert "View All Data, or View All Records on Opportunity" in finding.hint


def test_a_user_who_lacks_the_permission_but_sees_what_there_is_is_well(bench):
    withhold(bench)
    bench.api.unshared.clear()
    (finding,) = findings(bench)
    assert (finding.ok, "lacks View All Data" in finding.text) == (True, True)


def test_a_user_who_may_not_have_counts_is_told_what_to_do(bench):
    withhold(bench)
    denied = refusal(403, "INSUFFICIENT_ACCESS", "x")
    bench.api.fail(lambda _request, _answer: denied, times=99, path="recordCount")
    (finding,) = findings(bench)
    assert finding.warning
    assert "View Setup and Configuration" in finding.hint


def test_what_hangs_on_records_and_cannot_be_read_is_named(bench):
    bench.api.forbidden |= {"EmailMessage", "OpportunityFieldHistory"}
    (tickets,) = (finding for finding in findings(bench, "crm: tickets") if not finding.ok)
    assert tickets.warning
    assert tickets.text == "EmailMessage cannot be read: first replies by e-mail, and who wrote to whom are not known"
    assert any("OpportunityFieldHistory" in finding.text for finding in findings(bench, "crm: deals"))


# -- long queries ------------------------------------------------------------------------------------------------------------


def wide(bench):
    """More own fields than an address has room for."""
    names = {f"A_very_long_name_of_a_field_that_somebody_has_made_{number}__c" for number in range(280)}
    bench.api.own_fields["Opportunity"] = names
    bench.chosen |= {
        "entities": ("deals",),
        "fields": {"deals": {f"f{number}": name for number, name in enumerate(sorted(names))}},
    }


def read(bench, **options):
    held, connector = MemorySync(), bench.connector(**options)
    try:
        held.run(connector)
        bench.clock.advance(timedelta(hours=1))
        held.run(connector)
    finally:
        connector.close()
    return held


def test_a_query_that_is_too_long_for_an_address_goes_in_a_body(bench):
    wide(bench)
    bench.api.page = 7
    deals = bench.add(40)
    bench.crm.edit("deals", deals[0], A_very_long_name_of_a_field_that_somebody_has_made_0__c="North")
    rows = read(bench).live("deals")
    assert rows.keys() == set(deals)
    assert "North" in rows[deals[0]]["extra"].values()
    assert bench.api.calls["POST /services/data/v66.0/composite"] >= 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"httpStatusCode": 400, "body": [{"errorCode": "INVALID_FIELD", "message": "no"}]}, "does not understand our query"),
        ({"httpStatusCode": 500, "body": "broken"}, "was answered 500"),
        ({"body": {}}, "something else"),
    ],
)
def test_an_error_within_a_body_is_told_as_any(bench, body, error):
    wide(bench)
    bench.add(2)
    bench.api.fail(lambda _request, answer: type(answer)(200, {"compositeResponse": [body]}), times=99, path="/composite")
    with pytest.raises(Exception, match=error) as caught:
        read(bench)
    assert isinstance(caught.value, SchemaError) == ("understand" in error)
