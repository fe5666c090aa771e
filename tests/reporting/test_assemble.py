from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kpid.analysis.periods import period_from_label, periods_between
from kpid.config.model import KpiSettings
from kpid.config.times import TargetText
from kpid.model import MeasurementState
from kpid.reporting.assemble import assemble, freshness_of, judge, target_of
from kpid.reporting.context import ReportContext
from kpid.reporting.view import sample_text
from kpid.warehouse import Watermark
from tests.reporting.weeks import CALENDAR, KPIS, NOW, WEEK, WEEKS, found, given, run_of

WIN = {"win_rate": run_of("win_rate", ["0.27", "0.249", "0.24", "0.228"])}


def _only(context: ReportContext, name: str = "win_rate"):
    return next(line for line in context.kpis if line.id == name)


@pytest.mark.parametrize(
    ("value", "target", "better", "status"),
    [
        ("0.25", "0.25", "up", "on"),
        ("0.2499", "0.25", "up", "watch"),
        ("0.228", "0.25", "up", "off"),
        ("47", "45", "down", "watch"),
        ("1.9", "1.5", "down", "off"),
        ("1.5", "1.5", "down", "on"),
        ("1", "0", "down", "off"),
        ("-1", "0", "down", "on"),
        ("5", "4", "none", "none"),
    ],
)
def test_judge_at_and_round_the_target(value: str, target: str, better: str, status: str) -> None:
    assert judge(Decimal(value), Decimal(target), better) == status


def test_judge_without_value_or_target_says_nothing() -> None:
    assert judge(None, Decimal(1), "up") == "none"
    assert judge(Decimal(1), None, "up") == "none"


def test_line_holds_value_previous_run_and_thirteen_points() -> None:
    line = _only(assemble(given(WIN, {"win_rate": "0.25"})))
    assert (line.value, line.previous, line.run, line.status) == (Decimal("0.228"), Decimal("0.24"), 3, "off")
    assert len(line.series) == 13
    assert [point.value for point in line.series[:9]] == [None] * 9
    assert line.series[-1].label == "W46"


def test_headline_has_number_direction_and_target() -> None:
    context = assemble(given(WIN, {"win_rate": "0.25"}))
    assert context.headline == "Win rate fell to 22.8%, the third week below the 25% target"


def test_exceptions_come_first_the_worst_of_them_on_top() -> None:
    history = {
        "won_deals": run_of("won_deals", ["5", "6"]),
        "win_rate": run_of("win_rate", ["0.27", "0.24"]),
        "nps": run_of("nps", ["41", "20"]),
        "sales_cycle_days": run_of("sales_cycle_days", ["40", "46"]),
    }
    context = assemble(given(history, {"win_rate": "0.2", "nps": "40", "sales_cycle_days": "45"}))
    assert [line.id for line in context.kpis] == ["nps", "sales_cycle_days", "win_rate", "won_deals"]


@pytest.mark.parametrize(
    "state",
    [
        MeasurementState.STALE,
        MeasurementState.INCOMPLETE,
        MeasurementState.ERROR,
        MeasurementState.INSUFFICIENT_SAMPLE,
        MeasurementState.UNDEFINED,
    ],
)
def test_numbers_that_cannot_be_trusted_are_not_judged(state: MeasurementState) -> None:
    value = None if state is MeasurementState.UNDEFINED else "0.1"
    history = {
        "win_rate": [
            *run_of("win_rate", ["0.27", "0.26", "0.3"])[:2],
            found("win_rate", value, state=state, n=4, data_through=NOW),
        ]
    }
    history["win_rate"][0] = found("win_rate", "0.27", WEEKS[-3])
    history["win_rate"][1] = found("win_rate", "0.26", WEEKS[-2])
    line = _only(assemble(given(history, {"win_rate": "0.25"})))
    assert (line.status, line.state, line.run) == ("unjudged", state.value, 0)
    assert line.series[-1].value is None, "not drawn"
    assert line.value == (Decimal(value) if value else None), "kept, never 0 in its place"


def test_untrusted_previous_is_not_compared_with() -> None:
    history = {
        "win_rate": [found("win_rate", "0.9", WEEKS[-2], state=MeasurementState.INSUFFICIENT_SAMPLE), found("win_rate", "0.3")]
    }
    assert _only(assemble(given(history))).previous is None


