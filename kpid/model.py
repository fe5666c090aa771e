"""Value types that several packages share. Frozen, no I/O.

Instants are aware datetimes in UTC. Counts are ints; money and ratios are ``Decimal``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

Params: TypeAlias = Mapping[str, str]
"""Parameters of a KPI by name, e.g. ``{"as": "count"}``; empty for the defaults."""


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span of time ``[start, end)`` of a given kind.

    ``kind`` is a period specification as in YAML (``day``, ``week``, ``month``, ``quarter``, ``year``, ``fiscal_quarter``,
    ``fiscal_year``, ``rolling_90d``, ``mtd`` ...); ``label`` is what people read (``2017-W50``, ``2017-12``, ``FY2018-Q1``).
    """

    kind: str
    start: datetime
    end: datetime
    label: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One value of one dimension. ``id`` is None for "no value" (a deal without an owner)."""

    dimension: str
    id: str | None
    name: str | None = None

    @property
    def label(self) -> str:
        """What people read."""
        return self.name or self.id or f"no {self.dimension}"


Dims: TypeAlias = tuple[Segment, ...]
"""The segment of a measurement: one Segment per dimension, sorted by dimension; empty for the total."""


def segment_key(dims: Dims) -> str:
    """The identity of a segment: canonical JSON of ``{dimension: id}``. Names are not part of it."""
    return canonical_json({segment.dimension: segment.id for segment in dims})


def segment_label(dims: Dims) -> str:
    """What people read: ``Ada Example, EMEA``; ``all`` for the total."""
    return ", ".join(segment.label for segment in dims) or "all"


class MeasurementState(StrEnum):
    """How far a measurement can be trusted. If several hold, the first of this order wins (kpis.md B0)."""

    ERROR = "error"
    STALE = "stale"
    INCOMPLETE = "incomplete"
    UNDEFINED = "undefined"
    INSUFFICIENT_SAMPLE = "insufficient_sample"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One KPI value for one segment and one period, with what is needed to judge it.

    ``value`` is None when undefined: never 0 in its place. For ratios ``numerator / denominator == value`` (times 100 for
    scores); roll-ups add numerators and denominators. ``n`` is the sample size. ``data_through`` says up to when the sources
    had delivered. ``reason`` explains any state but ``ok``.
    """

    kpi: str
    period: Period
    state: MeasurementState
    value: Decimal | None
    n: int
    dims: Dims = ()
    params: tuple[tuple[str, str], ...] = ()
    numerator: Decimal | None = None
    denominator: Decimal | None = None
    currency: str | None = None
    as_of: datetime | None = None
    data_through: datetime | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()
    low: Decimal | None = None
    high: Decimal | None = None
    """The 95 % interval of ``value``, where there is one."""


@dataclass(frozen=True, slots=True)
class SeriesNeed:
    """A family of measurements that a rule or report wants kept in history: one KPI, one cut, one period kind.

    ``by`` are dimension names; ``where`` restricts to segments ``((dimension, (id or name, ...)), ...)``; ``periods`` is how
    many complete periods back the history shall reach.
    """

    kpi: str
    period: str
    by: tuple[str, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    periods: int = 13

    @property
    def key(self) -> str:
        """Identity of the family in the history table (``periods`` is not part of it)."""
        return canonical_json(
            {
                "kpi": self.kpi,
                "period": self.period,
                "by": sorted(self.by),
                "params": dict(self.params),
                "where": {name: sorted(values) for name, values in self.where},
            }
        )


class Level(StrEnum):
    """How bad a breach is."""

    NONE = "none"
    WARN = "warn"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: higher is worse."""
        return ("none", "warn", "critical").index(self.value)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``kpid check`` or ``kpid doctor``: something looked at, and what to do if it is not well."""

    subject: str
    ok: bool
    text: str
    hint: str = ""
    where: str = ""
    warning: bool = False
    """Not well, but nothing that stops kpid: said, and not counted as a failure."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What one segment contributed to the change of a KPI: ``effect == rate + mix``, in the KPI's own unit.

    ``value`` and ``value_was`` are the segment's own figures, on samples of ``n`` and ``n_was``; None where it was not there.
    ``weight`` is its share of what a ratio divides by; None for KPIs that are no ratio. ``score`` is the effect in standard
    errors: below 2 it may be chance.
    """

    dimension: str
    segment: str
    effect: Decimal
    rate: Decimal
    mix: Decimal
    value: Decimal | None
    value_was: Decimal | None
    n: int
    n_was: int
    score: float
    weight: Decimal | None = None
    weight_was: Decimal | None = None
    is_aim: bool = False
    """``value_was`` is what it should have been, not what it was."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The records behind a count, as texts for people: ``rows`` of ``columns``, the first of ``total``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int


@dataclass(frozen=True, slots=True)
class NoticeItem:
    """What a notice says of one series: the event, and the figures that people need to judge it.

    ``threshold`` is the condition as written (``< 40%``), ``limit`` its number; ``previous`` the value one period earlier, or
    what the condition compared with. ``since`` labels the first bad period. ``reason`` is a sentence.
    """

    kind: str
    series_key: str
    segment: str
    level: Level
    episode: int
    value: Decimal | None
    n: int
    threshold: str
    limit: Decimal | None
    previous: Decimal | None
    previous_label: str
    since: str
    reason: str
    warnings: tuple[str, ...] = ()
    low: Decimal | None = None
    high: Decimal | None = None
    """The 95 % interval of ``value``, where there is one."""
    causes: tuple[Cause, ...] = ()
    """What moved the value away from ``moved_from``, the surest first; empty where that cannot be said."""
    event_id: int = 0
    """The episode's number for people (``kpid alerts show 17``); 0 where there is none yet."""
    dims: tuple[tuple[str, str | None], ...] = ()
    """The segment's ids by dimension, for routes and silences."""
    p: float | None = None
    """How often chance alone would give this; None where that was not asked."""
    baseline: Decimal | None = None
    """What is usual: the value compared with, over the periods that ``baseline_label`` names."""
    baseline_label: str = ""
    effect: Decimal | None = None
    """How far the value is from the baseline, relative to it."""
    compared: str = ""
    """What it was compared with, in words: ``average of 8 weeks``."""
    held: str = ""
    """Why people hear of it only now: ``held back by window office until ...``."""
    handling: str = ""
    """Who has taken it up: ``acknowledged by ada until 5 Dec``."""
    trail: tuple[tuple[str, Decimal | None], ...] = ()
    """The newest periods' labels and values, oldest first, for a chart; at most 14."""
    rows: Rows | None = None
    moved_from: str = ""
    """What the causes explain the distance from: ``the average of 8 weeks``; empty: from ``previous``."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one receiver is told of one rule at one slot: one or more series, all facts, no formatting."""

    rule: str
    kpi: str
    kpi_name: str
    unit: str
    currency: str | None
    better: str
    definition: str
    by: tuple[str, ...]
    period: str
    items: tuple[NoticeItem, ...]
    slot: datetime
    data_through: datetime | None
    now: datetime
    summary: str | None = None
    runbook: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    found_late: bool = False
    kind: str = "alert"
    """``alert``, or ``health`` for a notice about the rule's own data."""
    period_label: str = ""
    """The newest period that was judged (``2017-12``); ``period`` is its kind."""
    sample: str = "records"
    """What an item's ``n`` counts, in the plural: ``closed deals``."""
    uid: str = ""
    """The rule's identity in the store."""
