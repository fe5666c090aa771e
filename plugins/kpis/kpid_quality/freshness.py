"""How old the data is."""

from __future__ import annotations

from sqlalchemy import case

from kpid.plugin import AS_OF, Definition, Kpi, Measure, Now, entities, max_, seconds_between

watermarks = entities.watermarks
AGE = case((watermarks.c.through > AS_OF, 0), else_=seconds_between(watermarks.c.through, AS_OF))
"""A source that was read just after the measuring instant, or whose clock is ahead, is as fresh as can be."""

DATA_FRESHNESS = Kpi(
    id="data_freshness",
    name="Age of the data",
    category="ops",
    unit="seconds",
    better="down",
    define=Definition(
        {"age": Measure(watermarks, Now(), max_(AGE), label="synced entities")},
        lambda m: m.age,
    ),
    period="day",
    dimensions=("source", "entity"),
    formula_text="time since the source last delivered everything; the oldest entity counts",
    why="Every other number is only as good as the last sync.",
    misleads="It speaks of the last successful read, not of whether anybody keeps the CRM up to date.",
    source="own",
    additivity="N",
    number=60,
)

KPIS = (DATA_FRESHNESS,)
