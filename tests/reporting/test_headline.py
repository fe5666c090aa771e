from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from kpid.reporting.context import Driver, Drivers, KpiLine
from kpid.reporting.headline import _lower as lower
from kpid.reporting.headline import headline, joined, lead, number_text, period_noun
from kpid.reporting.samples import sample_lines
from tests.reporting.weeks import CALENDAR

LINES = {line.id: line for line in sample_lines(CALENDAR)}


def _first_week() -> KpiLine:
    return replace(LINES["win_rate"], run=1)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([LINES["win_rate"]], "Win rate fell to 22.8%, the third week below the 25% target"),
        ([_first_week()], "Win rate fell to 22.8%, below the 25% target"),
        ([replace(LINES["sales_cycle_days"], run=1)], "Sales cycle rose to 47 days, just above the 45 days target"),
        ([replace(_first_week(), previous=None)], "Win rate was 22.8%, below the 25% target"),
        ([replace(_first_week(), previous=Decimal("0.228"))], "Win rate stayed at 22.8%, below the 25% target"),
        ([replace(LINES["win_rate"], run=12)], "Win rate fell to 22.8%, the 12th week below the 25% target"),
        ([LINES["won_amount"]], "The one target is met: won amount rose to €412k"),
        ([LINES["nps"], LINES["won_amount"]], "All 2 targets are met: NPS fell to 41"),
        ([LINES["leads_created"]], "Leads created rose to 121, +13 on the week before"),
        ([LINES["avg_deal_size"]], "No numbers to judge for week 46"),
        ([], "No numbers to judge for week 46"),
    ],
)
def test_headline_is_one_true_sentence(lines: list[KpiLine], sentence: str) -> None:
    assert headline(lines, "week", "week 46") == sentence


def test_headline_never_rounds_a_miss_onto_its_target() -> None:
    close = replace(_first_week(), status="watch", value=Decimal("0.24996"))
    assert headline([close], "week", "week 46") == "Win rate rose to 24.996%, just below the 25% target"


def test_lead_says_what_else_missed_and_what_is_well() -> None:
    sentences = lead(list(LINES.values()), None)
    assert sentences[0] == "Pipeline created missed too: €262k against at least €300k, and 1 more."
    assert sentences[1] == "Won amount and NPS are on target."
    assert sentences[2] == "Average deal size is not judged: see the table."


def test_lead_of_a_quiet_week_says_how_the_others_went() -> None:
    sentences = lead([LINES["won_amount"], LINES["nps"], LINES["leads_created"]], None)
    assert sentences == ("NPS fell to 41 and leads created rose to 121.",)


@pytest.mark.parametrize(
    ("effects", "sentence"),
    [
        (("-0.017", "-0.004"), "Ada explains −1.7 of the −2.1 pt."),
        (("0.05", "-0.01"), "Bruno explains −1.0 of the −2.1 pt."),
        (("-0.05", "0.029"), None),
        (("-0.003", "-0.002"), None),
    ],
)
def test_lead_names_a_segment_only_if_it_explains_the_change(effects: tuple[str, str], sentence: str | None) -> None:
    side = (Decimal(1), Decimal(2))
    rows = tuple(Driver(name, Decimal(effect), side, side) for name, effect in zip(("Ada", "Bruno"), effects, strict=True))
    sentences = lead([LINES["win_rate"]], Drivers("win_rate", "owner", Decimal("-0.021"), rows))
    assert [one for one in sentences if "explains" in one] == ([sentence] if sentence else [])


def test_joined_stops_at_three_names() -> None:
    assert joined(["A"]) == "A"
    assert joined(["A", "B", "C"]) == "A, B and C"
    assert joined(["A", "B", "C", "D", "E"]) == "A, B, C and 2 more"


def test_number_text_of_a_thin_sample_is_the_sample() -> None:
    assert number_text(LINES["avg_deal_size"]) == "n < 20"
    assert number_text(replace(LINES["win_rate"], value=None, state="undefined")) == "n/a"


def test_period_noun_is_a_word_for_people() -> None:
    assert [period_noun(kind) for kind in ("week", "fiscal_quarter", "rolling_90d")] == ["week", "fiscal quarter", "period"]


def test_names_of_their_own_keep_their_capitals_inside_a_sentence() -> None:
    names = [lower(name) for name in ("Win rate", "NPS", "Net Promoter Score", "")]
    assert names == ["win rate", "NPS", "Net Promoter Score", ""]
