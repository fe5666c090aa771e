"""Meetings: how many were held, how many with prospects, and how many it takes to sell.

A meeting counts when it ended; one without an end when it was to end, else when it took place. Cancelled meetings and those that
nobody came to do not count, nor does what lies in the future. Internal meetings are meetings held, but not with a customer.

A meeting is with a prospect if a lead that had not converted by then takes part, or an account that was a prospect then: by the
account's status history where it covers that moment, else by what the account is today and when it became a customer. Who takes
part is said by the meeting's own references and by its links; a contact stands for its account, and so does a deal.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Subquery, and_, case, func, literal, or_, select, union_all
from sqlalchemy.sql.expression import CompoundSelect, FromClause

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Values, count, entities, holds_at, living

activities = entities.activities
deals = entities.deals
DIMENSIONS = ("owner", "team", "region", "account", "segment", "industry", "country", "source")
OPTIONAL = ("accounts", "account_status_history", "activity_links", "contacts", "leads")
_NOT_HELD = ("cancelled", "no_show")


def ended(entity: FromClause) -> ColumnElement[object]:
    """When a meeting was over."""
    return func.coalesce(entity.c.ended_at, entity.c.scheduled_end, entity.c.occurred_at)


def is_held(entity: FromClause) -> ColumnElement[bool]:
    """Whether a row is a meeting that was neither cancelled nor missed."""
    return and_(entity.c.type == "meeting", func.coalesce(entity.c.status, "completed").not_in(_NOT_HELD))


MEETINGS_HELD = Kpi(
    id="meetings_held",
    name="Meetings held",
    category="activity",
    unit="count",
    better="up",
    define=Definition(
        {"meetings": Measure(activities, At(ended(activities)), count(is_held(activities)), label="meetings")},
        lambda m: m.meetings,
    ),
    period="week",
    dimensions=(*DIMENSIONS, "direction", "outcome"),
    formula_text="meetings that were neither cancelled nor missed, by the time they ended",
    why="Time with customers: what pipelines are made of.",
    misleads="A meeting that was moved in the calendar twice may be there three times.",
    source="base measure",
    additivity="A",
)


def _linked(meeting: FromClause, kind: str) -> Subquery:
    """What a meeting is linked to beyond its own references: ``meeting_id, object_id``. Ids come with or without their source."""
    link = living(entities.activity_links, f"meeting_{kind}").c
    of = case((link.object_id.like(link.source_id + ":%"), link.object_id), else_=link.source_id + ":" + link.object_id)
    return (
        select(link.activity_id.label("meeting_id"), of.label("object_id"))
        .where(link.object_type == kind)
        .subquery(f"meeting_{kind}_linked")
    )


def _attendees(meeting: FromClause) -> CompoundSelect[object]:
    """The accounts that take part: ``meeting_id, at, account_id``, an account more than once if it is named more than once."""
    m = meeting.c
    contact, deal = living(entities.contacts, "with_contact"), living(deals, "about_deal")
    parts = [
        select(m.id, m.at, m.account_id).where(m.account_id.is_not(None)),
        select(m.id, m.at, contact.c.account_id).select_from(meeting.join(contact, contact.c.id == m.contact_id)),
        select(m.id, m.at, deal.c.account_id).select_from(meeting.join(deal, deal.c.id == m.deal_id)),
    ]
    by_account, by_contact = _linked(meeting, "accounts"), _linked(meeting, "contacts")
    guest = living(entities.contacts, "with_linked_contact")
    joined = meeting.join(by_account, by_account.c.meeting_id == m.id)
    parts.append(select(m.id, m.at, by_account.c.object_id).select_from(joined))
    joined = meeting.join(by_contact, by_contact.c.meeting_id == m.id).join(guest, guest.c.id == by_contact.c.object_id)
    parts.append(select(m.id, m.at, guest.c.account_id).select_from(joined))
    return union_all(*parts)


def _status_spans() -> Subquery:
    """Statuses of accounts, each cut off where the next begins: ``account_id, status, valid_from, ends``."""
    h = living(entities.account_status_history, "account_status").c
    place = func.row_number().over(partition_by=[h.account_id, h.valid_from], order_by=[h.updated_at.desc().nulls_last(), h.id])
    rows = select(h.account_id, h.status, h.valid_from, h.valid_to, place.label("place")).where(h.valid_from.is_not(None))
    first = rows.subquery("account_status_all").c
    follows = func.lead(first.valid_from).over(partition_by=first.account_id, order_by=first.valid_from)
    ends = func.least(func.coalesce(first.valid_to, follows), func.coalesce(follows, first.valid_to))
    return select(first.account_id, first.status, first.valid_from, ends.label("ends")).where(first.place == 1).subquery("spans")


def _parties(meeting: FromClause) -> Subquery:
    """Who takes part, a row each: ``meeting_id, is_prospect, is_outside`` as 0 or 1."""
    party = _attendees(meeting).subquery("attendees")
    key, at, account_id = party.c.id, party.c.at, party.c.account_id
    account, span = living(entities.accounts, "attending"), _status_spans()
    by_today = or_(
        account.c.lifecycle == "prospect",
        and_(account.c.lifecycle.in_(["customer", "former"]), account.c.became_customer_at >= at),
    )
    is_prospect = case((span.c.status == "prospect", 1), (span.c.status.is_not(None), 0), (by_today, 1), else_=0)
    covers = and_(span.c.account_id == account.c.id, holds_at(span.c.valid_from, span.c.ends, at))
    accounts = select(
        key.label("meeting_id"), is_prospect.label("is_prospect"),
        case((account.c.lifecycle == "internal", 0), else_=1).label("is_outside"),
    ).select_from(party.join(account, account.c.id == account_id).outerjoin(span, covers))  # fmt: skip
    lead, guest, linked = (
        living(entities.leads, "with_lead"),
        living(entities.leads, "with_linked_lead"),
        _linked(meeting, "leads"),
    )
    m = meeting.c
    direct = select(m.id, _is_lead(lead, m.at), literal(1)).select_from(meeting.join(lead, lead.c.id == m.lead_id))
    joined = meeting.join(linked, linked.c.meeting_id == m.id).join(guest, guest.c.id == linked.c.object_id)
    return union_all(accounts, direct, select(m.id, _is_lead(guest, m.at), literal(1)).select_from(joined)).subquery("parties")


def _is_lead(lead: FromClause, at: ColumnElement[object]) -> ColumnElement[int]:
    return case((or_(lead.c.converted_at.is_(None), lead.c.converted_at >= at), 1), else_=0)


def _meetings() -> Subquery:
    """Meetings held that are not internal: their references, ``at``, and who took part.

    ``is_prospect`` is 1 if a prospect did; ``is_known`` is 0 if nobody is named; ``is_internal`` is 1 if all of them are ours.
    """
    raw = living(activities, "meeting_rows")
    r = raw.c
    columns = (r.id, r.source_id, r.owner_id, r.account_id, r.contact_id, r.deal_id, r.lead_id, ended(raw).label("at"))
    held = select(*columns).where(is_held(raw), func.coalesce(r.direction, "unknown") != "internal").cte("held_meetings")
    party = _parties(held)
    outside, prospect = func.max(party.c.is_outside), func.max(party.c.is_prospect)
    met = (
        select(party.c.meeting_id, prospect.label("prospect"), outside.label("outside"))
        .group_by(party.c.meeting_id)
        .subquery("met")
    )
    h = held.c
    return (
        select(
            h.source_id, h.owner_id, h.account_id, h.at,
            func.coalesce(met.c.prospect, 0).label("is_prospect"),
            case((met.c.meeting_id.is_(None), 0), else_=1).label("is_known"),
            case((met.c.outside == 0, 1), else_=0).label("is_internal"),
        )
        .select_from(held.outerjoin(met, met.c.meeting_id == h.id))
        .where(h.at <= NOW)
        .subquery("meetings")
    )  # fmt: skip


MEETINGS = _meetings()
_CLOCK = At(MEETINGS.c.at)
_PROSPECTS = Measure(MEETINGS, _CLOCK, count(MEETINGS.c.is_prospect == 1), label="meetings with prospects")
_OUTSIDE = Measure(MEETINGS, _CLOCK, count(MEETINGS.c.is_internal == 0), label="meetings")
_UNKNOWN = Measure(MEETINGS, _CLOCK, count(MEETINGS.c.is_known == 0), label="meetings that name nobody")


def _remarks(m: Values) -> list[str]:
    nameless = m["nameless"].numerator
    return [f"{nameless} meetings name no account, contact or lead: taken for meetings with customers"] if nameless else []


MEETING_TO_SALE_RATIO = Kpi(
    id="meeting_to_sale_ratio",
    name="Sales per meeting with a prospect",
    category="activity",
    unit="ratio",
    better="up",
    define=Definition(
        {
            "won": Measure(deals, At(deals.c.closed_at), count(deals.c.state == "won"), label="won deals"),
            "meetings": _PROSPECTS,
        },
        lambda m: m.won / m.meetings,
        sample="meetings",
        remarks=lambda m: ["above 100 %: more sales than meetings with prospects"] if _exceeds(m.won, m.meetings) else [],
        optional=OPTIONAL,
    ),
    min_sample=30,
    dimensions=DIMENSIONS,
    formula_text="won deals / meetings held with accounts or leads that were prospects then",
    why="The commercial performance index: what appointments with prospects yield.",
    misleads="Sales of this month come from meetings of earlier ones, and sales to customers need no meeting with a prospect.",
    source="commercial performance index (Pégase)",
    additivity="R",
    number=21,
    degrades={"account_status_history": "Who was a prospect then is told from what the account is today."},
)


def _exceeds(above: object, below: object) -> bool:
    over, under = getattr(above, "exact", None), getattr(below, "exact", None)
    return over is not None and under is not None and 0 < under < over


PROSPECT_MEETING_SHARE = Kpi(
    id="prospect_meeting_share",
    name="Share of meetings with prospects",
    category="activity",
    unit="ratio",
    better="up",
    define=Definition(
        {"prospects": _PROSPECTS, "meetings": _OUTSIDE, "nameless": _UNKNOWN},
        lambda m: m.prospects / m.meetings,
        sample="meetings",
        remarks=_remarks,
        optional=(*OPTIONAL, "deals"),
    ),
    min_sample=20,
    dimensions=DIMENSIONS,
    formula_text="meetings held with prospects / meetings held with anybody outside the company",
    why="The conquest rate: time spent on winning new customers, against looking after those that are there.",
    misleads="A meeting with a prospect and a customer counts as one with a prospect; statuses may be old.",
    source="conquest rate (Pégase)",
    additivity="R",
    number=22,
    degrades={"account_status_history": "Who was a prospect then is told from what the account is today."},
)

KPIS = (MEETINGS_HELD, MEETING_TO_SALE_RATIO, PROSPECT_MEETING_SHARE)
