"""Net Promoter Score. Scores that are not whole numbers from 0 to 10 are no answers; nor is what is dated in the future."""

from __future__ import annotations

from math import sqrt

from sqlalchemy import Subquery, and_, func, select

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Values, count, entities, living
from kpid_satisfaction.answers import DIMENSIONS

_Z95 = 1.959963984540054


def _answers() -> Subquery:
    rows = living(entities.survey_responses, "nps_rows")
    r = rows.c
    valid = and_(r.kind == "nps", r.score.between(0, 10), r.score == func.floor(r.score), r.submitted_at <= NOW)
    same = [func.coalesce(r.respondent_id, r.id), func.coalesce(r.wave_id, r.id)]
    place = func.row_number().over(partition_by=same, order_by=[r.submitted_at.desc(), r.id.desc()])
    ranked = select(rows, place.label("place")).where(valid).subquery("nps_ranked")
    return select(ranked).where(ranked.c.place == 1).subquery("nps_answers")


ANSWERS = _answers()
_SUBMITTED = At(ANSWERS.c.submitted_at)


def _margin(m: Values) -> tuple[float, float] | None:
    """The 95 % interval in points. Adjusted Wald: three answers are added, half of them passive."""
    above, below, n = (float(quantity.numerator or 0) for quantity in (m.promoters, m.detractors, m.answers))
    if n <= 0:
        return None
    p, d = (above + 0.75) / (n + 3), (below + 0.75) / (n + 3)
    margin = _Z95 * sqrt(max(0.0, p + d - (p - d) ** 2) / (n + 3))
    score = (above - below) / n
    low, high = min(score, p - d - margin), max(score, p - d + margin)
    return 100 * max(-1.0, low), 100 * min(1.0, high)


NPS = Kpi(
    id="nps",
    name="Net Promoter Score",
    category="satisfaction",
    unit="score",
    better="up",
    define=Definition(
        {
            "promoters": Measure(ANSWERS, _SUBMITTED, count(ANSWERS.c.score >= 9), label="promoters"),
            "detractors": Measure(ANSWERS, _SUBMITTED, count(ANSWERS.c.score <= 6), label="detractors"),
            "answers": Measure(ANSWERS, _SUBMITTED, count(), label="answers"),
        },
        lambda m: 100 * (m.promoters - m.detractors) / m.answers,
        sample="answers",
        interval=_margin,
    ),
    period="quarter",
    min_sample=30,
    dimensions=DIMENSIONS,
    formula_text="100 x (scores 9-10 minus scores 0-6) / answers, by the time of the answer",
    why="Whether customers would recommend us: moves before they leave.",
    misleads="With 30 answers the margin is about 25 points; and those who answer are not those who left.",
    source="Reichheld 2003; sample example: 20 % promoters, 30 % detractors = -10",
    additivity="R",
    number=57,
)

KPIS = (NPS,)