def test_kpi_that_was_not_measured_for_the_period_is_not_judged() -> None:
    line = _only(assemble(given({"win_rate": [found("win_rate", "0.3", WEEKS[-2])]}, {"win_rate": "0.25"})))
    assert (line.status, line.value) == ("unjudged", None)
    assert "not measured" in line.reason


def test_kpis_without_any_number_are_left_out_and_named() -> None:
    history = {"win_rate": run_of("win_rate", ["0.3"]), "nps": run_of("nps", [None, None])}
    context = assemble(given(history))
    assert [line.id for line in context.kpis] == ["win_rate"]
    assert "NPS" in context.missing
    assert len(context.missing) == 5


def test_unknown_kpi_is_named_as_missing() -> None:
    context = assemble(given({}, report=replace(given({}).report, kpis=("no_such_kpi",))))
    assert context.missing == ("no_such_kpi",)
    assert context.headline.startswith("No numbers to judge")


def test_target_of_a_flow_holds_for_its_own_period_only() -> None:
    targets = given({}, {"won_deals": "400", "ticket_backlog": "50", "nps": "40", "won_amount": "9"}).settings
    assert target_of(KPIS["won_deals"], targets["won_deals"], "week") is None
    assert target_of(KPIS["won_deals"], targets["won_deals"], "month") == 400
    assert target_of(KPIS["ticket_backlog"], targets["ticket_backlog"], "week") == 50
    assert target_of(KPIS["nps"], targets["nps"], "week") == 40
    assert target_of(KPIS["won_amount"], targets["won_amount"], "week", quotient=True) == 9


def test_small_sample_says_how_many_are_needed() -> None:
    thin = found("win_rate", "0.5", state=MeasurementState.INSUFFICIENT_SAMPLE, n=4)
    assert _only(assemble(given({"win_rate": [thin]}))).low_sample == 20


def _segments() -> list:
    cut = {"Ada": ((14, 54), (12, 45)), "Bruno": ((12, 57), (8, 51)), "Carla": ((18, 66), (16, 62)), "Dora": ((3, 9), (3, 9))}
    return [
        found("win_rate", None, period, parts=parts[index], owner=owner)
        for owner, parts in cut.items()
        for index, period in enumerate(WEEKS[-2:])
    ]


def _totals(won_then: int = 47, won_now: int = 39) -> dict:
    return {
        "win_rate": [found("win_rate", None, WEEKS[-2], parts=(won_then, 186)), found("win_rate", None, parts=(won_now, 167))]
    }


def test_drivers_add_up_to_the_printed_change() -> None:
    context = assemble(given(_totals(), {"win_rate": "0.25"}, segments={"win_rate": {"owner": _segments()}}))
    assert context.drivers is not None
    assert context.drivers.rows[0].segment == "Bruno"
    assert context.drivers.rows[0].new == (Decimal(8), Decimal(51))
    assert sum(row.effect for row in context.drivers.rows) == round(context.drivers.change, 3)
    assert "Bruno explains" in context.lead[0]


def test_drivers_that_do_not_add_up_to_the_change_are_not_shown() -> None:
    wrong = assemble(given(_totals(60), segments={"win_rate": {"owner": _segments()}}))
    assert wrong.drivers is None


def test_dimension_that_tells_most_is_shown() -> None:
    """All of the products fell alike; of the owners only one did."""

    def cut(**segments: tuple[str, str]) -> list:
        pairs = [(name, value, period) for name, both in segments.items() for value, period in zip(both, WEEKS[-2:], strict=True)]
        return [found("won_deals", value, period, owner=name, n=int(value)) for name, value, period in pairs]

    segments = {"product": cut(Basic=("60", "40"), Team=("60", "40")), "owner": cut(Ada=("60", "59"), Bruno=("60", "21"))}
    context = assemble(given({"won_deals": run_of("won_deals", ["120", "80"])}, segments={"won_deals": segments}))
    assert context.drivers is not None
    assert context.drivers.dimension == "owner"
    assert context.drivers.rows[0].segment == "Bruno"


def test_interval_goes_with_the_value() -> None:
    sure = found("win_rate", None, parts=(36, 158), low=Decimal("0.17"), high=Decimal("0.299"))
    line = _only(assemble(given({"win_rate": [sure]})), "win_rate")
    assert (line.low, line.high) == (Decimal("0.17"), Decimal("0.299"))
    assert sample_text(line) == "36 of 158 closed deals, 17.0% to 29.9%"


