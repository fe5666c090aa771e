"""E-mails sent, and what became of them: every later event is credited to the send.

A send is one message to one recipient: further rows of the same two are the same send (tried again), from the first on. It was
*delivered* if a try has ``delivered_at`` and did not bounce, *bounced* if a try bounced and none was delivered. An open counts
as a person's unless all opens are known to be made by machines (privacy proxies); clicks likewise. Connectors leave clicks on
unsubscribe links out of ``click_count`` and ``first_click_at``.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, func, literal, not_, or_, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import NOW, At, Definition, Kpi, Measure, count, entities, living

DIMENSIONS = ("campaign", "channel", "message_id", "source")


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _happened(instant: ColumnElement[object]) -> ColumnElement[bool]:
    return func.coalesce(instant <= NOW, literal(0) == 1)


def _tries() -> Subquery:
    """The rows that count, with flags for what has happened by now."""
    e = living(entities.email_sends, "email_try").c
    opens, machines = func.coalesce(e.open_count, 1), func.coalesce(e.machine_open_count, 0)
    clicks, bots = func.coalesce(e.click_count, 1), func.coalesce(e.bot_click_count, 0)
    bounced, opened = _happened(e.bounced_at), _happened(e.first_open_at)
    clicked = and_(_happened(e.first_click_at), or_(bots == 0, clicks > bots))
    human = and_(opened, or_(machines == 0, opens > machines))
    return select(
        e.source_id, e.campaign_id, e.message_id, e.sent_at,
        func.coalesce(e.message_id, e.id).label("mailing"),
        func.coalesce(e.recipient_id, e.id).label("recipient"),
        _flag(and_(_happened(e.delivered_at), not_(bounced))).label("delivered"),
        _flag(bounced).label("bounced"),
        _flag(and_(bounced, e.bounce_kind == "hard")).label("hard"),
        _flag(and_(bounced, e.bounce_kind == "soft")).label("soft"),
        _flag(opened).label("opened"),
        _flag(human).label("opened_by_person"),
        _flag(and_(opened, e.machine_open_count.is_(None))).label("unflagged"),
        case((and_(opened, opens > 0), opens), else_=0).label("opens"),
        case((and_(human, opens > 0), opens - machines), else_=0).label("opens_by_person"),
        _flag(clicked).label("clicked"),
        _flag(_happened(e.unsubscribed_at)).label("unsubscribed"),
    ).subquery("email_tries")  # fmt: skip


def _sends() -> Subquery:
    """One row per message and recipient."""
    tries = _tries()
    t = tries.c
    most = [
        func.max(t[name]).label(name)
        for name in ("delivered", "bounced", "hard", "soft", "opened", "opened_by_person", "unflagged", "clicked", "unsubscribed")
    ]
    totals = [func.sum(t[name]).label(name) for name in ("opens", "opens_by_person")]
    sends = select(
        t.source_id,
        func.max(t.campaign_id).label("campaign_id"),
        func.max(t.message_id).label("message_id"),
        func.min(t.sent_at).label("sent_at"),
        *most,
        *totals,
    )
    sent = sends.group_by(t.source_id, t.mailing, t.recipient).subquery("email_merged")
    campaign = living(entities.campaigns, "email_campaign")
    s, of = sent.c, campaign.c
    name = func.coalesce(of.name, s.campaign_id).label("campaign")
    return (
        select(*s, name, of.channel).select_from(sent.outerjoin(campaign, of.id == s.campaign_id)).subquery("email_sends_merged")
    )


SENDS = _sends()
C = SENDS.c
SENT = At(C.sent_at)
DELIVERED = C.delivered == 1
BOUNCED = and_(C.bounced == 1, C.delivered == 0)


def sends_where(where: ColumnElement[bool] | None, label: str) -> Measure:
    """Number of sends that something holds for."""
    return Measure(SENDS, SENT, count(where), label=label)


def _base(id_: str, name: str, where: ColumnElement[bool] | None, label: str, why: str, misleads: str) -> Kpi:
    return Kpi(
        id=id_,
        name=name,
        category="marketing",
        unit="count",
        better="none",
        define=Definition({"mails": sends_where(where, label)}, lambda m: m.mails, optional=("campaigns",)),
        dimensions=DIMENSIONS,
        formula_text=f"{label}, by the time they were sent; once per message and recipient",
        why=why,
        misleads=misleads,
        source="base measure",
        additivity="A",
    )


KPIS = (
    _base("emails_sent", "E-mails sent", None, "mails", "What all rates of mails stand on.", "More mails wear out the list."),
    _base(
        "emails_delivered", "E-mails delivered", DELIVERED, "delivered mails",
        "Who could have read it.", "Delivered into the spam folder is delivered.",
    ),
    _base(
        "emails_opened_unique", "E-mails opened", C.opened == 1, "opened mails",
        "Who looked at it.", "Mail programs open by themselves since September 2021; who reads without pictures is missing.",
    ),
    _base(
        "emails_clicked_unique", "E-mails clicked", C.clicked == 1, "clicked mails",
        "Who wanted to know more.", "Security scanners click links too, and not every source tells them apart.",
    ),
    _base(
        "emails_bounced", "E-mails bounced", BOUNCED, "bounced mails",
        "Addresses that do not work any more.", "One bad import makes a month look ill.",
    ),
    _base(
        "emails_unsubscribed", "Unsubscribes from e-mails", C.unsubscribed == 1, "unsubscribes",
        "Who has had enough, mail by mail.", "Who stops reading without unsubscribing is missing.",
    ),
)  # fmt: skip
