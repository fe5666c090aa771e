# ruff: noqa: E501
"""The support KPIs once more, row by row in plain Python, from the catalogue's words."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise, product
from statistics import median

from tests.kpis import days
from tests.kpis.company import (
    DAY,
    NOW,
    SECOND,
    ZONE,
    alive,
    business_seconds,
    holds,
    local_day,
    spans,
    until,
    whole_seconds,
    within,
)

CUTS = ("owner", "team", "segment", "channel", "group")
DONE = ("solved", "closed")


def ratio(facts, above, below):
    tops, bottoms = (sum(fact.get(name, 0) for fact in facts) for name in (above, below))
    return Fraction(tops, bottoms) if bottoms else None


def requests(rows):
    return [t for t in alive(rows, "tickets") if t["status"] != "spam" and (t["category"] or "").lower() != "spam"]


def created(rows, period):
    return [ticket for ticket in requests(rows) if within(ticket["created_at"], period)]


def backlog(rows, period, hour=24):
    history, end, as_of = spans(rows, "ticket_status_history", "ticket_id"), until(period), min(period.end, NOW)
    if hour != 24:
        last = (period.end - timedelta(microseconds=1)).astimezone(ZONE).date()
        then = datetime.combine(last, time(hour), ZONE).astimezone(UTC)
        end, as_of = (min(one, then) for one in (end, as_of))
    for ticket in requests(rows):
        at = ticket["created_at"]
        if at is not None and at >= end:
            continue
        covering = [span for span in history.get(ticket["id"], []) if holds(span, end)]
        if covering:
            is_open, status = covering[0]["status"] not in DONE, covering[0]["status"]
        else:
            status = ticket["status"]
            is_open = ticket["closed_at"] >= end if ticket["closed_at"] else status not in DONE
        if is_open and (at is not None or period.start <= NOW < period.end):
            age = None if at is None else whole_seconds(at, as_of) / 86_400
            names = ((1, "0-1 days"), (3, "1-3 days"), (7, "3-7 days"), (30, "7-30 days"), (10**9, "over 30 days"))
            band = "unknown" if age is None else next(name for days, name in names if age < days)
            yield {**ticket, "status": status, "age_band": band}


def replied(rows, ticket):
    """When a person of ours replied first, and whether somebody waits for that."""
    comments = [c for c in alive(rows, "ticket_comments") if c["ticket_id"] == ticket["id"]]
    public = [
        c
        for c in comments
        if c["is_public"] is not False and c["author_role"] in ("agent", "end_user") and c["at"] is not None and c["at"] <= NOW
    ]
    public.sort(key=lambda c: (c["at"], c["id"]))
    ours = [c["at"] for c in public if c["author_role"] == "agent"]
    waits = not ticket["created_by_agent"] or any(c["author_role"] == "end_user" for c in public)
    if not comments:
        at = ticket["first_reply_at"]
        return (at if at is not None and at <= NOW else None), waits
    if ticket["created_by_agent"] and public and public[0]["author_role"] == "agent":
        ours = ours[1:]
    return (ours[0] if ours else None), waits


def schedule_at(rows, ticket, instant):
    """The calendar that a ticket is under at an instant: the first one reaches back to its creation."""
    history = spans(rows, "ticket_schedule_history", "ticket_id").get(ticket["id"], [])
    before = [span for span in history if span["valid_from"] <= instant]
    return (before[-1] if before else history[0])["schedule_id"]


def wait_of(rows, ticket, start, end, clock, schedule="last"):
    if clock == "calendar":
        return whole_seconds(start, end)
    history = spans(rows, "ticket_schedule_history", "ticket_id").get(ticket["id"], [])
    if schedule == "last" or not history:
        return business_seconds(ticket["schedule_id"] or (history[-1]["schedule_id"] if history else None), start, end)
    cuts = sorted({start, end, *(span["valid_from"] for span in history[1:] if start < span["valid_from"] < end)})
    return sum(business_seconds(schedule_at(rows, ticket, a), a, b) for a, b in pairwise(cuts))


def stat_of(stat, found):
    values = sorted(found)
    if not values:
        return None
    if stat == "mean":
        return Fraction(sum(values), len(values))
    if stat == "median":
        return Fraction(median(map(Fraction, values)))
    place = Fraction(9, 10) * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def reply_times(rows, period, clock, schedule, by):
    for ticket in requests(rows):
        at, _ = replied(rows, ticket)
        start = ticket["created_at"]
        if at is not None and start is not None and at >= start and within(start if by == "created" else at, period):
            yield {**ticket, "time": wait_of(rows, ticket, start, at, clock, schedule)}


def answered(rows, period, within_s, clock="calendar"):
    for ticket in created(rows, period):
        at, waits = replied(rows, ticket)
        is_answered = at is not None
        if within_s is not None and is_answered:
            start = ticket["created_at"]
            is_answered = at >= start and wait_of(rows, ticket, start, at, clock) <= within_s
        if waits:
            yield {**ticket, "answered": int(is_answered), "tickets": 1}


def solved_at(ticket):
    last = ticket["last_solved_at"] or ticket["closed_at"]
    first = ticket["first_solved_at"] or (last if not ticket["reopen_count"] else None)
    return first, last if ticket["status"] in (None, *DONE) else None


def waited(rows, ticket, end, clock):
    history = [s for s in spans(rows, "ticket_status_history", "ticket_id").get(ticket["id"], []) if s["valid_from"] < end]
    if not history:
        return None
    total = 0
    for span in history:
        if span["status"] in ("new", "open", "on_hold"):
            stop = min(end, span["ends"] or end)
            if clock == "calendar":
                total += (stop - span["valid_from"]) // SECOND
            else:
                hours = business_seconds(ticket["schedule_id"], min(span["valid_from"], stop), max(span["valid_from"], stop))
                total += hours if stop >= span["valid_from"] else -hours
    return total


def resolutions(rows, period, which, clock):
    for ticket in requests(rows):
        first, last = solved_at(ticket)
        at, start = first if which == "first" else last, ticket["created_at"]
        if at is None or start is None or at < start or not within(at, period):
            continue
        if which == "requester_wait":
            time = waited(rows, ticket, at, clock)
        else:
            time = (at - start) // SECOND if clock == "calendar" else business_seconds(ticket["schedule_id"], start, at)
        if time is not None:
            yield {**ticket, "time": time}


def same_day(rows, period, basis):
    for ticket in created(rows, period):
        first, start = solved_at(ticket)[0], ticket["created_at"]
        is_same = first is not None and start <= first <= NOW
        if is_same:
            is_same = local_day(first) == local_day(start) if basis == "calendar" else first - start < DAY + SECOND
        yield {**ticket, "same": int(is_same), "tickets": 1}


def solves(rows, period):
    """Per ticket solved in the period: its last solving, seconds until it was opened again (None: not; 0: at an unknown time)."""
    history = spans(rows, "ticket_status_history", "ticket_id")
    told = {row["ticket_id"] for row in alive(rows, "ticket_status_history")}
    for ticket in requests(rows):
        found = []
        if ticket["id"] in told:
            states = [s for s in history.get(ticket["id"], []) if s["valid_from"] <= NOW]
            changes = [
                (s["valid_from"], s["status"] in DONE)
                for n, s in enumerate(states)
                if n == 0 or (s["status"] in DONE) != (states[n - 1]["status"] in DONE)
            ]
            for n, (at, is_done) in enumerate(changes):
                if is_done:
                    again = changes[n + 1][0] if n + 1 < len(changes) else None
                    found.append((at, None if again is None else whole_seconds(at, again)))
        else:
            last, first = ticket["last_solved_at"] or ticket["closed_at"], ticket["first_solved_at"]
            if first is not None and (last is None or first < last):
                found.append((first, 0))
            if last is not None:
                found.append((last, None if ticket["status"] in (None, *DONE) else 0))
        inside = [one for one in found if within(one[0], period)]
        if inside:
            yield ticket, *max(inside, key=lambda one: one[0])


def reopened(rows, period, days):
    for ticket, _, again in solves(rows, period):
        yield {**ticket, "reopened": int(again is not None and again <= days * 86_400), "solved": 1}


def first_contact(rows, period, replies, days):
    for ticket, at, again in solves(rows, period):
        comments = [c for c in alive(rows, "ticket_comments") if c["ticket_id"] == ticket["id"]]
        ours = [c for c in comments if c["author_role"] == "agent" and c["is_public"] is not False and c["at"] and c["at"] <= at]
        number = len(ours) if comments else ticket["reply_count_public"]
        if number is not None:
            is_reopened = again is not None and again <= days * 86_400
            yield {**ticket, "once": int(number <= replies and not is_reopened), "solved": 1}


KPIS = {
    ("tickets_created", ()): (created, len, CUTS),
    ("ticket_backlog", ()): (lambda r, p: list(backlog(r, p)), len, (*CUTS, "age_band", "status")),
    **{
        ("ticket_backlog", (("at_hour", str(hour)),)): (
            lambda r, p, hour=hour: list(backlog(r, p, hour)), len, (*CUTS, "age_band", "status"),
        )
        for hour in (4, 23)
    },
    ("ticket_backlog", (("snap", "avg"),)): (
        days.facts(lambda r, p: list(backlog(r, p)), NOW), days.of_facts(len), (*CUTS, "age_band", "status"),
    ),
    ("reopen_rate", ()): (lambda r, p: list(reopened(r, p, 14)), lambda f: ratio(f, "reopened", "solved"), CUTS),
    ("reopen_rate", (("days", "1"),)): (lambda r, p: list(reopened(r, p, 1)), lambda f: ratio(f, "reopened", "solved"), CUTS),
    ("first_contact_resolution_rate", ()): (lambda r, p: list(first_contact(r, p, 1, 7)), lambda f: ratio(f, "once", "solved"), CUTS),
    ("first_contact_resolution_rate", (("days", "2"), ("max_replies", "0"))): (
        lambda r, p: list(first_contact(r, p, 0, 2)), lambda f: ratio(f, "once", "solved"), CUTS,
    ),
    ("ticket_response_rate", ()): (lambda r, p: list(answered(r, p, None)), lambda f: ratio(f, "answered", "tickets"), CUTS),
    ("ticket_response_rate", (("within", "2d"),)): (
        lambda r, p: list(answered(r, p, 172_800)), lambda f: ratio(f, "answered", "tickets"), CUTS,
    ),
    ("sla_attainment", ()): (lambda r, p: list(answered(r, p, 28_800)), lambda f: ratio(f, "answered", "tickets"), CUTS),
    ("sla_attainment", (("clock", "business"), ("within", "12h"))): (
        lambda r, p: list(answered(r, p, 43_200, "business")), lambda f: ratio(f, "answered", "tickets"), CUTS,
    ),
    ("same_day_close_rate", ()): (lambda r, p: list(same_day(r, p, "calendar")), lambda f: ratio(f, "same", "tickets"), CUTS),
    ("same_day_close_rate", (("basis", "24h"),)): (lambda r, p: list(same_day(r, p, "24h")), lambda f: ratio(f, "same", "tickets"), CUTS),
}  # fmt: skip
DURATIONS = {}
CLOCKS = ("calendar", "business")
for stat, clock, schedule, by in (
    *product(("median",), CLOCKS, ("last", "history"), ("created", "replied")),
    ("mean", "business", "history", "created"), ("p90", "calendar", "last", "replied"),
):  # fmt: skip
    DURATIONS["first_reply_time", (("by", by), ("clock", clock), ("schedule", schedule), ("stat", stat))] = (
        lambda r, p, c=clock, s=schedule, b=by: list(reply_times(r, p, c, s, b)),
        lambda f, stat=stat: stat_of(stat, [fact["time"] for fact in f]), CUTS,
    )  # fmt: skip
for which, clock, stat in (
    *product(("full", "first", "requester_wait"), CLOCKS, ("median",)), ("full", "calendar", "mean"), ("first", "business", "p90"),
):  # fmt: skip
    DURATIONS["resolution_time", (("clock", clock), ("stat", stat), ("which", which))] = (
        lambda r, p, w=which, c=clock: list(resolutions(r, p, w, c)),
        lambda f, stat=stat: stat_of(stat, [fact["time"] for fact in f]), CUTS,
    )  # fmt: skip
