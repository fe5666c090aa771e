from __future__ import annotations

from typing import Any

import pytest

from kpid.alerting.fitness import About, check_condition, check_guards, check_levels
from kpid.alerting.grammar import condition_from_text
from kpid.alerting.mappings import condition_from
from kpid.config.alerting import Rule


@pytest.mark.parametrize(
    ("text", "unit", "better", "says"),
    [
        ("< 50%", "currency", "up", "such as `< 50`, or a change such as `drop > 50% vs previous`"),
        ("> 50%", "count", "down", "`rise > 50% vs previous`"),
        ("< 50", "ratio", "up", "write `< 50%`"),
        ("< 300%", "times", "up", "is in times (3 is three times): write the number itself, such as `< 300`"),
        ("> 4h", "count", "down", "is a length of time"),
        ("< 4 points", "ratio", "up", "is in points"),
        ("< 1000 EUR", "count", "up", "is an amount of money"),
        ("drop > 100% vs previous", "count", "up", "can never hold"),
    ],
)
def test_condition_for_the_wrong_kind_of_kpi_gives_a_hint(text: str, unit: str, better: str, says: str) -> None:
    assert says in check_condition(condition_from_text(text), About(unit, better))


@pytest.mark.parametrize(
    ("text", "unit"),
    [("< 50%", "ratio"), ("< 0.5", "ratio"), ("< 1000 EUR", "currency"), ("> 30 days", "days"), ("< 30", "score"),
     ("< 3", "times"), ("drop > 15% vs previous", "currency"), ("rise > 300% vs previous", "count"), ("> 48h", "seconds")],
)  # fmt: skip
def test_condition_of_the_right_kind_gives_none(text: str, unit: str) -> None:
    assert check_condition(condition_from_text(text), About(unit, "up")) == ""


@pytest.mark.parametrize(
    ("warn", "critical", "recover", "says"),
    [
        ("< 50%", "< 40%", ">= 55%", ""),
        ("< 40%", "< 50%", None, "critical must be the worse"),
        ("> 60", "> 50", None, "critical must be the worse"),
        ("drop > 20% vs previous", "drop > 10% vs previous", None, "critical must be the worse"),
        ("< 50%", None, "< 55%", "must lie on the good side"),
        ("< 50%", None, ">= 45%", "must lie on the good side"),
        ("<= 50%", None, ">= 50%", "must lie on the good side"),
        ("< 50%", None, ">= 50%", ""),
        ("> 60", "> 90", "<= 50", ""),
        ("> 60", None, "<= 70", "must lie on the good side"),
        ("< 50%", "drop > 30% vs previous", ">= 55%", ""),
    ],
)
def test_levels_and_recovery_must_fit_together(warn: str, critical: str | None, recover: str | None, says: str) -> None:
    read = [None if text is None else condition_from_text(text) for text in (warn, critical, recover)]
    found = check_levels(*read, "ratio" if "%" in warn and "vs" not in warn else "count")
    assert says in found if says else found == ""


@pytest.mark.parametrize(
    ("given", "of", "says"),
    [
        ("outside 20%..40%", About("count"), "the KPI is in count: write the number itself, such as `outside 20`"),
        ("outside 20..40", About("ratio"), "write `outside 20%`"),
        ("change < -3pp vs previous", About("currency"), "write `change < -3 vs previous`, or `drop > 3% vs previous`"),
        ("change < -3pp vs previous", About("score"), "write `change < -3 points vs previous`"),
        ("change < -3 vs previous", About("ratio"), "write `drop > 3% vs previous` (relative) or `change < -3pp vs previous`"),
        ("change > 3 points vs avg(4)", About("ratio"), "write `rise > 3% vs avg(4)` (relative) or `change > 3pp vs avg(4)`"),
        ("change > 3 points vs previous", About("count"), "is in points, but the KPI is in count"),
        ("change > 2h vs previous", About("count"), "is a length of time"),
        ("change > 5 EUR vs previous", About("days"), "is an amount of money"),
        ("pace < 90% of target", About("ratio", adds_up=False), "a rate has no pace: write `< 90% of target`"),
        ("pace < 90% of target", About("count", adds_up=False), "has no pace: write `< 90% of target`"),
        ("forecast < target", About("currency", adds_up=False), "a balance or mean has no forecast: write `< 100% of target`"),
        ("pace < 90% of target", About("count", period="day", adds_up=True), "a day has no pace: use period: week, month"),
        ("< 90% of benchmark", About("ratio", has_benchmark=False), "the KPI has no benchmark"),
        ("drop > 5% vs benchmark", About("ratio", has_benchmark=False), "the KPI has no benchmark"),
        ("drop > 5% vs avg(8 same_weekdays)", About("count", period="week"), "a week has no weekday: write `avg(8)`"),
        ("drop > 5% vs same_weekday", About("count", period="month"), "a month has no same weekday: write `vs previous`"),
        ("drop > 5% vs last_year_iso_week", About("count", period="month"), "a month has no ISO week: write `vs last_year`"),
        ("change < -5pp vs total", About("ratio", is_cut=False), "add by: so that segments are compared with it"),
        ({"anomaly": "up", "method": "p_chart"}, About("count"), "for shares of cases, but the KPI is in count: use robust_z"),
        ({"anomaly": "up", "season": "weekday"}, About("count", period="week"), "does not fit period: week: use week_of_year"),
        ({"anomaly": "up", "season": "week_of_year"}, About("count", period="year"), "does not fit period: year: use none"),
        ({"since": "2026-03-01"}, About("count", "up", "week"), "the rule judges by week: write period: month"),
        ({"since": "2026-03-01", "gain": "5pp"}, About("count", "up", "month"), "is in points, but the KPI is in count"),
        ({"since": "2026-03-01", "gain": "5 EUR"}, About("days", "up", "month"), "is an amount of money"),
        ({"since": "2026-03-01"}, About("count", "none", "month"), "nobody knows which way is better"),
        ({"all": ["> 5", "< 50%"]}, About("count"), "`< 50%` is a percentage"),
    ],
)  # fmt: skip
def test_every_form_is_refused_for_the_wrong_kind_of_kpi(given: Any, of: About, says: str) -> None:
    assert says in check_condition(condition_from(given), of)


