"""Before and after an event: which months, and how often chance alone makes such a difference."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.before_after import mann_whitney, months_of, two_proportions, windows
from kpid.analysis.periods import Calendar, days_of
from kpid.errors import ConfigError

BERLIN = Calendar("Europe/Berlin")


def numbers(*values: float) -> list[Decimal]:
    return [Decimal(str(value)) for value in values]


@pytest.mark.parametrize(
    ("event", "months", "settle", "before", "after"),
    [
        (date(2017, 6, 1), 6, 0, "2016-12-01..2017-06-01", "2017-06-01..2017-12-01"),
        (date(2017, 6, 1), 6, 1, "2016-11-01..2017-05-01", "2017-07-01..2018-01-01"),
        (date(2017, 6, 15), 6, 0, "2016-12-01..2017-06-01", "2017-07-01..2018-01-01"),
        (date(2017, 6, 15), 3, 1, "2017-02-01..2017-05-01", "2017-08-01..2017-11-01"),
        (date(2017, 1, 31), 1, 0, "2016-12-01..2017-01-01", "2017-02-01..2017-03-01"),
    ],
)
def test_windows_are_whole_months_that_leave_the_event_out(event, months, settle, before, after):
    found = windows(event, months, settle, BERLIN)
    assert (found.before.label, found.after.label) == (before, after)
    assert [len(months_of(one, BERLIN)) for one in (found.before, found.after)] == [months, months]


@given(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.integers(1, 36), st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_windows_lie_on_both_sides_as_far_as_they_should(event, months, settle):
    found = windows(event, months, settle, BERLIN)
    (_, upto), (since, _) = (days_of(one, BERLIN) for one in (found.before, found.after))
    assert upto <= event <= since or (event.day == 1 and since == event)
    apart = (since.year - upto.year) * 12 + since.month - upto.month
    assert apart == 2 * settle + (event.day > 1)
    assert len(months_of(found.before, BERLIN)) == len(months_of(found.after, BERLIN)) == months


@pytest.mark.parametrize(("months", "settle"), [(0, 0), (-1, 0), (6, -1)])
def test_windows_that_make_no_sense_are_refused(months, settle):
    with pytest.raises(ConfigError):
        windows(date(2017, 6, 1), months, settle, BERLIN)


@pytest.mark.parametrize(
    ("new", "old", "p"),
    [((30, 100), (20, 100), 0.1025), ((60, 100), (40, 100), 0.00468), ((10, 50), (10, 50), 1.0), ((0, 10), (10, 10), 7.7e-6)],
)
def test_two_proportions(new, old, p):
    assert two_proportions(new, old) == pytest.approx(p, rel=0.01)


def test_two_proportions_need_cases_that_differ():
    assert two_proportions((0, 0), (1, 2)) is None
    assert two_proportions((5, 5), (9, 9)) is None


@pytest.mark.parametrize(
    ("new", "old", "p"),
    [  # exact values of the tables for 4 and 4, 5 and 5, 6 and 6
        (numbers(5, 6, 7, 8), numbers(1, 2, 3, 4), 2 / 70),
        (numbers(6, 7, 8, 9, 10), numbers(1, 2, 3, 4, 5), 2 / 252),
        (numbers(1, 3, 5, 7, 9, 11), numbers(2, 4, 6, 8, 10, 12), 0.6991),
        (numbers(1, 1, 1, 1), numbers(1, 1, 1, 2), 1.0),
    ],
)
def test_mann_whitney_with_few_values_is_exact(new, old, p):
    assert mann_whitney(new, old) == pytest.approx(p, rel=1e-3)
    assert mann_whitney(old, new) == mann_whitney(new, old)


def test_mann_whitney_needs_values_that_differ():
    assert mann_whitney(numbers(1, 2, 3), numbers(4, 5, 6)) is None
    assert mann_whitney(numbers(1, 1, 1, 1), numbers(1, 1, 1, 1)) is None


@given(st.lists(st.integers(0, 6), min_size=4, max_size=6), st.lists(st.integers(0, 6), min_size=4, max_size=5))
@settings(max_examples=40, deadline=None)
def test_mann_whitney_agrees_with_counting_every_choice(new, old):
    new, old = numbers(*new), numbers(*old)
    found = mann_whitney(new, old)
    if found is None:
        assert len({*new, *old}) == 1
        return
    every = [*new, *old]
    rank = [sum(other < one for other in every) + (sum(other == one for other in every) + 1) / 2 for one in every]
    middle = sum(rank) * len(new) / len(every)
    apart = abs(sum(rank[: len(new)]) - middle)
    choices = list(combinations(rank, len(new)))
    assert found == pytest.approx(sum(abs(sum(choice) - middle) >= apart - 1e-9 for choice in choices) / len(choices))


def test_mann_whitney_with_many_values_is_what_shuffling_gives():
    new, old = numbers(*range(20)), numbers(*range(4, 28))
    every, dice = list(range(20)) + list(range(4, 28)), random.Random(5)
    rank = [sum(other < one for other in every) + (sum(other == one for other in every) + 1) / 2 for one in every]
    middle, apart = sum(rank) * 20 / 44, abs(sum(rank[:20]) - sum(rank) * 20 / 44)
    far = sum(abs(sum(dice.sample(rank, 20)) - middle) >= apart for _ in range(4000)) / 4000
    assert mann_whitney(new, old) == pytest.approx(far, abs=0.01)
