"""Marketing KPIs by hand: the edges that the catalogue names, and where vendors disagree."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import kpid_marketing
import pytest

from kpid.errors import KpidError
from kpid.model import MeasurementState
from kpid.testing.kpis import NOW, measure_rows

KPIS = {kpi.id: kpi for kpi in kpid_marketing.kpid_kpis()}
DAY = datetime(2017, 11, 10, 12, tzinfo=UTC)
UNDEFINED = MeasurementState.UNDEFINED


@pytest.fixture
def one(tmp_path):
    """Measure a KPI over rows: the total, or one measurement per segment."""
    numbers = iter(range(99))

    def measure(kpi, rows, label="2017-11", *, by=(), now=NOW, **params):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        given = {}
        for entity, some in rows.items():
            columns = dict.fromkeys(column for row in some for column in row)
            given[entity] = [{"id": str(n), **columns, **row} for n, row in enumerate(some)]
        found = measure_rows(KPIS[kpi], given, label, folder=folder, by=by, params=params, now=now)
        return {m.dims[0].name: m for m in found} if by else found[0]

    return measure


# ---- leads


def lead(**columns):
    return {"created_at": DAY, **columns}


def test_lead_conversion_follows_the_cohort_to_its_horizon(one):
    leads = [lead(converted_at=DAY + timedelta(days=n)) for n in (0, 90, 91)] + [lead()] * 17
    found = one("lead_conversion_rate", {"leads": leads}, now=DAY + timedelta(days=200))
    assert (found.numerator, found.denominator) == (2, 20)
    assert one("lead_conversion_rate", {"leads": leads}, now=DAY + timedelta(days=200), horizon_days="91").numerator == 3


def test_lead_conversion_at_the_very_end_of_the_horizon_counts_and_a_microsecond_later_not(one):
    ends = [DAY + timedelta(days=90), DAY + timedelta(days=90, microseconds=1)]
    found = one("lead_conversion_rate", {"leads": [lead(converted_at=end) for end in ends]}, now=DAY + timedelta(days=200))
    assert found.value == Decimal("0.5")


def test_lead_cohort_younger_than_its_horizon_is_incomplete(one):
    found = one("lead_conversion_rate", {"leads": [lead()] * 30})
    assert (found.state, found.reason) == (MeasurementState.INCOMPLETE, "the period's cases are followed until 2018-02-28")


def test_lead_conversion_by_period_may_pass_1_and_says_so(one):
    old = lead(created_at=DAY - timedelta(days=60), converted_at=DAY)
    found = one("lead_conversion_rate", {"leads": [old, old, lead()]}, mode="period")
    assert (found.value, found.warnings[-1]) == (2, "above 100 %: more leads were converted than came; most of them are older")


def test_disqualified_leads_stay_in_unless_left_out(one):
    leads = [lead(converted_at=DAY), lead(disqualified_at=DAY)]
    assert one("lead_conversion_rate", {"leads": leads}).value == Decimal("0.5")
    assert one("lead_conversion_rate", {"leads": leads}, exclude_disqualified="true").value == 1


def test_no_leads_is_undefined_not_zero(one):
    assert (one("lead_conversion_rate", {}).value, one("leads_converted", {}).value) == (None, 0)


def test_a_lead_became_a_customer_unless_it_is_known_not_to_be_one(one):
    rows = {
        "leads": [
            lead(converted_at=DAY),
            lead(converted_at=DAY, converted_deal_id="0"),
            lead(converted_at=DAY, converted_deal_id="1"),
            lead(converted_at=DAY, converted_account_id="0"),
            lead(converted_at=DAY, converted_account_id="1"),
            lead(converted_at=DAY, converted_deal_id="gone"),
        ],
        "deals": [{"state": "won", "closed_at": DAY}, {"state": "open"}],
        "accounts": [{"lifecycle": "customer"}, {"lifecycle": "prospect"}],
    }
    found = one("leads_converted", rows)
    assert (found.value, found.warnings) == (4, ("1 converted leads name a deal that is not there: counted as the CRM says",))
    assert one("leads_converted", rows, to="opportunity").value == 4


# ---- prospects


def test_10_transactions_of_50_prospects_are_20_percent(one):
    accounts = [{"lifecycle": "prospect", "created_at": DAY - timedelta(days=90)}] * 50
    deals = [{"account_id": str(n), "state": "won", "closed_at": DAY} for n in range(10)]
    found = one("prospect_conversion_rate", {"accounts": accounts, "deals": deals}, "2017-Q4")
    assert (found.value, found.numerator, found.denominator, found.state) == (Decimal("0.2"), 10, 50, MeasurementState.OK)


def test_several_transactions_of_a_prospect_count_once_unless_all_are_asked_for(one):
    account = {"lifecycle": "prospect", "created_at": DAY}
    deals = [{"account_id": "0", "state": "won", "closed_at": DAY}] * 3
    assert one("prospect_conversion_rate", {"accounts": [account], "deals": deals}).value == 1
    found = one("prospect_conversion_rate", {"accounts": [account], "deals": deals}, distinct="false")
    assert (found.value, found.warnings[-1]) == (3, "above 100 %: several transactions by one prospect")


def test_sales_to_old_customers_convert_nobody(one):
    history = [
        {"account_id": "0", "status": "prospect", "valid_from": DAY - timedelta(days=90), "valid_to": DAY - timedelta(days=60)},
        {"account_id": "1", "status": "prospect", "valid_from": DAY, "valid_to": None},
    ]
    deals = [{"account_id": str(n), "state": "won", "closed_at": DAY} for n in (0, 0, 1)]
    rows = {"accounts": [{}, {}], "account_status_history": history, "deals": deals}
    assert one("prospect_conversion_rate", rows).value == 1


def test_a_lead_and_the_account_that_it_became_are_one_prospect_also_after_a_merge(one):
    rows = {
        "leads": [lead(converted_at=DAY, converted_account_id="1")],
        "accounts": [{"lifecycle": "prospect", "created_at": DAY}, {"merged_into_id": "0"}],
        "deals": [{"account_id": "1", "state": "won", "closed_at": DAY}],
    }
    found = one("prospect_conversion_rate", rows)
    assert (found.numerator, found.denominator) == (1, 1)


def test_only_the_first_order_converts(one):
    rows = {
        "accounts": [{"lifecycle": "prospect", "created_at": DAY}] * 2,
        "orders": [
            {"account_id": "0", "ordered_at": DAY - timedelta(days=60)},
            {"account_id": "0", "ordered_at": DAY},
            {"account_id": "1", "ordered_at": DAY, "status": "cancelled"},
            {"account_id": "1", "ordered_at": DAY + timedelta(days=1)},
        ],
    }
    assert one("prospect_conversion_rate", rows, transaction="order").value == Decimal("0.5")


# ---- inquiries


def touch(at, **columns):
    return {"type": "email", "direction": "inbound", "occurred_at": at, "contact_id": "k", **columns}


def test_only_what_starts_a_conversation_is_an_inquiry(one):
    mails = [touch(DAY), touch(DAY + timedelta(days=2)), touch(DAY, contact_id="other"), touch(DAY, is_automated=True)]
    mails += [touch(DAY + timedelta(days=1), direction="outbound", contact_id="known")]
    mails += [touch(DAY + timedelta(days=2), contact_id="known")]
    assert one("inbound_inquiries", {"activities": mails}).value == 2
    assert one("inbound_inquiries", {"activities": mails}, quiet_days="0").value == 4


def test_a_lead_is_an_inquiry_by_form_unless_its_call_is_one(one):
    rows = {"leads": [lead(), lead()], "activities": [touch(DAY, type="call", lead_id="0")]}
    found = one("inbound_inquiries", rows, by=["channel"])
    assert {name: m.value for name, m in found.items()} == {"call": 1, "form": 1}


# ---- answers


def answered(minutes):
    return lead(first_response_at=None if minutes is None else DAY + timedelta(minutes=minutes))


def test_median_response_counts_silence_as_endless(one):
    found = one("lead_response_time", {"leads": [answered(10), answered(20), answered(None)]})
    assert (found.value, found.n, found.warnings[-1]) == (1200, 3, "1 of 3 leads not answered yet")


def test_median_response_is_not_reached_if_most_leads_wait(one):
    found = one("lead_response_time", {"leads": [answered(10), answered(None), answered(None)]})
    assert (found.state, found.reason) == (UNDEFINED, "not reached: too many leads have not been answered")
    assert (found.low, found.high) == (None, None)


def test_median_between_an_answer_and_silence_is_not_reached(one):
    assert one("lead_response_time", {"leads": [answered(10), answered(None)]}).value is None


def test_mean_response_is_that_of_answers(one):
    found = one("lead_response_time", {"leads": [answered(10), answered(20), answered(None)]}, stat="mean")
    assert (found.value, found.n) == (900, 2)


def test_p90_response_of_nine_answers_in_ten_is_not_reached(one):
    leads = [answered(n) for n in range(1, 10)]
    assert one("lead_response_time", {"leads": [*leads, answered(None)]}, stat="p90").value is None
    assert one("lead_response_time", {"leads": [*leads, answered(10)]}, stat="p90").value == Decimal(546)


def test_automated_and_inbound_touches_are_no_answer_and_links_count(one):
    call = {"type": "call", "occurred_at": DAY + timedelta(minutes=5), "direction": "outbound"}
    activities = [
        {**call, "lead_id": "0", "is_automated": True},
        {**call, "lead_id": "0", "direction": "inbound"},
        {**call, "lead_id": "0", "occurred_at": DAY - timedelta(days=1)},
        {**call, "occurred_at": DAY + timedelta(minutes=30)},
    ]
    links = [{"activity_id": "3", "object_type": "leads", "object_id": "0"}]
    found = one("lead_response_time", {"leads": [lead()], "activities": activities, "activity_links": links})
    assert found.value == 1800


def test_business_clock_stops_overnight(one):
    friday = datetime(2017, 11, 10, 15, 30, tzinfo=UTC)  # half past four in Berlin
    rows = {"leads": [lead(created_at=friday, first_response_at=datetime(2017, 11, 13, 8, 30, tzinfo=UTC))]}
    assert one("lead_response_time", rows, clock="business").value == 3600


def test_lead_answered_before_it_came_is_left_out_and_told(one):
    found = one("lead_response_time", {"leads": [answered(-5), answered(10)]})
    assert (found.value, found.warnings[-1]) == (600, "1 leads left out: answered before they were created")


def test_answered_share_within_a_time(one):
    leads = [answered(60), answered(61), answered(None), answered(1)]
    found = one("answered_share", {"leads": leads})
    assert (found.value, found.numerator, found.denominator) == (Decimal("0.5"), 2, 4)
    assert one("answered_share", {"leads": leads}, within="2h").value == Decimal("0.75")


def test_answered_share_is_incomplete_while_a_lead_can_still_be_answered(one):
    found = one("answered_share", {"leads": [lead(created_at=DAY - timedelta(minutes=30))]}, "2017-11-10", now=DAY)
    assert "1 leads can still be answered in time" in (found.reason, *found.warnings)


def test_answered_share_refuses_what_is_no_time(one):
    with pytest.raises(KpidError, match="no span of time"):
        one("answered_share", {}, within="soon")


# ---- costs


def cost(first, last=None, amount="310", **columns):
    return {"date": first, "last_day": last, "amount": Decimal(amount), "currency": "EUR", **columns}


def test_a_monthly_cost_is_spread_over_its_days(one):
    rows = {"campaign_costs": [cost(date(2017, 10, 17), date(2017, 11, 16), "100")]}
    october, november = (one("marketing_spend", rows, label).value for label in ("2017-10", "2017-11"))
    assert october + november == 100
    assert abs(november - Decimal(100) * 16 / 31) < Decimal("0.000001")


def test_days_of_a_third_add_up_to_the_whole(one):
    rows = {"campaign_costs": [cost(date(2017, 11, 1), date(2017, 11, 3), "100")]}
    assert sum(one("marketing_spend", rows, f"2017-11-0{day}").value for day in (1, 2, 3)) == 100


def test_of_the_running_month_only_the_days_that_have_come_are_spent(one):
    rows = {"campaign_costs": [cost(date(2018, 1, 1), date(2018, 1, 31))]}
    found = one("marketing_spend", rows, "2018-01")
    assert (found.value, found.state) == (20, MeasurementState.INCOMPLETE)


def test_a_span_that_ends_before_it_begins_is_its_first_day_and_a_missing_amount_is_told(one):
    rows = {"campaign_costs": [cost(date(2017, 11, 9), date(2017, 11, 1)), {"date": date(2017, 11, 2)}]}
    found = one("marketing_spend", rows)
    assert (found.value, found.warnings) == (310, ("1 costs have no amount",))


def test_a_cost_without_rate_is_an_error_unless_left_out(one):
    rows = {"campaign_costs": [cost(date(2017, 11, 9)), cost(date(2017, 11, 9)) | {"currency": "XXX"}]}
    assert one("marketing_spend", rows).state is MeasurementState.ERROR
    assert one("marketing_spend", rows, missing_fx="exclude").value == 310


def test_channels_without_costs_are_left_out_of_both_sides_and_told(one):
    costs = [cost(date(2017, 11, 1), channel="ads", amount="100"), cost(date(2017, 11, 1), amount="7")]
    leads = [lead(lead_source="ads")] * 10 + [lead(lead_source="word of mouth")] * 5 + [lead()]
    found = one("cost_per_lead", {"campaign_costs": costs, "leads": leads})
    assert (found.value, found.n, found.state) == (10, 10, MeasurementState.OK)
    assert "6 leads of 2 channels without costs are left out: cut by lead_source to see which" in found.warnings
    assert "costs of 7 without a channel are left out" in found.warnings
    sources = one("cost_per_lead", {"campaign_costs": costs, "leads": leads}, by=["lead_source"])
    assert sources["word of mouth"].state is UNDEFINED


def test_no_costs_at_all_is_undefined_not_free(one):
    assert one("cost_per_lead", {"leads": [lead(lead_source="ads")]}).state is UNDEFINED


# ---- campaigns


def test_50_of_1000_exposed_are_5_percent(one):
    members = [
        {"campaign_id": "c", "person_id": str(n), "exposed_at": DAY, "converted_at": DAY if n < 50 else None} for n in range(1000)
    ]
    late = [{"campaign_id": "c", "person_id": "0", "exposed_at": DAY + timedelta(days=1)}]
    found = one("campaign_conversion_rate", {"campaign_members": [*members, *late]}, now=DAY + timedelta(days=90))
    assert (found.value, found.n, found.state) == (Decimal("0.05"), 1000, MeasurementState.OK)


def test_conversion_before_the_exposure_or_after_the_window_does_not_count(one):
    days = (-1, 0, 30, 31)
    members = [
        {"campaign_id": "c", "person_id": str(n), "exposed_at": DAY, "converted_at": DAY + timedelta(days=n)} for n in days
    ]
    assert one("campaign_conversion_rate", {"campaign_members": members}).value == Decimal("0.5")


def roi_rows():
    return {
        "campaigns": [{"name": "Spring"}],
        "campaign_costs": [cost(date(2017, 11, 1), amount="5000", campaign_id="0"), cost(date(2017, 11, 1), amount="900")],
        "deals": [
            {"state": "won", "closed_at": DAY, "amount": Decimal(20000), "currency": "EUR", "campaign_id": "0"},
            {"state": "won", "closed_at": DAY, "amount": Decimal(999), "currency": "EUR"},
            {"state": "lost", "closed_at": DAY, "amount": Decimal(999), "currency": "EUR", "campaign_id": "0"},
        ],
    }


def test_roi_of_20000_for_5000_is_ratio_4_and_net_300_percent(one):
    net, times = one("campaign_roi", roi_rows()), one("campaign_roi", roi_rows(), form="ratio")
    assert (net.value, times.value) == (3, 4)
    assert net.warnings == ("attribution campaign_field: the campaign that the CRM names with the sale", "revenue / cost = 4")


def test_roi_of_gross_profit_takes_the_margin_and_says_if_there_is_none(one):
    assert one("campaign_roi", roi_rows(), revenue="gross_profit", margin="0.5", form="ratio").value == 2
    assert (
        "no margin is given: revenue counts as gross profit" in one("campaign_roi", roi_rows(), revenue="gross_profit").warnings
    )


def test_roi_without_cost_is_undefined(one):
    assert one("campaign_roi", roi_rows() | {"campaign_costs": []}).state is UNDEFINED


def test_roi_by_campaign_finds_cost_and_revenue_by_name_or_id(one):
    rows = roi_rows()
    rows["deals"][1]["campaign"] = "Spring"
    assert one("campaign_roi", rows, by=["campaign"], form="ratio")["Spring"].value == Decimal("4.1998")


def test_linear_attribution_shares_a_sale_by_its_weights(one):
    credits_ = [
        {"deal_id": "0", "campaign_id": "0", "model": "linear", "weight": Decimal("0.25")},
        {"deal_id": "0", "campaign_id": "1", "model": "linear", "weight": Decimal("0.75")},
        {"deal_id": "0", "campaign_id": "1", "model": "last", "weight": Decimal(1)},
    ]
    rows = roi_rows() | {"attributions": credits_, "campaigns": [{"name": "Spring"}, {"name": "Fair"}]}
    found = one("campaign_roi", rows, by=["campaign"], form="ratio", attribution="linear")
    assert found["Spring"].value == 1
    assert found["Fair"].state is UNDEFINED
    assert one("campaign_roi", rows, form="ratio", attribution="last").value == 4


def test_attribution_without_weights_shares_evenly(one):
    credits_ = [{"deal_id": "0", "campaign_id": str(n), "model": "linear"} for n in range(4)]
    found = one("campaign_roi", roi_rows() | {"attributions": credits_}, by=["campaign"], form="ratio", attribution="linear")
    assert found["Spring"].value == 1


# ---- mails


def mail(number, **columns):
    return {"recipient_id": f"r{number}", "message_id": "m", "sent_at": DAY, "delivered_at": DAY, **columns}


def thousand_mails():
    opened = [mail(n, first_open_at=DAY, first_click_at=DAY if n < 40 else None, machine_open_count=0) for n in range(200)]
    return {"email_sends": opened + [mail(n) for n in range(200, 1000)]}


def test_click_through_is_20_percent_of_opens_and_4_percent_of_delivered(one):
    """Where vendors disagree: clicks / opens (HubSpot) and clicks / delivered (most others) are two KPIs."""
    assert one("email_open_rate", thousand_mails(), base="sent").value == Decimal("0.2")
    assert one("email_open_rate", thousand_mails()).value == Decimal("0.2")
    assert one("email_click_to_open_rate", thousand_mails()).value == Decimal("0.2")
    assert one("email_click_rate", thousand_mails()).value == Decimal("0.04")


def test_open_rate_divides_by_delivered_or_by_sent(one):
    bounced = [mail(n, delivered_at=None, bounced_at=DAY, bounce_kind="hard") for n in range(1000, 1250)]
    rows = {"email_sends": thousand_mails()["email_sends"] + bounced}
    assert (one("email_open_rate", rows).value, one("email_open_rate", rows, base="sent").value) == (
        Decimal("0.2"), Decimal("0.16"),
    )  # fmt: skip
    assert one("email_delivery_rate", rows).value == Decimal("0.8")
    assert one("email_delivery_rate", rows, form="bounce", kind="hard").value == Decimal("0.2")
    assert one("email_delivery_rate", rows, form="bounce", kind="soft").value == 0


def test_opens_and_clicks_are_credited_to_the_send(one):
    rows = {"email_sends": [mail(1, sent_at=DAY - timedelta(days=20), first_open_at=DAY)]}
    assert (one("emails_opened_unique", rows, "2017-10").value, one("emails_opened_unique", rows).value) == (1, 0)


def test_a_message_tried_twice_is_one_send(one):
    rows = {"email_sends": [mail(1, delivered_at=None, bounced_at=DAY), mail(1)]}
    found = [one(f"emails_{name}", rows).value for name in ("sent", "delivered", "bounced")]
    assert found == [1, 1, 0]


def test_young_sends_are_incomplete_for_72_hours(one):
    rows = {"email_sends": [mail(n) for n in range(100)]}
    end = datetime(2017, 11, 30, 23, tzinfo=UTC)
    assert one("email_open_rate", rows, now=end + timedelta(hours=71)).state is MeasurementState.INCOMPLETE
    assert one("email_open_rate", rows, now=end + timedelta(hours=72)).state is MeasurementState.OK
    assert one("email_open_rate", rows, now=end + timedelta(hours=1), settle_hours="1").state is MeasurementState.OK


def machine_rows():
    by_machine = [mail(n, first_open_at=DAY, open_count=1, machine_open_count=1) for n in range(50)]
    by_person = [mail(n, first_open_at=DAY, open_count=3, machine_open_count=1) for n in range(50, 60)]
    return {"email_sends": by_machine + by_person + [mail(n) for n in range(60, 100)]}


@pytest.mark.parametrize(("how", "rate"), [("exclude", "0.1"), ("include", "0.6"), ("estimate", "0.2")])
def test_machines_opens_are_left_out_counted_or_estimated(one, how, rate):
    assert one("email_open_rate", machine_rows(), machine_opens=how).value == Decimal(rate)


def test_open_rate_warns_on_both_sides_of_september_2021(one):
    before = one("email_open_rate", thousand_mails())
    assert "never compare or alert across it" in before.warnings[-1]
    day = datetime(2021, 11, 10, tzinfo=UTC)
    later = {"email_sends": [mail(1, sent_at=day, delivered_at=day, first_open_at=day)]}
    found = one("email_open_rate", later, "2021-11", now=datetime(2022, 1, 1, tzinfo=UTC))
    text = "inflated since September 2021: 1 opened mails do not tell people from privacy proxies"
    assert (found.value, text in found.warnings) == (1, True)


def test_a_click_implies_an_open_and_bots_do_not_click(one):
    rows = {
        "email_sends": [
            mail(1, first_click_at=DAY),
            mail(2, first_open_at=DAY, first_click_at=DAY, click_count=1, bot_click_count=1),
        ]
    }
    assert one("email_click_to_open_rate", rows).value == Decimal("0.5")
    assert one("email_click_rate", rows).value == Decimal("0.5")


def test_nothing_sent_is_undefined_and_few_are_too_few(one):
    assert one("email_unsubscribe_rate", {}).state is UNDEFINED
    found = one("email_unsubscribe_rate", {"email_sends": [mail(n, unsubscribed_at=DAY) for n in range(5)]})
    assert (found.state, found.reason) == (MeasurementState.INSUFFICIENT_SAMPLE, "5 delivered mails, at least 500 needed")


# ---- trials


def trial(number, **columns):
    return {
        "account_id": str(number), "started_at": DAY - timedelta(days=14), "trial_end": DAY, "status": "active",
        "amount": Decimal(9), **columns,
    }  # fmt: skip


def test_a_trial_is_converted_by_going_on_or_by_another_subscription_in_time(one):
    later = {"trial_end": None, "started_at": DAY + timedelta(days=5)}
    too_late = {"trial_end": None, "started_at": DAY + timedelta(days=15)}
    rows = [
        trial(1), trial(2, ended_at=DAY, status="ended"), trial(3, ended_at=DAY, status="ended"), trial(3, **later),
        trial(4, status="trial"), trial(4, **too_late), trial(5, amount=Decimal(0)),
    ]  # fmt: skip
    found = one("trial_conversion_rate", {"subscriptions": rows})
    assert (found.numerator, found.denominator) == (2, 5)
    assert one("trial_conversion_rate", {"subscriptions": rows}, horizon_days="15").numerator == 3


# ---- lists


def test_list_growth_nets_who_came_and_went(one):
    old = [{"list_id": "l", "person_id": f"o{n}", "valid_from": DAY - timedelta(days=90)} for n in range(40)]
    old += [{**row, "person_id": f"x{n}", "valid_to": DAY, "exit_reason": why} for n, (row, why) in enumerate(
        zip(old, ("unsubscribed", "hard_bounce", "complaint", "removed"), strict=False))]  # fmt: skip
    new = [{"list_id": "l", "person_id": f"n{n}", "valid_from": DAY} for n in range(14)]
    found = one("list_growth_rate", {"list_membership_history": [*old, *new]})
    assert (found.numerator, found.denominator, found.value) == (11, 44, Decimal("0.25"))


def test_overlapping_memberships_are_one_person(one):
    rows = [{"list_id": "l", "person_id": "p", "valid_from": DAY - timedelta(days=n), "valid_to": None} for n in (30, 40, 40)]
    rows += [{"list_id": "l", "person_id": "p", "valid_from": DAY, "valid_to": DAY - timedelta(days=5)}]
    found = one("list_growth_rate", {"list_membership_history": rows})
    assert (found.numerator, found.denominator) == (0, 1)


# ---- the web site


def visit(day, kind="day", **columns):
    return {"date": date(2017, 11, day), "period_kind": kind, **columns}


def test_10_conversions_of_100_visitors_are_10_percent(one):
    rows = {"web_daily": [visit(6, "week", visitors=100, conversions=10), visit(7, visitors=90, conversions=10)]}
    found = one("website_conversion_rate", rows, "2017-W45")
    assert (found.value, found.n, found.state) == (Decimal("0.1"), 100, MeasurementState.OK)


def test_visitors_of_days_are_not_those_of_a_week_but_sessions_add_up(one):
    rows = {"web_daily": [visit(day, visitors=50, sessions=60, conversions=6) for day in range(6, 13)]}
    found = one("website_conversion_rate", rows, "2017-W45")
    assert (found.state, found.reason) == (UNDEFINED, "no visitors counted for this very period")
    assert one("website_conversion_rate", rows, "2017-11-07").value == Decimal("0.12")
    sessions = one("website_conversion_rate", rows, "2017-W45", unit="session")
    assert (sessions.value, sessions.n) == (Decimal("0.1"), 420)


def test_conversions_of_a_goal(one):
    goals = [{**visit(7), "goal": goal, "conversions": number} for goal, number in (("buy", 3), ("sign up", 30))]
    rows = {"web_daily": [visit(7, visitors=100, conversions=33)], "web_goals": goals}
    assert one("website_conversion_rate", rows, "2017-11-07", goal="buy").value == Decimal("0.03")
    found = one("website_conversion_rate", rows, "2017-11-07", goal="by")
    assert (found.value, found.warnings) == (0, ("no conversion of goal 'by' in this period",))


def test_visits_of_a_single_page_count_no_seconds_or_are_left_out(one):
    rows = {
        "web_daily": [visit(7, sessions=100, bounces=50, duration_s=6000), visit(8, sessions=100, bounces=None, duration_s=999)]
    }
    assert one("avg_visit_duration", rows).value == Decimal("34.995")
    found = one("avg_visit_duration", rows, bounces="exclude")
    assert (found.value, found.n) == (120, 50)
    assert found.warnings == ("1 rows of days left out: no duration, sessions or bounces, or impossible ones",)


def test_negative_numbers_of_a_web_source_are_no_numbers(one):
    rows = {"web_daily": [visit(7, sessions=-5, visitors=-5, duration_s=-60, conversions=1)]}
    assert one("avg_visit_duration", rows).state is UNDEFINED
    assert one("website_conversion_rate", rows, "2017-11-07").state is UNDEFINED


def test_exact_arithmetic_keeps_what_was_divided(one):
    found = one("email_click_rate", {"email_sends": [mail(n, first_click_at=DAY if n < 1 else None) for n in range(3)]})
    assert Fraction(int(found.numerator), int(found.denominator)) == Fraction(1, 3)
    assert found.low < found.value < found.high
