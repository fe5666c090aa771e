"""How many of those who were asked answered.

A survey counts when it was sent, if it was delivered; one that was answered was. An answer belongs to the survey that it names,
else to one of the same kind, respondent and wave. It counts once, whenever it came.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Subquery, and_, case, or_, select, union_all

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, Values, count, entities, living
from kpid_satisfaction.answers import DIMENSIONS

_FEW = 10


def _answered() -> Subquery:
    """The ids of surveys that were answered: ``send_id``."""
    response, send = living(entities.survey_responses, "given"), living(entities.survey_sends, "asked")
    r, s = response.c, send.c
    is_given = and_(r.submitted_at <= NOW, r.score.is_not(None))
    by_name = select(r.send_id).where(is_given, r.send_id.is_not(None))
    wave = and_(s.respondent_id == r.respondent_id, s.kind == r.kind, s.wave_id == r.wave_id)
    by_wave = select(s.id.label("send_id")).select_from(response.join(send, wave)).where(is_given, r.send_id.is_(None))
    return select(union_all(by_name, by_wave).subquery("answers_given").c.send_id).distinct().subquery("answered_sends")


def _sends() -> Subquery:
    """Surveys sent and delivered: ``is_answered``, ``is_open`` (1: it can still be answered)."""
    send, answered = living(entities.survey_sends, "sent"), _answered()
    s, a = send.c, answered.c
    is_answered = case((a.send_id.is_not(None), 1), else_=0)
    is_open = case((and_(a.send_id.is_(None), s.closes_at > NOW), 1), else_=0)
    owner = living(entities.accounts, "asked_account")
    columns = (
        s.source_id,
        s.kind,
        s.account_id,
        owner.c.owner_id,
        s.sent_at,
        is_answered.label("is_answered"),
        is_open.label("is_open"),
    )
    joined = send.outerjoin(answered, a.send_id == s.id).outerjoin(owner, owner.c.id == s.account_id)
    return (
        select(*columns)
        .select_from(joined)
        .where(or_(s.delivered_at <= NOW, a.send_id.is_not(None)))
        .subquery("survey_sends_made")
    )


SENDS = _sends()


def _response_rate(params: Mapping[str, str]) -> Definition:
    c, clock = SENDS.c, At(SENDS.c.sent_at)
    asked = c.kind.is_not(None) if params["kind"] == "all" else c.kind == params["kind"]
    measures = {
        "answers": Measure(SENDS, clock, count(and_(asked, c.is_answered == 1)), label="answers"),
        "surveys": Measure(SENDS, clock, count(asked), label="surveys delivered"),
        "open": Measure(SENDS, clock, count(and_(asked, c.is_open == 1)), label="surveys that can still be answered"),
    }

    def remarks(m: Values) -> list[str]:
        above, below = m.answers.numerator or 0, m.surveys.numerator or 0
        return [f"fewer than {_FEW} % answered: who did may not speak for the others"] if 100 * above < _FEW * below else []

    def doubts(m: Values) -> str | None:
        waiting = m["open"].numerator
        return f"{waiting} surveys can still be answered" if waiting else None

    optional = ("accounts", "survey_responses")
    return Definition(measures, lambda m: m.answers / m.surveys, "surveys", remarks=remarks, doubts=doubts, optional=optional)


SURVEY_RESPONSE_RATE = Kpi(
    id="survey_response_rate",
    name="Survey response rate",
    category="satisfaction",
    unit="ratio",
    better="none",
    define=_response_rate,
    min_sample=30,
    dimensions=(*DIMENSIONS, "kind"),
    params={"kind": Param(("all", "nps", "csat", "ces"), "Which surveys.")},
    formula_text="surveys answered / surveys delivered, by the day they were sent",
    why="Below a tenth, NPS and CSAT may speak for the loud ones only.",
    misleads="A high rate says nothing of who was asked.",
    source="own",
    additivity="C",
    number=59,
)

KPIS = (SURVEY_RESPONSE_RATE,)
