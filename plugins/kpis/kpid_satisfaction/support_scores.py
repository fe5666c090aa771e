"""Satisfaction with support, and the effort it took.

A customer is satisfied from three quarters of the scale on: 4 and 5 of 1 to 5, good of good and bad (1 of 0 to 1), 8 to 10 of 0
to 10. Scores off their scale are no answers, nor is a survey that was offered and not answered. Means are on the scale of 1 to 5
(effort: 1 to 7), whatever scale was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import ColumnElement, Subquery, select

from kpid.plugin import At, Benchmark, Definition, Kpi, Measure, Param, count, entities, living, mean
from kpid_satisfaction.answers import DIMENSIONS as BY_CUSTOMER
from kpid_satisfaction.answers import latest_answers

DIMENSIONS = (*BY_CUSTOMER, "group", "channel", "priority", "category")


def _with_ticket(answers: Subquery, name: str) -> Subquery:
    """The answers, with what the ticket they are about says of itself."""
    ticket = living(entities.tickets, f"{name}_ticket")
    t = ticket.c
    columns = (t.group_id, t.channel, t.priority, t.category)
    return select(answers, *columns).select_from(answers.outerjoin(ticket, t.id == answers.c.ticket_id)).subquery(name)


RATINGS = _with_ticket(latest_answers("csat", (1, 5), is_whole=False), "ratings")
EFFORTS = _with_ticket(latest_answers("ces", (1, 7), is_whole=False), "efforts")


def _on_scale(answers: Subquery, top: int) -> ColumnElement[float | Decimal]:
    """The score on the scale from 1 to ``top``."""
    c = answers.c
    return 1 + (top - 1) * (c.score - c.low) / (c.high - c.low)


def _csat(params: Mapping[str, str]) -> Definition:
    c, clock = RATINGS.c, At(RATINGS.c.submitted_at)
    if params["form"] == "mean":
        score = Measure(RATINGS, clock, mean(_on_scale(RATINGS, 5)), label="answers")
        return Definition({"score": score}, lambda m: m.score, "score", unit="score", optional=("tickets",))
    is_satisfied = 4 * (c.score - c.low) >= 3 * (c.high - c.low)
    measures = {
        "satisfied": Measure(RATINGS, clock, count(is_satisfied), label="satisfied customers"),
        "answers": Measure(RATINGS, clock, count(), label="answers"),
    }
    return Definition(measures, lambda m: m.satisfied / m.answers, "answers", optional=("tickets",))


CSAT = Kpi(
    id="csat",
    name="Customer satisfaction",
    category="satisfaction",
    unit="ratio",
    better="up",
    define=_csat,
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"form": Param(("share", "mean"), "The share of satisfied customers, or the mean score from 1 to 5.")},
    formula_text="answers of 4 or 5 (of 5), or good (of good and bad) / answers, by the time of the answer",
    why="What customers think of the help they got, ticket by ticket.",
    misleads="Angry and delighted customers answer, the others do not; see the response rate beside it.",
    source="customer satisfaction; Zendesk (good / good and bad)",
    additivity="R",
    number=58,
    benchmark=Benchmark("0.77", "share of satisfied customers over all industries; Zendesk had 82 % in 2013", "secondary", 2023),
)

CES = Kpi(
    id="ces",
    name="Customer Effort Score",
    category="satisfaction",
    unit="score",
    better="up",
    define=Definition(
        {"score": Measure(EFFORTS, At(EFFORTS.c.submitted_at), mean(_on_scale(EFFORTS, 7)), label="answers")},
        lambda m: m.score,
        sample="score",
        optional=("tickets",),
    ),
    min_sample=30,
    dimensions=DIMENSIONS,
    formula_text="mean agreement from 1 to 7 that it was easy, by the time of the answer",
    why="Effort drives customers away more surely than delight keeps them.",
    misleads="Some ask for ease and some for effort: here a high score is good.",
    source="Dixon, Freeman, Toman 2010",
    additivity="R",
)

KPIS = (CSAT, CES)
