# ruff: noqa: E501
"""Pipeline KPIs by hand: the catalogue's edges, where vendors disagree, and bad input."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import kpid_pipeline
import kpid_sales
import pytest

from kpid.model import MeasurementState
from kpid.testing.kpis import check_kpi, measure_rows

KPIS = {kpi.id: kpi for module in (kpid_sales, kpid_pipeline) for kpi in module.kpid_kpis()}
STAGES = [
    {"id": f"s{n}", "name": f"Stage {n}", "pipeline_id": "p", "sort_order": n, "state": "won" if n == 4 else "open", "active_from": None,
     "probability": Decimal(n) / 4, "is_qualified": n == 2}
    for n in range(1, 5)
]  # fmt: skip


def on(day, month=12, hour=12):
    return datetime(2017, month, day, hour, tzinfo=UTC)


def deal(number, state="open", **columns):
    closed = None if state == "open" else on(20)
    row = {"id": str(number), "state": state, "closed_at": closed, "created_at": on(1), "amount": Decimal(100), "currency": None, "stage_id": "s1",
           "expected_close_date": None, "opened_at": None, "probability": None, "owner_id": None, "last_activity_at": None}  # fmt: skip
    return row | columns


def one(kpi, rows, folder, label="2017-12", **options):
    [found] = measure_rows(KPIS[kpi], rows, label, folder=folder, others=KPIS, **options)
    return found


def field(name, *values, of="1"):
    """The history of a deal's field: (value, instant) in order."""
    ends = [at for _, at in values[1:]] + [None]
    return [
        {"id": f"{of}-{name}-{n}", "deal_id": of, "field": name, "value": value, "valid_from": at, "valid_to": end}
        for n, ((value, at), end) in enumerate(zip(values, ends, strict=True))
    ]


def went(*stages, of="1"):
    """The stages that a deal went through: (stage, instant) in order."""
    ends = [at for _, at in stages[1:]] + [None]
    return [
        {"id": f"{of}-{n}", "deal_id": of, "stage_id": stage, "valid_from": at, "valid_to": end, "seq": n}
        for n, ((stage, at), end) in enumerate(zip(stages, ends, strict=True))
    ]


@pytest.mark.parametrize("name", [kpi.id for kpi in kpid_pipeline.kpid_kpis()])
def test_kpi_keeps_the_contract(name, tmp_path):
    check_kpi(KPIS[name], tmp_path, KPIS)


def test_numbers_of_the_catalogue():
    found = sorted(kpi.number for kpi in kpid_pipeline.kpid_kpis() if kpi.number)
    assert found == list(range(10, 18))


# ---- what is open


def test_a_past_pipeline_has_the_amounts_of_then(tmp_path):
    rows = {"deals": [deal(1, created_at=on(1, 10))], "deal_field_history": field("amount", ("40", on(1, 10)), ("100", on(5)))}
    (tmp_path / "a").mkdir()
    assert one("pipeline_open_amount", rows, tmp_path, "2017-11").value == 40
    assert one("pipeline_open_amount", rows, tmp_path / "a", "2017-12").value == 100


def test_a_deal_was_not_open_between_two_closings(tmp_path):
    states = field("state", ("open", on(1, 9)), ("lost", on(5, 10)), ("open", on(5, 11)), ("won", on(20)))
    rows = {"deals": [deal(1, "won", created_at=on(1, 9))], "deal_field_history": states}
    open_at = {}
    for label in ("2017-09", "2017-10", "2017-11", "2017-12"):
        folder = tmp_path / label
        folder.mkdir()
        open_at[label] = one("pipeline_open_amount", rows, folder, label, params={"as": "count"}).value
    assert open_at == {"2017-09": 1, "2017-10": 0, "2017-11": 1, "2017-12": 0}


def test_a_text_that_is_no_number_is_no_amount_and_is_told(tmp_path):
    rows = {"deals": [deal(1)], "deal_field_history": field("amount", ("n/a", on(1)))}
    found = one("pipeline_open_amount", rows, tmp_path)
    assert (found.value, found.warnings) == (0, ("1 open deals have no amount",))


