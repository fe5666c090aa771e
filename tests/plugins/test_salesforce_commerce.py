"""What Salesforce has of refunds, contracts and surveys."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from kpid_salesforce import SalesforceSettings
from pydantic import ValidationError

from kpid.plugin import SchemaError
from kpid.testing import MemorySync
from kpid.testing.crm_life import fill
from tests.vendors.salesforce import SalesforceBench


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench() as bench:
        yield bench


def synced(bench, *entities, **options):
    held, connector = MemorySync(), bench.connector(entities=entities, **options)
    try:
        held.run(connector, reconcile=True)
    finally:
        connector.close()
    assert held.warnings == []
    return held


def test_reductions_of_orders_are_refunds_where_these_are_read(bench):
    order = bench.crm.create("orders", {"net_amount": Decimal("99.50")})
    less = bench.crm.create("orders", {"net_amount": Decimal("-20.00"), "is_reduction": True, "order_id": order})
    assert synced(bench, "orders", "order_lines").live("orders").keys() == {order, less}
    held = synced(bench, "orders", "order_lines", "refunds")
    assert (held.live("orders").keys(), held.counts) == ({order}, {"orders": 1, "order_lines": 1, "refunds": 1})
    assert {row["order_id"] for row in held.live("order_lines").values()} == {order}
    refund = held.live("refunds")[less]
    assert (refund["order_id"], refund["amount"]) == (order, 20)
    bench.api.hidden.add(("orders", "IsReductionOrder"))
    with pytest.raises(SchemaError, match="IsReductionOrder"):
        synced(bench, "refunds")


def test_contracts_in_force_are_subscriptions_with_the_amount_of_an_own_field(bench):
    terms = {"AccountId": "001", "StartDate": "2026-01-01", "EndDate": "2026-12-31", "Monthly__c": Decimal(500)}
    codes = {"8001": "Activated", "8002": "Terminated", "8003": "Draft"}
    bench.api.metadata["Contract"] = {key: {**terms, "Name": "Care", "StatusCode": code} for key, code in codes.items()}
    bench.api.own_fields["Contract"] = {"Monthly__c"}
    rows = synced(bench, "subscriptions", fields={"subscriptions": {"amount": "Monthly__c"}}).live("subscriptions")
    assert {key: row["status"] for key, row in rows.items()} == {"8001": "active", "8002": "ended"}
    row = rows["8001"]
    assert (row["amount"], row["interval"], row["plan"]) == (500, "month", "Care")
    assert (row["started_at"], row["ended_at"]) == ("2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00")


def test_quotas_are_targets_of_people(bench):
    bench.api.metadata["Period"] = {
        "0261": {"Type": "Quarter", "StartDate": "2026-10-01", "EndDate": "2026-12-31"}, "0262": {"Type": "Week"},
    }  # fmt: skip
    quota = {"QuotaAmount": Decimal(90_000), "QuotaOwnerId": "005", "PeriodId": "0261", "ForecastingTypeId": "0Db1"}
    bench.api.metadata["ForecastingQuota"] = {"0J91": quota, "0J92": {**quota, "PeriodId": "0262"}}
    (row,) = synced(bench, "targets").live("targets").values()
    assert (row["kpi"], row["dims"], row["value"]) == ("won_amount", {"owner": "crm:005"}, 90_000)
    assert (row["period_kind"], row["period_start"], row["period_end"]) == ("quarter", "2026-10-01", "2027-01-01")
    bench.api.metadata["ForecastingQuota"]["0J93"] = {**quota, "ForecastingTypeId": "0Db2"}
    with pytest.raises(SchemaError, match="2 types of forecasts") as caught:
        synced(bench, "targets")
    assert "0Db1, 0Db2" in caught.value.hint
    assert synced(bench, "targets", forecast="0Db2", quota_kpi="deals_won").live("targets").keys() == {"0J93"}


def test_the_influence_of_campaigns_is_credited_by_the_models_that_are_named(bench):
    given = {"OpportunityId": "006", "CampaignId": "701", "Influence": Decimal(40)}
    bench.api.metadata["CampaignInfluence"] = {"1": {**given, "ModelId": "03V1"}, "2": {**given, "ModelId": "03V2"}}
    (row,) = synced(bench, "attributions", influence_models={"03V1": "linear"}).live("attributions").values()
    assert (row["deal_id"], row["campaign_id"], row["model"], row["weight"]) == ("006", "701", "linear", Decimal("0.4"))
    with pytest.raises(ValidationError, match="which models count"):
        bench.connector(entities=("attributions",), influence_models={})


# -- surveys -----------------------------------------------------------------------------------------------------------------

SURVEY, QUESTION = "0KdKP0000000001AAA", "0VcKP0000000001AAA"
RELATION = {"kind": "nps", "survey": SURVEY, "only": {"QuestionId": QUESTION}}


def test_answers_to_the_configured_question_are_responses(bench):
    fill(bench.crm, 60)
    for number, answer in enumerate(sorted(bench.crm.living("surveys"))):
        bench.crm.edit("surveys", answer, question=QUESTION if number else "another")
    invited = {"ContactId": "0031", "InviteExpiryDateTime": "2026-12-01T00:00:00.000+0000"}
    bench.api.metadata["SurveyInvitation"] = {
        "0Ki1": {**invited, "SurveyId": SURVEY, "IsDefault": False},
        "0Ki2": {**invited, "SurveyId": SURVEY, "IsDefault": True},
        "0Ki3": {**invited, "SurveyId": "another", "IsDefault": False},
    }
    held = synced(bench, "survey_sends", "survey_responses", surveys={"relation": RELATION})
    truth = bench.crm.living("surveys")
    answers = held.live("survey_responses")
    assert len(answers) == len(truth) - 1
    for key, row in answers.items():
        values = truth[key].values
        assert (row["kind"], row["score"], row["respondent_id"]) == ("nps", values["score"], values["respondent_id"])
        assert (row["scale_min"], row["scale_max"]) == (0, 10)
    assert {key: (row["kind"], row["respondent_id"]) for key, row in held.live("survey_sends").items()} == {
        "0Ki1": ("nps", "0031")
    }


def test_answers_may_be_in_an_object_of_ones_own(bench):
    bench.api.metadata["Feedback__c"] = {
        "a011": {"Stars__c": 4, "Case__c": "500", "Case__r.AccountId": "001", "Given_On__c": "2026-03-01"}
    }
    fields = {"score": "Stars__c", "ticket_id": "Case__c", "account_id": "Case__r.AccountId", "submitted_at": "Given_On__c"}
    surveys = {"support": {"kind": "csat", "object": "Feedback__c", "fields": fields}}
    for bulk_above in (0, 2000):
        (row,) = synced(bench, "survey_responses", surveys=surveys, bulk_above=bulk_above).live("survey_responses").values()
        assert (str(row["score"]), row["ticket_id"], row["account_id"]) == ("4", "500", "001")
        assert (row["submitted_at"], row["scale_max"]) == ("2026-03-01T00:00:00+01:00", 5)


def test_a_question_that_cannot_be_told_from_others_is_an_error(bench):
    surveys = {"support": {"kind": "csat", "only": {"Survey_Kind__c": "x"}}}
    with pytest.raises(SchemaError, match="Survey_Kind__c"):
        synced(bench, "survey_responses", surveys=surveys)


@pytest.mark.parametrize(
    ("surveys", "said"),
    [
        ({}, "`surveys` says which question is what"),
        ({"a": {"kind": "nps", "object": "Feedback__c"}}, "where the `score` is"),
        ({"a": {"kind": "nps", "fields": {"stars": "X"}}}, "no column stars"),
        ({"a": {"kind": "nps", "object": "X; DROP"}}, "object"),
    ],
)
def test_a_survey_that_cannot_be_read_is_told(surveys, said):
    login = {"base_url": "https://example.my.salesforce.com", "client_id": "a", "client_secret": "b"}
    with pytest.raises(ValidationError, match=said):
        SalesforceSettings(**login, entities=("survey_responses",), surveys=surveys)
