"""Trials: how many become paying subscriptions.

A trial ends at ``trial_end``. It was converted if the account has a paid subscription that begins after the trial's start and
not later than ``horizon_days`` after its end: the same one going on, or another. A subscription is paid once its own trial is
over, if it goes on then, has an amount and is no trial any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, count, entities, living, seconds_between

_DAY_S = 86_400


def _trials() -> Subquery:
    """One row per account and end of a trial; ``paid_at`` is the first begin of a paid subscription since its start."""
    trial, paid = living(entities.subscriptions, "trial"), living(entities.subscriptions, "paid")
    t, p = trial.c, paid.c
    begins = case((p.trial_end > p.started_at, p.trial_end), else_=p.started_at)
    goes_on = and_(p.status != "trial", p.amount > 0, or_(p.ended_at.is_(None), p.ended_at > begins), begins <= NOW)
    same = func.coalesce(p.account_id, p.id) == func.coalesce(t.account_id, t.id)
    since = and_(same, begins >= t.started_at, goes_on)
    return (
        select(
            func.max(t.source_id).label("source_id"),
            t.account_id,
            func.max(t.owner_id).label("owner_id"),
            func.max(t.plan).label("plan"),
            t.trial_end,
            func.min(case((p.id.is_not(None), begins))).label("paid_at"),
        )
        .select_from(trial.outerjoin(paid, since))
        .where(t.trial_end >= t.started_at)
        .group_by(func.coalesce(t.account_id, t.id), t.account_id, t.trial_end)
        .subquery("trials")
    )


TRIALS = _trials()


def _trial_conversion(params: Mapping[str, str]) -> Definition:
    days, c = int(params["horizon_days"]), TRIALS.c
    in_time = seconds_between(c.paid_at, c.trial_end) >= -days * _DAY_S  # rounds down: exact at the bound
    return Definition(
        {
            "paid": Measure(TRIALS, At(c.trial_end), count(in_time), label="trials that became paid"),
            "trials": Measure(TRIALS, At(c.trial_end), count(), label="trials"),
        },
        lambda m: m.paid / m.trials,
        sample="trials",
        horizon=timedelta(days=days),
    )


TRIAL_CONVERSION_RATE = Kpi(
    id="trial_conversion_rate",
    name="Trial conversion",
    category="marketing",
    unit="ratio",
    better="up",
    define=_trial_conversion,
    min_sample=30,
    dimensions=("owner", "team", "account", "segment", "plan", "source"),
    params={"horizon_days": Param.number("14", "How many days after its end a trial may still become paid.", least=0)},
    formula_text="of the trials that ended in the period, the share with a paid subscription by horizon_days after the end",
    why="Whether those who try the product want it.",
    misleads="Trials that ask for a card convert more and start less: compare only what was sold the same way.",
    source="reserve list of the catalogue",
    additivity="C",
)

KPIS = (TRIAL_CONVERSION_RATE,)
