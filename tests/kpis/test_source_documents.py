"""The numbers of the five source documents, one test each, and what kpid does where they contradict each other.

S0 Pegase/Divalto, S1 a blog of 2019, S2 "How to measure the success of your CRM strategy", S3 EasyERP's seven essential metrics,
S4 churn and close rate. Numbers of rows and contradictions are those of the design's tables.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from kpid.analysis.periods import Calendar, period_from_label
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import MeasurementState, SeriesNeed
from kpid.registry import load_plugins
from kpid.testing.kpis import open_warehouse

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2020, 5, 2, 8, tzinfo=UTC)
FISCAL = Calendar("Europe/Berlin", fiscal_start=4, fiscal_label="end")


@pytest.fixture(scope="module")
def kpis():
    return load_plugins().kpis


@pytest.fixture
def measure(kpis, tmp_path):
    """Measure KPIs over rows for a period; ``figure(id, **params)`` is the measurement."""
    opened = []

    def over(rows, label="2020-Q1", now=NOW):
        warehouse = open_warehouse(tmp_path, rows, now=now)
        opened.append(warehouse)
        setup = MetricsSetup(warehouse, kpis, FISCAL, "EUR")
        period = period_from_label(None, label, FISCAL)

        def figure(name, by=(), **params):
            need = SeriesNeed(name, period.kind, tuple(by), tuple(sorted(params.items())))
            found = figures(need, setup, start=period.start, end=period.end, now=now, fill=not by)
            return found if by else found[0]

        return figure

    yield over
    for warehouse in opened:
        warehouse.close()


def at(month, day=1, hour=0, year=2020):
    return datetime(year, month, day, hour, tzinfo=ZONE).astimezone(UTC)


def many(number, make):
    return [{"id": str(one), **make(one)} for one in range(number)]


def shown(fraction):
    """As the catalogue rounds: four digits of a percentage."""
    return round(100 * fraction, 4)


def customers(number, first=0, since=None, until=None):
    """Accounts that are customers over a span, with their status history."""
    begins = since or at(6, year=2019)
    ids = [f"c{one}" for one in range(first, first + number)]
    accounts = [{"id": name, "name": f"{name} Example", "lifecycle": "former" if until else "customer"} for name in ids]
    history = [{"id": name, "account_id": name, "status": "active", "valid_from": begins, "valid_to": until} for name in ids]
    return {"accounts": accounts, "account_status_history": history}


def together(*groups):
    names = {name for group in groups for name in group}
    return {name: [row for group in groups for row in group.get(name, [])] for name in names}


# ---- table A1: every row with a number


def test_s0_opportunity_conversion_rate_10_of_50_is_20_percent(measure):
    rows = {
        "accounts": many(50, lambda n: {"name": f"P{n}", "lifecycle": "prospect" if n >= 10 else "customer"}),
        "account_status_history": many(
            50,
            lambda n: {"account_id": str(n), "status": "prospect", "valid_from": at(1, 5), "valid_to": at(2) if n < 10 else None},
        ),
        "deals": many(10, lambda n: {"account_id": str(n), "state": "won", "created_at": at(1, 9), "closed_at": at(2)}),
    }
    found = measure(rows)("prospect_conversion_rate")
    assert (found.value, found.numerator, found.denominator) == (Decimal("0.2"), 10, 50)


def test_s2_customer_retention_80_of_100_who_bought_again_is_80_percent(measure):
    again = many(
        80, lambda n: {"account_id": f"c{n}", "ordered_at": at(2, 1 + n % 28), "net_amount": Decimal(10), "currency": "EUR"}
    )
    found = measure({**customers(100, since=at(6, year=2018)), "orders": again}, "2020", now=at(1, 2, year=2021))(
        "repurchase_rate"
    )
    assert (found.value, found.numerator, found.denominator) == (Decimal("0.8"), 80, 100)


def nps_answers():
    scores = [9] * 10 + [10] * 10 + [7] * 25 + [8] * 25 + [0] * 10 + [6] * 20
    return {
        "survey_responses": many(
            100, lambda n: {"kind": "nps", "score": Decimal(scores[n]), "submitted_at": at(2), "respondent_id": f"r{n}"}
        )
    }


def test_s2_nps_of_20_percent_promoters_and_30_percent_detractors_is_minus_10(measure):
    assert measure(nps_answers())("nps").value == -10


def test_s2_web_conversion_rate_10_of_100_is_10_percent(measure):
    rows = {
        "web_daily": [
            {"id": "1", "period_kind": "day", "date": date(2020, 1, 6), "visitors": 100, "sessions": 120, "conversions": 10}
        ]
    }
    assert measure(rows, "2020-01-06")("website_conversion_rate").value == Decimal("0.1")


def test_s2_revenue_per_customer_100_000_over_1_000_is_100(measure):
    orders = many(1000, lambda n: {"account_id": f"a{n}", "ordered_at": at(2), "net_amount": Decimal(100), "currency": "EUR"})
    found = measure({"orders": orders})("revenue_per_customer")
    assert (found.value, found.numerator, found.denominator, found.currency) == (100, 100_000, 1_000, "EUR")


def mailing(bounced=0):
    """1000 e-mails, 200 opened, 40 of these clicked, 50 of the recipients converted."""

    def send(n):
        is_bounced = n >= 1000 - bounced
        return {
            "message_id": "m", "recipient_id": f"r{n}", "sent_at": at(2, 3), "delivered_at": None if is_bounced else at(2, 3, 1),
            "bounced_at": at(2, 3, 1) if is_bounced else None, "bounce_kind": "hard" if is_bounced else None,
            "first_open_at": at(2, 4) if n < 200 else None, "open_count": int(n < 200), "machine_open_count": 0,
            "first_click_at": at(2, 5) if n < 40 else None, "click_count": int(n < 40), "bot_click_count": 0,
        }  # fmt: skip

    return {"email_sends": many(1000, send)}


def test_s2_open_rate_200_of_1000_sent_is_20_percent(measure):
    found = measure(mailing())("email_open_rate", base="sent")
    assert (found.value, found.numerator, found.denominator) == (Decimal("0.2"), 200, 1000)


def test_s2_click_through_rate_40_of_200_opened_is_20_percent_and_of_1000_delivered_4_percent(measure):
    figure = measure(mailing())
    assert figure("email_click_to_open_rate").value == Decimal("0.2")
    assert figure("email_click_rate").value == Decimal("0.04")


def test_s2_marketing_conversion_50_of_1000_exposed_is_5_percent(measure):
    rows = {
        "campaigns": [{"id": "k", "name": "Spring Example", "starts_on": date(2020, 1, 1)}],
        "campaign_members": many(
            1000,
            lambda n: {
                "campaign_id": "k",
                "person_id": f"p{n}",
                "exposed_at": at(1, 6),
                "converted_at": at(1, 9) if n < 50 else None,
            },
        ),
    }
    assert measure(rows)("campaign_conversion_rate").value == Decimal("0.05")


def closed_deals(won, lost, still_open=0):
    states = ["won"] * won + ["lost"] * lost + ["open"] * still_open
    return {
        "deals": many(
            len(states),
            lambda n: {"state": states[n], "created_at": at(1, 9), "closed_at": None if states[n] == "open" else at(2, 9)},
        )
    }


def test_s3_benchmark_one_sale_per_three_opportunities_is_33_percent(measure, kpis):
    found = measure(closed_deals(10, 20))("win_rate")
    assert (found.numerator, found.denominator) == (10, 30)
    assert shown(found.value) == Decimal("33.3333")
    assert round(Decimal(kpis["win_rate"].benchmark.value), 2) == Decimal("0.33")


def test_s4_close_rate_10_of_50_in_the_pipeline_is_20_percent(measure):
    found = measure(closed_deals(10, 0, still_open=40))("close_rate")
    assert (found.value, found.numerator, found.denominator) == (Decimal("0.2"), 10, 50)


# ---- fixture A3: the customers of document S4


def s4():
    """99 customers at the start, three new in January and in February, ten of the first 99 lost in March, 95 at the end."""
    return together(
        customers(89), customers(10, first=89, until=at(3, 10)), customers(3, 99, at(1, 10)), customers(3, 102, at(2, 10))
    )


def test_s4_churn_of_99_customers_down_to_95_is_4_percent(measure):
    found = measure(s4())("customer_churn_rate", method="net")
    assert (found.numerator, found.denominator) == (4, 99)
    assert shown(found.value) == Decimal("4.0404")


def test_s3_retention_formula_with_the_numbers_of_s4_is_89_9_percent(measure):
    found = measure(s4())("customer_retention_rate", method="formula")
    assert (found.numerator, found.denominator) == (89, 99)
    assert shown(found.value) == Decimal("89.8990")


def test_all_churn_and_retention_variants_of_s4_at_once(measure):
    figure = measure(s4(), "FY2020-Q4")
    churn = {method: shown(figure("customer_churn_rate", method=method).value) for method in ("net", "gross", "start_plus_new")}
    assert churn == {"net": Decimal("4.0404"), "gross": Decimal("10.1010"), "start_plus_new": Decimal("9.5238")}
    retention = {method: shown(figure("customer_retention_rate", method=method).value) for method in ("formula", "cohort")}
    assert retention == {"formula": Decimal("89.8990"), "cohort": Decimal("89.8990")}
    assert [figure("active_customers", at=when).value for when in ("start", "end", "average")] == [99, 95, 97]
    assert (figure("new_customers").value, figure("lost_customers").value, figure("reactivated_customers").value) == (6, 10, 0)
    assert figure("customer_churn_rate").period.label == "FY2020-Q4"


@pytest.mark.parametrize("row", [
    "3 loyal_customer_share min_purchases=3 as=count", "4 lost_customers", "4 customer_churn_rate method=gross",
    "4 loyal_customer_share complement=true",
    "5 prospect_meeting_share", "2 meeting_to_sale_ratio", "6 call_success_rate outcome=sale",
    "6 call_success_rate outcome=meeting", "7 calls_made direction=outbound", "7 calls_per_rep", "7 inbound_inquiries",
    "8 leads_converted", "8 lead_conversion_rate", "9 sales_cycle_days start=lead_created stat=mean",
    "10 customer_retention_rate",
    "11 campaign_roi form=ratio", "12 customer_lifetime_value method=historic stat=mean", "20 cac", "21 ticket_response_rate",
    "22 resolution_time which=full", "22 resolution_time which=first", "23 csat", "24 calls_made", "25 inbound_inquiries",
    "26 calls_per_sale", "29 stage_conversion_rate", "29 stage_loss_rate", "29 loss_reason_share", "30 campaign_conversion_rate",
    "31 cross_sell_rate", "31 expansion_revenue", "31 repeat_order_share", "33 revenue_concentration", "34 avg_visit_duration",
    "34 list_growth_rate", "34 same_day_close_rate", "34 first_contact_resolution_rate",
])  # fmt: skip
def test_documents_row_without_a_number_has_its_kpi(kpis, row):
    _, name, *params = row.split()
    assert kpis[name].definition(dict(param.split("=") for param in params)).measures or kpis[name].definition({}).uses


@pytest.mark.parametrize(("name", "dimension"), [
    ("calls_made", "owner"), ("calls_made", "team"), ("win_rate", "owner"), ("win_rate", "lead_source"),
    ("inbound_inquiries", "source"), ("leads_created", "campaign"), ("repeat_order_share", "week_of_quarter"),
])  # fmt: skip
def test_breakdowns_that_the_documents_name(measure, name, dimension):
    assert measure({})(name, by=(dimension,)) == []


def test_s0_retention_counts_customers_who_bought_more_than_twice(measure):
    def order(n):
        return {
            "account_id": f"a{[0, 0, 0, 1, 1, 2][n]}",
            "ordered_at": at(1, 3 + n),
            "net_amount": Decimal(1),
            "currency": "EUR",
        }

    found = measure({"orders": many(6, order)})("loyal_customer_share", **{"as": "count"})
    assert found.value == 1


def test_s3_repeat_orders_by_week_of_the_quarter(measure):
    days = [at(1, 1), at(1, 7), at(1, 8), at(2, 29), at(3, 31)]
    orders = many(5, lambda n: {"account_id": "a", "ordered_at": days[n], "net_amount": Decimal(1), "currency": "EUR"})
    found = {m.dims[0].id: m.value for m in measure({"orders": orders})("repeat_order_share", by=("week_of_quarter",))}
    assert found == {"01": Decimal("0.5"), "02": 1, "09": 1, "13": 1}


# ---- table A2: where the documents contradict each other


def test_contradiction_1_three_retentions_are_three_kpis(measure):
    again = many(20, lambda n: {"account_id": f"c{n}", "ordered_at": at(2), "net_amount": Decimal(1), "currency": "EUR"})
    figure = measure({**together(customers(90), customers(10, 90, until=at(3))), "orders": again})
    found = [figure(name).value for name in ("loyal_customer_share", "repurchase_rate", "customer_retention_rate")]
    assert found == [0, Decimal("0.2"), Decimal("0.9")]


def test_contradiction_2_formula_differs_from_cohort_when_new_customers_leave_and_both_are_shown(measure):
    rows = together(customers(100), customers(8, 100, at(1, 10)), customers(2, 108, at(1, 10), at(2, 10)))
    figure = measure(rows)
    cohort, formula = figure("customer_retention_rate"), figure("customer_retention_rate", method="formula")
    assert (cohort.value, formula.value) == (1, Decimal("0.98"))
    assert any("98.0 %" in warning for warning in cohort.warnings)
    assert figure("active_customers").value == 108


def test_contradiction_2_both_equal_says_nothing(measure):
    assert not any("would be" in warning for warning in measure(s4())("customer_retention_rate").warnings)


def test_contradiction_3_gross_churn_is_the_complement_of_cohort_retention_and_net_churn_is_not(measure):
    figure = measure(s4())
    retention = figure("customer_retention_rate")
    gross, net = figure("customer_churn_rate"), figure("customer_churn_rate", method="net")
    assert Fraction(int(gross.numerator), 99) + Fraction(int(retention.numerator), 99) == 1
    assert round(100 * (net.value + retention.value), 2) == Decimal("93.94")


def test_contradiction_4_net_churn_is_called_a_net_change(measure):
    assert any(
        "net change of the customer base" in warning for warning in measure(s4())("customer_churn_rate", method="net").warnings
    )


def test_contradiction_4_net_churn_of_a_growing_base_is_negative(measure):
    assert measure(together(customers(10), customers(5, 10, at(2))))("customer_churn_rate", method="net").value == Decimal("-0.5")


def test_contradiction_5_conversion_rates_are_separate_and_none_is_called_just_that(kpis):
    five = {"prospect_conversion_rate", "lead_conversion_rate", "win_rate", "close_rate", "website_conversion_rate"}
    assert five | {"campaign_conversion_rate"} <= set(kpis)
    assert "conversion_rate" not in kpis


def test_contradiction_6_closed_means_won_unless_asked_otherwise(measure):
    figure = measure(closed_deals(10, 5, still_open=35))
    assert figure("close_rate").value == Decimal("0.2")
    assert figure("close_rate", closed="won_lost").value == Decimal("0.3")


def test_contradiction_7_nps_is_minus_10_whatever_the_sentence_beside_it_says(measure):
    found = measure(nps_answers())("nps")
    assert found.value == -10
    assert found.n == 100


def test_contradiction_8_no_kpi_is_called_ctr(kpis):
    assert not {"ctr", "click_through_rate"} & set(kpis)
    assert (
        "click-through rate"
        in " ".join((kpis["email_click_to_open_rate"].name, kpis["email_click_to_open_rate"].misleads)).lower()
    )


def test_contradiction_9_open_rate_of_delivered_unless_of_sent_is_asked_for(measure):
    figure = measure(mailing(bounced=200))
    assert figure("email_open_rate").value == Decimal("0.25")
    assert figure("email_open_rate", base="sent").value == Decimal("0.2")


def test_contradiction_9_without_bounces_both_are_the_same(measure):
    figure = measure(mailing())
    assert figure("email_open_rate").value == figure("email_open_rate", base="sent").value == Decimal("0.2")


def test_contradiction_10_roi_is_net_unless_the_ratio_is_asked_for(measure):
    rows = {
        "campaigns": [{"id": "k", "name": "Spring Example", "starts_on": date(2020, 1, 1)}],
        "campaign_costs": [{"id": "1", "campaign_id": "k", "date": date(2020, 1, 6), "amount": Decimal(5000), "currency": "EUR"}],
        "deals": [
            {"id": "1", "state": "won", "campaign_id": "k", "created_at": at(1, 9), "closed_at": at(2), "amount": Decimal(20_000),
             "currency": "EUR"}
        ],
    }  # fmt: skip
    figure = measure(rows)
    assert (figure("campaign_roi").value, figure("campaign_roi", form="ratio").value) == (3, 4)
    assert any("4" in warning for warning in figure("campaign_roi").warnings)


def test_contradiction_11_efficiency_and_calls_per_sale_are_inverse(measure):
    calls = many(
        30,
        lambda n: {
            "type": "call",
            "direction": "outbound",
            "status": "completed",
            "occurred_at": at(2, 3),
            "is_automated": False,
        },
    )
    figure = measure({"activities": calls, **closed_deals(4, 3)})
    efficiency, calls_per_sale = figure("call_success_rate", outcome="sale"), figure("calls_per_sale")
    assert Fraction(efficiency.numerator) / Fraction(efficiency.denominator) == Fraction(4, 30)
    product = Fraction(efficiency.numerator) / Fraction(efficiency.denominator)
    assert product * Fraction(calls_per_sale.numerator) / Fraction(calls_per_sale.denominator) == 1


def test_contradiction_12_sales_cycle_starts_with_the_deal_unless_asked_otherwise(measure):
    rows = {
        "leads": [{"id": "l", "created_at": at(1, 1), "converted_deal_id": "d", "first_response_at": at(1, 6)}],
        "deals": [{"id": "d", "lead_id": "l", "state": "won", "created_at": at(1, 11), "closed_at": at(1, 31)}],
    }
    figure = measure(rows)
    assert (figure("sales_cycle_days").value, figure("sales_cycle_days", start="lead_created").value) == (20, 30)


def test_contradiction_13_durations_are_medians_unless_the_mean_is_asked_for(measure):
    rows = {"deals": many(3, lambda n: {"state": "won", "created_at": at(1, 1), "closed_at": at(1, [2, 3, 28][n])})}
    figure = measure(rows)
    assert (figure("sales_cycle_days").value, figure("sales_cycle_days", stat="mean").value) == (2, 10)


def test_contradiction_14_thirty_times_cheaper_is_no_benchmark(kpis):
    told = [kpi.benchmark for kpi in kpis.values() if kpi.benchmark is not None]
    assert told
    assert not any(benchmark.value in {"30", "25", "5"} or "cheaper" in benchmark.text for benchmark in told)


def test_contradiction_15_first_and_full_resolution_differ_for_a_reopened_ticket(measure):
    ticket = {
        "id": "1", "created_at": at(2, 3, 9), "first_solved_at": at(2, 3, 11), "last_solved_at": at(2, 4, 9), "status": "solved",
        "reopen_count": 1,
    }  # fmt: skip
    figure = measure({"tickets": [ticket]})
    assert figure("resolution_time", which="first").value == 2 * 3600
    assert figure("resolution_time").value == figure("resolution_time", which="full").value == 24 * 3600


def test_contradiction_16_repurchase_is_inside_the_period_by_customers_of_its_start(measure):
    def order(name, when):
        return {"id": f"{name}{when}", "account_id": name, "ordered_at": when, "net_amount": Decimal(1), "currency": "EUR"}

    rows = together(customers(3), customers(1, 3, at(1, 10)))
    rows["orders"] = [order("c0", at(3, 31, 23)), order("c1", at(4)), order("c2", at(12, 31, 23, year=2019)), order("c3", at(2))]
    found = measure(rows)("repurchase_rate")
    assert (found.numerator, found.denominator) == (1, 3)


def test_nothing_at_all_is_undefined_and_never_0(measure, kpis):
    figure = measure({})
    for name in ("customer_churn_rate", "customer_retention_rate", "repurchase_rate", "revenue_per_customer", "nps", "cac"):
        found = figure(name)
        assert (found.value, found.state) == (None, MeasurementState.UNDEFINED), name


def test_benchmarks_of_one_document_have_one_date(kpis):
    """The seven metrics were published on 21 July 2016."""
    found = {kpi.benchmark.year for kpi in kpis.values() if kpi.benchmark is not None and "EasyERP" in kpi.benchmark.source}
    assert found == {2016}


def test_sources_are_named_in_words(kpis):
    assert not [kpi.id for kpi in kpis.values() if set(kpi.source.replace(":", " ").split()) & {"S0", "S1", "S2", "S3", "S4"}]


@pytest.mark.parametrize(
    ("kpi", "additivity"),
    [
        ("won_amount", "A"), ("win_rate", "R"), ("close_rate", "R"), ("lead_conversion_rate", "C"), ("sales_cycle_days", "N"),
        ("pipeline_open_amount", "S"), ("stage_conversion_rate", "C"), ("stale_deal_share", "S"), ("overdue_deal_share", "S"),
        ("active_customers", "S"), ("loyal_customer_share", "S"), ("customer_churn_rate", "C"), ("mrr", "S"),
        ("mrr_churn_rate", "C"), ("revenue_retention", "C"), ("revenue_concentration", "N"), ("list_growth_rate", "C"),
        ("reopen_rate", "C"), ("nps", "R"), ("survey_response_rate", "C"), ("missing_owner_share", "S"),
        ("field_completeness", "S"), ("data_freshness", "N"),
    ],
)  # fmt: skip
def test_kpi_adds_up_as_the_catalogue_has_it(kpis, kpi, additivity):
    assert kpis[kpi].additivity == additivity