def test_only_what_should_close_soon(tmp_path):
    days = [date(2018, 1, 1), date(2018, 1, 8), date(2018, 1, 9), date(2017, 12, 31), None]
    rows = {"deals": [deal(n, expected_close_date=at) for n, at in enumerate(days)]}
    assert one("pipeline_open_amount", rows, tmp_path, params={"as": "count", "close_within": "7"}).value == 2


@pytest.mark.parametrize(("prob", "worth"), [("deal", "40"), ("stage", "75"), ("history", "50")])
def test_the_probability_is_the_deals_the_stages_or_that_of_past_deals(tmp_path, prob, worth):
    rows = {
        "stages": STAGES,
        "deals": [deal(1, stage_id="s3", probability=Decimal(40)), deal(2, "won"), deal(3, "lost")],
        "deal_stage_history": went(("s3", on(1)), of="2") + went(("s3", on(1)), of="3") + went(("s3", on(2)), of="1"),
    }
    assert one("pipeline_weighted_amount", rows, tmp_path, params={"prob": prob}).value == Decimal(worth)


def test_probabilities_that_are_all_100_percent_are_warned_of(tmp_path):
    rows = {"deals": [deal(1, stage_id="s4"), deal(2, stage_id="s4")], "stages": STAGES}
    found = one("pipeline_weighted_amount", rows, tmp_path, params={"prob": "stage"})
    assert found.value == 200
    assert "every probability is 100 %" in found.warnings[0]


def test_deals_without_a_probability_are_left_out_and_told(tmp_path):
    found = one("pipeline_weighted_amount", {"deals": [deal(1), deal(2, probability=Decimal(-3))]}, tmp_path)
    assert (found.value, found.warnings) == (0, ("2 open deals left out: they have no probability",))


def target(value):
    return {"id": "t", "kpi": "won_amount", "period_kind": "quarter", "period_start": date(2017, 10, 1), "value": value, "dims": None,
            "currency": None, "valid_from": None}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "base", "covered", "state"),
    [
        (Decimal(150), "remaining", 4, MeasurementState.OK),
        (Decimal(150), "full", Decimal(200) / 150, MeasurementState.OK),
        (Decimal(100), "remaining", None, MeasurementState.OK),
        (None, "remaining", None, MeasurementState.UNDEFINED),
    ],
)
def test_coverage_of_what_is_missing_to_the_target(tmp_path, value, base, covered, state):
    inside = date(2017, 12, 31)
    rows = {
        "deals": [deal(1, "won"), deal(2, expected_close_date=inside), deal(3, expected_close_date=inside), deal(4)],
        "targets": [target(value)] if value else [],
    }
    found = one("pipeline_coverage", rows, tmp_path, "2017-Q4", params={"base": base})
    assert (found.value is None) == (covered is None)
    assert covered is None or abs(found.value - covered) < Decimal("1e-9")
    assert found.state is state
    if state is MeasurementState.OK and covered is None:
        assert found.warnings[0] == "the target is met: nothing is left to cover"


@pytest.mark.parametrize(("period", "covered"), [("QTD 2017-11-10", 4), ("MTD 2017-12-10", 4), ("QTD 2017-12-31", 4)])
def test_coverage_in_the_course_of_a_period_looks_to_its_end(tmp_path, period, covered):
    month = {**target(Decimal(150)), "id": "m", "period_kind": "month", "period_start": date(2017, 12, 1)}
    begun, won = datetime(2017, 10, 2, tzinfo=UTC), on(1) if period.startswith("MTD") else on(20, 10)
    still = [deal(n, created_at=begun, expected_close_date=date(2017, 12, 31)) for n in (2, 3)]
    rows = {"deals": [deal(1, "won", created_at=begun, closed_at=won), *still], "targets": [target(Decimal(150)), month]}
    found = measure_rows(KPIS["pipeline_coverage"], rows, period, folder=tmp_path, others=KPIS)
    assert {one.period.label: one.value for one in found}[period] == covered


def test_what_came_in_at_its_first_amount_or_that_of_the_periods_end(tmp_path):
    history = field("amount", ("10", on(1)), ("20", on(10)), ("30", datetime(2018, 1, 1, 12, tzinfo=UTC)))
    found = {}
    for when in ("current", "creation", "period_end"):
        folder = tmp_path / when
        folder.mkdir()
        found[when] = one(
            "pipeline_created", {"deals": [deal(1)], "deal_field_history": history}, folder, params={"amount_at": when}
        ).value
    assert found == {"current": 100, "creation": 10, "period_end": 20}


