"""Before and after an event: whole months on both sides, and whether what differs is more than chance. Pure.

Two groups of months that differ are associated with the event that lies between them; what caused the difference they do not say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import erfc, sqrt

from kpid.analysis.calendar import Calendar
from kpid.analysis.periods import days_of, periods_between, span
from kpid.errors import ConfigError
from kpid.model import Period

SURE = 0.05
"""A difference that chance alone brings less often than this is told as one."""
EXACT_UP_TO = 30
"""Up to so many values on both sides together, every way to share them out is counted; beyond, a normal distribution will do."""
FEWEST = 4
"""With fewer values on a side no rank test can tell anything: 3 and 3 give no p below 0.1."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The months before and after an event; neither contains it nor the months in which it settles."""

    before: Period
    after: Period


def windows(event: date, months: int, settle_months: int, calendar: Calendar) -> Windows:
    """N whole months before and after the month of an event, leaving out ``settle_months`` on both sides of it.

    An event on the first of a month lies between two months, and none is left out for it.

    Raises:
        ConfigError: fewer than one month, or a negative number of them to leave out.
    """
    if months < 1 or settle_months < 0:
        raise ConfigError(
            f"{months} months, {settle_months} to settle", hint="Compare one month or more, and leave none or more out"
        )
    upto = _months_later(event, -settle_months)
    since = _months_later(event, settle_months + (event.day > 1))
    before = span(_months_later(upto, -months), upto, calendar)
    return Windows(before, span(since, _months_later(since, months), calendar))


def months_of(window: Period, calendar: Calendar) -> list[Period]:
    """The months of a window, in order."""
    first, after = days_of(window, calendar)
    return periods_between("month", calendar.midnight(first), calendar.midnight(after), calendar)


def two_proportions(new: tuple[int, int], old: tuple[int, int]) -> float | None:
    """How often chance alone brings two rates ``(successes, n)`` at least so far apart (pooled z test, both directions).

    None where there is nothing to test: no cases on a side, or the same certain rate on both.
    """
    if not new[1] or not old[1]:
        return None
    pooled = (new[0] + old[0]) / (new[1] + old[1])
    error = sqrt(pooled * (1 - pooled) * (1 / new[1] + 1 / old[1]))
    if not error:
        return None
    return erfc(abs(new[0] / new[1] - old[0] / old[1]) / error / sqrt(2))


def mann_whitney(new: Sequence[Decimal], old: Sequence[Decimal]) -> float | None:
    """How often chance alone shares the values out so unevenly (rank sum, both directions; ties get their middle rank).

    Exact for few values: every way to choose which of them are the new ones is counted. None with fewer than :data:`FEWEST` on a
    side, or where all are the same.
    """
    if min(len(new), len(old)) < FEWEST or len({*new, *old}) == 1:
        return None
    ranks = _double_ranks([*new, *old])
    total = sum(ranks[: len(new)])
    if len(ranks) <= EXACT_UP_TO:
        return _exact(ranks, len(new), total)
    return _normal(ranks, len(new), total)


def _double_ranks(values: Sequence[Decimal]) -> list[int]:
    """Twice the rank of each value, so that middle ranks are whole."""
    counts = Counter(values)
    below, found = 0, {}
    for value in sorted(counts):
        found[value] = 2 * below + counts[value] + 1
        below += counts[value]
    return [found[value] for value in values]


def _exact(ranks: Sequence[int], chosen: int, total: int) -> float:
    """Share of the choices of so many ranks whose sum lies as far from the middle, or farther."""
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter[int]() for _ in range(chosen))]
    for rank in ranks:
        for count in range(chosen, 0, -1):
            for reached, number in ways[count - 1].items():
                ways[count][reached + rank] += number
    middle = sum(ranks) * chosen / len(ranks)
    apart = abs(total - middle)
    far = sum(number for reached, number in ways[chosen].items() if abs(reached - middle) >= apart - 1e-9)
    return far / sum(ways[chosen].values())


def _normal(ranks: Sequence[int], chosen: int, total: int) -> float:
    """As :func:`_exact`, by the normal approximation with its corrections for ties and steps."""
    every = len(ranks)
    middle = sum(ranks) / every
    variance = chosen * (every - chosen) / every * sum((rank - middle) ** 2 for rank in ranks) / (every - 1)
    apart = max(abs(total - middle * chosen) - 1, 0)
    return erfc(apart / sqrt(variance) / sqrt(2))


def _months_later(day: date, months: int) -> date:
    month = day.year * 12 + day.month - 1 + months
    return date(month // 12, month % 12 + 1, 1)
