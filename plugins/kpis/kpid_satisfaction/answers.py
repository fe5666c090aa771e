"""Answers to surveys: of several by one respondent in one wave (or on one ticket) the latest counts."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Subquery, func, select
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import NOW, entities, living

DIMENSIONS = ("owner", "team", "region", "account", "segment", "industry", "country", "source")


def latest_answers(kind: str, scale: tuple[int, int], *, is_whole: bool) -> Subquery:
    """The answers of a kind that count, a row per respondent and wave, with ``low`` and ``high``: the ends of their scale.

    Args:
        kind: nps, csat or ces.
        scale: the scale of answers that name none.
        is_whole: whether a score has to be a whole number.
    """
    rows = living(entities.survey_responses, f"{kind}_rows")
    r = rows.c
    low, high = func.coalesce(r.scale_min, scale[0]), func.coalesce(r.scale_max, scale[1])
    place = func.row_number().over(partition_by=_same(rows), order_by=[r.submitted_at.desc(), r.id.desc()]).label("place")
    valid: list[ColumnElement[bool]] = [r.kind == kind, r.score.between(low, high), low < high, r.submitted_at <= NOW]
    if is_whole:
        valid.append(r.score == func.floor(r.score))
    ranked = select(rows, low.label("low"), high.label("high"), place).where(*valid).subquery(f"{kind}_ranked")
    return select(ranked).where(ranked.c.place == 1).subquery(f"{kind}_answers")


def _same(rows: FromClause) -> list[ColumnElement[object]]:
    r = rows.c
    return [func.coalesce(r.respondent_id, r.id), func.coalesce(r.wave_id, r.ticket_id, r.id)]
