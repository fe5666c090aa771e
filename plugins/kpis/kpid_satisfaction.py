"""Satisfaction KPIs: what customers say when asked.

Scores that are not whole numbers from 0 to 10 are no answers. Of several answers by one respondent in one wave the latest counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, func, not_, select

from kpid.plugin import At, Definition, Kpi, Measure, count, entities, hookimpl

responses = entities.survey_responses
_r = responses.c
_valid = and_(_r.kind == "nps", _r.score.between(0, 10), _r.score == func.floor(_r.score))
_alive = and_(_r.deleted_at.is_(None), _r.merged_into_id.is_(None), not_(_r.is_test))
_place = func.row_number().over(
    partition_by=[func.coalesce(_r.respondent_id, _r.id), func.coalesce(_r.wave_id, _r.id)],
    order_by=[_r.submitted_at.desc().nulls_last(), _r.id.desc()],
)
_ranked = select(responses, _place.label("place")).where(_valid, _alive).subquery("ranked")
ANSWERS = select(_ranked).where(_ranked.c.place == 1).subquery("nps_answers")
SUBMITTED = At(ANSWERS.c.submitted_at)

NPS = Kpi(
    id="nps",
    name="Net Promoter Score",
    category="satisfaction",
    unit="score",
    better="up",
    define=Definition(
        {
            "promoters": Measure(ANSWERS, SUBMITTED, count(ANSWERS.c.score >= 9), label="promoters"),
            "detractors": Measure(ANSWERS, SUBMITTED, count(ANSWERS.c.score <= 6), label="detractors"),
            "answers": Measure(ANSWERS, SUBMITTED, count(), label="answers"),
        },
        lambda m: 100 * (m.promoters - m.detractors) / m.answers,
        sample="answers",
    ),
    period="quarter",
    min_sample=30,
    dimensions=("owner", "team", "region", "account", "segment", "industry", "country", "source"),
    formula_text="100 x (scores 9-10 minus scores 0-6) / answers, by the time of the answer",
    why="Whether customers would recommend us: moves before they leave.",
    misleads="With 30 answers the margin is about 25 points; and those who answer are not those who left.",
    source="Reichheld 2003; sample example: 20 % promoters, 30 % detractors = -10",
)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Satisfaction KPIs."""
    return (NPS,)
