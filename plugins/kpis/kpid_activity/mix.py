"""What salespeople spend their activities on."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, func

from kpid.plugin import At, Definition, Kpi, Measure, Param, count, entities

activities = entities.activities


def _activity_mix(params: Mapping[str, str]) -> Definition:
    c = activities.c
    done = and_(func.coalesce(c.status, "completed") == "completed", func.coalesce(c.is_automated, False).is_(False))
    clock = At(c.occurred_at)
    measures = {
        "some": Measure(
            activities, clock, count(and_(done, c.type == params["type"])), label=f"activities of type {params['type']}"
        ),
        "all": Measure(activities, clock, count(done), label="activities"),
    }
    return Definition(measures, lambda m: m.some / m["all"], sample="all")


ACTIVITY_MIX = Kpi(
    id="activity_mix",
    name="Share of a kind of activity",
    category="activity",
    unit="ratio",
    better="none",
    define=_activity_mix,
    min_sample=30,
    dimensions=("owner", "team", "region", "account", "segment", "industry", "country", "direction", "source"),
    params={"type": Param(("call", "meeting", "email", "task", "note", "message"), "Which kind.")},
    formula_text="completed activities of the type / all completed activities that a person did, by the time they took place",
    why="Shows time moving from customers to administration.",
    misleads="Counts, not hours: a meeting weighs no more than a note.",
    source="own",
    additivity="R",
)

KPIS = (ACTIVITY_MIX,)