def test_freshness_is_that_of_the_entity_furthest_behind() -> None:
    marks = [
        Watermark("crm", "deals", None, NOW, NOW),
        Watermark("crm", "calls", None, NOW - timedelta(hours=5), NOW),
        Watermark("survey", "nps", None, None, None),
    ]
    crm, survey, unseen = freshness_of(marks, {"crm": timedelta(hours=2), "zoo": timedelta(hours=1)}, NOW)
    assert (crm.source, crm.through, crm.stale) == ("crm", NOW - timedelta(hours=5), True)
    assert (survey.through, survey.stale) == (None, True)
    assert (unseen.source, unseen.stale) == ("zoo", True)


def test_month_reports_name_months() -> None:
    from kpid.analysis.periods import last_complete

    month = last_complete("month", NOW, CALENDAR, 1)[-1]
    context = assemble(given({"win_rate": [found("win_rate", "0.3", month)]}, period=month))
    assert context.kpis[0].series[-1].label == "Oct"
    assert context.headline == "Win rate was 30.0% in October 2026"


def test_periods_to_date_are_compared_with_as_many_days_whatever_else_history_holds() -> None:
    shown = period_from_label("qtd", "QTD 2026-11-22", CALENDAR)
    days = [*periods_between("qtd", shown.start - timedelta(days=90), shown.end, CALENDAR)]
    history = [found("won_amount", str(place), period) for place, period in enumerate(days)]
    [line] = assemble(given({"won_amount": history}, period=shown)).kpis
    number = {one.period.label: one.value for one in history}
    assert (line.value, line.previous) == (number["QTD 2026-11-22"], number["QTD 2026-08-22"])
    assert [point.label for point in line.series][-2:] == ["22 Aug", "22 Nov"]


def test_period_and_alerts_are_in_the_context() -> None:
    context = assemble(given(WIN, alerts=["a", "b"], late_note="This report is late."))
    assert (context.period, context.alerts_open, context.late_note) == (WEEK, 2, "This report is late.")


def test_kpi_that_no_source_feeds_is_not_available_and_says_why() -> None:
    empty = found("won_deals", "0", state=MeasurementState.INCOMPLETE, n=0, reason="no source delivers deals")
    context = assemble(given({"won_deals": [empty]}))
    assert context.kpis == ()
    assert "Won deals (no source delivers deals)" in context.missing


def test_kpi_whose_source_is_behind_is_shown_and_not_judged() -> None:
    behind = found("won_deals", "7", state=MeasurementState.INCOMPLETE, data_through=NOW - timedelta(days=2))
    assert _only(assemble(given({"won_deals": [behind]})), "won_deals").status == "unjudged"


def test_lead_names_a_segment_only_if_it_matters() -> None:
    many = [
        found("won_deals", str(value), period, owner=f"Seller {number}")
        for number in range(20)
        for value, period in ((1, WEEKS[-2]), (2, WEEK))
    ]
    totals = {"won_deals": run_of("won_deals", ["20", "40"])}
    context = assemble(given(totals, segments={"won_deals": {"owner": many}}))
    assert context.drivers is not None
    assert context.drivers.rows[-1].segment == "17 others"
    assert not any("explains" in sentence for sentence in context.lead)


def test_target_for_another_period_is_said_and_not_compared_with() -> None:
    history = {"won_deals": run_of("won_deals", ["5", "6"])}
    line = _only(assemble(given(history, {"won_deals": "400"})), "won_deals")
    assert (line.target, line.status) == (None, "none")
    assert line.warnings == ("the target 400 is per month: set target_period to compare each week with it",)
    weekly = {"won_deals": KpiSettings(target=Decimal(5), target_period="week")}
    line = _only(assemble(given(history, settings=weekly)), "won_deals")
    assert (line.target, line.status, line.warnings) == (5, "on", ())


def test_target_of_a_single_period_wins_over_the_usual_one() -> None:
    usual = given(WIN, {"win_rate": "0.25"})
    one = TargetText.model_validate({"period": usual.period.label, "value": "20%"})
    old = TargetText.model_validate({"period": "week", "value": "19%", "valid_from": "2026-01-01"})
    settings = usual.settings["win_rate"].model_copy(update={"targets": (one, old)})
    assert _only(assemble(replace(usual, settings={"win_rate": settings}))).target == Decimal("0.2")
    settings = usual.settings["win_rate"].model_copy(update={"targets": (old,)})
    assert _only(assemble(replace(usual, settings={"win_rate": settings}))).target == Decimal("0.19")