def test_a_deal_enters_a_stage_once(tmp_path):
    rows = {"deals": [deal(1)], "stages": STAGES, "deal_stage_history": went(("s2", on(2, 11)), ("s1", on(3)), ("s2", on(4)))}
    for number, (name, label, value) in enumerate(
        (("qualified", "2017-11", 1), ("qualified", "2017-12", 0), ("stage 2", "2017-11", 1))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert one("pipeline_created", rows, folder, label, params={"as": "count", "entry_stage": name}).value == value


# ---- stages: where vendors disagree about jumps


JUMPED = {"deals": [deal(1), deal(2), deal(3)], "stages": STAGES, "deal_stage_history": [
    *went(("s1", on(1)), ("s3", on(2)), of="1"), *went(("s1", on(1)), ("s2", on(2)), of="2"), *went(("s1", on(1)), of="3"),
]}  # fmt: skip


@pytest.mark.parametrize(
    ("params", "above", "below"),
    [
        ({}, 2, 3), ({"skip": "strict"}, 1, 3), ({"skip": "exclude"}, 1, 2), ({"step": "any_later", "skip": "strict"}, 2, 3),
        ({"step": "won"}, 0, 3),
    ],
)  # fmt: skip
def test_a_jump_is_credited_dropped_or_left_out(tmp_path, params, above, below):
    found = measure_rows(KPIS["stage_conversion_rate"], JUMPED, "2017-12", folder=tmp_path, by=["stage"], params=params)
    first = next(m for m in found if m.dims[0].id == "crm:s1")
    assert (first.numerator, first.denominator) == (above, below)


def test_advanced_lost_and_undecided_are_the_cohort(tmp_path):
    rows = {
        "deals": [deal(1, "lost"), deal(2, "lost"), deal(3), deal(4, "won")],
        "stages": STAGES,
        "deal_stage_history": [
            *went(("s1", on(1)), ("s2", on(2)), ("s1", on(3)), of="1"), *went(("s1", on(1)), of="2"), *went(("s1", on(1)), of="3"),
            *went(("s1", on(1)), of="4"),
        ],
    }  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    went_on = one("stage_conversion_rate", rows, tmp_path / "a")
    lost = one("stage_loss_rate", rows, tmp_path / "b")
    assert (went_on.numerator, lost.numerator, went_on.denominator) == (2, 2, 5), "fallen back to s1, the deal is lost at s2"
    assert "undecided: 1 of 5 deals (20.0%)" in lost.warnings


def test_a_cohort_with_many_undecided_deals_is_incomplete(tmp_path):
    found = one("stage_conversion_rate", JUMPED, tmp_path)
    assert (found.state, found.reason) == (MeasurementState.INCOMPLETE, "60% of the deals are undecided yet")


def test_the_next_stage_is_the_one_in_use_at_entry(tmp_path):
    stages = [{**stage, "active_from": on(15) if stage["id"] == "s2" else None} for stage in STAGES]
    found = one("stage_conversion_rate", {**JUMPED, "stages": stages}, tmp_path, params={"skip": "strict"})
    assert found.numerator == 1, "when deal 1 entered, s3 came next"


@pytest.mark.parametrize(("visit", "days"), [("latest", 1), ("cumulative", 3), ("every", Decimal("1.5"))])
def test_dwell_of_the_latest_visit_of_all_together_or_of_each(tmp_path, visit, days):
    rows = {
        "deals": [deal(1)],
        "stages": STAGES,
        "deal_stage_history": went(("s1", on(1)), ("s2", on(3)), ("s1", on(4)), ("s2", on(5))),
    }
    found = measure_rows(KPIS["stage_dwell_days"], rows, "2017-12", folder=tmp_path, by=["stage"], params={"visit": visit})
    assert [m.value for m in found if m.dims[0].id == "crm:s1"] == [days]


def test_visits_that_end_before_they_begin_are_left_out_and_told(tmp_path):
    history = [{**went(("s1", on(5)))[0], "valid_to": on(3)}]
    found = one("stage_dwell_days", {"deals": [deal(1)], "stages": STAGES, "deal_stage_history": history}, tmp_path)
    assert (found.state, found.warnings) == (MeasurementState.UNDEFINED, ("1 visits left out: they end before they begin",))


# ---- stale and overdue


def test_only_what_happened_keeps_a_deal_alive(tmp_path):
    old = on(1, 6)
    call = {"type": "call", "is_automated": False, "status": "completed"}
    rows = {
        "deals": [deal(n, created_at=old) for n in range(5)] + [deal(5, created_at=on(20))],
        "activities": [
            {**call, "id": "0", "deal_id": "0", "occurred_at": on(5)},
            {**call, "id": "1", "deal_id": "1", "occurred_at": datetime(2018, 1, 20, tzinfo=UTC), "status": "planned"},
            {**call, "id": "2", "deal_id": "2", "occurred_at": on(5), "is_automated": True},
        ],
        "deal_stage_history": went(("s1", on(8)), of="3"),
    }
    found = one("stale_deal_share", rows, tmp_path)
    assert (found.numerator, found.denominator) == (3, 6), "planned, automatic and untouched"


def test_today_is_not_overdue(tmp_path):
    rows = {"deals": [deal(1, expected_close_date=date(2018, 1, 1)), deal(2, expected_close_date=date(2018, 1, 2)), deal(3)]}
    found = one("overdue_deal_share", rows, tmp_path, "2018-01")
    assert (found.numerator, found.denominator) == (1, 2)


def test_a_date_that_was_pushed_was_overdue_before(tmp_path):
    pushed = field("expected_close_date", ("2017-11-20", on(1, 11)), ("2018-03-01", on(5)))
    rows = {"deals": [deal(1, created_at=on(1, 11), expected_close_date=date(2018, 3, 1))], "deal_field_history": pushed}
    (tmp_path / "a").mkdir()
    assert one("overdue_deal_share", rows, tmp_path, "2017-11").value == 1
    assert one("overdue_deal_share", rows, tmp_path / "a", "2017-12").value == 0


# ---- put off


def pushes(*deals, history, label="2017-12", folder):
    found = one("close_date_push_rate", {"deals": list(deals), "deal_field_history": history}, folder, label)
    return found.numerator, found.denominator


def test_a_deal_is_put_off_when_its_date_moves_to_a_later_day(tmp_path):
    moved = [
        *field("expected_close_date", ("2017-12-10", on(2)), ("2017-12-20", on(8)), ("2018-01-20", on(18)), of="1"),
        *field("expected_close_date", ("2017-12-20", on(2)), ("2017-12-10", on(8)), of="2"),
        *field("expected_close_date", (None, on(2)), ("2018-12-10", on(8)), of="3"),
        *field("expected_close_date", ("2017-12-20", on(2)), ("2017-02-30", on(8)), ("someday", on(9)), of="4"),
        *field("amount", ("10", on(2)), ("20", on(8)), of="5"),
    ]
    deals = [deal(n) for n in range(1, 6)]
    assert pushes(*deals, history=moved, folder=tmp_path) == (1, 5), "twice counts once; forward, first and no dates do not"


def test_a_deal_is_put_off_in_the_month_of_the_change(tmp_path):
    moved = field("expected_close_date", ("2017-11-20", on(1, 11)), ("2017-12-20", on(5)))
    (tmp_path / "a").mkdir()
    old = deal(1, created_at=on(1, 10))
    assert pushes(old, history=moved, label="2017-11", folder=tmp_path) == (0, 1)
    assert pushes(old, history=moved, folder=tmp_path / "a") == (1, 1)


def test_what_is_tidied_up_after_the_closing_is_not_put_off(tmp_path):
    moved = field("expected_close_date", ("2017-12-10", on(2)), ("2017-12-24", on(22)))
    assert pushes(deal(1, "won"), history=moved, folder=tmp_path) == (0, 1)


def test_without_deals_nothing_is_put_off_and_nothing_is_0(tmp_path):
    found = one("close_date_push_rate", {"deals": [], "deal_field_history": []}, tmp_path)
    assert (found.value, found.state) == (None, MeasurementState.UNDEFINED)
