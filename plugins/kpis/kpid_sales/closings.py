"""When deals were closed: as the CRM says today, or every closing that the histories know.

``deals.closed_at`` is the CRM's own date of the latest closing. Histories tell of all of them: a deal is closed whenever its
state turns to won or lost from something else. The field history of ``state`` is the better witness; deals without one are
judged by the states of the stages that they went through; and the deal's own row stands for a closing that no history knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import CTE, ColumnElement, Subquery, and_, case, func, literal, or_, select, union_all
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import NOW, At, Measure, Param, count, entities, living, sum_

deals = entities.deals
OPTIONAL = ("deal_field_history", "deal_stage_history", "stages")
"""What refines the figures where it is delivered."""
COLUMNS = (
    "id", "source_id", "owner_id", "account_id", "pipeline_id", "lead_id", "product", "region", "lead_source", "campaign",
    "campaign_id", "deal_type", "currency", "amount", "created_at", "loss_reason", "loss_competitor", "extra",
)  # fmt: skip
"""What of a deal its closings carry: dimensions, amounts, starts."""
DIMENSIONS = (
    "owner", "team", "region", "pipeline", "product", "lead_source", "campaign", "segment", "industry", "country", "account",
    "currency", "deal_type", "source",
)  # fmt: skip
MISSING_FX = Param(("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning.")
CLOSE_BASIS = Param(
    ("crm_date", "transition"), "The date of a closing: the CRM's own, or when a history saw the deal turn into won or lost."
)
REOPEN = Param(
    ("latest", "first", "every"),
    "Of a deal that was closed several times: its latest outcome, its first one whatever came later, or each of them.",
)
LOST_EXCLUDES = Param.text("", "Loss reasons that are no loss, with commas between them: disqualified, cancelled.")
CLOSING = {"close_basis": CLOSE_BASIS, "reopen": REOPEN}
DEGRADES = {
    "deal_stage_history": "Without a history of stages or states a re-opened deal is known by its latest closing only.",
    "owner_history": "Without a history of owners a closing counts for today's owner.",
}


def _moves() -> Subquery:
    """Every known state of deals and since when, up to now: ``deal_id, state, moved_at, seq, move_id``."""
    f, s, t = living(entities.deal_field_history).c, living(entities.deal_stage_history).c, living(entities.stages).c
    states = ("open", "won", "lost")
    told = and_(f.field == "state", f.value.in_(states), f.valid_from <= NOW)
    by_field = select(
        f.deal_id, f.value.label("state"), f.valid_from.label("moved_at"), literal(0).label("seq"), f.id.label("move_id")
    )
    have = select(f.deal_id).where(told).distinct().subquery("deals_with_states")
    by_stage = (
        select(s.deal_id, t.state, s.valid_from, func.coalesce(s.seq, 0), s.id)
        .select_from(s.id.table.join(t.id.table, t.id == s.stage_id).outerjoin(have, have.c.deal_id == s.deal_id))
        .where(have.c.deal_id.is_(None), t.state.in_(states), s.valid_from <= NOW)
    )
    return union_all(by_field.where(told), by_stage).subquery("deal_moves")


def _changes() -> CTE:
    """Changes of state, ``back`` = 1 the latest of a deal."""
    m = _moves().c
    order = (m.moved_at, m.seq, m.move_id)
    before = func.lag(m.state).over(partition_by=m.deal_id, order_by=order)
    moves = select(m.deal_id, m.state, m.moved_at, m.seq, m.move_id, before.label("before")).subquery("deal_moves_seen").c
    back = func.row_number().over(
        partition_by=moves.deal_id, order_by=[moves.moved_at.desc(), moves.seq.desc(), moves.move_id.desc()]
    )
    columns = (moves.deal_id, moves.state, moves.moved_at, moves.seq, moves.move_id, back.label("back"))
    return select(*columns).where(or_(moves.before.is_(None), moves.before != moves.state)).cte("kpid_deal_changes")


def events() -> Subquery:
    """Every change of a deal's state, ``back`` = 1 the latest; that may be its own row's, which no history knows."""
    d, changes = living(deals).c, _changes()
    last = changes.alias("last_change")
    of_history = select(
        changes.c.deal_id, changes.c.state, changes.c.moved_at, literal(0).label("own"), changes.c.seq, changes.c.move_id
    )
    own = (
        select(d.id, d.state, d.closed_at, literal(1), literal(0), d.id)
        .select_from(d.id.table.outerjoin(last, and_(last.c.deal_id == d.id, last.c.back == 1)))
        .where(d.state.in_(["won", "lost"]), d.closed_at <= NOW, or_(last.c.state.is_(None), last.c.state != d.state))
    )
    e = union_all(of_history, own).subquery("deal_events").c
    newest = [e.own.desc(), e.moved_at.desc(), e.seq.desc(), e.move_id.desc()]
    back = func.row_number().over(partition_by=e.deal_id, order_by=newest)
    columns = (e.deal_id, e.state, e.moved_at, e.own, e.seq, e.move_id, back.label("back"))
    return select(*columns).subquery("deal_events_ranked")


def _closings() -> Subquery:
    """A row per closing of a deal: its columns, and which of the deal's closings this is.

    ``state`` is the outcome; ``moved_at`` when it was reached; ``crm_at`` likewise, but for the current outcome the CRM's date.
    ``back`` 1: nothing happened since; ``place`` counts the deal's closings from the first; ``is_current``: the deal is so today.
    """
    ranked = events().c
    oldest = [ranked.own, ranked.moved_at, ranked.seq, ranked.move_id]
    place = func.row_number().over(partition_by=ranked.deal_id, order_by=oldest)
    win = func.row_number().over(partition_by=[ranked.deal_id, ranked.state], order_by=oldest)
    closed = (
        select(ranked.deal_id, ranked.state, ranked.moved_at, ranked.back, place.label("place"), win.label("place_of_state"))
        .where(ranked.state.in_(["won", "lost"]))
        .subquery("deal_closings")
        .c
    )
    of = living(deals, "closed_deals").c
    is_current = and_(closed.back == 1, of.state == closed.state)
    crm_at = case((and_(is_current, of.closed_at.is_not(None)), of.closed_at), else_=closed.moved_at)
    columns = [closed.state, closed.moved_at, crm_at.label("crm_at"), closed.back, closed.place, closed.place_of_state]
    return (
        select(*(of[name] for name in COLUMNS), *columns)
        .select_from(of.id.table.join(closed.deal_id.table, closed.deal_id == of.id))
        .subquery("closings")
    )


CLOSINGS = _closings()


@dataclass(frozen=True)
class Closed:
    """Closed deals as a choice of parameters sees them: where they are, which rows count, when they were closed."""

    entity: FromClause
    instant: ColumnElement[object]
    counts: ColumnElement[bool] | None
    """None: every row."""
    counts_once: ColumnElement[bool] | None
    """As ``counts``, but a deal at most once for each outcome: for cohorts of deals."""
    optional: tuple[str, ...] = ()

    def won(self) -> ColumnElement[bool]:
        """Deals that were won."""
        return self._among(self.entity.c.state == "won")

    def lost(self, excludes: str = "") -> ColumnElement[bool]:
        """Deals that were lost, less those whose reason is none."""
        return self._among(and_(self.entity.c.state == "lost", *self._excluded(excludes)))

    def decided(self, excludes: str = "") -> ColumnElement[bool]:
        """Deals that were won or lost."""
        if not excludes:
            return self._among(self.entity.c.state.in_(["won", "lost"]))
        return self._among(or_(self.entity.c.state == "won", and_(self.entity.c.state == "lost", *self._excluded(excludes))))

    def of(self, outcome: str, excludes: str = "") -> ColumnElement[bool]:
        """Deals of an outcome: ``won``, ``lost``, or ``all``."""
        if outcome == "won":
            return self.won()
        return self.lost(excludes) if outcome == "lost" else self.decided(excludes)

    def number(self, where: ColumnElement[bool], label: str) -> Measure:
        """How many were closed in a period."""
        return Measure(self.entity, At(self.instant), count(where), label=label)

    def amount(self, where: ColumnElement[bool], label: str) -> Measure:
        """What they amount to."""
        return Measure(self.entity, At(self.instant), sum_(self.entity.c.amount, where), self.entity.c.currency, label=label)

    def negative(self, where: ColumnElement[bool]) -> Measure:
        """How many of them have a negative amount."""
        return self.number(and_(where, self.entity.c.amount < 0), "deals with a negative amount")

    def _among(self, what: ColumnElement[bool]) -> ColumnElement[bool]:
        return what if self.counts is None else and_(what, self.counts)

    def _excluded(self, names: str) -> list[ColumnElement[bool]]:
        known = sorted({name.strip().lower() for name in names.split(",")} - {""})
        reason = func.coalesce(func.lower(func.trim(self.entity.c.loss_reason)), "")
        return [reason.not_in(known)] if known else []


PLAIN = Closed(deals, deals.c.closed_at, None, None)


def closed_by(params: Mapping[str, str]) -> Closed:
    """Closed deals by ``close_basis`` and ``reopen``; the defaults are a plain scan of deals."""
    if (params["close_basis"], params["reopen"]) == ("crm_date", "latest"):
        return PLAIN
    return closed_among(CLOSINGS, params)


def closed_among(entity: FromClause, params: Mapping[str, str]) -> Closed:
    """Those among :data:`CLOSINGS`, or a subquery with their columns."""
    basis, reopen, c = params["close_basis"], params["reopen"], entity.c
    counted = {"latest": c.back == 1, "first": c.place == 1, "every": None}[reopen]
    once = c.place_of_state == 1 if reopen == "every" and "place_of_state" in c else counted
    return Closed(entity, c.crm_at if basis == "crm_date" else c.moved_at, counted, once, OPTIONAL)
