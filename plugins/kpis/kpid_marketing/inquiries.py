"""Inquiries: people who turn to the company, by telephone, mail, message or form.

An inbound call, mail or message counts if it starts a conversation: the same person (the lead, contact or account that it names)
had no touch of the same type, either way, in the ``quiet_days`` before. One that names nobody counts by itself. A new lead counts
as a form that was filled in, unless an inbound activity names it: then that is the inquiry.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Text, and_, cast, func, literal, null, or_, select, union_all
from sqlalchemy.sql.expression import CTE, Subquery

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, count, entities, living, seconds_between

_DAY_S = 86_400
_TYPES = ("call", "email", "message")


def _touches() -> CTE:
    """Calls, mails and messages that took place, with the seconds since the person's last one of the type."""
    activities, lead = living(entities.activities, "touch"), living(entities.leads, "touch_lead")
    a, of = activities.c, lead.c
    person = func.coalesce(a.lead_id, a.contact_id, a.account_id, a.id)
    before = func.lag(a.occurred_at).over(partition_by=[person, a.type], order_by=[a.occurred_at, a.id])
    is_done = and_(func.coalesce(a.status, "completed") == "completed", func.coalesce(a.direction, "") != "internal")
    return (
        select(
            a.source_id, a.owner_id, a.account_id, a.lead_id, a.type.label("channel"), a.direction, a.occurred_at, of.lead_source,
            of.region, a.is_automated, seconds_between(before, a.occurred_at).label("quiet_s"),
        )
        .select_from(activities.outerjoin(lead, of.id == a.lead_id))
        .where(a.type.in_(_TYPES), is_done, a.occurred_at <= NOW)
        .cte("kpid_touches")
    )  # fmt: skip


def _inquiries() -> Subquery:
    """One row per possible inquiry; ``quiet_s`` is null where nothing went before."""
    touches, lead = _touches(), living(entities.leads, "inquiry_lead")
    t, of = touches.c, lead.c
    inbound = and_(t.direction == "inbound", func.coalesce(t.is_automated, False).is_(False))
    named = select(t.lead_id).where(inbound, t.lead_id.is_not(None)).distinct().subquery("inquired")
    calls = select(
        t.source_id, t.owner_id, t.account_id, t.region, t.lead_source, t.channel, t.occurred_at.label("at"), t.quiet_s
    ).where(inbound)
    forms = (
        select(
            of.source_id,
            of.owner_id,
            cast(of.converted_account_id, Text).label("account_id"),
            of.region,
            of.lead_source,
            literal("form").label("channel"),
            of.created_at.label("at"),
            cast(null(), t.quiet_s.type).label("quiet_s"),
        )
        .select_from(lead.outerjoin(named, named.c.lead_id == of.id))
        .where(named.c.lead_id.is_(None))
    )
    return union_all(calls, forms).subquery("inquiries")


INQUIRIES = _inquiries()


def _inbound(params: Mapping[str, str]) -> Definition:
    c = INQUIRIES.c
    where = or_(c.quiet_s.is_(None), c.quiet_s >= int(params["quiet_days"]) * _DAY_S)
    if params["channel"] != "all":
        where = and_(where, c.channel == params["channel"])
    return Definition({"inquiries": Measure(INQUIRIES, At(c.at), count(where), label="inquiries")}, lambda m: m.inquiries)


INBOUND_INQUIRIES = Kpi(
    id="inbound_inquiries",
    name="Inbound inquiries",
    category="marketing",
    unit="count",
    better="up",
    define=_inbound,
    period="week",
    dimensions=("channel", "lead_source", "owner", "team", "region", "account", "segment", "source"),
    params={
        "channel": Param(("all", *_TYPES, "form"), "How people turned to us; chats and social messages are messages."),
        "quiet_days": Param.number("30", "After how many quiet days a touch starts a new conversation.", least=0),
    },
    formula_text="inbound calls, mails and messages that start a conversation, plus new leads that no such activity names",
    why="Demand that comes by itself: what the market does without being called.",
    misleads="Leads that were bought or typed in count as forms, and mail that nobody logs does not count: cut by channel.",
    source="base measure; called inquiries and passive inquiries in the guides",
    additivity="A",
)

KPIS = (INBOUND_INQUIRIES,)
