"""How often closing dates are put off."""

from __future__ import annotations

from sqlalchemy import Subquery, and_, func, or_, select

from kpid.plugin import PERIODS, Definition, During, InPeriod, Kpi, Measure, count, date_of, living
from kpid_pipeline.then import COLUMNS, DIMENSIONS, deals, spans


def _pushed() -> Subquery:
    """A row per period and deal that was open when its expected closing date was moved to a later day.

    A date that is entered for the first time, or again after none, is not moved; nor is one that is brought forward.
    """
    h, p, d = spans("expected_close_date").c, PERIODS.c, living(deals).c
    before = func.lag(h.value).over(partition_by=h.deal_id, order_by=h.valid_from)
    moves = select(h.deal_id, h.valid_from, h.value, before.label("before")).subquery("closing_dates").c
    was_open = or_(d.closed_at >= moves.valid_from, and_(d.closed_at.is_(None), d.state == "open"))
    found = (
        select(p.no, d.id)
        .select_from(moves.deal_id.table.join(d.id.table, d.id == moves.deal_id))
        .join(PERIODS, and_(moves.valid_from >= p.starts, moves.valid_from < p.until))
        .where(date_of(moves.value) > date_of(moves.before), d.created_at <= moves.valid_from, was_open)
        .distinct()
        .subquery("pushes")
        .c
    )
    of = living(deals, "pushed_deals_all").c
    columns = [of[name] for name in (*COLUMNS, "stage_id", "currency")]
    return select(found.no, *columns).select_from(found.no.table.join(of.id.table, of.id == found.id)).subquery("pushed_deals")


PUSHED = _pushed()

CLOSE_DATE_PUSH_RATE = Kpi(
    id="close_date_push_rate",
    name="Closing dates put off",
    category="pipeline",
    unit="ratio",
    better="down",
    define=Definition(
        {
            "pushed": Measure(PUSHED, InPeriod(PUSHED.c.no), count(), label="deals that were put off"),
            "open": Measure(
                deals,
                During(deals.c.created_at, deals.c.closed_at, deals.c.state == "open"),
                count(),
                label="deals that were open",
            ),
        },
        lambda m: m.pushed / m.open,
        sample="open",
    ),
    period="month",
    min_sample=30,
    dimensions=DIMENSIONS,
    formula_text="deals whose expected closing date was moved to a later day in the period / deals that were open in it",
    why="A date that moves every month is a wish: forecasts and coverage are made of these dates.",
    misleads="A day counts like a year, and a deal once, however often it is put off. Deals without a date cannot be put off, "
    "and make the share smaller.",
    source="own",
    additivity="R",
    requires=("deal_field_history",),
)

KPIS = (CLOSE_DATE_PUSH_RATE,)
