"""Leads: how many come, and how many become opportunities and customers.

A lead was converted when the CRM says so (``converted_at``), whatever came of it later. It counts as a *customer* unless it is
known not to be one: if the deal it became is there, that deal has to be won; else, if its account is there and says what it is,
the account has to be a customer; else the conversion itself is taken for it. It counts as an *opportunity* if it became a deal,
or if the CRM does not say what it became.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, case, or_, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, Values, count, entities, living, seconds_between

leads = entities.leads
DAY_S = 86_400
DIMENSIONS = ("lead_source", "campaign", "owner", "team", "region")
TO = Param(("customer", "opportunity"), "What a lead has to become.")
DISQUALIFIED = Param(("false", "true"), "Leave out leads that were found not to be any.")


def _deals_of_leads() -> Subquery:
    """Deals that leads became: ``lead_id, id, state, closed_at``. Where no lead names one, no deal is looked at."""
    lead, d = leads.alias("lead_with_deal").c, living(entities.deals, "lead_deal").c
    joined = d.id.table.join(lead.id.table, lead.converted_deal_id == d.id)
    named = select(lead.id.label("lead_id"), d.id, d.state, d.closed_at).select_from(joined)
    return named.where(lead.converted_deal_id.is_not(None)).subquery("deals_of_leads")


def _leads() -> Subquery:
    """The leads that count, with what became of them: ``is_customer``, ``is_opportunity`` (1 or 0), ``is_orphan``."""
    lead = living(leads, "lead")
    deal, account = _deals_of_leads(), living(entities.accounts, "lead_account")
    of, d, a = lead.c, deal.c, account.c
    is_won = and_(d.state == "won", or_(d.closed_at.is_(None), d.closed_at <= NOW))
    is_account = case((a.became_customer_at.is_not(None), _flag(a.became_customer_at <= NOW)), else_=_customer(a.lifecycle))
    says = or_(a.became_customer_at.is_not(None), a.lifecycle.is_not(None))
    is_customer = case((d.id.is_not(None), _flag(is_won)), (says, is_account), else_=1)
    names = or_(of.converted_account_id.is_not(None), of.converted_contact_id.is_not(None))
    is_opportunity = case((of.converted_deal_id.is_not(None), 1), (names, 0), else_=1)
    kept = (
        of.id, of.source_id, of.owner_id, of.lead_source, of.campaign, of.region, of.status, of.created_at, of.converted_at,
        of.qualified_at, of.disqualified_at,
    )  # fmt: skip
    return (
        select(
            *kept,
            is_customer.label("is_customer"),
            is_opportunity.label("is_opportunity"),
            _flag(and_(of.converted_deal_id.is_not(None), d.id.is_(None))).label("is_orphan"),
        )
        .select_from(lead.outerjoin(deal, d.lead_id == of.id).outerjoin(account, a.id == of.converted_account_id))
        .subquery("leads_and_fate")
    )


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _customer(lifecycle: ColumnElement[str]) -> ColumnElement[int]:
    return _flag(lifecycle.in_(["customer", "former"]))


LEADS = _leads()
CREATED, CONVERTED = At(LEADS.c.created_at), At(LEADS.c.converted_at)
_KEPT = or_(LEADS.c.disqualified_at.is_(None), LEADS.c.disqualified_at > NOW)


def _became(to: str) -> ColumnElement[bool]:
    column = LEADS.c.is_customer if to == "customer" else LEADS.c.is_opportunity
    return and_(LEADS.c.converted_at <= NOW, column == 1)


LEADS_CREATED = Kpi(
    id="leads_created",
    name="New leads",
    category="pipeline",
    unit="count",
    better="up",
    define=Definition({"leads": Measure(leads, At(leads.c.created_at), count(), label="leads")}, lambda m: m.leads),
    period="week",
    dimensions=("lead_source", "campaign", "owner", "team", "region", "status", "source"),
    formula_text="leads created in the period",
    why="Demand before sales has touched it.",
    misleads="A bought list or a trade fair makes a spike that never becomes a deal.",
    source="base measure",
    additivity="A",
)


def _orphans(m: Values) -> Sequence[str]:
    number = int(m.orphans.numerator or 0)
    return [f"{number} converted leads name a deal that is not there: counted as the CRM says"] if number else []


def _leads_converted(params: Mapping[str, str]) -> Definition:
    became = _became(params["to"])
    orphans = and_(became, LEADS.c.is_orphan == 1)
    return Definition(
        {
            "converted": Measure(LEADS, CONVERTED, count(became), label="converted leads"),
            "orphans": Measure(LEADS, CONVERTED, count(orphans), label="converted leads without their deal"),
        },
        lambda m: m.converted,
        remarks=_orphans,
        optional=("deals", "accounts"),
    )


LEADS_CONVERTED = Kpi(
    id="leads_converted",
    name="Converted leads",
    category="marketing",
    unit="count",
    better="up",
    define=_leads_converted,
    dimensions=("lead_source", "campaign", "owner", "team", "region", "status", "source"),
    params={"to": TO},
    formula_text="leads turned into customers (or opportunities), by the time they were converted",
    why="What marketing's work hands over to sales, and what sales makes of it.",
    misleads="A lead counts when it was converted, even where the sale came months later and from leads of another year.",
    source="base measure; called closing rate in some texts",
    additivity="A",
)


def _lead_conversion(params: Mapping[str, str]) -> Definition:
    kept = _KEPT if params["exclude_disqualified"] == "true" else None
    became = _became(params["to"]) if kept is None else and_(_became(params["to"]), kept)
    created = Measure(LEADS, CREATED, count(kept), label="leads")
    if params["mode"] == "period":
        converted = Measure(LEADS, CONVERTED, count(became), label="converted leads")
        return Definition(
            {"converted": converted, "leads": created},
            lambda m: m.converted / m.leads,
            sample="leads",
            remarks=_above_one,
            optional=("deals", "accounts"),
        )
    days = int(params["horizon_days"])
    in_time = seconds_between(LEADS.c.converted_at, LEADS.c.created_at) >= -days * DAY_S  # rounds down: exact at the bound
    return Definition(
        {"converted": Measure(LEADS, CREATED, count(and_(became, in_time)), label="converted leads"), "leads": created},
        lambda m: m.converted / m.leads,
        sample="leads",
        horizon=timedelta(days=days),
        optional=("deals", "accounts"),
    )


def _above_one(m: Values) -> Sequence[str]:
    rate = (m.converted / m.leads).exact
    return ["above 100 %: more leads were converted than came; most of them are older"] if rate is not None and rate > 1 else []


LEAD_CONVERSION_RATE = Kpi(
    id="lead_conversion_rate",
    name="Lead-to-customer conversion",
    category="sales",
    unit="ratio",
    better="up",
    define=_lead_conversion,
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "to": TO,
        "horizon_days": Param.number("90", "How many days a lead has to be converted in (cohort).", least=0),
        "mode": Param(("cohort", "period"), "Follow the leads of the period, or divide what happened in it."),
        "exclude_disqualified": DISQUALIFIED,
    },
    formula_text="of the leads created in the period, the share converted within horizon_days; mode=period: leads converted in "
    "the period / leads created in it",
    why="How good the leads are, source by source.",
    misleads="Young cohorts look worse than old ones until the horizon is over; mode=period can pass 100 % when leads fall off.",
    source="named by several guides; Baremetrics moved from sliding windows to comparing cohorts",
    additivity="C",
    degrades={"merges": "Where merges are not told, a lead that was entered twice counts twice."},
    number=4,
)


def _mql_to_sql(params: Mapping[str, str]) -> Definition:
    days = int(params["horizon_days"])
    c = LEADS.c
    qualified = and_(c.qualified_at <= NOW, seconds_between(c.qualified_at, c.created_at) >= -days * DAY_S)
    return Definition(
        {
            "qualified": Measure(LEADS, CREATED, count(qualified), label="qualified leads"),
            "leads": Measure(LEADS, CREATED, count(), label="leads"),
        },
        lambda m: m.qualified / m.leads,
        sample="leads",
        horizon=timedelta(days=days),
        optional=("deals", "accounts"),
    )


MQL_TO_SQL_RATE = Kpi(
    id="mql_to_sql_rate",
    name="Leads qualified by sales",
    category="marketing",
    unit="ratio",
    better="up",
    define=_mql_to_sql,
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"horizon_days": Param.number("90", "How many days a lead has to be qualified in.", least=0)},
    formula_text="of the leads created in the period, the share that sales qualified within horizon_days",
    why="Whether marketing and sales mean the same by a good lead.",
    misleads="Sales qualifies faster when the pipeline is empty: the rate speaks of sales as much as of the leads.",
    source="reserve list of the catalogue",
    additivity="C",
)

KPIS = (LEADS_CREATED, LEADS_CONVERTED, LEAD_CONVERSION_RATE, MQL_TO_SQL_RATE)