@pytest.mark.parametrize(
    ("given", "of"),
    [
        ("drop > 15% vs previous", About("ratio", "up", "week")),
        ("change < -3pp vs last_year", About("ratio", "up", "month", has_benchmark=True)),
        ("change < -10 points vs previous", About("score", "up", "quarter")),
        ("change > 0.03 vs previous", About("ratio")),
        ("pace < 90% of target", About("currency", "up", "quarter", adds_up=True)),
        ("forecast < target with 80%", About("count", "up", "month", adds_up=True)),
        ("drop > 40% vs avg(8 same_weekdays)", About("count", "up", "day")),
        ({"anomaly": "down", "season": "weekday"}, About("count", "up", "day")),
        ({"anomaly": "both", "method": "p_chart"}, About("ratio", "up", "quarter")),
        ({"since": "2026-03-01", "gain": "5pp"}, About("ratio", "up", "month")),
        ({"any": ["rise > 0% vs max(12)", {"kpi": "other", "is": "< 60%"}]}, About("count", "down", "month")),
        ("falls 4x", About("days", "down", "week")),
    ],
)
def test_every_form_fits_the_right_kind_of_kpi(given: Any, of: About) -> None:
    assert check_condition(condition_from(given), of) == ""


@pytest.mark.parametrize(
    ("more", "condition", "of", "key"),
    [
        ({"per": "working_day"}, "drop > 5% vs previous", About("ratio", adds_up=False), "per"),
        ({"disjoint": True}, "< 20%", About("ratio"), "disjoint"),
        ({"align": "working_days"}, "drop > 5% vs previous", About("count", period="week"), "align"),
        ({"rows": {"show": ["name"]}}, "> 0", About("currency"), "rows"),
        ({"rows": {"show": ["name"]}}, "< 5", About("count"), "rows"),
        ({"rows": {"show": ["name"]}}, "drop > 5% vs previous", About("count"), "rows"),
    ],
)
def test_rest_of_a_rule_must_fit_too(more: dict[str, Any], condition: str, of: About, key: str) -> None:
    rule = Rule.model_validate({"name": "x", "kpi": "k", "period": "week", "warn": condition, "to": ["a"], **more})
    assert [name for name, _ in check_guards(rule, [condition_from(condition)], of)] == [key]


@pytest.mark.parametrize(
    ("more", "condition", "of"),
    [
        ({"per": "working_day"}, "drop > 5% vs previous", About("count", adds_up=True)),
        ({"disjoint": True}, "drop > 5% vs previous", About("ratio")),
        ({"disjoint": True}, {"any": ["< 5", "drop > 5% vs previous"]}, About("ratio")),
        ({"align": "working_days"}, "drop > 5% vs previous", About("count", period="mtd")),
        ({"rows": {"show": ["name"]}}, "> 0", About("count")),
        ({"rows": {"show": ["name"]}}, "rise > 0% vs max(12)", About("count")),
        ({}, "< 5", About("count")),
    ],
)
def test_rest_of_a_rule_that_fits_is_not_refused(more: dict[str, Any], condition: Any, of: About) -> None:
    rule = Rule.model_validate({"name": "x", "kpi": "k", "period": "week", "warn": condition, "to": ["a"], **more})
    assert list(check_guards(rule, [condition_from(condition)], of)) == []


@pytest.mark.parametrize(
    ("warn", "critical", "recover", "says"),
    [
        ("pace < 90% of target", "pace < 75% of target", "pace >= 95% of target", ""),
        ("pace < 75% of target", "pace < 90% of target", None, "critical must be the worse"),
        ("< 90% of target", "< 75% of target", "< 95% of target", "must lie on the good side"),
        ("change < -3pp vs previous", "change < -1pp vs previous", None, "critical must be the worse"),
        ("change < -3pp vs previous", "change < -1pp vs avg(4)", None, ""),
        ("drop > 20% vs previous", "drop > 10% vs last_year", None, ""),
        ("outside 20%..40%", "outside 10%..50%", "inside 20%..40%", ""),
    ],
)
def test_levels_of_other_forms_fit_together(warn: str, critical: str | None, recover: str | None, says: str) -> None:
    read = [None if text is None else condition_from(text) for text in (warn, critical, recover)]
    found = check_levels(*read, "ratio")
    assert says in found if says else found == ""
