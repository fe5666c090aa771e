# ruff: noqa: E501
"""Sales KPIs by hand: the catalogue's edges, where vendors disagree, and bad input."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import kpid_pipeline
import kpid_sales
import pytest

from kpid.model import MeasurementState
from kpid.testing.kpis import check_kpi, measure_rows

KPIS = {kpi.id: kpi for module in (kpid_sales, kpid_pipeline) for kpi in module.kpid_kpis()}
DAY = timedelta(days=1)


def on(day, month=12, hour=12):
    return datetime(2017, month, day, hour, tzinfo=UTC)


def deal(number, state="won", **columns):
    closed = None if state == "open" else on(10)
    return {"id": str(number), "state": state, "closed_at": closed, "created_at": on(1), "owner_id": None, **columns}


def one(kpi, rows, folder, label="2017-12", **options):
    [found] = measure_rows(KPIS[kpi], rows, label, folder=folder, others=KPIS, **options)
    return found


def moves(deal_id, *states):
    """The history of a deal's states: (state, instant) in order."""
    ends = [at for _, at in states[1:]] + [None]
    return [
        {"id": f"{deal_id}-{n}", "deal_id": deal_id, "field": "state", "value": state, "valid_from": at, "valid_to": end}
        for n, ((state, at), end) in enumerate(zip(states, ends, strict=True))
    ]


@pytest.mark.parametrize("name", [kpi.id for kpi in kpid_sales.kpid_kpis()])
def test_kpi_keeps_the_contract(name, tmp_path):
    check_kpi(KPIS[name], tmp_path, KPIS)


def test_numbers_of_the_catalogue():
    numbers = {
        "win_rate": 1,
        "close_rate": 2,
        "avg_deal_size": 5,
        "sales_cycle_days": 6,
        "sales_velocity": 7,
        "quota_attainment": 8,
    }
    found = {kpi.id: kpi.number for kpi in kpid_sales.kpid_kpis() if kpi.number}
    assert found == numbers | {"loss_reason_share": 9}


# ---- deals that come back


BACK = {
    "deals": [deal(1, "lost", closed_at=on(20), amount=Decimal(100))],
    "deal_field_history": moves("1", ("open", on(1, 10)), ("won", on(5, 10)), ("open", on(9, 10)), ("lost", on(19))),
}


@pytest.mark.parametrize(
    ("reopen", "basis", "october", "december"),
    [
        ("latest", "crm_date", 0, 1), ("latest", "transition", 0, 1), ("first", "crm_date", 1, 0), ("first", "transition", 1, 0),
        ("every", "crm_date", 1, 1), ("every", "transition", 1, 1),
    ],
)  # fmt: skip
def test_a_reopened_deal_counts_by_its_latest_first_or_every_outcome(tmp_path, reopen, basis, october, december):
    params = {"reopen": reopen, "close_basis": basis}
    (tmp_path / "a").mkdir()
    assert one("won_deals", BACK, tmp_path, "2017-10", params=params).value == october
    assert one("lost_deals", BACK, tmp_path / "a", "2017-12", params=params).value == december


def test_a_closing_is_dated_by_the_crm_or_by_its_transition(tmp_path):
    rows = {"deals": [deal(1, closed_at=on(1))], "deal_field_history": moves("1", ("open", on(1, 10)), ("won", on(30, 11)))}
    (tmp_path / "a").mkdir()
    assert one("won_deals", rows, tmp_path, params={"reopen": "every"}).value == 1
    assert one("won_deals", rows, tmp_path / "a", params={"close_basis": "transition"}).value == 0


def test_stages_tell_of_closings_where_no_history_of_the_state_does(tmp_path):
    stages = [
        {"id": name, "name": name, "pipeline_id": "p", "sort_order": n, "state": name}
        for n, name in enumerate(("open", "won", "lost"))
    ]
    been = [("open", on(1, 10)), ("won", on(5, 10)), ("won", on(6, 10)), ("lost", on(9))]
    history = [
        {"id": str(n), "deal_id": "1", "stage_id": s, "valid_from": at, "valid_to": None, "seq": n}
        for n, (s, at) in enumerate(been)
    ]
    rows = {"deals": [deal(1, "lost")], "stages": stages, "deal_stage_history": history}
    found = one("won_deals", rows, tmp_path, "2017-10", params={"reopen": "every"})
    assert found.value == 1, "two stages that are both won are one closing"


def test_a_deal_that_no_history_knows_stands_for_itself(tmp_path):
    assert one("won_deals", {"deals": [deal(1)]}, tmp_path, params={"reopen": "every", "close_basis": "transition"}).value == 1


