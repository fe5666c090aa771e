from __future__ import annotations

import pytest

from kpid.alerting.fitness import About, check_condition, check_levels
from kpid.alerting.grammar import condition_from_text


@pytest.mark.parametrize(
    ("text", "unit", "better", "says"),
    [
        ("< 50%", "currency", "up", "such as `< 50`, or a change such as `drop > 50% vs previous`"),
        ("> 50%", "count", "down", "`rise > 50% vs previous`"),
        ("< 50", "ratio", "up", "write `< 50%`"),
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
     ("drop > 15% vs previous", "currency"), ("rise > 300% vs previous", "count"), ("> 48h", "seconds")],
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
