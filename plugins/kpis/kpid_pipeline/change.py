"""What became of the pipeline between the start of a period and its end: added, re-opened, changed in value, won, lost.

Each deal that is open at one of the two instants is in one part, so that start + parts = end. A deal that came and went in
between is in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Subquery, and_, case, func, or_, select, union_all

from kpid.plugin import PERIODS, Definition, InPeriod, Kpi, Measure, Param, count, living, sum_
from kpid_pipeline.balances import remarks
from kpid_pipeline.then import COLUMNS, DEGRADES, DIMENSIONS, MISSING_FX, OPEN, OPTIONAL, deals, open_deals, state_at, states

PARTS = ("added", "reopened", "changed", "won", "lost", "gone")
_NOT_OF_ONE_INSTANT = ("stage", "currency")


def _changes() -> Subquery:
    """A row per period and deal: ``part``, ``delta`` in the reporting currency, ``lacks`` and ``is_known``."""
    before, now, p = open_deals(at_start=True), OPEN, PERIODS.c
    b, n, d = before.c, now.c, living(deals, "left_deals").c
    both = and_(b.no == n.no, b.id == n.id)
    is_new = or_(n.created_at.is_(None), n.created_at >= p.starts)
    part = case((b.id.is_not(None), "changed"), (is_new, "added"), else_="reopened")
    delta = func.coalesce(n.value, 0) - func.coalesce(b.was_worth, 0)
    there = (
        select(n.no, *(n[name] for name in COLUMNS), part.label("part"), delta.label("delta"))
        .add_columns(or_(n.value_lacks, func.coalesce(b.was_worth_lacks, False)).label("lacks"), n.is_known)
        .select_from(now.join(PERIODS, p.no == n.no).outerjoin(before, both))
    )
    fate = func.coalesce(states().c.state, d.state)
    left = case((fate.in_(["won", "lost"]), fate), else_="gone")
    gone = (
        select(b.no, *(b[name] for name in COLUMNS), left, -func.coalesce(b.was_worth, 0), b.was_worth_lacks, b.is_known)
        .select_from(
            before.join(PERIODS, p.no == b.no)
            .join(d.id.table, d.id == b.id)
            .outerjoin(now, both)
            .outerjoin(states(), state_at(p.until, b.id))
        )
        .where(n.id.is_(None))
    )
    return union_all(there, gone).subquery("pipeline_changes")


CHANGES = _changes()


def _change(params: Mapping[str, str]) -> Definition:
    c, clock, part = CHANGES.c, InPeriod(CHANGES.c.no), params["part"]
    of_part: list[ColumnElement[Any]] = [] if part == "net" else [c.part == part]
    return Definition(
        {
            "change": Measure(CHANGES, clock, sum_(c.delta, and_(c.is_known, *of_part)), lacks=c.lacks, label="deals"),
            "unknown": Measure(CHANGES, clock, count(c.is_known.is_(False)), label="open deals"),
        },
        lambda m: m.change,
        remarks=remarks(),
        optional=OPTIONAL,
    )


PIPELINE_CHANGE = Kpi(
    id="pipeline_change",
    name="Change of the pipeline",
    category="pipeline",
    unit="currency",
    better="up",
    define=_change,
    dimensions=tuple(name for name in DIMENSIONS if name not in _NOT_OF_ONE_INSTANT),
    params={
        "part": Param(("net", *PARTS), "All of it, or one part; what leaves the pipeline is negative."),
        "missing_fx": MISSING_FX,
    },
    formula_text="open at the end - open at the start of the period = added + reopened + changed + won + lost + gone",
    why="Says why the pipeline is larger or smaller: by new deals, by other amounts, or because deals were decided.",
    misleads="A deal that was created and decided within the period is in no part; exchange rates are among the changed.",
    source="Salesforce pipeline inspection (waterfall)",
    additivity="S",
    degrades=DEGRADES,
)

KPIS = (PIPELINE_CHANGE,)
