"""How long deals stay in a stage: elapsed days, of visits that are over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Double, Subquery, and_, case, cast, func, or_, select

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, Values, count, entities, living, mean, quantile, seconds_between
from kpid_pipeline.then import deals

_DAY = 86_400
DIMENSIONS = (
    "owner", "team", "region", "pipeline", "stage", "product", "lead_source", "segment", "account", "currency", "deal_type",
    "source",
)  # fmt: skip


def _ended() -> Subquery:
    """Visits of open stages that are over; ``back`` 1: the deal's latest of this stage; ``total_s``: all of them together."""
    h, t, d = living(entities.deal_stage_history).c, living(entities.stages).c, living(deals).c
    visit = (
        select(
            h.deal_id, h.stage_id, func.coalesce(t.pipeline_id, h.pipeline_id).label("pipeline_id"), h.valid_to.label("ended_at"),
            h.id.label("visit_id"), seconds_between(h.valid_from, h.valid_to).label("seconds"),
        )
        .select_from(h.id.table.outerjoin(t.id.table, t.id == h.stage_id))
        .where(h.valid_from.is_not(None), h.valid_to <= NOW, or_(t.state.is_(None), t.state == "open"))
        .subquery("ended_visits_all")
        .c
    )  # fmt: skip
    same = [visit.deal_id, visit.stage_id, visit.seconds >= 0]
    back = func.row_number().over(partition_by=same, order_by=[visit.ended_at.desc(), visit.visit_id.desc()])
    total = func.sum(case((visit.seconds >= 0, visit.seconds))).over(partition_by=same)
    every = select(*visit, back.label("back"), total.label("total_s")).subquery("ended_visits").c
    kept = ("id", "source_id", "owner_id", "account_id", "product", "region", "lead_source", "currency", "deal_type", "extra")
    columns = [every[name] for name in ("stage_id", "pipeline_id", "ended_at", "seconds", "back", "total_s")]
    return (
        select(*(d[name] for name in kept), *columns)
        .select_from(every.deal_id.table.join(d.id.table, d.id == every.deal_id))
        .subquery("stage_visits")
    )


VISITS = _ended()


def _dwell(params: Mapping[str, str]) -> Definition:
    c, clock = VISITS.c, At(VISITS.c.ended_at)
    seconds = c.total_s if params["visit"] == "cumulative" else c.seconds
    days = cast(seconds, Double) / _DAY
    where = and_(c.seconds >= 0, *([] if params["visit"] == "every" else [c.back == 1]))
    agg = mean(days, where) if params["stat"] == "mean" else quantile(0.5, days, where)
    measures = {
        "days": Measure(VISITS, clock, agg, label="visits of a stage"),
        "negative": Measure(VISITS, clock, count(c.seconds < 0), label="visits"),
    }
    return Definition(measures, lambda m: m.days, "days", remarks=_remarks)


def _remarks(m: Values) -> Sequence[str]:
    return [f"{m.negative.value} visits left out: they end before they begin"] if m.negative.value else []


STAGE_DWELL_DAYS = Kpi(
    id="stage_dwell_days",
    name="Time in stage",
    category="pipeline",
    unit="days",
    better="down",
    define=_dwell,
    period="quarter",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={
        "visit": Param(
            ("latest", "cumulative", "every"), "A deal's latest visit of a stage, all its visits together, or each for itself."
        ),
        "stat": Param(("median", "mean"), "The visit in the middle, or the mean."),
    },
    formula_text="days from entering a stage to leaving it, over visits that ended in the period",
    why="Where deals wait.",
    misleads="Deals that are still in the stage are not in it: the ones that wait longest.",
    source="HubSpot stage properties (latest and cumulative time); ClosingDealz leaves out unfinished visits too",
    additivity="N",
    requires=("deal_stage_history",),
    number=15,
)

KPIS = (STAGE_DWELL_DAYS,)
