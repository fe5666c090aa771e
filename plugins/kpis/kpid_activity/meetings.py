"""Meetings: how many were held, how many with prospects, and how many it takes to sell.

A meeting counts when it ended; one without an end when it was to end, else when it took place. Cancelled meetings and those that
nobody came to do not count, nor does what lies in the future. Internal meetings are meetings held, but not with a customer.

A meeting is with a prospect if a lead that had not converted by then takes part, or an account that was a prospect then: by the
account's status history where it covers that moment, else by what the account is today and when it became a customer. Who takes
part is said by the meeting's own references and by its links; a contact stands for its account, and so does a deal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sqlalchemy import ColumnElement, Subquery, and_, case, func, literal, or_, select, union_all
from sqlalchemy.sql.expression import CTE, CompoundSelect, FromClause

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Values, count, entities, holds_at, in_reach, living

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


def _linked() -> CTE:
    """What meetings are linked to beyond their own references: ``id, at, object_type, object_id``.

    Ids come with or without their source.
    """
    held, links = _held("held_with_links"), living(entities.activity_links, "meeting_links")
    h, link = held.c, links.c
    of = case((link.object_id.like(link.source_id + ":%"), link.object_id), else_=link.source_id + ":" + link.object_id)
    joined = links.join(held, h.id == link.activity_id)
    kinds = link.object_type.in_(["accounts", "contacts", "leads"])
    return select(h.id, h.at, link.object_type, of.label("object_id")).select_from(joined).where(kinds).cte("linked_meetings")


def _attendees(named: FromClause, linked: FromClause) -> CompoundSelect[object]:
    """The accounts that take part besides the meeting's own: ``id, at, account_id``, each as often as it is named."""
    m, by = named.c, linked.c
    contact, deal, guest = (
        living(entities.contacts, "with_contact"),
        living(deals, "about_deal"),
        living(entities.contacts, "guest"),
    )
    is_guest = and_(guest.c.id == by.object_id, by.object_type == "contacts")
    return union_all(
        select(m.id, m.at, contact.c.account_id)
        .select_from(named.join(contact, contact.c.id == m.contact_id))
        .where(m.contact_id.is_not(None)),
        select(m.id, m.at, deal.c.account_id).select_from(named.join(deal, deal.c.id == m.deal_id)).where(m.deal_id.is_not(None)),
        select(by.id, by.at, by.object_id).where(by.object_type == "accounts"),
        select(by.id, by.at, guest.c.account_id).select_from(linked.join(guest, is_guest)),
    )


def _status_spans() -> Subquery:
    """Statuses of accounts, each cut off where the next begins: ``account_id, status, valid_from, ends``."""
    h = living(entities.account_status_history, "account_status").c
    place = func.row_number().over(partition_by=[h.account_id, h.valid_from], order_by=[h.updated_at.desc().nulls_last(), h.id])
    rows = select(h.account_id, h.status, h.valid_from, h.valid_to, place.label("place")).where(h.valid_from.is_not(None))
    first = rows.subquery("account_status_all").c
    follows = func.lead(first.valid_from).over(partition_by=first.account_id, order_by=first.valid_from)
    ends = func.least(func.coalesce(first.valid_to, follows), func.coalesce(follows, first.valid_to))
    return select(first.account_id, first.status, first.valid_from, ends.label("ends")).where(first.place == 1).subquery("spans")


def _known_of(
    key: ColumnElement[object], at: ColumnElement[object], name: str
) -> tuple[FromClause, FromClause, ColumnElement[bool], ColumnElement[bool], ColumnElement[int]]:
    """An account by its id, its status at an instant, how both are joined, and whether it was a prospect then (0 or 1)."""
    account, span = living(entities.accounts, f"attending_{name}"), _status_spans().alias(f"status_{name}")
    by_today = or_(
        account.c.lifecycle == "prospect",
        and_(account.c.lifecycle.in_(["customer", "former"]), account.c.became_customer_at >= at),
    )
    is_prospect = case((span.c.status == "prospect", 1), (span.c.status.is_not(None), 0), (by_today, 1), else_=0)
    covers = and_(span.c.account_id == account.c.id, holds_at(span.c.valid_from, span.c.ends, at))
    return account, span, account.c.id == key, covers, is_prospect


def _parties() -> Subquery:
    """Who takes part besides the meeting's own account, a row each: ``meeting_id, is_prospect, is_outside`` as 0 or 1."""
    h = _held("held_with_others")
    names_more = or_(h.c.contact_id.is_not(None), h.c.deal_id.is_not(None), h.c.lead_id.is_not(None))
    named = select(*h.c).where(names_more).cte("named_meetings")
    linked = _linked()
    party = _attendees(named, linked).subquery("attendees")
    account, span, is_it, covers, is_prospect = _known_of(party.c.account_id, party.c.at, "else")
    accounts = select(
        party.c.id.label("meeting_id"), is_prospect.label("is_prospect"), _is_outside(account).label("is_outside"),
    ).select_from(party.join(account, is_it).outerjoin(span, covers))  # fmt: skip
    lead, guest = living(entities.leads, "with_lead"), living(entities.leads, "with_linked_lead")
    m, by = named.c, linked.c
    direct = select(m.id, _is_lead(lead, m.at), literal(1)).select_from(named.join(lead, lead.c.id == m.lead_id))
    joined = linked.join(guest, and_(guest.c.id == by.object_id, by.object_type == "leads"))
    by_link = select(by.id, _is_lead(guest, by.at), literal(1)).select_from(joined)
    return union_all(accounts, direct, by_link).subquery("parties")


