"""KPIs and custom fields that are written in the configuration. What the texts mean is read in :mod:`kpid.metrics.written`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kpid.config.times import Curve, TargetText
from kpid.config.values import DurationText, Model, Names, Number

FieldName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z_]+\.[A-Za-z_][A-Za-z0-9_]{0,62}$")]
"""``deals.tier``: the table, and what the field is called in kpid."""
FieldType: TypeAlias = Literal["text", "number", "boolean", "date", "instant"]
Ends: TypeAlias = Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
"""Start and end of an interval."""


def _counted(value: object) -> object:
    return "" if value is True or value is None else value


Counted: TypeAlias = Annotated[
    str, BeforeValidator(_counted), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]})
]
CLOCKS = ("at", "balance", "during", "now")
AGGREGATES = ("count", "count_distinct", "sum", "mean", "median", "quantile", "min", "max")


class QuantileText(Model):
    """A quantile: which one, and of what."""

    q: Number = Field(ge=0, le=1, description="0.9: the value that nine of ten do not exceed.")
    of: str = Field(description="An expression over the columns of the entity.")


class MeasureText(Model):
    """A measure: an aggregate over the rows of an entity, with the clock that puts each row into a period."""

    entity: str | None = Field(None, description="Canonical table: deals, activities, tickets ... Not wanted beside sql:.")
    at: str | None = Field(None, description="Clock of an event: the instant by which a row counts, such as closed_at.")
    balance: Ends | None = Field(None, description="Clock of a balance: [start, end]; counts at the end of each period within.")
    during: Ends | None = Field(None, description="Clock of an interval: [start, end]; counts in each period that it overlaps.")
    now: Literal[True] | None = Field(None, description="Clock of a state that is only known now: no past periods.")
    still: str | None = Field(None, description="Of balance and during: what must hold for a row that has no end.")
    where: str | None = Field(None, description="Only these rows: a condition such as \"state = 'won' and amount >= 50000\".")
    count: Counted | None = Field(None, description="Number of rows (of those where the expression has a value). The default.")
    count_distinct: str | None = Field(None, description="Number of different values.")
    sum: str | None = Field(None, description="Sum; 0 over no rows.")
    mean: str | None = Field(None, description="Mean; undefined over no rows.")
    median: str | None = Field(None, description="The value in the middle; undefined over no rows.")
    quantile: QuantileText | None = Field(None, description="{q: 0.9, of: EXPRESSION}; undefined over no rows.")
    min: str | None = Field(None, description="Smallest value; undefined over no rows.")
    max: str | None = Field(None, description="Largest value; undefined over no rows.")
    money: str | None = Field(None, description="Of amounts: the column with their currency; they are converted.")
    rate_at: Names = Field((), description="Of amounts: dates whose exchange rate holds, the first that a rate covers.")
    label: str = Field("", description='What the rows are called in a sentence: "won deals".')

    @model_validator(mode="after")
    def _one_of_each(self) -> MeasureText:
        clocks = [name for name in CLOCKS if getattr(self, name) is not None]
        if len(clocks) != 1:
            said = " and ".join(f"{name}:" for name in clocks) or "none"
            raise ValueError(f"a measure has one clock, at:, balance:, during: or now:; here is {said}")
        aggregates = [name for name in AGGREGATES if getattr(self, name) is not None]
        if len(aggregates) > 1:
            raise ValueError(f"a measure has one aggregate; here are {' and '.join(f'{name}:' for name in aggregates)}")
        if self.still is not None and clocks[0] not in ("balance", "during"):
            raise ValueError("still: belongs to balance: or during:")
        if self.rate_at and self.money is None:
            raise ValueError("rate_at: belongs to money:, the column with the currency")
        return self

    @property
    def aggregate(self) -> str:
        """Name of the aggregate."""
        return next((name for name in AGGREGATES if getattr(self, name) is not None), "count")

    @property
    def clock(self) -> str:
        """Name of the clock."""
        return next(name for name in CLOCKS if getattr(self, name) is not None)


_DEFINING = (
    "name", "unit", "better", "period", "dimensions", "category", "columns", "sample", "why", "misleads", "source", "settle",
)  # fmt: skip


class KpiSettings(Model):
    """What the company adds to a KPI; with ``measures:``, ``formula:`` or ``sql:`` the definition of one of its own."""

    target: Number | None = Field(None, description="The value to reach (25%, 40, 1200000).")
    target_period: Literal["day", "week", "month", "quarter", "year"] | None = Field(
        None, description="What the target of a count or an amount is for, if not the KPI's usual period."
    )
    target_curve: Curve = Field(
        "linear_working_days",
        description="How it is reached in the course of a period: linear_working_days, linear_calendar, seasonal (as last year), "
        "or shares in equal steps: [10%, 30%, 60%, 100%].",
    )
    targets: tuple[TargetText, ...] = Field((), description="Targets for single periods and segments, in versions.")
    min_sample: int | None = Field(None, ge=0, description="Below this sample size the number is not judged.")
    params: Mapping[str, str] = Field(default_factory=dict, description="Parameters for every use of this KPI.")
    measures: Mapping[str, MeasureText] = Field(default_factory=dict, description="Of an own KPI: what is measured, by name.")
    formula: str | None = Field(None, description='Of an own KPI: "won / closed"; measures and other KPIs by name.')
    sql: str | None = Field(None, description="Of an own KPI: one SELECT whose rows the measures are made from.")
    columns: Mapping[str, FieldType] = Field(default_factory=dict, description="Columns of sql: and their types.")
    name: str | None = Field(None, min_length=1, max_length=100, description="What people call it.")
    unit: Literal["count", "ratio", "times", "currency", "days", "seconds", "score"] | None = Field(
        None, description="count, ratio, times, currency, days, seconds or score."
    )
    better: Literal["up", "down", "none"] | None = Field(None, description="Which way is good.")
    period: str | None = Field(None, description="Its usual period: month, quarter ...")
    dimensions: Names | None = Field(None, description="What it can be cut by; if not said, by all that its entities have.")
    category: str | None = Field(None, description="What it is listed under.")
    sample: str | None = Field(None, description="The measure that is its sample size.")
    why: str | None = Field(None, description="Why it matters, in a sentence.")
    misleads: str | None = Field(None, description="How it misleads, in a sentence.")
    source: str | None = Field(None, description="Where the definition comes from.")
    settle: DurationText | None = Field(None, description="How long after a period's end late data is still usual (72h).")

    @property
    def is_definition(self) -> bool:
        """Whether this makes a KPI, rather than setting up one that a plugin brings."""
        return bool(self.measures) or self.formula is not None or self.sql is not None

    @model_validator(mode="before")
    @classmethod
    def _nothing_of_a_definition_alone(cls, values: Any) -> Any:
        if isinstance(values, dict) and not {"measures", "formula", "sql"} & values.keys():
            stray = [name for name in _DEFINING if name in values]
            if stray:
                raise ValueError(f"{stray[0]}: belongs to a KPI of your own, which has measures: and formula:, or sql:")
        return values


class FieldText(Model):
    """A custom field of the CRM."""

    from_: str = Field(alias="from", min_length=1, description="extra.NAME as the CRM has it, or another column of the table.")
    type: FieldType = Field("text", description="A value that does not fit its type counts as none.")
    dimension: bool | str = Field(False, description="true: KPIs can be cut by it; a text: the same, under this name.")
    through: Names = Field(
        (), description="Columns that refer to its table, if not the usual ones: account_id, or deals.account_id."
    )
