"""Waits: limits hold in every span, pauses are what servers ask for."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.plugin import Budget, DeferredError, Pacer, Pacers, RateLimit
from kpid.plugin.pacing import LONGEST_WAIT, backoff, http_date, retry_after
from kpid.testing import FakeClock

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@given(
    limits=st.lists(st.builds(RateLimit, st.integers(1, 5), st.sampled_from([0.5, 1.0, 10.0])), max_size=3),
    gaps=st.lists(st.sampled_from([0.0, 0.1, 0.7, 3.0]), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_no_span_holds_more_than_its_limit(limits, gaps):
    clock, sent = FakeClock(), []
    pacer = Pacer(limits, clock)
    for gap in gaps:
        clock.advance(timedelta(seconds=gap))
        pacer.wait()
        sent.append(clock.monotonic())
    for limit in limits:
        for earlier, later in zip(sent, sent[limit.requests :], strict=False):
            assert later - earlier >= limit.per - 1e-4  # the clock counts microseconds


def test_without_need_nobody_waits():
    clock = FakeClock()
    pacer = Pacer([RateLimit(2, 1.0)], clock)
    pacer.wait()
    pacer.wait()
    assert clock.sleeps == []


def test_backoff_grows_up_to_its_cap():
    longest = [max(backoff(tries, random.Random(seed)).total_seconds() for seed in range(200)) for tries in (1, 3, 20)]
    assert longest[0] <= 2 < longest[1] <= 8 < longest[2] <= 60


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "12"}, timedelta(seconds=12)),
        ({"Retry-After": "0.5"}, timedelta(seconds=0.5)),
        ({"Retry-After": "-3"}, timedelta(0)),
        ({"Retry-After": "9" * 50}, LONGEST_WAIT),
        ({"Retry-After": "inf"}, LONGEST_WAIT),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Fri, 20 Nov 2026 09:05:00 GMT"}, timedelta(minutes=5)),
        ({"Retry-After": "Fri, 20 Nov 2026 09:05:00 GMT", "Date": "Fri, 20 Nov 2026 09:04:00 GMT"}, timedelta(minutes=1)),
        ({"Retry-After": "Fri, 20 Nov 2020 09:05:00 GMT"}, timedelta(0)),
        ({"Retry-After": "Fri, 20 Nov 2099 09:05:00 GMT"}, LONGEST_WAIT),
    ],
)
def test_retry_after_is_read(headers, wait):
    assert retry_after(headers, NOW) == wait


@pytest.mark.parametrize("text", ["", "yesterday", "Fri, 99 Foo 2026", "Fri, 31 Feb 2026 09:05:00 GMT"])
def test_what_is_no_date_is_none(text):
    assert http_date(text) is None


def test_two_sources_on_one_account_share_its_limit():
    clock, pacers = FakeClock(), Pacers()
    first = pacers.of("vendor:account", [RateLimit(3, 10.0)], clock)
    second = pacers.of("vendor:account", [RateLimit(2, 10.0)], clock)
    other = pacers.of("vendor:another", [RateLimit(2, 10.0)], clock)
    first.wait()
    first.wait()
    other.wait()
    assert clock.sleeps == []
    second.wait()
    assert clock.sleeps == [10.0]


def test_a_new_sync_remembers_what_the_last_one_sent():
    clock, pacers = FakeClock(), Pacers()
    for _ in range(3):
        pacers.of("vendor:account", [RateLimit(2, 10.0)], clock).wait()
    assert clock.sleeps == [10.0]


def test_above_our_share_of_the_budget_the_source_waits():
    clock = FakeClock()
    budget = Budget(0.8, clock, where="crm")
    budget.told(80, 100)
    budget.told(5, 0)
    with pytest.raises(DeferredError, match="share of 80%") as caught:
        budget.told(81, 100)
    assert caught.value.until == clock.now() + timedelta(hours=1)
