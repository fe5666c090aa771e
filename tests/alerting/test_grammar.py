from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.baselines import Against
from kpid.alerting.changes import Change, Difference, Run, Slope
from kpid.alerting.conditions import Band, Portion, Threshold
from kpid.alerting.grammar import condition_from_text
from kpid.alerting.paces import Outlook, Pace


@pytest.mark.parametrize(
    ("text", "op", "number", "unit"),
    [
        ("< 50%", "<", "50", "%"),
        ("<50 %", "<", "50", "%"),
        (">= 1_000_000 EUR", ">=", "1000000", "EUR"),
        ("== 0", "==", "0", ""),
        ("!= -3.5", "!=", "-3.5", ""),
        ("> 4h", ">", "4", "h"),
        ("<= .5", "<=", "0.5", ""),
        ("> 30 days", ">", "30", "days"),
        ("< 40 points", "<", "40", "points"),
    ],
)
def test_threshold_is_read(text: str, op: str, number: str, unit: str) -> None:
    found = condition_from_text(text)
    assert isinstance(found, Threshold)
    assert (found.op, found.number, found.unit) == (op, Decimal(number), unit)
    assert found.reach("week") == 0


@pytest.mark.parametrize(
    ("text", "direction", "op", "percent"),
    [
        ("drop > 15% vs previous", "drop", ">", "15"),
        ("rise >= 2.5 % vs previous", "rise", ">=", "2.5"),
        ("DROP > 5% VS Previous", "drop", ">", "5"),
    ],
)
def test_change_is_read(text: str, direction: str, op: str, percent: str) -> None:
    found = condition_from_text(text)
    assert isinstance(found, Change)
    assert (found.direction, found.op, found.percent, found.reference) == (direction, op, Decimal(percent), "previous")
    assert found.reach("week") == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("outside 20%..40%", Band("", "outside", Decimal(20), Decimal(40), "%")),
        ("inside 1.5 .. 2", Band("", "inside", Decimal("1.5"), Decimal(2), "")),
        ("outside -5%..5%", Band("", "outside", Decimal(-5), Decimal(5), "%")),
        ("outside 1_000..2_000 EUR", Band("", "outside", Decimal(1000), Decimal(2000), "EUR")),
        ("< 90% of target", Portion("", "<", Decimal(90), "target")),
        (">= 100 % of Benchmark", Portion("", ">=", Decimal(100), "benchmark")),
        ("drop > 20% vs last_year", Change("", "drop", ">", Decimal(20), Against("last_year"))),
        ("rise > 5% vs same_weekday_14d", Change("", "rise", ">", Decimal(5), Against("same_weekday_14d"))),
        ("rise > 30% vs median(8)", Change("", "rise", ">", Decimal(30), Against("median", 8))),
        ("drop > 40% vs avg(8 same_weekdays)", Change("", "drop", ">", Decimal(40), Against("avg", 8, True))),
        ("rise > 0% vs max( 12 )", Change("", "rise", ">", Decimal(0), Against("max", 12))),
        ("drop > 10% vs total", Change("", "drop", ">", Decimal(10), Against("total"))),
        ("change < -3pp vs previous", Difference("", "<", Decimal(-3), "pp", Against("previous"))),
        ("change < -10 points vs previous", Difference("", "<", Decimal(-10), "points", Against("previous"))),
        ("change >= 20 vs avg(4)", Difference("", ">=", Decimal(20), "", Against("avg", 4))),
        ("pace < 90% of target", Pace("", "<", Decimal(90))),
        ("forecast < target", Outlook("", "<", Decimal(100))),
        ("forecast < 90% of target with 80%", Outlook("", "<", Decimal(90), Decimal(80))),
        ("falls 4x", Run("", "falls", 4)),
        ("rises 2 x", Run("", "rises", 2)),
        ("slope < -2% over 6x", Slope("", "<", Decimal(-2), 6)),
    ],
)  # fmt: skip
def test_every_form_is_read(text: str, found: object) -> None:
    read = condition_from_text(text)
    assert read == replace(found, text=" ".join(text.split()))  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("text", "kind", "reach"),
    [
        ("< 5", "week", 0),
        ("drop > 5% vs previous", "week", 1),
        ("drop > 5% vs avg(8)", "week", 16),
        ("drop > 5% vs avg(8 same_weekdays)", "day", 112),
        ("drop > 5% vs last_year", "month", 13),
        ("drop > 5% vs last_year", "day", 367),
        ("drop > 5% vs last_year", "rolling_90d", 6),
        ("drop > 5% vs same_weekday", "day", 7),
        ("falls 4x", "month", 4),
        ("slope < -2% over 6x", "month", 5),
        ("drop > 5% vs target", "month", 0),
    ],
)
def test_it_is_known_how_far_back_a_condition_looks(text: str, kind: str, reach: int) -> None:
    assert condition_from_text(text).reach(kind) == reach


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the condition is empty"),
        ("<", "ends where a number should be"),
        ("50%", "write `< 50%` or `> 50%`"),
        ("below 50%", "write `<`"),
        ("=< 3", "write `<=`"),
        ("≤ 3", "write `<=`"),
        ("= 3", "write `==`"),
        ("<< 3", "use one of < <= > >= == !="),
        ("< many", "'many' at position 3 should be a number"),
        ("< 1,200", "write `1_200`"),
        ("< 1,5", "write `1.5`"),
        ("< 1.2.3", "is not a number"),
        ("< 5 bananas", "'bananas' at position 5 is not a unit"),
        ("< 50% 60", "'60' at position 7"),
        ("< 3pp", "write `change < 3pp vs previous`"),
        ("< 20% vs previous", "write `drop > 20% vs previous`"),
        ("drip > 15% vs previous", "did you mean `drop`?"),
        ("drop", "write `drop > 15% vs previous`"),
        ("drop 15% vs previous", "write `drop > 15% vs previous`"),
        ("drop < 15% vs previous", "compared with > or >="),
        ("drop > -15% vs previous", "is not negative"),
        ("drop > 15 vs previous", "write `drop > 15% vs previous`"),
        ("drop > 15%", "does not say compared with what: write `drop > 15% vs previous`"),
        ("drop > 15% against previous", "write `drop > 15% vs previous`"),
        ("drop > 15% vs previus", "did you mean previous?"),
        ("drop > 15% vs previous month", "nothing may follow"),
        ("drop > 15pp vs previous", "or for points `change < -15pp vs previous`"),
        ("rise > 15 points vs previous", "or for points `change > 15pp vs previous`"),
        ("drop > 15% vs last_yer", "did you mean last_year?"),
        ("drop > 15% vs lasst_yeer", "write `drop > 15% vs previous`"),
        ("drop > 15% vs last_year_364d ago", "nothing may follow `drop > 15% vs last_year_364d`"),
        ("drop > 15% vs avg", "write `avg(8)`"),
        ("drop > 15% vs avg 8", "should say of how many periods"),
        ("drop > 15% vs avg(1)", "from 2 to 104: write `avg(8)`"),
        ("drop > 15% vs avg(105)", "from 2 to 104"),
        ("drop > 15% vs avg(8.5)", "should be a whole number"),
        ("drop > 15% vs avg(8 mondays)", "should be a bracket: write `avg(8)` or `avg(8 same_weekdays)`"),
        ("drop > 15% vs median(8) and more", "nothing may follow `drop > 15% vs median(8)`"),
        ("drop > 15% vs mean(8)", "is nothing to compare with"),
        ("pace < 90%", "write `pace < 90% of target`"),
        ("pace drop > 90% of target", "is not an operator"),
        ("pace < 90% of benchmark", "write `pace < 90% of target`"),
        ("pace < 90% of target today", "nothing may follow"),
        ("pace == 90% of target", "is not an operator: use one of < <= > >="),
        ("forecast < 100", "write `forecast < target`"),
        ("forecast < the target", "should be a number"),
        ("forecast < target with 0%", "lies between 0% and 100%"),
        ("forecast < target with 80", "lies between 0% and 100%"),
        ("forecast < 90% of quota", "should be `target`"),
        ("change -3pp vs previous", "is not an operator: use one of < <= > >="),
        ("change < -3% vs previous", "write `drop > 3% vs previous`, or for points `change < -3pp vs previous`"),
        ("change > 3% vs previous", "write `rise > 3% vs previous`"),
        ("change < -3 bananas vs previous", "'bananas' is not a unit"),
        ("change < -3pp", "does not say compared with what: write `change < -3pp vs previous`"),
        ("change == 3pp vs previous", "is not an operator"),
        ("outside 20%", "write `outside 20%..40%`"),
        ("outside 40%..20%", "the wrong way round"),
        ("outside 20 EUR..40 USD", "write both alike"),
        ("outside 20..40 bananas", "'bananas' is not a unit"),
        ("outside 20..40..60", "'..' is not a unit"),
        ("< 90% of quota", "write `< 90% of target` or `of benchmark`"),
        ("< 90% of", "write `< 90% of target`"),
        ("< 90% of target soon", "nothing may follow"),
        ("< 90 of target", "'of' at position 6 is not a unit"),
        ("falls", "is not whole: write `falls 4x`"),
        ("falls 1x", "from 2 to 104"),
        ("rises 4", "write `rises 4x`"),
        ("rises 4x in a row", "nothing may follow `rises 4x`"),
        ("slope < -2%", "write `slope < -2% over 6x`"),
        ("slope < -2 over 6x", "write `slope < -2% over 6x`"),
        ("slope < -2% over 2x", "from 3 to 104"),
        ("slope -2% over 6x", "is not an operator"),
        ("change < -3pp vs last_year_iso_weeks", "did you mean last_year_iso_week?"),
        ("anomaly up", "write `{anomaly: down}`"),
        ("since 2026-03-01", "write `{since: 2026-03-01, months: 3, gain: 5pp}`"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        condition_from_text(text)
    assert says in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="<>=!%dropise vsprevu0123456789.,_-EURhx≤()acflgmnt", max_size=30))
def test_any_text_is_a_condition_or_a_value_error(text: str) -> None:
    try:
        found = condition_from_text(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either way is right
    else:
        assert condition_from_text(found.text) == found
