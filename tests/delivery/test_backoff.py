from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpid.delivery.backoff import BUDGET, LONGEST_ASKED, LONGEST_PAUSE, next_attempt

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def pause(kind: str, tries: int, **options: object) -> timedelta | None:
    at = next_attempt(kind, tries, options.pop("since", NOW), NOW, rng=random.Random(7), **options)
    return None if at is None else at - NOW


@pytest.mark.parametrize(("tries", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60), (5, 60), (20, 60)])
def test_report_waits_minutes(tries: int, minutes: int) -> None:
    assert pause("report", tries) == timedelta(minutes=minutes)


@given(tries=st.integers(1, 10_000), seed=st.integers(), kind=st.sampled_from(["alert", "health", "test"]))
def test_alert_waits_a_second_to_five_minutes(tries: int, seed: int, kind: str) -> None:
    at = next_attempt(kind, tries, NOW, NOW, rng=random.Random(seed))
    assert at is not None
    assert SECOND <= at - NOW <= min(LONGEST_PAUSE, SECOND * 2 ** min(tries, 20))


def test_alerts_that_failed_together_do_not_come_back_together() -> None:
    rng = random.Random(1)
    assert len({next_attempt("alert", 6, NOW, NOW, rng=rng) for _ in range(100)}) > 90


def test_same_seed_gives_the_same_pause() -> None:
    assert pause("alert", 5) == pause("alert", 5)


@given(asked=st.integers(0, 10**6), tries=st.integers(1, 30))
def test_retry_after_is_obeyed_up_to_an_hour(asked: int, tries: int) -> None:
    got = pause("alert", tries, retry_after=timedelta(seconds=asked))
    assert got is not None
    assert got >= min(timedelta(seconds=asked), LONGEST_ASKED)
    assert got <= max(LONGEST_ASKED, LONGEST_PAUSE)


@pytest.mark.parametrize("kind", ["alert", "report"])
def test_a_day_after_the_first_try_it_is_over(kind: str) -> None:
    assert pause(kind, 9, since=NOW - BUDGET) is None
    assert pause(kind, 9, since=NOW - BUDGET + timedelta(hours=2)) is not None


def test_message_is_given_up_when_the_next_try_would_be_too_late() -> None:
    assert pause("report", 1, expires_at=NOW + timedelta(seconds=60)) is None
    assert pause("report", 1, expires_at=NOW + timedelta(seconds=61)) is not None
