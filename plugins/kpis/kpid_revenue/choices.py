"""Parameters and sentences that several revenue KPIs share."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sqlalchemy import ColumnElement, Text, cast, null, select
from sqlalchemy.sql.expression import FromClause, Subquery

from kpid.plugin import PERIODS, InPeriod, Measure, Param, Quantity, Values, count, days_between, max_

MONTH = Fraction(1, 12)
"""Of a year."""
ACCOUNT_DIMENSIONS = (
    "owner", "team", "region", "segment", "industry", "size_band", "country", "account", "lead_source", "source",
)  # fmt: skip
ORDER_DIMENSIONS = (
    "owner", "team", "region", "segment", "industry", "size_band", "country", "account", "lead_source", "currency", "source",
)  # fmt: skip
MISSING_FX = Param(("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning.")
ORDER_PARAMS = {
    "refund_basis": Param(("refund_date", "order_date"), "When a refund counts: when it was given, or with its order."),
    "rev_date": Param(
        ("ordered_at", "created_at", "invoiced_at", "paid_at"),
        "When an order counts: when it was placed, booked, invoiced or paid; one that has no such date does not.",
    ),
    "missing_fx": MISSING_FX,
}
RECURRING_PARAMS = {
    "discounts": Param(("all", "forever_only"), "Deduct every discount (ProfitWell), or those that never end (Stripe)."),
    "churn_date": Param(
        ("term_end", "cancellation", "day_after"), "When revenue is lost: with the paid term, at the notice, or a day after."
    ),
    "movements": Param(("derived", "recorded"), "Seen in the subscriptions, or as the source recorded them (mrr_movements)."),
    "missing_fx": MISSING_FX,
}
BASIS_PARAMS = {
    "basis": Param(("lifecycle", "orders", "subscription", "deal"), "Who is a customer: see active_customers."),
    "lookback_days": Param.number("365", "With basis=orders: how long a purchase makes a customer.", least=1),
}
DEGRADES_FX = {"fx_dated": "Without dated rates old amounts are converted by the one rate there is: the past moves with it."}


def chosen(params: Mapping[str, str], *names: str) -> dict[str, str]:
    """Some of the parameters, to hand them on to a KPI that is a part of this one."""
    return {name: params[name] for name in names}


def refunds(params: Mapping[str, str]) -> tuple[str, str]:
    """What revenue depends on."""
    return params["refund_basis"], params["rev_date"]


def prices(params: Mapping[str, str]) -> tuple[str, str]:
    """What subscriptions depend on."""
    return params["discounts"], params["churn_date"]


def flows(params: Mapping[str, str]) -> tuple[str, str, str]:
    """What movements depend on; recorded ones on nothing else."""
    is_recorded = params["movements"] == "recorded"
    return ("recorded", "", "") if is_recorded else ("derived", *prices(params))


def _calendar() -> Subquery:
    """A row per period, of no account: the same for all segments."""
    t = PERIODS.c
    nobody = ("owner_id", "account_id", "region", "segment", "industry", "size_band", "country", "lead_source", "source_id")
    columns = [cast(null(), Text).label(name) for name in nobody]
    return select(t.no, days_between(t.starts, t.ends).label("days"), *columns).select_from(PERIODS).subquery("calendar")


_CALENDAR = _calendar()
DAYS = Measure(_CALENDAR, InPeriod(_CALENDAR.c.no), max_(_CALENDAR.c.days), label="days", across=ACCOUNT_DIMENSIONS)
"""How many days a period has."""


def left_out(entity: FromClause, where: ColumnElement[bool], label: str) -> Measure:
    """Rows that have no amount."""
    return Measure(entity, InPeriod(entity.c.no), count(where), label=label)


def months_in(days: Quantity) -> Quantity:
    """How many months a number of days is: whole ones from 28 days on."""
    number = days.exact
    if not number:
        return Quantity(None, reason="no days")
    return Quantity(max(round(number * 10_000 / 304_375), 1) if number >= 28 else number * 10_000 / 304_375)


def unpriced(m: Values) -> list[str]:
    """What to say of subscriptions that nobody can tell the worth of."""
    number = m["unpriced"].exact if "unpriced" in m else None
    return [f"{number} subscriptions left out: no amount, or an unknown interval"] if number else []
