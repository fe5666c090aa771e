"""Whether solved tickets stay solved.

A ticket counts in each period in which it was solved, by its last solving there. Where it has a status history, that says when it
was solved and when it was opened again. Elsewhere its first and its last solving are known, and that it was opened again in
between or since, but not when: then any re-opening counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import ColumnElement, Subquery, and_, case, func, literal, not_, null, or_, select, union_all

from kpid.plugin import (
    NOW,
    PERIODS,
    Benchmark,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Values,
    count,
    entities,
    living,
    seconds_between,
)
from kpid_support.tickets import DIMENSIONS, SOLVED, kept, requests, spans, told

_DAY = 86_400
_NEVER = 10**12
OPTIONAL = ("ticket_status_history",)
_DEGRADES = {"ticket_status_history": "When a ticket was opened again is not known: any re-opening counts, however late."}


def _from_history() -> Subquery:
    """Solvings by the status history: ``ticket_id, solved_at, reopened_at`` (null: not by now)."""
    h = spans(entities.ticket_status_history, "status", "solve_status").c
    is_done = case((h.status.in_(SOLVED), 1), else_=0).label("is_done")
    rows = select(h.ticket_id, h.valid_from, is_done).where(h.valid_from <= NOW).subquery("solve_states").c
    before = func.lag(rows.is_done).over(partition_by=rows.ticket_id, order_by=rows.valid_from).label("before")
    marked = select(rows.ticket_id, rows.valid_from, rows.is_done, before).subquery("marked_states").c
    changes = select(marked.ticket_id, marked.valid_from, marked.is_done).where(
        or_(marked.before.is_(None), marked.before != marked.is_done)
    )
    c = changes.subquery("solve_changes").c
    follows = func.lead(c.valid_from).over(partition_by=c.ticket_id, order_by=c.valid_from).label("reopened_at")
    found = select(c.ticket_id, c.valid_from.label("solved_at"), c.is_done, follows).subquery("solve_spans").c
    return select(found.ticket_id, found.solved_at, found.reopened_at).where(found.is_done == 1).subquery("history_solves")


def _solves() -> Subquery:
    """Solvings: ``ticket_id, solved_at, reopened_at, was_reopened`` (1: it was, at a time that nobody knows)."""
    history, ticket = _from_history(), requests("resolved")
    h = history.c
    told_by_history = select(living(entities.ticket_status_history, "told").c.ticket_id).distinct().subquery("told_tickets")
    t = ticket.c
    last = func.coalesce(t.last_solved_at, t.closed_at)
    untold = ticket.outerjoin(told_by_history, told_by_history.c.ticket_id == t.id)
    is_untold = told_by_history.c.ticket_id.is_(None)
    is_open = case((t.status.is_(None), 0), (t.status.in_(SOLVED), 0), else_=1)
    parts = (
        select(h.ticket_id, h.solved_at, h.reopened_at, literal(0).label("was_reopened")),
        select(t.id, last, null(), is_open).select_from(untold).where(is_untold, last <= NOW),
        select(t.id, t.first_solved_at, null(), literal(1))
        .select_from(untold)
        .where(is_untold, t.first_solved_at <= NOW, or_(last.is_(None), t.first_solved_at < last)),
    )
    return union_all(*parts).subquery("solves")


SOLVES = _solves()


def _solved_in_period() -> Subquery:
    """A row per period and ticket solved in it, by its last solving there, with the replies that we had written by then.

    ``no``, the ticket's columns, ``replies`` (null: not known), ``open_again_s`` (seconds until it was opened again; null: it was
    not), ``was_reopened``.
    """
    s, p = SOLVES.c, PERIODS.c
    latest = func.row_number().over(partition_by=[p.no, s.ticket_id], order_by=[s.solved_at.desc(), s.was_reopened])
    inside = and_(s.solved_at >= p.starts, s.solved_at < p.until)
    columns = (p.no, s.ticket_id, s.solved_at, s.reopened_at, s.was_reopened, latest.label("place"))
    ranked = select(*columns).select_from(SOLVES.join(PERIODS, inside)).subquery("ranked_solves").c
    kept_columns = [column for column in ranked if column.key != "place"]
    last = select(*kept_columns).where(ranked.place == 1).subquery("last_solves")
    ticket, comment = requests("solved"), living(entities.ticket_comments, "solve_comments")
    t, c, one = ticket.c, comment.c, last.c
    is_reply = and_(c.author_role == "agent", func.coalesce(c.is_public, True), c.at <= one.solved_at)
    counted = (
        select(one.no, one.ticket_id, func.sum(case((is_reply, 1), else_=0)).label("replies"))
        .select_from(last.join(comment, c.ticket_id == one.ticket_id))
        .group_by(one.no, one.ticket_id)
        .subquery("replies_until_solved")
    )
    k = counted.c
    joined = last.join(ticket, t.id == one.ticket_id)
    joined = joined.outerjoin(counted, and_(k.ticket_id == one.ticket_id, k.no == one.no))
    return (
        select(
            one.no, *kept(ticket), func.coalesce(k.replies, t.reply_count_public).label("replies"),
            seconds_between(one.solved_at, one.reopened_at).label("open_again_s"), one.was_reopened,
        )
        .select_from(joined)
        .subquery("solved_in_period")
    )  # fmt: skip


SOLVED_IN_PERIOD = _solved_in_period()
_CLOCK = InPeriod(SOLVED_IN_PERIOD.c.no)


def _is_reopened(days: str) -> ColumnElement[bool]:
    c = SOLVED_IN_PERIOD.c
    return or_(c.was_reopened == 1, func.coalesce(c.open_again_s, _NEVER) <= int(days) * _DAY)


def _first_contact(params: Mapping[str, str]) -> Definition:
    c = SOLVED_IN_PERIOD.c
    at_once = and_(c.replies <= int(params["max_replies"]), not_(_is_reopened(params["days"])))
    measures = {
        "at_once": Measure(SOLVED_IN_PERIOD, _CLOCK, count(at_once), label="tickets solved at first contact"),
        "solved": Measure(SOLVED_IN_PERIOD, _CLOCK, count(c.replies.is_not(None)), label="solved tickets"),
        "unknown": Measure(SOLVED_IN_PERIOD, _CLOCK, count(c.replies.is_(None)), label="tickets without a count of replies"),
    }

    def remarks(m: Values) -> list[str]:
        return told(m.unknown.numerator, "solved tickets left out: nobody knows how many replies they took")

    horizon = timedelta(days=int(params["days"]))
    optional = (*OPTIONAL, "ticket_comments")
    return Definition(measures, lambda m: m.at_once / m.solved, "solved", horizon=horizon, remarks=remarks, optional=optional)


FIRST_CONTACT_RESOLUTION_RATE = Kpi(
    id="first_contact_resolution_rate",
    name="First contact resolution",
    category="support",
    unit="ratio",
    better="up",
    define=_first_contact,
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "max_replies": Param.number("1", "So many public replies by us are one contact.", least=0),
        "days": Param.number("7", "Re-opened within so many days after solving: not resolved.", least=0),
    },
    formula_text="tickets solved with at most one public reply and not re-opened within 7 days / tickets solved in the period",
    why="The customer asked once and was done: what drives satisfaction most.",
    misleads="There is no common method: compare it with yourself only. Customers who gave up count as solved.",
    source="first call resolution (EasyERP); ICMI: no common method",
    additivity="C",
    number=54,
    degrades={**_DEGRADES, "ticket_comments": "Replies are as many as the CRM says, up to today instead of up to the solving."},
    benchmark=Benchmark("0.68", "mean of contact centres; 70 to 79 % is called good", "SQM, quoted by Surveypal", 2023),
)


def _reopen_rate(params: Mapping[str, str]) -> Definition:
    measures = {
        "reopened": Measure(SOLVED_IN_PERIOD, _CLOCK, count(_is_reopened(params["days"])), label="re-opened tickets"),
        "solved": Measure(SOLVED_IN_PERIOD, _CLOCK, count(), label="solved tickets"),
    }
    horizon = timedelta(days=int(params["days"]))
    optional = (*OPTIONAL, "ticket_comments")
    return Definition(measures, lambda m: m.reopened / m.solved, "solved", horizon=horizon, optional=optional)


REOPEN_RATE = Kpi(
    id="reopen_rate",
    name="Re-opened tickets",
    category="support",
    unit="ratio",
    better="down",
    define=_reopen_rate,
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"days": Param.number("14", "Re-opened within so many days after solving.", least=0)},
    formula_text="tickets solved in the period and opened again within 14 days / tickets solved in the period",
    why="Closing too early looks fast and costs twice.",
    misleads="A customer's thanks can re-open a ticket; some help desks open a new one instead.",
    source="Zendesk reopens",
    additivity="C",
    number=56,
    degrades=_DEGRADES,
)

KPIS = (FIRST_CONTACT_RESOLUTION_RATE, REOPEN_RATE)