def _is_outside(account: FromClause) -> ColumnElement[int]:
    return case((account.c.lifecycle == "internal", 0), else_=1)


def _is_lead(lead: FromClause, at: ColumnElement[object]) -> ColumnElement[int]:
    return case((or_(lead.c.converted_at.is_(None), lead.c.converted_at >= at), 1), else_=0)


def _held(name: str) -> Subquery:
    """Meetings held that are not internal: their references, and when they were over.

    Those that have an end come first, so that a warehouse in order of time reads no others than those of the periods.
    """
    raw = living(activities, f"rows_{name}")
    r, planned = raw.c, func.coalesce(raw.c.scheduled_end, raw.c.occurred_at)
    columns = (r.id, r.source_id, r.owner_id, r.account_id, r.contact_id, r.deal_id, r.lead_id)
    conditions = (is_held(raw), func.coalesce(r.direction, "unknown") != "internal")
    over = select(*columns, r.ended_at.label("at")).where(*conditions, in_reach(r.ended_at))
    endless = select(*columns, planned).where(*conditions, r.ended_at.is_(None), in_reach(planned))
    return union_all(over, endless).subquery(name)


@cache
def meetings() -> Subquery:
    """Meetings held that are not internal: their references, ``at``, and who took part.

    ``is_prospect`` is 1 if a prospect did; ``is_known`` is 0 if nobody is named; ``is_internal`` is 1 if all of them are ours.
    """
    held, party = _held("held_meetings"), _parties()
    outside, prospect = func.max(party.c.is_outside), func.max(party.c.is_prospect)
    met = (
        select(party.c.meeting_id, prospect.label("prospect"), outside.label("outside"))
        .group_by(party.c.meeting_id)
        .subquery("met")
    )
    h = held.c
    account, span, is_it, covers, is_prospect = _known_of(h.account_id, h.at, "itself")
    is_ours = and_(account.c.id.is_not(None), is_prospect == 1)
    is_guest = or_(and_(account.c.id.is_not(None), _is_outside(account) == 1), met.c.outside == 1)
    is_nobody = and_(account.c.id.is_(None), met.c.meeting_id.is_(None))
    return (
        select(
            h.source_id, h.owner_id, h.account_id, h.at,
            case((or_(is_ours, met.c.prospect == 1), 1), else_=0).label("is_prospect"),
            case((is_nobody, 0), else_=1).label("is_known"),
            case((is_nobody, 0), (is_guest, 0), else_=1).label("is_internal"),
        )
        .select_from(held.outerjoin(account, is_it).outerjoin(span, covers).outerjoin(met, met.c.meeting_id == h.id))
        .where(h.at <= NOW)
        .subquery("meetings")
    )  # fmt: skip


def _held_with(label: str, column: str, value: int) -> Measure:
    """Meetings whose column (see :func:`meetings`) has the value."""
    c = meetings().c
    return Measure(meetings(), At(c.at), count(c[column] == value), label=label)


def _with_prospects() -> Measure:
    return _held_with("meetings with prospects", "is_prospect", 1)


def _to_sale(_params: Mapping[str, str]) -> Definition:
    won = Measure(deals, At(deals.c.closed_at), count(deals.c.state == "won"), label="won deals")
    return Definition(
        {"won": won, "meetings": _with_prospects()},
        lambda m: m.won / m.meetings,
        sample="meetings",
        remarks=lambda m: ["above 100 %: more sales than meetings with prospects"] if _exceeds(m.won, m.meetings) else [],
        optional=OPTIONAL,
    )


def _of_prospects(_params: Mapping[str, str]) -> Definition:
    return Definition(
        {
            "prospects": _with_prospects(),
            "meetings": _held_with("meetings", "is_internal", 0),
            "nameless": _held_with("meetings that name nobody", "is_known", 0),
        },
        lambda m: m.prospects / m.meetings,
        sample="meetings",
        remarks=_remarks,
        optional=(*OPTIONAL, "deals"),
    )


def _remarks(m: Values) -> list[str]:
    nameless = m["nameless"].numerator
    return [f"{nameless} meetings name no account, contact or lead: taken for meetings with customers"] if nameless else []


MEETING_TO_SALE_RATIO = Kpi(
    id="meeting_to_sale_ratio",
    name="Sales per meeting with a prospect",
    category="activity",
    unit="ratio",
    better="up",
    define=_to_sale,
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
    define=_of_prospects,
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
