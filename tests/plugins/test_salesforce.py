"""The Salesforce connector against a server that behaves like Salesforce."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from kpid_salesforce import SalesforceSettings
from pydantic import ValidationError

from kpid.plugin import AuthError, ConnectorError, DeferredError, SchemaError
from kpid.testing import Answer, ConnectorContract, FakeApi, MemorySync, faults
from kpid.testing.crm_life import fill
from kpid.testing.expecting import compare_rows
from kpid.testing.salesforce import CLIENT_ID, refusal
from tests.vendors.salesforce import SalesforceBench


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    @pytest.fixture
    def bench(self) -> Iterator[SalesforceBench]:
        with SalesforceBench() as bench:
            yield bench


def synced(bench, held=None, **options):
    held, connector = held or MemorySync(), bench.connector(**options)
    try:
        held.run(connector)
    finally:
        connector.close()
    return held


def failing(code, status=400):
    return faults.status(status, [{"message": "no", "errorCode": code}])


def queries(bench, word=""):
    return [request for request in bench.api.requests if "/query" in request.path and word in request.arg("q")]


def test_a_whole_organisation_is_read(bench):
    fill(bench.crm, 120)
    bench.api.metadata["Group"] = {"00GKP0000000001AAA": {"name": "Unclaimed"}}
    held = synced(bench)
    for entity, truth in bench.truths().items():
        assert held.live(entity).keys() == truth.keys(), entity
    assert held.rows["users"]["00GKP0000000001AAA"]["name"] == "Unclaimed"
    assert sum(not row["is_active"] for row in held.rows["users"].values()) == 1
    assert {row["state"] for row in held.rows["stages"].values()} == {"open", "won", "lost"}
    assert {row["type"] for row in held.live("activities").values()} == {"call", "email", "task", "meeting"}
    assert held.warnings == []


def test_the_history_is_that_of_the_stages(bench):
    fill(bench.crm, 60)
    rows = synced(bench).rows["deal_stage_history"].values()
    found = {deal: [] for deal in bench.crm.living("deals")}
    for row in rows:
        found[row["deal_id"]].append((row["stage_id"], row["valid_from"], row["valid_to"]))
    assert {deal: len(bench.crm.intervals(deal)) for deal in found} == {deal: len(intervals) for deal, intervals in found.items()}


def test_a_change_of_the_amount_is_no_change_of_the_stage(bench):
    (deal,) = bench.add(1)
    bench.clock.advance(timedelta(hours=1))
    bench.crm.edit("deals", deal, amount=Decimal("20.50"))
    held = synced(bench)
    assert len(held.rows["deal_stage_history"]) == 1
    amounts = [row for row in held.rows["deal_field_history"].values() if row["field"] == "amount"]
    assert [row["value"] for row in amounts] == ["0", "20.5"]
    assert (amounts[0]["valid_to"], amounts[1]["valid_to"]) == (amounts[1]["valid_from"], None)


# -- login -------------------------------------------------------------------------------------------------------------------


def test_a_rotated_refresh_token_is_kept(bench):
    bench.add(3)
    bench.api.tokens.rotate = True
    bench.chosen = {"auth": "refresh", "refresh_token": "refresh-fake-0"}
    for _ in range(3):
        assert len(synced(bench).live("deals")) == 3
    assert bench.api.tokens.refresh_token == "refresh-fake-3"


def test_claims_are_signed_with_the_key(bench):
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    bench.add(3)
    bench.chosen = {"auth": "jwt", "private_key": pem, "username": "robot@example.com"}
    assert len(synced(bench).live("deals")) == 3
    bench.chosen["username"] = "nobody@example.com"
    with pytest.raises(AuthError, match="invalid_grant"):
        synced(bench)


def test_each_way_of_logging_in_says_what_it_lacks():
    for auth, lacking in {"client_credentials": "client_secret", "refresh": "refresh_token", "jwt": "private_key"}.items():
        with pytest.raises(ValidationError, match=lacking):
            SalesforceSettings(base_url="https://a.my.salesforce.com", client_id=CLIENT_ID, auth=auth)


def test_a_session_that_ends_is_opened_again(bench):
    bench.add(300)
    bench.api.tokens.life_calls = 3
    assert len(synced(bench).live("deals")) == 300
    assert bench.api.tokens.given > 3


def test_an_instance_elsewhere_never_gets_the_token(bench):
    with FakeApi() as other:
        bench.api.instance_url = other.url
        with pytest.raises(AuthError, match="refused"):
            synced(bench)
        assert other.requests == []


def test_a_next_page_elsewhere_is_refused(bench):
    bench.add(3)
    with FakeApi() as other:
        body = {"totalSize": 9, "done": False, "nextRecordsUrl": f"{other.url}/query/1", "records": []}
        bench.api.fail(lambda _request, _answer: Answer(200, body), path="/query")
        with pytest.raises(ConnectorError, match="another host"):
            synced(bench)
        assert other.requests == []


# -- pages -------------------------------------------------------------------------------------------------------------------


def test_answers_of_a_few_records_are_put_together(bench):
    bench.api.page = 7
    bench.add(60)
    assert len(synced(bench).live("deals")) == 60


def test_a_query_whose_locator_is_lost_is_asked_again(bench):
    bench.api.page = 7
    bench.add(60)
    bench.api.fail(failing("INVALID_QUERY_LOCATOR"), times=2, path="query/0r8")
    assert len(synced(bench).live("deals")) == 60


def test_a_query_that_takes_too_long_is_asked_for_less(bench):
    bench.add(60)
    bench.api.bulk.unsupported = {"Opportunity"}
    bench.api.fail(failing("QUERY_TIMEOUT"), times=7, path="66.0/query$")
    assert len(synced(bench, entities=("deals",)).live("deals")) == 60
    assert any("LIMIT 125" in request.arg("q") for request in queries(bench))


def test_a_query_that_always_takes_too_long_is_an_error_worth_another_try(bench):
    bench.add(3)
    bench.api.bulk.unsupported = {"Opportunity"}
    bench.api.fail(failing("QUERY_TIMEOUT"), times=10_000, path="66.0/query$")
    with pytest.raises(ConnectorError, match="broken off") as caught:
        synced(bench, entities=("deals",))
    assert caught.value.transient


def test_an_answer_that_is_none_is_an_error(bench):
    bench.add(3)
    bench.api.fail(lambda _request, _answer: Answer(200, {"records": [{"no": "id"}], "done": True}), times=99, path="/query")
    with pytest.raises(ConnectorError, match="something else"):
        synced(bench)


# -- what is gone ------------------------------------------------------------------------------------------------------------


def test_a_merged_account_says_where_it_lives_on(bench):
    one, other = (bench.crm.create("accounts", {"name": name}) for name in "ab")
    held = synced(bench)
    bench.merge(one, other)
    bench.clock.advance(timedelta(hours=1))
    row = synced(bench, held).rows["accounts"][other]
    assert (row["deleted_reason"], row["merged_into_id"]) == ("merged", one)


def test_a_record_that_lives_again_is_not_buried_by_an_old_line_of_the_log(bench):
    deals = bench.add(3)
    held = synced(bench)
    bench.api.told_gone["Opportunity"] = [(deals[0], bench.clock.now())]
    bench.clock.advance(timedelta(minutes=5))
    assert len(synced(bench, held).live("deals")) == 3


def test_a_log_that_does_not_go_back_so_far_tells_nothing(bench):
    deals = bench.add(3)
    held = synced(bench)
    bench.delete(deals[0])
    bench.api.log_reach = timedelta(minutes=1)
    bench.clock.advance(timedelta(hours=1))
    assert len(synced(bench, held).live("deals")) == 3


# -- what Salesforce has of its own ------------------------------------------------------------------------------------------


def test_shadows_of_persons_and_copies_of_events_are_left_out(bench):
    bench.crm.create("contacts", {"name": "Shadow", "is_person_account": True})
    bench.crm.create("meetings", {"subject": "Copy", "is_child": True})
    held = synced(bench)
    assert held.live("contacts") == {}
    assert held.live("activities") == {}


def test_archived_tasks_are_read_and_counted(bench):
    task = bench.crm.create("tasks", {"subject": "Old", "is_archived": True})
    assert synced(bench).live("activities").keys() == {task}
    connector = bench.connector()
    assert connector.count("activities") == 1
    connector.close()


def test_an_organisation_with_one_currency_has_ours(bench):
    bench.api.multi_currency = False
    bench.add(2)
    held = synced(bench)
    assert {row["currency"] for row in held.live("deals").values()} == {"EUR"}
    assert held.warnings == []


def test_stages_mean_what_the_configuration_says(bench):
    (deal,) = bench.add(1)
    stage = bench.crm.stage_ids["talks"]
    bench.crm.move(deal, "talks")
    held = synced(bench, stages={stage: "won"})
    assert held.live("deals")[deal]["state"] == "won"
    assert held.rows["stages"][stage]["state"] == "won"


def test_own_fields_fill_columns_and_extra(bench):
    (deal,) = bench.add(1)
    options = bench.add_field("region", {deal: "North"})
    options["fields"]["deals"]["colour"] = "Own_Field__c"
    row = synced(bench, **options).live("deals")[deal]
    assert (row["region"], row["extra"]) == ("North", {"colour": "North"})


EVERYTHING = (
    "users", "pipelines", "accounts", "contacts", "leads", "deals", "activities", "tickets", "products", "deal_lines", "orders",
    "order_lines", "campaigns", "campaign_members",
)  # fmt: skip


def test_everything_can_be_read(bench):
    bench.chosen["entities"] = EVERYTHING
    fill(bench.crm, 60)
    held = synced(bench)
    for entity, truth in bench.truths().items():
        compare_rows(truth, held.live(entity), entity)
    assert len(held.live("order_lines")) == len(held.live("orders")) == 12
    assert {row["amount"] for row in held.live("campaign_costs").values()} == {Decimal("4100.0")}
    assert held.warnings == []


def test_drafts_are_no_orders(bench):
    bench.chosen["entities"] = ("orders",)
    made = [bench.crm.create("orders", {"status_code": code, "status": code}) for code in ("Draft", "Activated", "Expired")]
    rows = synced(bench).live("orders")
    assert {made.index(key): row["status"] for key, row in rows.items()} == {1: "placed", 2: "cancelled"}
    assert synced(bench, order_states={"Activated": "paid"}).live("orders")[made[1]]["status"] == "paid"


def test_a_discount_is_an_amount(bench):
    bench.chosen["entities"] = ("deal_lines",)
    line = {"quantity": Decimal(4), "unit_price": Decimal(50), "discount_percent": Decimal("12.5")}
    made = bench.crm.create("lines", line)
    assert synced(bench).live("deal_lines")[made]["discount"] == 25


def test_rates_are_told_with_their_dates_or_without(bench):
    bench.chosen["entities"] = ("fx_rates",)
    euro, dollar = (
        {"IsoCode": "EUR", "ConversionRate": 1, "IsCorporate": True},
        {"IsoCode": "USD", "ConversionRate": Decimal("1.25")},
    )
    bench.api.metadata["CurrencyType"] = {"1": euro, "2": dollar}
    (row,) = synced(bench).live("fx_rates").values()
    assert (row["from_currency"], row["to_currency"], row["rate"]) == ("USD", "EUR", Decimal("0.8"))
    spans = [("2026-01-01", "2026-07-01"), ("2026-07-01", "9999-12-31")]
    dated = {str(n): {**dollar, "StartDate": start, "NextStartDate": end} for n, (start, end) in enumerate(spans)}
    bench.api.metadata["DatedConversionRate"] = dated
    rows = synced(bench).live("fx_rates").values()
    assert [(row["valid_from"], row["valid_to"]) for row in rows] == [("2026-01-01", "2026-07-01"), ("2026-07-01", None)]
    bench.api.forbidden.add("DatedConversionRate")
    assert len(synced(bench).live("fx_rates")) == 1
    bench.api.forbidden.add("CurrencyType")
    with pytest.raises(SchemaError, match="may not read CurrencyType"):
        synced(bench)


def test_open_cases_mean_what_the_configuration_says(bench):
    ticket = bench.crm.create("tickets", {"subject": "Question", "status": "Waiting"})
    assert synced(bench).live("tickets")[ticket]["status"] == "open"
    assert synced(bench, ticket_states={"Waiting": "pending"}).live("tickets")[ticket]["status"] == "pending"


# -- what goes wrong ---------------------------------------------------------------------------------------------------------


def test_a_hidden_field_is_warned_of_and_one_that_says_won_is_an_error(bench):
    bench.add(3)
    bench.api.hidden.add(("deals", "NextStep"))
    assert [warning for warning in synced(bench).warnings if "NextStep" in warning]
    bench.api.hidden.add(("deals", "IsWon"))
    with pytest.raises(SchemaError, match="IsWon") as caught:
        synced(bench)
    assert "permission set" in (caught.value.hint or "")


def test_a_used_up_budget_defers_for_an_hour(bench):
    bench.add(3)
    bench.spend_day()
    with pytest.raises(DeferredError) as caught:
        synced(bench)
    assert caught.value.until == bench.clock.now() + timedelta(hours=1)


def test_our_share_of_the_budget_is_kept(bench):
    bench.add(3)
    bench.api.daily.used = 80_000
    with pytest.raises(DeferredError, match="more than our share"):
        synced(bench)
    assert len(bench.api.requests) <= 3
    assert len(synced(bench, max_daily_share=0.9).live("deals")) == 3


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (refusal(403, "API_DISABLED_FOR_ORG", "x"), AuthError, "API is not enabled"),
        (refusal(410, "GONE", "x"), SchemaError, "retired"),
        (refusal(400, "INVALID_TYPE", "x"), SchemaError, "may not read"),
        (refusal(400, "INVALID_FIELD", "x"), SchemaError, "does not understand"),
        (refusal(400, "UNKNOWN_EXCEPTION", "x"), ConnectorError, "answered 400"),
    ],
)
def test_errors_say_what_they_mean(bench, answer, error, said):
    bench.add(3)
    bench.api.fail(lambda _request, _answer: answer, times=99, path="/query")
    with pytest.raises(error, match=said):
        synced(bench)


def test_a_lock_is_waited_out(bench):
    bench.add(3)
    bench.api.fail(failing("UNABLE_TO_LOCK_ROW"), times=3, path="/query")
    assert len(synced(bench).live("deals")) == 3


def test_check_names_what_is_missing(bench):
    bench.lose_scope("leads")
    connector = bench.misspell_field()
    findings = {finding.subject: finding for finding in connector.check() if not finding.ok}
    connector.close()
    assert "permission set" in findings["crm: leads"].hint
    assert "Did you mean Region__c?" in findings["crm: deals"].hint
    assert findings["crm: deals"].warning


def test_check_names_a_version_that_is_not_there(bench):
    connector = bench.connector(api_version="99.0")
    first = connector.check()[0]
    connector.close()
    assert not first.ok
    assert "66.0" in first.text


def test_a_quiet_sync_costs_few_calls(bench):
    fill(bench.crm, 40)
    held = synced(bench)
    bench.clock.advance(timedelta(hours=1))
    bench.api.requests.clear()
    synced(bench, held)
    assert len(bench.api.requests) <= bench.quiet_calls
