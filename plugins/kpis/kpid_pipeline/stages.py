"""How deals get from stage to stage.

The cohort of a period are the deals that entered a stage for the first time in it; they are followed until now, or for
``horizon_days``. A deal *advanced* if it entered a later stage of the same pipeline at or after that (later by the order of the
stages; won is later than everything), whatever it did afterwards. It is *lost* there if it was lost without having advanced: a
deal that fell back before it was lost is lost at the furthest stage that it reached. Everything else is undecided, so that
advanced + lost + undecided is the whole cohort. The next stage is the next one that was in use when the deal entered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Subquery, and_, case, cast, func, or_, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, Values, count, entities, living, seconds_between
from kpid_pipeline.then import deals

_WON_ORDER = 1_000_000
_DAY = 86_400
_MOST_UNDECIDED = 0.2
Columns = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]
DIMENSIONS = ("pipeline", "stage", "owner", "team", "lead_source")


def _order(stage: Columns) -> ColumnElement[int]:
    """Position in the pipeline; won comes last wherever the CRM lists it."""
    return cast(stage["sort_order"] + case((stage["state"] == "won", _WON_ORDER), else_=0), Integer)


def _visits() -> Subquery:
    """Visits of stages that are open or won, in order: ``deal_id, stage_id, pipeline_id, place_in_pipeline, entered_at``."""
    h, t = living(entities.deal_stage_history).c, living(entities.stages).c
    first = func.row_number().over(partition_by=[h.deal_id, h.stage_id], order_by=[h.valid_from, h.id])
    return (
        select(
            h.deal_id, h.stage_id, t.pipeline_id, t.state, _order(t).label("position"), h.valid_from.label("entered_at"),
            first.label("visit"),
        )
        .select_from(h.id.table.join(t.id.table, t.id == h.stage_id))
        .where(h.valid_from <= NOW, t.state.in_(["open", "won"]))
        .subquery("visits")
    )  # fmt: skip


def _entries() -> Subquery:
    """A row per deal and open stage that it entered, with what became of it.

    ``later_at``, ``next_at``, ``won_at``, ``lost_at``: when that happened; null if it did not (or not by now).
    """
    visits, d, t = _visits(), living(deals).c, living(entities.stages, "stages_then").c
    e, after = visits.alias("entry").c, visits.alias("after").c
    in_use = and_(
        or_(t.active_from.is_(None), t.active_from <= e.entered_at), or_(t.active_to.is_(None), t.active_to > e.entered_at)
    )
    ahead = and_(t.pipeline_id == e.pipeline_id, t.state.in_(["open", "won"]), _order(t) > e.position, in_use)
    following = (
        select(e.deal_id, e.stage_id, e.pipeline_id, e.position, e.entered_at, func.min(_order(t)).label("next_position"))
        .select_from(e.deal_id.table.outerjoin(t.id.table, ahead))
        .where(e.state == "open", e.visit == 1)
        .group_by(e.deal_id, e.stage_id, e.pipeline_id, e.position, e.entered_at)
        .subquery("following")
    )
    f = following.c
    went_on = and_(
        after.deal_id == f.deal_id,
        after.pipeline_id == f.pipeline_id,
        after.position > f.position,
        after.entered_at >= f.entered_at,
    )
    on_next = case((after.position == f.next_position, after.entered_at))
    won_stage = case((after.state == "won", after.entered_at))
    moved = (
        select(
            *f, func.min(after.entered_at).label("later"), func.min(on_next).label("onto_next"),
            func.min(won_stage).label("into_won"),
        )
        .select_from(following.outerjoin(after.deal_id.table, went_on))
        .group_by(*f)
        .subquery("moved")
    ).c  # fmt: skip
    is_past = or_(d.closed_at.is_(None), d.closed_at <= NOW)
    won_at = case((and_(d.state == "won", is_past), func.coalesce(d.closed_at, moved.into_won, moved.later, moved.entered_at)))
    lost_at = case((and_(d.state == "lost", is_past), func.coalesce(d.closed_at, moved.entered_at)))
    wins_next = or_(moved.next_position.is_(None), moved.next_position >= _WON_ORDER)
    columns = [d[name] for name in ("id", "source_id", "owner_id", "lead_source")]
    return (
        select(
            *columns, moved.stage_id, moved.pipeline_id, moved.entered_at,
            _earlier(moved.later, won_at).label("later_at"),
            case((wins_next, _earlier(moved.onto_next, won_at)), else_=moved.onto_next).label("next_at"),
            won_at.label("won_at"), lost_at.label("lost_at"),
        )
        .select_from(moved.deal_id.table.join(d.id.table, d.id == moved.deal_id))
        .subquery("stage_entries")
    )  # fmt: skip


def _earlier(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((or_(other.is_(None), one <= other), one), else_=other)


ENTRIES = _entries()


def _within(instant: ColumnElement[Any], days: int) -> ColumnElement[bool]:
    """Whether something happened, and in time."""
    if not days:
        return instant.is_not(None)
    return and_(instant.is_not(None), seconds_between(ENTRIES.c.entered_at, instant) <= days * _DAY)


def _number(label: str, where: ColumnElement[bool] | None = None) -> Measure:
    return Measure(ENTRIES, At(ENTRIES.c.entered_at), count(where), label=label)


def _passed(params: Mapping[str, str], days: int) -> tuple[ColumnElement[bool], ColumnElement[bool] | None]:
    """What counts as having advanced, and which deals are looked at (None: all)."""
    c = ENTRIES.c
    is_later = _within(c.later_at, days)
    if params["step"] == "won":
        return _within(c.won_at, days), None
    if params["step"] == "any_later" or params["skip"] == "credit":
        return is_later, None
    is_direct = and_(_within(c.next_at, days), c.next_at == c.later_at)
    if params["skip"] == "strict":
        return is_direct, None
    return is_direct, or_(func.coalesce(is_later, False).is_(False), and_(c.next_at.is_not(None), c.next_at == c.later_at))


def _definition(measures: Mapping[str, Measure], name: str, days: int) -> Definition:
    def undecided(m: Values) -> float:
        return float((m.undecided.exact or 0) / (m.entered.exact or 1))

    def doubts(m: Values) -> str | None:
        share = undecided(m)
        return f"{share:.0%} of the deals are undecided yet" if not days and share > _MOST_UNDECIDED else None

    def remarks(m: Values) -> Sequence[str]:
        return [f"undecided: {m.undecided.value} of {m.entered.value} deals ({undecided(m):.1%})"] if m.undecided.value else []

    return Definition(
        measures,
        lambda m: m[name] / m.entered,
        "entered",
        horizon=timedelta(days=days) if days else None,
        doubts=doubts,
        remarks=remarks,
    )


def _conversion(params: Mapping[str, str]) -> Definition:
    c, days = ENTRIES.c, int(params["horizon_days"])
    passed, looked_at = _passed(params, days)
    goal = c.won_at if params["step"] == "won" else c.later_at
    undecided = and_(~_within(goal, days), ~_within(c.lost_at, days)) if not days else and_(goal.is_(None), c.lost_at.is_(None))
    measures = {
        "passed": _number("deals that went on", passed),
        "entered": _number("deals that entered a stage", looked_at),
        "undecided": _number("undecided deals", undecided),
    }
    return _definition(measures, "passed", days)


def _loss(params: Mapping[str, str]) -> Definition:
    c, days = ENTRIES.c, int(params["horizon_days"])
    advanced, lost = _within(c.later_at, days), _within(c.lost_at, days)
    measures = {
        "lost": _number("lost deals", and_(lost, ~advanced)),
        "entered": _number("deals that entered a stage"),
        "undecided": _number("undecided deals", and_(c.later_at.is_(None), c.lost_at.is_(None))),
    }
    return _definition(measures, "lost", days)


_HORIZON = Param.number("0", "Follow each deal for so many days; 0: until now.", least=0)

STAGE_CONVERSION_RATE = Kpi(
    id="stage_conversion_rate",
    name="Stage conversion",
    category="pipeline",
    unit="ratio",
    better="up",
    define=_conversion,
    period="quarter",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "step": Param(("next", "any_later", "won"), "What counts: the next stage, any later one, or being won."),
        "skip": Param(
            ("credit", "strict", "exclude"),
            "Deals that jump over the next stage: they passed; they did not; or they are left out on both sides.",
        ),
        "horizon_days": _HORIZON,
    },
    formula_text="deals that later entered the next stage / deals that first entered a stage in the period",
    why="Where in the pipeline deals get stuck.",
    misleads="Young cohorts have many undecided deals; moves that somebody dates back change old figures.",
    source="HubSpot funnel reports (next step and cumulative conversion); EasyERP",
    additivity="C",
    requires=("deal_stage_history",),
    number=13,
)

STAGE_LOSS_RATE = Kpi(
    id="stage_loss_rate",
    name="Loss per stage",
    category="pipeline",
    unit="ratio",
    better="down",
    define=_loss,
    period="quarter",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"horizon_days": _HORIZON},
    formula_text="deals lost without getting further / deals that first entered a stage in the period",
    why="At which stage buyers say no.",
    misleads="A stage where nobody closes lost deals looks good: look at the undecided share.",
    source="EasyERP, 7 essential CRM metrics (success and failure at every stage)",
    additivity="C",
    requires=("deal_stage_history",),
    number=14,
)

KPIS = (STAGE_CONVERSION_RATE, STAGE_LOSS_RATE)