def test_a_cohort_counts_a_deal_that_was_won_twice_once(tmp_path):
    rows = {
        "deals": [deal(1, closed_at=on(20)), deal(2, "open")],
        "deal_field_history": moves("1", ("won", on(5)), ("open", on(9)), ("won", on(19))),
    }
    found = one("win_rate", rows, tmp_path, params={"mode": "cohort", "reopen": "every"})
    assert (found.numerator, found.denominator) == (1, 2)


# ---- win rate: where vendors disagree


MIXED = [
    deal(1, amount=Decimal(300)),
    deal(2, "lost", amount=Decimal(100)),
    deal(3, "lost", loss_reason=" Disqualified"),
    deal(4, "open"),
]


@pytest.mark.parametrize(
    ("params", "above", "below"),
    [
        ({}, 1, 3),
        ({"weight": "amount"}, 300, 400),
        ({"lost_excludes": "disqualified, cancelled"}, 1, 2),
        ({"mode": "cohort"}, 1, 4),
        ({"mode": "cohort", "lost_excludes": "disqualified"}, 1, 3),
        ({"mode": "cohort", "horizon_days": "8"}, 0, 4),
    ],
)
def test_win_rate_by_count_amount_cohort_and_without_what_is_no_loss(tmp_path, params, above, below):
    found = one("win_rate", {"deals": MIXED}, tmp_path, params=params)
    assert (found.numerator, found.denominator) == (above, below)


def test_an_overdue_deal_is_lost_in_the_month_that_it_was_due(tmp_path):
    rows = {
        "deals": [
            deal(1),
            deal(2, "open", expected_close_date=date(2017, 12, 31)),
            deal(3, "open", expected_close_date=date(2018, 1, 2)),
        ]
    }
    found = one("win_rate", rows, tmp_path, params={"overdue_as_lost": "true"})
    assert (found.numerator, found.denominator, found.n) == (1, 2, 1)


def test_a_cohort_is_incomplete_until_its_horizon(tmp_path):
    found = one("win_rate", {"deals": MIXED}, tmp_path, params={"mode": "cohort", "horizon_days": "30"})
    assert found.state is MeasurementState.INCOMPLETE
    assert "followed until 2018-01-30" in found.reason


def test_negative_and_missing_amounts_are_told(tmp_path):
    found = one("won_amount", {"deals": [deal(1, amount=Decimal(-5)), deal(2), deal(3, amount=Decimal(0))]}, tmp_path)
    assert found.value == -5
    assert found.warnings == ("negative amounts among the won deals: 1", "1 won deals have no amount")


def test_an_unknown_currency_is_an_error_and_never_a_silent_0(tmp_path):
    rows = {"deals": [deal(1, amount=Decimal(5), currency="XXX"), deal(2, amount=Decimal(7), currency="EUR")]}
    for number, params in enumerate(({}, {"reopen": "every"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = one("won_amount", rows, folder, params=params)
        assert (found.state, found.value) == (MeasurementState.ERROR, None)


# ---- close rate, cycle


def test_close_rate_of_10_in_50_is_20_percent(tmp_path):
    rows = {"deals": [deal(n, "won" if n < 10 else "open") for n in range(50)]}
    assert one("close_rate", rows, tmp_path).value == Decimal("0.2")


def test_a_deal_reopened_inside_the_period_joins_the_pipeline(tmp_path):
    rows = {"deals": [deal(1, closed_at=on(20), created_at=on(1, 9), opened_at=on(5))]}
    found = one("close_rate", rows, tmp_path)
    assert (found.numerator, found.denominator) == (1, 1)


def test_a_loss_that_is_none_stays_in_the_pipeline_and_is_not_decided(tmp_path):
    rows = {"deals": [deal(1), deal(2, "lost", loss_reason="Cancelled"), deal(3, "lost", loss_reason="price"), deal(4, "open")]}
    found = one("close_rate", rows, tmp_path, params={"closed": "won_lost", "lost_excludes": "cancelled"})
    assert (found.numerator, found.denominator) == (2, 4)


@pytest.mark.parametrize(
    ("reopen", "october", "november", "december"),
    [("latest", (0, 1), (0, 1), (1, 1)), ("first", (1, 1), (0, 0), (0, 0)), ("every", (1, 1), (0, 0), (1, 1))],
)
def test_a_reopened_deal_is_in_the_pipeline_until_its_latest_or_first_closing_or_anew_each_time(
    tmp_path, reopen, october, november, december
):
    rows = {
        "deals": [deal(1, "lost", closed_at=on(20), created_at=on(1, 10))],
        "deal_field_history": moves("1", ("open", on(1, 10)), ("won", on(5, 10)), ("open", on(9, 12)), ("lost", on(20))),
    }
    for month, expected in (("2017-10", october), ("2017-11", november), ("2017-12", december)):
        folder = tmp_path / month
        folder.mkdir()
        found = one("close_rate", rows, folder, month, params={"reopen": reopen, "closed": "won_lost"})
        assert (found.numerator or 0, found.denominator or 0) == expected, month


@pytest.mark.parametrize(("reopen", "october", "december"), [("latest", 0, 1), ("first", 1, 0), ("every", 1, 1)])
def test_reasons_of_a_reopened_deal_count_with_the_closings_that_count(tmp_path, reopen, october, december):
    rows = {
        "deals": [deal(1, "lost", closed_at=on(20), loss_reason="price")],
        "deal_field_history": moves("1", ("open", on(1, 10)), ("lost", on(5, 10)), ("open", on(9, 10)), ("lost", on(20))),
    }
    for month, expected in (("2017-10", october), ("2017-12", december)):
        folder = tmp_path / month
        folder.mkdir()
        assert one("loss_reason_share", rows, folder, month, params={"reopen": reopen}).n == expected, month


def test_cycles_are_local_days_and_the_same_day_is_0(tmp_path):
    rows = {"deals": [deal(1, created_at=datetime(2017, 12, 9, 23, 30, tzinfo=UTC), closed_at=on(10, hour=22))]}
    assert one("sales_cycle_days", rows, tmp_path).value == 0


def test_impossible_cycles_are_left_out_and_told(tmp_path):
    rows = {"deals": [deal(1), deal(2, created_at=on(20))]}
    found = one("sales_cycle_days", rows, tmp_path)
    assert (found.value, found.n) == (9, 1)
    assert found.warnings == ("1 won deals left out: closed before they began",)


def test_a_cycle_begins_with_the_lead_or_the_first_contact_as_far_as_known(tmp_path):
    rows = {
        "deals": [deal(1, lead_id="l1"), deal(2), deal(3)],
        "leads": [
            {"id": "l1", "created_at": on(20, 11), "converted_deal_id": None},
            {"id": "l2", "created_at": on(25, 11), "converted_deal_id": "2"},
        ],
        "activities": [
            {"id": "1", "type": "call", "occurred_at": on(22, 11), "deal_id": "1", "status": "completed", "is_automated": False},
            {"id": "2", "type": "email", "occurred_at": on(15, 11), "deal_id": "1", "status": "completed", "is_automated": True},
            {"id": "3", "type": "call", "occurred_at": on(1, 11), "deal_id": "1", "status": "planned", "is_automated": False},
        ],
    }
    (tmp_path / "a").mkdir()
    lead = one("sales_cycle_days", rows, tmp_path, params={"start": "lead_created", "stat": "mean"})
    assert (lead.numerator, lead.denominator) == (20 + 15 + 9, 3)
    assert lead.warnings == ("1 won deals begin with their own creation: nothing earlier is known",)
    contact = one("sales_cycle_days", rows, tmp_path / "a", params={"start": "first_contact", "stat": "mean"})
    assert (contact.numerator, contact.denominator) == (18 + 15 + 9, 3)
    assert "1 won deals begin with their lead: no contact is known" in contact.warnings


def test_business_days_leave_out_the_weekend(tmp_path):
    friday, monday = on(8), on(11)
    rows = {"deals": [deal(1, created_at=friday, closed_at=monday)]}
    assert one("sales_cycle_days", rows, tmp_path, params={"unit": "business_days"}).value == 1


def test_a_cohort_of_cycles_says_how_many_are_open(tmp_path):
    found = one("sales_cycle_days", {"deals": [deal(1), deal(2, "open")]}, tmp_path, params={"mode": "cohort"})
    assert (found.value, found.n) == (9, 1)
    assert found.warnings == ("1 deals of the period are still open: they are not in it yet",)


# ---- velocity, attainment


def test_velocity_is_what_its_factors_make(tmp_path):
    rows = {
        "deals": [deal(n, amount=Decimal(100)) for n in range(6)]
        + [deal(n, "lost") for n in range(6, 12)]
        + [deal(12, "open")] * 1
    }
    day = one("sales_velocity", rows, tmp_path)
    assert abs(day.value - Decimal(1) * Decimal("0.5") * 100 / 9) < Decimal("1e-9")
    assert day.state is MeasurementState.INSUFFICIENT_SAMPLE
    assert "6 won deals only, at least 10 needed" in day.warnings
    (tmp_path / "a").mkdir()
    month = one("sales_velocity", rows, tmp_path / "a", params={"per": "month", "opps": "created_in_period", "factors": "ttm"})
    assert abs(month.value - 30 * Decimal(13) * Decimal("0.5") * 100 / 9) < Decimal("1e-9")


def test_velocity_without_a_cycle_is_undefined(tmp_path):
    found = one("sales_velocity", {"deals": [deal(1, amount=Decimal(9), created_at=on(10)), deal(2, "open")]}, tmp_path)
    assert (found.value, found.state, found.reason) == (None, MeasurementState.UNDEFINED, "the mean sales cycle is 0 days")


def target(value, kpi="won_amount", kind="month", day=None, **columns):
    return {"id": f"{kpi}-{value}", "kpi": kpi, "period_kind": kind, "period_start": day or date(2017, 12, 1), "value": value, "dims": None,
            "currency": None, "valid_from": None, **columns}  # fmt: skip


@pytest.mark.parametrize(
    ("targets", "value", "reason"),
    [
        ([target(Decimal(200))], Decimal("0.5"), ""),
        ([], None, "won_amount has no target for this month"),
        ([target(Decimal(0))], None, "the target of won_amount is 0"),
    ],
)
def test_attainment_needs_a_target_that_is_not_0(tmp_path, targets, value, reason):
    found = one("quota_attainment", {"deals": [deal(1, amount=Decimal(100))], "targets": targets}, tmp_path)
    assert (found.value, found.reason) == (value, reason)


def test_what_does_not_add_up_has_no_attainment(tmp_path):
    rows = {"deals": [deal(1)], "targets": [target(Decimal("0.3"), "win_rate")]}
    found = one("quota_attainment", rows, tmp_path, params={"kpi": "win_rate"})
    assert found.reason == "win_rate is a ratio: only what adds up can be attained in part"


def test_a_period_that_is_not_over_is_compared_with_its_part_of_the_target(tmp_path):
    rows = {"deals": [deal(1, amount=Decimal(100))], "targets": [target(Decimal(210))]}
    now = datetime(2017, 12, 16, 11, tzinfo=UTC)
    (tmp_path / "a").mkdir()
    whole = one("quota_attainment", rows, tmp_path, now=now)
    part = one("quota_attainment", rows, tmp_path / "a", now=now, params={"prorate": "true"})
    assert (whole.denominator, part.denominator) == (210, 110), "11 of 21 working days"


def test_a_month_to_date_is_compared_with_its_part_of_the_months_target(tmp_path):
    rows = {"deals": [deal(1, amount=Decimal(100))], "targets": [target(Decimal(210))]}
    for folder, prorate, label, expected in (
        ("a", "false", "MTD 2017-12-15", 210), ("b", "true", "MTD 2017-12-15", 110), ("c", "true", "MTD 2017-12-31", 210),
    ):  # fmt: skip
        (tmp_path / folder).mkdir()
        params, kpi = {"prorate": prorate}, KPIS["quota_attainment"]
        found = measure_rows(kpi, rows, label, folder=tmp_path / folder, others=KPIS, params=params)
        assert {one.period.label: one.denominator for one in found}[label] == expected


# ---- loss reasons


LOST = [
    deal(n, "lost", loss_reason=reason, amount=Decimal(10))
    for n, reason in enumerate(["price", "Price; timing", None, " ", "timing"])
]


def test_shares_of_reasons_have_all_lost_deals_below_and_add_up_to_1(tmp_path):
    found = measure_rows(KPIS["loss_reason_share"], {"deals": [*LOST, deal(9)]}, "2017-12", folder=tmp_path, by=["loss_reason"])
    shares = {m.dims[0].id: (m.numerator, m.denominator) for m in found}
    assert shares == {"price": (1, 5), "Price": (1, 5), "timing": (1, 5), "unknown": (2, 5)}


def test_several_reasons_share_their_deal(tmp_path):
    params = {"multi": "split", "reason": "timing", "weight": "amount"}
    found = one("loss_reason_share", {"deals": LOST}, tmp_path, params=params)
    assert (found.value, found.n) == (Decimal("0.3"), 6), "6 reasons of 5 deals"


def test_a_reason_by_owner_keeps_to_the_owner_below(tmp_path):
    rows = {"deals": [{**row, "owner_id": "ada" if n < 2 else "bob"} for n, row in enumerate(LOST)]}
    found = measure_rows(
        KPIS["loss_reason_share"], rows, "2017-12", folder=tmp_path, by=["owner", "loss_reason"], params={"reason": "unknown"}
    )
    assert {(m.dims[1].id, m.numerator, m.denominator) for m in found if m.value} == {("crm:bob", 2, 3)} or {
        (m.dims[0].id, m.numerator, m.denominator) for m in found if m.value
    } == {("unknown", 2, 3)}


def test_a_closing_of_a_history_counts_for_the_owner_of_then(tmp_path):
    owners = [("ada", on(1, 9), on(7, 10)), ("bob", on(7, 10), None)]
    rows = {
        **BACK,
        "deals": [{**BACK["deals"][0], "owner_id": "bob"}],
        "owner_history": [
            {"id": who, "object_type": "deals", "object_id": "crm:1", "owner_id": who, "valid_from": start, "valid_to": end}
            for who, start, end in owners
        ],
    }
    found = measure_rows(KPIS["won_deals"], rows, "2017-10", folder=tmp_path, by=["owner"], params={"reopen": "first"})
    assert [(m.dims[0].id, m.value) for m in found] == [("crm:ada", 1)]


# ---- how large a deal is


@pytest.mark.parametrize(
    "params", [{}, {"weight": "amount"}, {"reopen": "every"}, {"mode": "cohort"}, {"overdue_as_lost": "true"}]
)
def test_win_rate_by_size_puts_each_limit_into_the_band_above_it(tmp_path, params):
    amounts = [None, "-5", "0", "999.99", "1000", "4999.99", "5000", "19999", "20000", "99999.99", "100000"]
    worth = [None if text is None else Decimal(text) for text in amounts]
    rows = {"deals": [deal(n, "won" if n % 2 else "lost", amount=one, currency="EUR") for n, one in enumerate(worth)]}
    found = measure_rows(
        KPIS["win_rate"], rows, "2017-12", by=("deal_size_band",), params=params, folder=tmp_path, others=KPIS, currency="EUR"
    )
    wins = {} if params.get("weight") == "amount" else {one.dims[0].id: (one.numerator, one.denominator) for one in found}
    names = sorted(one.dims[0].id for one in found if one.dims[0].id is not None)
    assert names == ["1: below 1k", "2: 1k-5k", "3: 5k-20k", "4: 20k-100k", "5: 100k and more"]
    assert None in {one.dims[0].id for one in found}
    expected = {None: (0, 1), names[0]: (2, 3), names[1]: (1, 2), names[2]: (1, 2), names[3]: (1, 2), names[4]: (0, 1)}
    assert not wins or wins == expected


def test_an_overdue_deal_is_lost_in_its_band(tmp_path):
    late = deal(2, "open", amount=Decimal(7_000), expected_close_date=date(2017, 12, 5))
    rows = {"deals": [deal(1, amount=Decimal(6_000)), late]}
    params = {"overdue_as_lost": "true"}
    [found] = measure_rows(KPIS["win_rate"], rows, "2017-12", by=("deal_size_band",), params=params, folder=tmp_path, others=KPIS)
    assert (found.dims[0].id, found.numerator, found.denominator) == ("3: 5k-20k", 1, 2)


@pytest.mark.parametrize(
    ("deals", "by", "state"), [(9, ("owner",), "insufficient_sample"), (10, ("owner",), "ok"), (10, (), "insufficient_sample")]
)
def test_ten_deals_are_enough_for_an_owner_and_said_to_be_few(tmp_path, deals, by, state):
    rows = {"users": [{"id": "ada", "name": "Ada Example"}], "deals": [deal(n, owner_id="ada") for n in range(deals)]}
    [found] = measure_rows(KPIS["win_rate"], rows, "2017-12", by=by, folder=tmp_path, others=KPIS)
    assert found.state.value == state
    assert (f"{deals} closed deals only" in found.warnings) is (state == "ok")


def test_thirty_deals_of_an_owner_are_not_few(tmp_path):
    rows = {"users": [{"id": "ada", "name": "Ada Example"}], "deals": [deal(n, owner_id="ada") for n in range(30)]}
    [found] = measure_rows(KPIS["win_rate"], rows, "2017-12", by=("owner",), folder=tmp_path, others=KPIS)
    assert (found.state.value, [text for text in found.warnings if "only" in text]) == ("ok", [])
